package auth

import (
	"cmp"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
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

	localKeyFile = "token.key"
	ttlDefault   = time.Hour
)

// Local is the plane's own key: it mints tokens for people without an identity provider.
type Local struct {
	private ed25519.PrivateKey
	id      string
}

// LocalKey loads the key of a data directory, or makes it there with mode 0600. A key that others can read is
// refused: whoever reads it can be anybody.
func LocalKey(dir string) (*Local, error) {
	seed, err := Secret(dir, localKeyFile)
	if err != nil {
		return nil, err
	}
	private := ed25519.NewKeyFromSeed(seed)
	public, _ := private.Public().(ed25519.PublicKey)
	sum := sha256.Sum256(public)
	return &Local{private: private, id: "local-" + hex.EncodeToString(sum[:6])}, nil
}

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
	info, err := os.Lstat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("secret %s: mode is %s, others must not be able to read it (chmod 600)", path, info.Mode())
	}
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	seed, err := base64.StdEncoding.DecodeString(strings.TrimSpace(string(content)))
	if err != nil || len(seed) != ed25519.SeedSize {
		return nil, fmt.Errorf("secret %s: want %d bytes in base64", path, ed25519.SeedSize)
	}
	return seed, nil
}

// writeSecret makes a secret under another name and links it into place, so that nobody ever reads half of one
// and the first of several processes wins.
func writeSecret(dir, path string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	file, err := os.CreateTemp(dir, ".secret-*") // mode 0600
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(file.Name()) }()
	seed := make([]byte, ed25519.SeedSize)
	_, _ = rand.Read(seed) // never fails
	_, err = file.WriteString(base64.StdEncoding.EncodeToString(seed) + "\n")
	if err := errors.Join(err, file.Sync(), file.Close()); err != nil {
		return err
	}
	if err := os.Link(file.Name(), path); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}

// Issuer is what a Verifier needs to believe the tokens of this key.
func (l *Local) Issuer() Issuer { return l.IssuerFor(LocalAudience) }

// IssuerFor is Issuer for the tokens of another audience.
func (l *Local) IssuerFor(audience string) Issuer {
	return Issuer{
		Issuer: LocalIssuer, Audience: audience, Operator: audience == LocalAudience, // agents are never operators
		Keys: []Key{{ID: l.id, Algorithm: "EdDSA", Public: l.private.Public()}},
	}
}

// TokenRequest says for whom a token is minted.
type TokenRequest struct {
	Tenant   string
	Operator bool // an operator of the plane, of no tenant
	Subject  string
	Scopes   []string
	TTL      time.Duration // 0 = one hour
	// Audience is the edge that the token is for; empty = LocalAudience.
	Audience string
}

// Mint returns a signed token.
func (l *Local) Mint(r TokenRequest) (string, error) {
	switch {
	case r.Operator && r.Tenant != "":
		return "", errors.New("an operator is of no tenant")
	case r.Operator:
		r.Tenant = envelope.PlaneTenant
	case !envelope.ValidTenant(r.Tenant):
		return "", fmt.Errorf("tenant %q: 1 to %d of A-Z a-z 0-9 _ -, not beginning with _", r.Tenant, envelope.TokenBytesMax)
	}
	if !ValidSubject(r.Subject) {
		return "", fmt.Errorf("subject %q: 1 to %d bytes without control characters", r.Subject, SubjectBytesMax)
	}
	if r.TTL == 0 {
		r.TTL = ttlDefault
	}
	if r.TTL < 0 {
		return "", fmt.Errorf("time to live %s: must be positive", r.TTL)
	}
	now := time.Now()
	claims, err := json.Marshal(map[string]any{
		"iss": LocalIssuer, "aud": cmp.Or(r.Audience, LocalAudience), "sub": r.Subject, "org_id": r.Tenant,
		"scope": strings.Join(r.Scopes, " "), "jti": rand.Text(),
		"iat": now.Unix(), "exp": now.Add(r.TTL).Unix(),
	})
	if err != nil {
		return "", err
	}
	header := jws.NewHeaders()
	if err := errors.Join(header.Set("typ", "at+jwt"), header.Set("kid", l.id)); err != nil {
		return "", err
	}
	token, err := jws.Sign(claims, jws.WithKey(jwa.EdDSA(), l.private, jws.WithProtectedHeaders(header)))
	return string(token), err
}
