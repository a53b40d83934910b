package auth

import (
	"cmp"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/lestrrat-go/jwx/v3/jwa"
	"github.com/lestrrat-go/jwx/v3/jws"
	"github.com/refold-dev/refold/events/envelope"
)

// Issuer and audiences of tokens that a plane mints for itself. A token for one edge is refused by the other.
const (
	LocalIssuer      = "refold-local"
	LocalAudience    = "refold"
	LocalMCPAudience = "refold-mcp"

	ttlDefault = time.Hour

	secretFileBytesMax = 4 << 10
)

// Secret loads 32 random bytes from a file of mode 0600 in a data directory, or makes it there.
func Secret(dir, name string) ([]byte, error) {
	path := filepath.Join(dir, name)
	for range 2 {
		seed, err := readSecret(path)
		if !errors.Is(err, fs.ErrNotExist) {
			return seed, err
		}
		if err := writeSecret(dir, path); err != nil {
			return nil, err
		}
	}
	return nil, fmt.Errorf("secret %s vanished right after it was made", path)
}

func readSecret(path string) ([]byte, error) {
	content, err := readPrivate(path)
	if err != nil {
		return nil, err
	}
	return seedOf(path, string(content))
}

// readPrivate reads a file that nobody else can read.
func readPrivate(path string) ([]byte, error) {
	info, err := os.Lstat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("secret %s: mode is %s, others must not be able to read it (chmod 600)", path, info.Mode())
	}
	return readBounded(path, secretFileBytesMax)
}

func seedOf(path, text string) ([]byte, error) {
	seed, err := base64.StdEncoding.DecodeString(strings.TrimSpace(text))
	if err != nil || len(seed) != ed25519.SeedSize {
		return nil, fmt.Errorf("secret %s: want %d bytes in base64", path, ed25519.SeedSize)
	}
	return seed, nil
}

// newSeed makes a secret.
func newSeed() []byte {
	seed := make([]byte, ed25519.SeedSize)
	_, _ = rand.Read(seed) // never fails
	return seed
}

// writeSecret makes a secret under another name and links it into place, so that nobody ever reads half of one
// and the first of several processes wins.
func writeSecret(dir, path string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return place(dir, base64.StdEncoding.EncodeToString(newSeed())+"\n", func(made string) error {
		if err := os.Link(made, path); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		return nil
	})
}

// place writes a file of mode 0600 under another name, synced, and puts it into place.
func place(dir, content string, put func(made string) error) error {
	file, err := os.CreateTemp(dir, ".secret-*") // mode 0600
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(file.Name()) }()
	_, err = file.WriteString(content)
	if err := errors.Join(err, file.Sync(), file.Close()); err != nil {
		return err
	}
	return put(file.Name())
}

// Issuer is what a Verifier needs to believe the tokens of this key.
func (l *Local) Issuer() Issuer { return l.IssuerFor(LocalAudience) }

// IssuerFor is Issuer for the tokens of another audience.
func (l *Local) IssuerFor(audience string) Issuer {
	return Issuer{
		Issuer: LocalIssuer, Audience: audience, Operator: audience == LocalAudience, // agents are never operators
		Tenants: []string{EveryTenant}, Live: l.verifying,
	}
}

// TokenRequest says for whom a token is minted.
type TokenRequest struct {
	Tenant   string
	Operator bool // an operator of the plane, of no tenant
	Subject  string
	Scopes   []string
	TTL      time.Duration // 0 = one hour; at most LifetimeMax
	App      string        // that the token is bound to; empty = none
	Now      time.Time     // of issue; zero = that of this machine
	// Audience is the edge that the token is for; empty = LocalAudience.
	Audience string
}

// Minted is a token with what is recorded of it.
type Minted struct {
	Token           string
	ID, KeyID       string
	Audience        string
	Issued, Expires time.Time
}

// Mint returns a signed token, which nobody has recorded.
func (l *Local) Mint(r TokenRequest) (string, error) {
	minted, err := l.Sign(r)
	return minted.Token, err
}

// Sign makes a token. It fails with an error that says what is wrong with the request.
func (l *Local) Sign(r TokenRequest) (out Minted, err error) {
	if r, err = r.complete(); err != nil {
		return out, err
	}
	keys, err := l.current()
	if err != nil {
		return out, err
	}
	key := keys[0]
	// Times are fractions of a second, so that a token that is minted right after a revocation is not refused by it.
	out = Minted{ID: rand.Text(), KeyID: key.id, Audience: r.Audience, Issued: r.Now.Truncate(time.Millisecond), Expires: r.Now.Add(r.TTL).Truncate(time.Second)}
	claims := map[string]any{
		"iss": LocalIssuer, "aud": r.Audience, "sub": r.Subject, "org_id": r.Tenant,
		"scope": strings.Join(r.Scopes, " "), "jti": out.ID,
		"iat": json.Number(fmt.Sprintf("%d.%03d", out.Issued.Unix(), out.Issued.Nanosecond()/int(time.Millisecond))), "exp": out.Expires.Unix(),
	}
	if r.App != "" {
		claims[appClaimDefault] = r.App
	}
	text, err := json.Marshal(claims)
	if err != nil {
		return out, err
	}
	header := jws.NewHeaders()
	if err := errors.Join(header.Set("typ", "at+jwt"), header.Set("kid", key.id)); err != nil {
		return out, err
	}
	token, err := jws.Sign(text, jws.WithKey(jwa.EdDSA(), key.private, jws.WithProtectedHeaders(header)))
	out.Token = string(token)
	return out, err
}

// complete fills in what a request leaves open, and says what is wrong with it.
func (r TokenRequest) complete() (TokenRequest, error) {
	switch {
	case r.Operator && r.Tenant != "":
		return r, errors.New("an operator is of no tenant")
	case r.Operator && r.App != "":
		return r, errors.New("an operator is of no app")
	case r.Operator:
		r.Tenant = envelope.PlaneTenant
	case !envelope.ValidTenant(r.Tenant):
		return r, fmt.Errorf("tenant %q: 1 to %d of A-Z a-z 0-9 _ -, not beginning with _", r.Tenant, envelope.TokenBytesMax)
	}
	if !ValidSubject(r.Subject) {
		return r, fmt.Errorf("subject %q: 1 to %d bytes without control characters", r.Subject, SubjectBytesMax)
	}
	if r.App != "" && !ValidApp(r.App) {
		return r, fmt.Errorf("app %q: 1 to %d characters without control characters", r.App, appRunesMax)
	}
	r.TTL, r.Audience = cmp.Or(r.TTL, ttlDefault), cmp.Or(r.Audience, LocalAudience)
	if r.TTL < 0 || r.TTL > LifetimeMax {
		return r, fmt.Errorf("time to live %s: must be positive, and at most %s", r.TTL, LifetimeMax)
	}
	if r.Now.IsZero() {
		r.Now = time.Now()
	}
	return r, nil
}
