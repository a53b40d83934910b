package auth_test

import (
	"encoding/base64"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/refold-dev/refold/internal/auth"
)

// write puts files of mode 0600 into a folder and returns the path of the first.
func write(t *testing.T, files ...string) string {
	t.Helper()
	dir := t.TempDir()
	for i := 0; i < len(files); i += 2 {
		if err := os.WriteFile(filepath.Join(dir, files[i]), []byte(files[i+1]), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, files[0])
}

func TestIssuersOfAFile(t *testing.T) {
	f := newForge(t)
	secret := base64.RawURLEncoding.EncodeToString(f.secret)
	path := write(t, "issuers.json", `{"issuers": [
		{"issuer": "`+issuer+`", "audience": "refold", "keys": "keys.json", "tenants": ["acme"]},
		{"issuer": "https://ops.example", "audience": "refold", "keys": "keys.json", "operator": true, "tenants": ["*"]},
		{"issuer": "https://none.example", "audience": "refold", "keys": "keys.json", "operator": true},
		{"issuer": "https://agents.example", "audience": "refold", "keys": "keys.json", "tenants": ["*"], "app_claim": "client_id"},
		{"issuer": "https://far.example", "audience": "refold", "jwks": "https://far.example/jwks.json", "tenants": ["*"]}]}`,
		"keys.json", `{"keys": [{"kty": "oct", "kid": "hs", "alg": "HS256", "k": "`+secret+`"}]}`)
	issuers, err := auth.LoadIssuers(path)
	if err != nil {
		t.Fatal(err)
	}
	verifier, err := auth.NewVerifier(auth.Config{Issuers: issuers, Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		iss, org string
		ok       bool
		operator bool
	}{
		"its tenant":                             {issuer, "acme", true, false},
		"not its tenant":                         {issuer, "b", false, false},
		"an operator, by an issuer that may not": {issuer, "_plane", false, false},
		"an operator":                            {"https://ops.example", "_plane", true, true},
		"any tenant":                             {"https://ops.example", "b", true, false},
		"an operator, by one of no tenant":       {"https://none.example", "_plane", true, true},
		"a tenant, by one of operators":          {"https://none.example", "acme", false, false},
		"no app, where each token has one":       {"https://agents.example", "acme", false, false},
		"a key of another issuer":                {"https://far.example", "acme", false, false},
	} {
		p, err := verifier.Verify(t.Context(), hs(f.secret, header("HS256", "hs"), claims(map[string]any{"iss": c.iss, "org_id": c.org, "scope": "admin:read"})))
		if (err == nil) != c.ok || p.Operator != c.operator {
			t.Errorf("%s: %+v, %v", name, p, err)
		}
	}
}

// What operators may do is theirs alone, and nothing else is.
func TestOperatorsAreOfNoTenant(t *testing.T) {
	operator := auth.Principal{Tenant: "_plane", Subject: "o", Scopes: auth.AllScopes(), Operator: true}
	tenant := auth.Principal{Tenant: "acme", Subject: "o", Scopes: auth.AllScopes()}
	for _, operation := range auth.Operations() {
		if scope, _ := auth.ScopeOf(operation); scope == auth.Open {
			continue
		}
		if got, want := auth.Authorize(operator, operation) == nil, auth.ForOperators(operation); got != want {
			t.Errorf("%s by an operator: %v, want %v", operation, got, want)
		}
		if got, want := auth.Authorize(tenant, operation) == nil, !auth.ForOperators(operation); got != want {
			t.Errorf("%s by a tenant's token with every scope: %v, want %v", operation, got, want)
		}
		if auth.Authorize(auth.Principal{Tenant: "_plane", Operator: true}, operation) == nil {
			t.Errorf("%s by an operator without scopes", operation)
		}
	}
}

func TestIssuersThatAreRefused(t *testing.T) {
	weak := base64.RawURLEncoding.EncodeToString([]byte("short"))
	strong := base64.RawURLEncoding.EncodeToString([]byte(strings.Repeat("k", 32)))
	keys := func(members string) string { return `{"keys": [{` + members + `}]}` }
	one := func(members string) string {
		return `{"issuers": [{"issuer": "https://i.example", "audience": "refold", ` + members + `}]}`
	}
	for name, c := range map[string]struct{ file, keys, want string }{
		"no JSON":               {`issuers`, "", "invalid character"},
		"a misspelt member":     {one(`"jwk": "https://i.example"`), "", `unknown field "jwk"`},
		"an empty list":         {`{"issuers": []}`, "", "missing or empty"},
		"something behind":      {one(`"jwks": "https://i.example"`) + "{}", "", "something follows"},
		"no key at all":         {one(`"tenants": []`), "", "no key and no key set"},
		"a key set over http":   {one(`"jwks": "http://i.example/jwks"`), "", "want https"},
		"no such key file":      {one(`"keys": "none.json"`), "", "none.json"},
		"keys that are none":    {one(`"keys": "keys.json"`), "secret-in-here", "is not a key set"},
		"a weak secret":         {one(`"keys": "keys.json"`), keys(`"kty":"oct","alg":"HS256","k":"` + weak + `"`), "cannot verify"},
		"a secret for nothing":  {one(`"keys": "keys.json"`), keys(`"kty":"oct","k":"` + strong + `"`), "cannot verify"},
		"a secret for HS512":    {one(`"keys": "keys.json"`), keys(`"kty":"oct","alg":"HS512","k":"` + strong + `"`), "cannot verify"},
		"a private key":         {one(`"keys": "keys.json"`), keys(`"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo","d":"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"`), "cannot verify"},
		"no tenants":            {one(`"jwks": "https://i.example"`), "", `["*"] for all of them`},
		"all and some tenants":  {one(`"jwks": "https://i.example", "tenants": ["*", "acme"]`), "", "beside other tenants"},
		"a tenant that is none": {one(`"jwks": "https://i.example", "tenants": ["a.b"]`), "", `"a.b" is no tenant`},
		"the plane's own name":  {`{"issuers": [{"issuer": "refold-local", "audience": "refold", "jwks": "https://i.example"}]}`, "", "own issuer"},
		"no audience":           {`{"issuers": [{"issuer": "https://i.example", "jwks": "https://i.example"}]}`, "", "audience must be given"},
	} {
		_, err := auth.LoadIssuers(write(t, "issuers.json", c.file, "keys.json", c.keys))
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "secret-in-here") || strings.Contains(err.Error(), strong) {
			t.Errorf("%s: %v, want a word of %q", name, err, c.want)
		}
	}
	path := write(t, "issuers.json", one(`"keys": "keys.json"`), "keys.json", keys(`"kty":"oct","alg":"HS256","k":"`+strong+`"`))
	if err := os.Chmod(filepath.Join(filepath.Dir(path), "keys.json"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := auth.LoadIssuers(path); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("a secret that everybody can read: %v", err)
	}
	if !json.Valid([]byte(one(`"jwks": "https://i.example"`))) {
		t.Error("the test's own JSON is broken")
	}
}
