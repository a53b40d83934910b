package auth_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/refold-dev/refold/internal/auth"
)

const issuer, audience = "https://login.example", "refold"

var now = time.Unix(1_800_000_000, 0)

// forge is a workshop: keys of an issuer that is believed, and the means to make any token whatsoever.
type forge struct {
	ed       ed25519.PrivateKey
	ec       *ecdsa.PrivateKey
	rsa      *rsa.PrivateKey
	secret   []byte
	verifier *auth.Verifier
}

func newForge(t *testing.T) *forge {
	t.Helper()
	f := &forge{secret: []byte("0123456789abcdef0123456789abcdef")}
	_, f.ed, _ = ed25519.GenerateKey(rand.Reader)
	f.ec, _ = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	f.rsa, _ = rsa.GenerateKey(rand.Reader, 2048)
	_, other, _ := ed25519.GenerateKey(rand.Reader)
	var err error
	f.verifier, err = auth.NewVerifier(auth.Config{
		Now: func() time.Time { return now },
		Issuers: []auth.Issuer{
			{Issuer: issuer, Audience: audience, Tenants: []string{auth.EveryTenant}, Keys: []auth.Key{
				{ID: "ed", Algorithm: "EdDSA", Public: f.ed.Public()},
				{ID: "ec", Algorithm: "ES256", Public: &f.ec.PublicKey},
				{ID: "rsa", Algorithm: "RS256", Public: &f.rsa.PublicKey},
				{ID: "hs", Algorithm: "HS256", Public: f.secret},
			}},
			{Issuer: "https://b.example", Audience: audience, Tenants: []string{"b"}, Keys: []auth.Key{
				{ID: "b", Algorithm: "EdDSA", Public: other.Public()},
				{ID: "shared", Algorithm: "EdDSA", Public: f.ed.Public()},
			}},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func header(alg, kid string) map[string]any {
	return map[string]any{"alg": alg, "kid": kid, "typ": "JWT"}
}

func claims(changes map[string]any) map[string]any {
	c := map[string]any{
		"iss": issuer, "aud": audience, "sub": "alice", "org_id": "acme", "jti": "t1", "scope": "memories:read apps:read",
		"iat": now.Unix(), "exp": now.Add(time.Hour).Unix(),
	}
	for name, value := range changes {
		if value == nil {
			delete(c, name)
		} else {
			c[name] = value
		}
	}
	return c
}

func segment(v any) string {
	raw, isText := v.(string)
	if !isText {
		b, err := json.Marshal(v)
		if err != nil {
			panic(err)
		}
		raw = string(b)
	}
	return base64.RawURLEncoding.EncodeToString([]byte(raw))
}

func (f *forge) signEd(h, c any) string {
	input := segment(h) + "." + segment(c)
	return input + "." + base64.RawURLEncoding.EncodeToString(ed25519.Sign(f.ed, []byte(input)))
}

func hs(secret []byte, h, c any) string {
	input := segment(h) + "." + segment(c)
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(input))
	return input + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

func (f *forge) signRSA(h, c any) string {
	input := segment(h) + "." + segment(c)
	sum := sha256.Sum256([]byte(input))
	signature, _ := rsa.SignPKCS1v15(rand.Reader, f.rsa, crypto.SHA256, sum[:])
	return input + "." + base64.RawURLEncoding.EncodeToString(signature)
}

func (f *forge) signEC(h, c any) string {
	input := segment(h) + "." + segment(c)
	sum := sha256.Sum256([]byte(input))
	r, s, _ := ecdsa.Sign(rand.Reader, f.ec, sum[:])
	signature := append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...)
	return input + "." + base64.RawURLEncoding.EncodeToString(signature)
}

func (f *forge) signDER(h, c any) string {
	input := segment(h) + "." + segment(c)
	sum := sha256.Sum256([]byte(input))
	signature, _ := ecdsa.SignASN1(rand.Reader, f.ec, sum[:])
	return input + "." + base64.RawURLEncoding.EncodeToString(signature)
}

func TestGenuineTokens(t *testing.T) {
	f := newForge(t)
	want := auth.Principal{Tenant: "acme", Subject: "alice", Scopes: []string{"memories:read", "apps:read"}, TokenID: "t1", Issuer: issuer, Issued: now, Expires: now.Add(time.Hour)}
	for name, token := range map[string]string{
		"EdDSA": f.signEd(header("EdDSA", "ed"), claims(nil)),
		"ES256": f.signEC(header("ES256", "ec"), claims(nil)),
		"RS256": f.signRSA(header("RS256", "rsa"), claims(nil)),
		"HS256": hs(f.secret, header("HS256", "hs"), claims(nil)),
		"at+jwt, audiences, expired within the skew, nbf and iat ahead within it": f.signEd(
			map[string]any{"alg": "EdDSA", "kid": "ed", "typ": "at+jwt"},
			claims(map[string]any{"aud": []string{"x", audience}, "nbf": now.Add(29 * time.Second).Unix(), "iat": now.Add(29 * time.Second).Unix()})),
	} {
		got, err := f.verifier.Verify(t.Context(), token)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if strings.Contains(name, "iat ahead") {
			got.Issued = got.Issued.Add(-29 * time.Second)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: principal (-want +got):\n%s", name, diff)
		}
	}
	barely := f.signEd(header("EdDSA", "ed"), claims(map[string]any{"exp": now.Add(-29 * time.Second).Unix(), "iat": now.Add(-time.Hour).Unix()}))
	if _, err := f.verifier.Verify(t.Context(), barely); err != nil {
		t.Errorf("expired 29 s ago: %v, want it accepted within the skew of 30 s", err)
	}
}

func TestForgedTokens(t *testing.T) {
	f := newForge(t)
	rsaPEM := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: must(x509.MarshalPKIXPublicKey(&f.rsa.PublicKey))})
	rsaDER := must(x509.MarshalPKIXPublicKey(&f.rsa.PublicKey))
	good := f.signEd(header("EdDSA", "ed"), claims(nil))
	parts := strings.Split(good, ".")
	_, stranger, _ := ed25519.GenerateKey(rand.Reader)
	strange := &forge{ed: stranger}
	with := func(changes map[string]any) string { return f.signEd(header("EdDSA", "ed"), claims(changes)) }
	headed := func(changes map[string]any) string {
		h := header("EdDSA", "ed")
		maps.Copy(h, changes)
		return f.signEd(h, claims(nil))
	}
	raw := func(h, c string) string { return f.signEd(h, c) }
	goodClaims := string(must(json.Marshal(claims(nil))))
	zeros := base64.RawURLEncoding.EncodeToString(make([]byte, 64))

	forged := map[string]string{
		"empty":                            "",
		"one part":                         "abc",
		"two dots, nothing else":           "..",
		"four parts":                       good + ".x",
		"JSON serialisation":               `{"payload":"x","signatures":[]}`,
		"a megabyte of dots":               strings.Repeat(".", 1<<20),
		"just over the bound":              with(map[string]any{"pad": strings.Repeat("x", auth.TokenBytesMax)}),
		"trailing newline":                 good + "\n",
		"line break inside":                good[:len(good)-9] + "\r\n" + good[len(good)-9:],
		"leading space":                    " " + good,
		"padded base64":                    parts[0] + "=." + parts[1] + "." + parts[2],
		"standard base64 alphabet":         parts[0] + "." + parts[1] + ".+/" + parts[2][2:],
		"no signature":                     parts[0] + "." + parts[1] + ".",
		"signature cut":                    good[:len(good)-4],
		"signature of zeros":               parts[0] + "." + parts[1] + "." + zeros,
		"claims swapped under a signature": parts[0] + "." + segment(claims(map[string]any{"org_id": "b"})) + "." + parts[2],
		"header swapped under a signature": segment(header("ES256", "ec")) + "." + parts[1] + "." + parts[2],
		"a stranger's key":                 strange.signEd(header("EdDSA", "ed"), claims(nil)),

		"alg none":                  segment(header("none", "ed")) + "." + segment(claims(nil)) + ".",
		"alg none, signed":          f.signEd(header("none", "ed"), claims(nil)),
		"alg nOnE":                  f.signEd(header("nOnE", "ed"), claims(nil)),
		"alg missing":               f.signEd(map[string]any{"kid": "ed"}, claims(nil)),
		"alg empty":                 f.signEd(header("", "ed"), claims(nil)),
		"alg a number":              f.signEd(map[string]any{"alg": 1, "kid": "ed"}, claims(nil)),
		"alg in lower case":         f.signEd(header("eddsa", "ed"), claims(nil)),
		"HS256 with the RSA PEM":    hs(rsaPEM, header("HS256", "rsa"), claims(nil)),
		"HS256 with the RSA DER":    hs(rsaDER, header("HS256", "rsa"), claims(nil)),
		"HS256 with the Ed25519":    hs(f.ed.Public().(ed25519.PublicKey), header("HS256", "ed"), claims(nil)),
		"HS256 with an empty key":   hs(nil, header("HS256", "hs"), claims(nil)),
		"ES256 header, Ed25519 key": f.signEd(header("ES256", "ed"), claims(nil)),
		"ES256, r = s = 0":          segment(header("ES256", "ec")) + "." + segment(claims(nil)) + "." + zeros,
		"PS256 for an RS256 key":    f.signRSA(header("PS256", "rsa"), claims(nil)),
		"RS512 for an RS256 key":    f.signRSA(header("RS512", "rsa"), claims(nil)),

		"kid unknown":          f.signEd(header("EdDSA", "other"), claims(nil)),
		"kid missing":          f.signEd(map[string]any{"alg": "EdDSA"}, claims(nil)),
		"kid a path":           f.signEd(header("EdDSA", "../../../../dev/null"), claims(nil)),
		"kid SQL":              f.signEd(header("EdDSA", "ed' OR '1'='1"), claims(nil)),
		"kid a URL":            f.signEd(header("EdDSA", "https://evil.example/key"), claims(nil)),
		"kid with NUL":         f.signEd(header("EdDSA", "ed\x00"), claims(nil)),
		"kid of 4 KiB":         f.signEd(header("EdDSA", strings.Repeat("k", 4<<10)), claims(nil)),
		"kid an array":         f.signEd(map[string]any{"alg": "EdDSA", "kid": []string{"ed"}}, claims(nil)),
		"kid twice":            raw(`{"alg":"EdDSA","kid":"ed","kid":"ed"}`, goodClaims),
		"jku":                  headed(map[string]any{"jku": "https://evil.example/jwks"}),
		"x5u":                  headed(map[string]any{"x5u": "https://evil.example/cert"}),
		"x5c":                  headed(map[string]any{"x5c": []string{"MII"}}),
		"jwk":                  headed(map[string]any{"jwk": map[string]any{"kty": "OKP"}}),
		"crit":                 headed(map[string]any{"crit": []string{"exp"}}),
		"b64 false":            headed(map[string]any{"b64": false}),
		"zip":                  headed(map[string]any{"zip": "DEF"}),
		"typ of a DPoP proof":  headed(map[string]any{"typ": "dpop+jwt"}),
		"typ a number":         headed(map[string]any{"typ": 1}),
		"header no object":     raw(`[]`, goodClaims),
		"header deep":          raw(strings.Repeat("[", 5000), goodClaims),
		"header then trailing": raw(`{"alg":"EdDSA","kid":"ed"} {}`, goodClaims),

		"expired":                   with(map[string]any{"exp": now.Add(-30 * time.Second).Unix(), "iat": now.Add(-time.Hour).Unix()}),
		"no exp":                    with(map[string]any{"exp": nil}),
		"exp null":                  raw(`{"alg":"EdDSA","kid":"ed"}`, strings.Replace(goodClaims, fmt.Sprint(now.Add(time.Hour).Unix()), "null", 1)),
		"exp 1e18":                  with(map[string]any{"exp": 1e18}),
		"exp a string":              with(map[string]any{"exp": "1900000000"}),
		"exp negative":              with(map[string]any{"exp": -1}),
		"exp in 91 days":            with(map[string]any{"exp": now.AddDate(0, 0, 91).Unix()}),
		"app a number":              with(map[string]any{"app": 1}),
		"app empty":                 with(map[string]any{"app": ""}),
		"app blank":                 with(map[string]any{"app": " \u00a0"}),
		"app with a line":           with(map[string]any{"app": "a\nb"}),
		"app of 201":                with(map[string]any{"app": strings.Repeat("a", 201)}),
		"exp in ten years":          with(map[string]any{"exp": now.AddDate(10, 0, 0).Unix()}),
		"exp twice":                 raw(`{"alg":"EdDSA","kid":"ed"}`, strings.Replace(goodClaims, `{`, `{"exp":1,`, 1)),
		"EXP in place of exp":       with(map[string]any{"exp": nil, "EXP": now.Add(time.Hour).Unix()}),
		"no iat":                    with(map[string]any{"iat": nil}),
		"iat in the future":         with(map[string]any{"iat": now.Add(31 * time.Second).Unix()}),
		"nbf in the future":         with(map[string]any{"nbf": now.Add(31 * time.Second).Unix()}),
		"nbf a word":                with(map[string]any{"nbf": "now"}),
		"no aud":                    with(map[string]any{"aud": nil}),
		"another aud":               with(map[string]any{"aud": "someone"}),
		"aud in upper case":         with(map[string]any{"aud": "REFOLD"}),
		"aud an empty list":         with(map[string]any{"aud": []string{}}),
		"aud a list with a number":  with(map[string]any{"aud": []any{audience, 1}}),
		"no iss":                    with(map[string]any{"iss": nil}),
		"another iss":               with(map[string]any{"iss": "https://evil.example"}),
		"iss with a slash":          with(map[string]any{"iss": issuer + "/"}),
		"another issuer's key":      f.signEd(header("EdDSA", "b"), claims(nil)),
		"an issuer of b mints acme": f.signEd(header("EdDSA", "shared"), claims(map[string]any{"iss": "https://b.example"})),
		"no org_id":                 with(map[string]any{"org_id": nil}),
		"org_id empty":              with(map[string]any{"org_id": ""}),
		"org_id a wildcard":         with(map[string]any{"org_id": "*"}),
		"org_id all":                with(map[string]any{"org_id": ">"}),
		"org_id with a dot":         with(map[string]any{"org_id": "acme.memory"}),
		"org_id of the plane":       with(map[string]any{"org_id": "_plane"}),
		"org_id a list":             with(map[string]any{"org_id": []string{"acme"}}),
		"org_id of 65":              with(map[string]any{"org_id": strings.Repeat("a", 65)}),
		"org_id a lookalike":        with(map[string]any{"org_id": "аcme"}),
		"no sub":                    with(map[string]any{"sub": nil}),
		"sub empty":                 with(map[string]any{"sub": ""}),
		"sub with NUL":              with(map[string]any{"sub": "ali\x00ce"}),
		"sub with CRLF":             with(map[string]any{"sub": "alice\r\nadmin"}),
		"sub of 201":                with(map[string]any{"sub": strings.Repeat("a", 201)}),
		"no jti":                    with(map[string]any{"jti": nil}),
		"jti a number":              with(map[string]any{"jti": 1}),
		"scope a list":              with(map[string]any{"scope": []string{"memories:read"}}),
		"101 scopes":                with(map[string]any{"scope": strings.Repeat("a ", 101)}),
		"bound to a key by DPoP":    with(map[string]any{"cnf": map[string]any{"jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}}),
		"bound to nothing":          with(map[string]any{"cnf": json.RawMessage("null")}),
		"an ID token":               with(map[string]any{"nonce": "n", "at_hash": "h"}),
		"claims no object":          raw(`{"alg":"EdDSA","kid":"ed"}`, `"alice"`),
		"cty":                       headed(map[string]any{"cty": "JWT"}),
		"x5t":                       headed(map[string]any{"x5t": "abc"}),
		"p2c":                       headed(map[string]any{"p2c": 1 << 30}),
		"an unknown header":         headed(map[string]any{"tenant": "b"}),
		"alg twice":                 raw(`{"alg":"none","kid":"ed","alg":"EdDSA"}`, goodClaims),
		"alg twice, once escaped":   raw(`{"alg":"EdDSA","kid":"ed","\u0061lg":"none"}`, goodClaims),
		"alg with a blank":          f.signEd(header("EdDSA ", "ed"), claims(nil)),
		"typ of a nested token":     headed(map[string]any{"typ": "JWE"}),
		"typ of an ID token":        headed(map[string]any{"typ": "id_token+jwt"}),
		"typ null":                  raw(`{"alg":"EdDSA","kid":"ed","typ":null}`, goodClaims),
		"kid empty":                 f.signEd(header("EdDSA", ""), claims(nil)),
		"kid of 64 KiB":             f.signEd(header("EdDSA", strings.Repeat("k", 64<<10)), claims(nil)),
		"kid with a line break":     f.signEd(header("EdDSA", "ed\r\nX-Tenant: b"), claims(nil)),
		"header with a BOM":         raw("\ufeff"+`{"alg":"EdDSA","kid":"ed"}`, goodClaims),
		"header null":               raw(`null`, goodClaims),
		"header empty":              raw(`{}`, goodClaims),
		"claims empty":              raw(`{"alg":"EdDSA","kid":"ed"}`, `{}`),
		"claims null":               raw(`{"alg":"EdDSA","kid":"ed"}`, `null`),
		"claims a list":             raw(`{"alg":"EdDSA","kid":"ed"}`, `[`+goodClaims+`]`),
		"claims deep":               raw(`{"alg":"EdDSA","kid":"ed"}`, strings.Replace(goodClaims, `{`, `{"x":`+strings.Repeat("[", 2000)+strings.Repeat("]", 2000)+`,"y":[`, 1)),
		"claims twice":              raw(`{"alg":"EdDSA","kid":"ed"}`, goodClaims+goodClaims),
		"org_id twice":              raw(`{"alg":"EdDSA","kid":"ed"}`, strings.Replace(goodClaims, `{`, `{"org_id":"b",`, 1)),
		"org_id twice, escaped":     raw(`{"alg":"EdDSA","kid":"ed"}`, strings.Replace(goodClaims, `{`, `{"\u006frg_id":"b",`, 1)),
		"sub twice":                 raw(`{"alg":"EdDSA","kid":"ed"}`, strings.Replace(goodClaims, `{`, `{"sub":"root",`, 1)),
		"scope twice":               raw(`{"alg":"EdDSA","kid":"ed"}`, strings.Replace(goodClaims, `{`, `{"scope":"admin:write",`, 1)),
		"iss twice":                 raw(`{"alg":"EdDSA","kid":"ed"}`, strings.Replace(goodClaims, `{`, `{"iss":"https://b.example",`, 1)),
		"iss a list":                with(map[string]any{"iss": []string{issuer}}),
		"exp true":                  with(map[string]any{"exp": true}),
		"exp beyond all measure":    raw(`{"alg":"EdDSA","kid":"ed"}`, strings.Replace(goodClaims, fmt.Sprint(now.Add(time.Hour).Unix()), "1e309", 1)),
		"iat negative":              with(map[string]any{"iat": -5}),
		"nbf null":                  with(map[string]any{"nbf": json.RawMessage("null")}),
		"aud an object":             with(map[string]any{"aud": map[string]any{"refold": true}}),
		"aud null":                  with(map[string]any{"aud": json.RawMessage("null")}),
		"org_id null":               with(map[string]any{"org_id": json.RawMessage("null")}),
		"org_id with a blank":       with(map[string]any{"org_id": "acme "}),
		"org_id a path":             with(map[string]any{"org_id": "../b"}),
		"org_id SQL":                with(map[string]any{"org_id": "a' OR '1'='1"}),
		"an operator by scope":      with(map[string]any{"org_id": "_plane", "scope": "admin:read admin:write"}),
		"another reserved tenant":   with(map[string]any{"org_id": "_anything"}),
		"jti of 201":                with(map[string]any{"jti": strings.Repeat("j", 201)}),
		"scope null":                with(map[string]any{"scope": json.RawMessage("null")}),
		"an ECDSA signature in DER": f.signDER(header("ES256", "ec"), claims(nil)),
		"a signature and a half":    good + parts[2][:20],
		"HS256 with the key set":    hs([]byte(`{"keys":[]}`), header("HS256", "hs"), claims(nil)),
		"HS256 with the kid":        hs([]byte("hs"), header("HS256", "hs"), claims(nil)),
		"claims in bad UTF-8":       raw(`{"alg":"EdDSA","kid":"ed"}`, strings.Replace(goodClaims, "alice", "al\xffce", 1)),
		"claims with a lone half":   raw(`{"alg":"EdDSA","kid":"ed"}`, strings.Replace(goodClaims, "alice", `al\ud800ce`, 1)),
	}
	for name, token := range forged {
		p, err := f.verifier.Verify(t.Context(), token)
		var refused *auth.Error
		if !errors.As(err, &refused) || refused.Code != auth.InvalidToken {
			t.Errorf("%s: got %v, %v, want invalid_token", name, p, err)
		}
		if p.Tenant != "" || p.Subject != "" {
			t.Errorf("%s: a refused token still names a principal: %v", name, p)
		}
	}
	if len(forged) < 140 {
		t.Errorf("%d forged tokens, there were 140 at least", len(forged))
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// A key set is fetched when a kid is unknown, but unknown kids cannot make a stream of fetches.
func TestKeySet(t *testing.T) {
	f := newForge(t)
	var fetches atomic.Int64
	published := map[string]any{"keys": []any{
		map[string]any{"kty": "OKP", "crv": "Ed25519", "kid": "remote", "x": base64.RawURLEncoding.EncodeToString(f.ed.Public().(ed25519.PublicKey))},
		map[string]any{"kty": "oct", "kid": "secret", "alg": "HS256", "k": base64.RawURLEncoding.EncodeToString(f.secret)},
	}}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fetches.Add(1)
		_ = json.NewEncoder(w).Encode(published)
	}))
	defer server.Close()
	verifier, err := auth.NewVerifier(auth.Config{
		Now:     func() time.Time { return now },
		Issuers: []auth.Issuer{{Issuer: issuer, Audience: audience, KeySet: server.URL, Tenants: []string{auth.EveryTenant}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	if _, err := verifier.Verify(ctx, f.signEd(header("EdDSA", "remote"), claims(nil))); err != nil {
		t.Fatalf("token of a published key: %v", err)
	}
	if _, err := verifier.Verify(ctx, hs(f.secret, header("HS256", "secret"), claims(nil))); err == nil {
		t.Error("a symmetric key from a published document was believed")
	}
	for i := range 1000 {
		if _, err := verifier.Verify(ctx, f.signEd(header("EdDSA", fmt.Sprint("unknown", i)), claims(nil))); err == nil {
			t.Fatal("an unknown kid was believed")
		}
	}
	if got := fetches.Load(); got != 1 {
		t.Errorf("%d fetches, want 1: unknown kids must not cause traffic", got)
	}
}

// keyServer publishes one Ed25519 key at a time, or fails.
type keyServer struct {
	*httptest.Server
	fetches atomic.Int64
	keys    atomic.Pointer[map[string]any] // nil = fails
	hold    chan struct{}                  // when not nil, answers wait for it
}

func serveKeys(t *testing.T) *keyServer {
	t.Helper()
	s := &keyServer{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.fetches.Add(1)
		if s.hold != nil {
			select {
			case <-s.hold:
			case <-r.Context().Done():
			}
		}
		if keys := s.keys.Load(); keys != nil {
			_ = json.NewEncoder(w).Encode(*keys)
			return
		}
		w.WriteHeader(http.StatusBadGateway)
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *keyServer) publish(f *forge, kid string) {
	s.keys.Store(&map[string]any{"keys": []any{
		map[string]any{"kty": "OKP", "crv": "Ed25519", "kid": kid, "x": base64.RawURLEncoding.EncodeToString(f.ed.Public().(ed25519.PublicKey))},
	}})
}

// Keys rotate and are revoked; an outage of the issuer is none here, for a day; and no known key waits for a fetch.
func TestKeysRotate(t *testing.T) {
	old, fresh, server := newForge(t), newForge(t), serveKeys(t)
	var clock atomic.Int64
	clock.Store(now.Unix())
	verifier, err := auth.NewVerifier(auth.Config{
		Now:     func() time.Time { return time.Unix(clock.Load(), 0) },
		Issuers: []auth.Issuer{{Issuer: issuer, Audience: audience, KeySet: server.URL, Tenants: []string{auth.EveryTenant}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	verify := func(f *forge, kid string) error {
		at := clock.Load()
		_, err := verifier.Verify(t.Context(), f.signEd(header("EdDSA", kid), claims(map[string]any{"iat": at, "exp": at + 60})))
		return err
	}
	must := func(what string, want bool, err error) {
		t.Helper()
		if (err == nil) != want {
			t.Fatalf("%s: %v", what, err)
		}
	}
	pass := func(d time.Duration) { clock.Add(int64(d / time.Second)) }
	fetched := func(n int64) {
		t.Helper()
		for end := time.Now().Add(10 * time.Second); server.fetches.Load() < n; time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("%d fetches, want %d", server.fetches.Load(), n)
			}
		}
	}

	server.publish(old, "one")
	must("the published key", true, verify(old, "one"))
	server.publish(fresh, "two")
	pass(31 * time.Second)
	must("a new key, right after it was published", true, verify(fresh, "two"))
	must("a revoked key", false, verify(old, "one"))

	pass(16 * time.Minute)
	server.hold = make(chan struct{})
	must("a known key while its set is fetched again", true, verify(fresh, "two"))
	close(server.hold)
	fetched(3)
	must("an unknown key, which waits for the fetch under way", false, verify(old, "nobody"))

	server.keys.Store(nil)
	pass(23 * time.Hour)
	must("a known key while the issuer is down", true, verify(fresh, "two"))
	fetched(4)
	pass(2 * time.Hour)
	must("a known key when the issuer was down for a day", false, verify(fresh, "two"))
	server.publish(fresh, "two")
	pass(31 * time.Second)
	must("the key after the outage", true, verify(fresh, "two"))
}

// While an issuer cannot be reached and none of its keys may be believed, nothing is said against a token, and the log
// tells why, once for each try.
func TestAnIssuerThatCannotBeReached(t *testing.T) {
	f, server := newForge(t), serveKeys(t)
	var clock atomic.Int64
	clock.Store(now.Unix())
	var log bytes.Buffer // written before Verify returns, by one fetch at a time
	verifier, err := auth.NewVerifier(auth.Config{
		Now:     func() time.Time { return time.Unix(clock.Load(), 0) },
		Issuers: []auth.Issuer{{Issuer: issuer, Audience: audience, KeySet: server.URL, Tenants: []string{auth.EveryTenant}}},
		Logger:  slog.New(slog.NewTextHandler(&log, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	verify := func(kid string) error {
		at := clock.Load()
		_, err := verifier.Verify(t.Context(), f.signEd(header("EdDSA", kid), claims(map[string]any{"iat": at, "exp": at + 60})))
		return err
	}
	final := func(err error) bool {
		var refused *auth.Error
		return errors.As(err, &refused)
	}
	told := func(times int) {
		t.Helper()
		if got := strings.Count(log.String(), "level=WARN"); got != times || !strings.Contains(log.String(), server.URL) || !strings.Contains(log.String(), "502 Bad Gateway") {
			t.Errorf("the log tells of %d failures, want %d with the address and the reason:\n%s", got, times, log.String())
		}
	}
	for range 3 { // the second and the third ask nobody
		if err := verify("one"); !errors.Is(err, auth.ErrKeysUnavailable) {
			t.Errorf("before any key was had: %v, want %v", err, auth.ErrKeysUnavailable)
		}
	}
	told(1)
	server.publish(f, "one")
	clock.Add(31)
	if err := verify("one"); err != nil {
		t.Errorf("when the issuer is back: %v", err)
	}
	server.keys.Store(nil)
	clock.Add(31)
	if err := verify("two"); !final(err) {
		t.Errorf("a key that is not among those still believed: %v, want a refusal", err)
	}
	told(2)
	clock.Add(25 * 60 * 60)
	if err := verify("one"); !errors.Is(err, auth.ErrKeysUnavailable) {
		t.Errorf("after a day: %v, want %v", err, auth.ErrKeysUnavailable)
	}
	told(3)
}
