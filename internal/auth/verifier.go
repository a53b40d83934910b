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
	// LifetimeMax is how long a token may live, from iat to exp.
	LifetimeMax     = 90 * 24 * time.Hour
	appRunesMax     = 200
	scopesMax       = 100
	tokenIDBytesMax = 200
	skewMax         = 30 * time.Second
)

// EveryTenant, in place of a tenant, lets an issuer speak for all of them.
const EveryTenant = "*"

// appClaimDefault names the app that a token is bound to, in the tokens of the plane's own issuer.
const appClaimDefault = "app"

// Issuer is somebody whose tokens are believed.
type Issuer struct {
	Issuer   string // claim iss, compared exactly
	Audience string // must be in claim aud
	Keys     []Key  // static keys
	KeySet   string // URL of a JWKS, https or a loopback host; empty = none
	// Live, when not nil, returns static keys that may change while the process runs, in place of Keys. It is asked at
	// each token, so it answers from memory; after an error what it returns beside that is used.
	Live func() ([]Key, error)
	// Tenants that this issuer may speak for; EveryTenant alone = all. None at all is for issuers of operators only.
	Tenants []string
	// AppClaim names the claim with the app that a token is bound to: each token must have it then. Empty = the claim app,
	// which a token may lack.
	AppClaim string
	// Operator lets it name operators of the plane, whose tokens have envelope.PlaneTenant as org_id.
	Operator bool
}

// Config configures a Verifier.
type Config struct {
	Issuers []Issuer
	// LifetimeMax bounds exp - iat. Default LifetimeMax.
	LifetimeMax time.Duration
	// Client fetches key sets. Default: a client without redirects.
	Client *http.Client
	// Now is the clock; nil = time.Now.
	Now func() time.Time
	// Revoked is what has been taken back of the tokens of all issuers; nil = nothing ever is.
	Revoked *Revocations
	// Gone reports, from memory, that a tenant was removed; nil = none ever is.
	Gone func(tenant string) bool
	// Logger is told when keys cannot be had; nil = nobody.
	Logger *slog.Logger
}

// Verifier verifies bearer tokens: JWT, signed, with iss, aud, exp, iat, sub, jti and org_id. It is safe for
// concurrent use.
type Verifier struct {
	issuers     map[string]*trusted
	lifetimeMax time.Duration
	now         func() time.Time
	revoked     *Revocations
	gone        func(tenant string) bool
	logger      *slog.Logger
	signed      signatures
}

type trusted struct {
	Issuer
	remote *keySet // nil = none
}

// NewVerifier checks the configuration; it fetches nothing yet.
func NewVerifier(c Config) (*Verifier, error) {
	v := &Verifier{issuers: map[string]*trusted{}, lifetimeMax: cmp.Or(c.LifetimeMax, LifetimeMax), now: c.Now, revoked: c.Revoked, gone: c.Gone}
	if v.now == nil {
		v.now = time.Now
	}
	if c.Client == nil {
		c.Client = &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	v.logger = c.Logger
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
	switch {
	case len(i.Tenants) == 0 && !i.Operator:
		faults = append(faults, errors.New(`no tenants: name those that it may speak for, or ["*"] for all of them`))
	case slices.Contains(i.Tenants, EveryTenant) && len(i.Tenants) > 1:
		faults = append(faults, fmt.Errorf("%q stands beside other tenants: name these, or all of them", EveryTenant))
	}
	for _, tenant := range i.Tenants {
		if tenant != EveryTenant && !envelope.ValidTenant(tenant) {
			faults = append(faults, fmt.Errorf("%q is no tenant", tenant))
		}
	}
	if len(i.Keys) == 0 && i.KeySet == "" && i.Live == nil {
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
	key, err := issuer.keyFor(ctx, known.header, v.logger)
	if err != nil {
		return Principal{}, err
	}
	if !known.by(key.Public) {
		if _, err := jws.VerifyCompactFast(key.Public, []byte(token), key.algorithm()); err != nil {
			return Principal{}, invalid("the signature does not fit")
		}
		v.signed.put(id, &signed{known.header, known.claims, key.Public})
	}
	p, err := v.principal(issuer, known.claims)
	if err == nil {
		err = v.revoked.check(p, v.now())
	}
	if err != nil {
		return Principal{}, err
	}
	return p, nil
}

// ErrGone: the tenant was removed while its caller was being served.
var ErrGone = &Error{Code: InvalidToken, Reason: "there is no such tenant"}

// Standing reports, from memory, why a caller who was let in is not to be served any longer: an *Error when the token has
// expired or was revoked or its tenant was removed, or ErrRevocationsUnknown.
func (v *Verifier) Standing(p Principal) error {
	now := v.now()
	switch {
	case !now.Before(p.Expires):
		return invalid("the token has expired")
	case v.gone != nil && !p.Operator && v.gone(p.Tenant):
		return ErrGone
	}
	return v.revoked.check(p, now)
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
func (t *trusted) keyFor(ctx context.Context, header map[string]json.RawMessage, logger *slog.Logger) (Key, error) {
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
	keys := t.Keys
	if t.Live != nil {
		if keys, err = t.Live(); err != nil {
			logger.WarnContext(ctx, "the keys of an issuer cannot be read again, those of before go on", "issuer", t.Issuer.Issuer, "error", err)
		}
	}
	key, ok := findKey(keys, kid)
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
	if p.Issued, p.Expires, err = v.times(claims); err != nil {
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
	if !p.Operator && !slices.Contains(issuer.Tenants, p.Tenant) && !slices.Contains(issuer.Tenants, EveryTenant) {
		return Principal{}, invalid("the issuer may not speak for this tenant")
	}
	if p.App, err = issuer.app(claims); err != nil {
		return Principal{}, err
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

// app is the app that a token is bound to.
func (t *trusted) app(claims map[string]json.RawMessage) (string, error) {
	name := cmp.Or(t.AppClaim, appClaimDefault)
	app, there, err := text(claims, name)
	switch {
	case err != nil || there && !ValidApp(app):
		return "", invalid("%s is not the name of an app", name)
	case !there && t.AppClaim != "":
		return "", invalid("%s is missing: the issuer binds each token to an app", name)
	}
	return app, nil
}

// ValidApp reports whether a token may be bound to an app of this name: 1 to 200 characters, no control characters, and
// not blank alone.
func ValidApp(name string) bool {
	if strings.TrimSpace(name) == "" || utf8.RuneCountInString(name) > appRunesMax {
		return false
	}
	return !strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == 0x7f || r == utf8.RuneError })
}

// times checks exp, iat and nbf, and returns iat and exp.
func (v *Verifier) times(claims map[string]json.RawMessage) (issued, expires time.Time, err error) {
	now := v.now()
	expires, hasExpires, errExpires := instant(claims, "exp")
	issued, hasIssued, errIssued := instant(claims, "iat")
	begins, hasBegins, errBegins := instant(claims, "nbf")
	err = cmp.Or(errExpires, errIssued, errBegins)
	switch {
	case err != nil:
	case !hasExpires || !hasIssued:
		err = invalid("exp or iat is missing")
	case !now.Before(expires.Add(skewMax)):
		err = invalid("the token has expired")
	case issued.After(now.Add(skewMax)) || hasBegins && begins.After(now.Add(skewMax)):
		err = invalid("the token is not valid yet")
	case expires.Sub(issued) > v.lifetimeMax:
		err = invalid("the token lives longer than %s", v.lifetimeMax)
	}
	return issued, expires, err
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
