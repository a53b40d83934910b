package auth

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/lestrrat-go/jwx/v3/jws"
	"github.com/refold-dev/refold/events/envelope"
)

// Bounds of tokens.
const (
	TokenBytesMax   = 8 << 10 // checked before anything is parsed
	SubjectBytesMax = 200
	scopesMax       = 100
	tokenIDBytesMax = 200
	skewMax         = 30 * time.Second
)

// Issuer is somebody whose tokens are believed.
type Issuer struct {
	Issuer   string // claim iss, compared exactly
	Audience string // must be in claim aud
	Keys     []Key  // static keys
	KeySet   string // URL of a JWKS, https or a loopback host; empty = none
	// Tenants that this issuer may speak for; empty = all.
	Tenants []string
	// Operator lets it name operators of the plane, whose tokens have envelope.PlaneTenant as org_id.
	Operator bool
}

// Config configures a Verifier.
type Config struct {
	Issuers []Issuer
	// LifetimeMax bounds exp - iat. Default 366 days.
	LifetimeMax time.Duration
	// Client fetches key sets. Default: a client without redirects.
	Client *http.Client
	// Now is the clock; nil = time.Now.
	Now func() time.Time
	// Logger is told when a key set cannot be fetched; nil = nobody.
	Logger *slog.Logger
}

// Verifier verifies bearer tokens: JWT, signed, with iss, aud, exp, iat, sub, jti and org_id. It is safe for
// concurrent use.
type Verifier struct {
	issuers     map[string]*trusted
	lifetimeMax time.Duration
	now         func() time.Time
	signed      signatures
}

type trusted struct {
	Issuer
	remote *keySet // nil = none
}

// NewVerifier checks the configuration; it fetches nothing yet.
func NewVerifier(c Config) (*Verifier, error) {
	v := &Verifier{issuers: map[string]*trusted{}, lifetimeMax: cmp.Or(c.LifetimeMax, 366*24*time.Hour), now: c.Now}
	if v.now == nil {
		v.now = time.Now
	}
	if c.Client == nil {
		c.Client = &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	var faults []error
	for _, issuer := range c.Issuers {
		if err := issuer.check(); err != nil {
			faults = append(faults, fmt.Errorf("issuer %q: %w", issuer.Issuer, err))
		}
		if v.issuers[issuer.Issuer] != nil {
			faults = append(faults, fmt.Errorf("issuer %q is given twice", issuer.Issuer))
		}
		t := &trusted{Issuer: issuer}
		if issuer.KeySet != "" {
			t.remote = &keySet{url: issuer.KeySet, client: c.Client, now: v.now, logger: c.Logger}
		}
		v.issuers[issuer.Issuer] = t
	}
	if len(c.Issuers) == 0 {
		faults = append(faults, errors.New("no issuer: nobody could ever log in"))
	}
	return v, errors.Join(faults...)
}

func (i Issuer) check() error {
	var faults []error
	if i.Issuer == "" || i.Audience == "" {
		faults = append(faults, errors.New("issuer and audience must be given"))
	}
	for _, tenant := range i.Tenants {
		if !envelope.ValidTenant(tenant) {
			faults = append(faults, fmt.Errorf("%q is no tenant", tenant))
		}
	}
	if len(i.Keys) == 0 && i.KeySet == "" {
		faults = append(faults, errors.New("no key and no key set"))
	}
	if i.KeySet != "" && !safeURL(i.KeySet) {
		faults = append(faults, fmt.Errorf("key set %q: want https, or http on a loopback address", i.KeySet))
	}
	for n, key := range i.Keys {
		if err := key.check(); err != nil {
			faults = append(faults, err)
		}
		if _, twice := findKey(i.Keys[:n], key.ID); twice {
			faults = append(faults, fmt.Errorf("kid %q is given twice", key.ID))
		}
	}
	return errors.Join(faults...)
}

// Verify returns the principal of a token, or an *Error with InvalidToken, or ErrKeysUnavailable.
func (v *Verifier) Verify(ctx context.Context, token string) (Principal, error) {
	if len(token) > TokenBytesMax {
		return Principal{}, invalid("the token is longer than %d bytes", TokenBytesMax)
	}
	id := sha256.Sum256([]byte(token))
	known := v.signed.get(id)
	if known == nil {
		var err error
		if known, err = parsed(token); err != nil {
			return Principal{}, err
		}
	}
	// The issuer is only believed once its own key has verified the signature.
	name, _, err := text(known.claims, "iss")
	if err != nil {
		return Principal{}, err
	}
	issuer := v.issuers[name]
	if issuer == nil {
		return Principal{}, invalid("unknown issuer")
	}
	key, err := issuer.keyFor(ctx, known.header)
	if err != nil {
		return Principal{}, err
	}
	if !known.by(key.Public) {
		if _, err := jws.VerifyCompactFast(key.Public, []byte(token), key.algorithm()); err != nil {
			return Principal{}, invalid("the signature does not fit")
		}
		v.signed.put(id, &signed{known.header, known.claims, key.Public})
	}
	return v.principal(issuer, known.claims)
}

// parsed splits a token, of which nothing is believed yet.
func parsed(token string) (*signed, error) {
	// base64 decoders skip line breaks: what is not of the alphabet is refused here.
	if strings.Count(token, ".") != 2 || strings.ContainsFunc(token, notInToken) {
		return nil, invalid("not a compact JWS")
	}
	parts := strings.SplitN(token, ".", 3)
	header, errHeader := members(parts[0])
	claims, errClaims := members(parts[1])
	_, errSignature := base64.RawURLEncoding.Strict().DecodeString(parts[2])
	if errHeader != nil || errClaims != nil || errSignature != nil || parts[2] == "" {
		return nil, invalid("not a compact JWS")
	}
	return &signed{header: header, claims: claims}, nil
}

func notInToken(r rune) bool { return r != '.' && (r > 0x7f || !envelope.ValidToken(string(r))) }

// keyFor finds the key of a token and refuses every header that asks for anything else than to be compared.
func (t *trusted) keyFor(ctx context.Context, header map[string]json.RawMessage) (Key, error) {
	for name := range header {
		if name != "alg" && name != "kid" && name != "typ" {
			// crit, jku, jwk, x5u, x5c, b64, zip, cty, ...: nothing of it is needed, all of it is dangerous.
			return Key{}, invalid("a header parameter other than alg, kid and typ")
		}
	}
	if typ, present, err := text(header, "typ"); err != nil || present && !strings.EqualFold(typ, "JWT") && !strings.EqualFold(typ, "at+jwt") {
		return Key{}, invalid("typ is neither JWT nor at+jwt")
	}
	kid, _, err := text(header, "kid")
	if err != nil || len(kid) > kidBytesMax {
		return Key{}, invalid("kid is malformed")
	}
	key, ok := findKey(t.Keys, kid)
	switch {
	case !ok && t.remote == nil:
		return Key{}, invalid("unknown key")
	case !ok:
		if key, err = t.remote.find(ctx, kid); err != nil {
			return Key{}, err
		}
	}
	if alg, _, err := text(header, "alg"); err != nil || alg != key.Algorithm {
		return Key{}, invalid("alg is not the algorithm of the key")
	}
	return key, nil
}

func (v *Verifier) principal(issuer *trusted, claims map[string]json.RawMessage) (Principal, error) {
	p := Principal{Issuer: issuer.Issuer.Issuer}
	var err error
	if p.Expires, err = v.times(claims); err != nil {
		return Principal{}, err
	}
	aud, err := audience(claims)
	if err != nil {
		return Principal{}, err
	}
	if !slices.Contains(aud, issuer.Audience) {
		return Principal{}, invalid("the token is for another audience")
	}
	for _, name := range []string{"nonce", "at_hash", "c_hash"} {
		if _, there := claims[name]; there {
			return Principal{}, invalid("an ID token is no access token")
		}
	}
	if _, bound := claims["cnf"]; bound { // as those of DPoP and of mutual TLS: there is no one here who could check it
		return Principal{}, invalid("the token is bound to a key, whose proof is not understood here")
	}
	if p.Tenant, p.Subject, p.TokenID, err = identity(claims); err != nil {
		return Principal{}, err
	}
	p.Operator = p.Tenant == envelope.PlaneTenant
	if p.Operator && !issuer.Operator {
		return Principal{}, invalid("the issuer may not speak for operators of the plane")
	}
	if !p.Operator && len(issuer.Tenants) > 0 && !slices.Contains(issuer.Tenants, p.Tenant) {
		return Principal{}, invalid("the issuer may not speak for this tenant")
	}
	scope, _, err := text(claims, "scope")
	if err != nil {
		return Principal{}, err
	}
	p.Scopes = strings.Fields(scope)
	if len(p.Scopes) > scopesMax {
		return Principal{}, invalid("more than %d scopes", scopesMax)
	}
	return p, nil
}

// times checks exp, iat and nbf, and returns exp.
func (v *Verifier) times(claims map[string]json.RawMessage) (time.Time, error) {
	now := v.now()
	expires, hasExpires, errExpires := instant(claims, "exp")
	issued, hasIssued, errIssued := instant(claims, "iat")
	begins, hasBegins, errBegins := instant(claims, "nbf")
	err := cmp.Or(errExpires, errIssued, errBegins)
	switch {
	case err != nil:
		return time.Time{}, err
	case !hasExpires || !hasIssued:
		return time.Time{}, invalid("exp or iat is missing")
	case !now.Before(expires.Add(skewMax)):
		return time.Time{}, invalid("the token has expired")
	case issued.After(now.Add(skewMax)) || hasBegins && begins.After(now.Add(skewMax)):
		return time.Time{}, invalid("the token is not valid yet")
	case expires.Sub(issued) > v.lifetimeMax:
		return time.Time{}, invalid("the token lives longer than %s", v.lifetimeMax)
	}
	return expires, nil
}

func identity(claims map[string]json.RawMessage) (tenant, subject, tokenID string, err error) {
	tenant, _, errTenant := text(claims, "org_id")
	subject, _, errSubject := text(claims, "sub")
	tokenID, _, errToken := text(claims, "jti")
	switch {
	case errTenant != nil || tenant != envelope.PlaneTenant && !envelope.ValidTenant(tenant):
		return "", "", "", invalid("org_id is missing or no tenant")
	case errSubject != nil || !ValidSubject(subject):
		return "", "", "", invalid("sub is missing or malformed")
	case errToken != nil || tokenID == "" || len(tokenID) > tokenIDBytesMax:
		return "", "", "", invalid("jti is missing or too long")
	}
	return tenant, subject, tokenID, nil
}

// ValidSubject reports whether s may be the login of a user: 1 to SubjectBytesMax bytes without control characters.
func ValidSubject(s string) bool {
	if s == "" || len(s) > SubjectBytesMax {
		return false
	}
	return !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f || r == utf8.RuneError })
}
