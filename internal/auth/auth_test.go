package auth_test

import (
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/refold-dev/refold/internal/auth"
)

func TestLocalKeyMintsWhatItsIssuerVerifies(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	key, err := auth.LocalKey(dir)
	if err != nil {
		t.Fatal(err)
	}
	again, err := auth.LocalKey(dir)
	if err != nil {
		t.Fatal(err)
	}
	token, err := key.Mint(auth.TokenRequest{Tenant: "acme", Subject: "alice", Scopes: auth.AllScopes(), TTL: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	verifier, err := auth.NewVerifier(auth.Config{Issuers: []auth.Issuer{again.Issuer()}})
	if err != nil {
		t.Fatal(err)
	}
	p, err := verifier.Verify(t.Context(), token)
	if err != nil {
		t.Fatal(err)
	}
	if p.Tenant != "acme" || p.Subject != "alice" || !cmp.Equal(p.Scopes, auth.AllScopes()) {
		t.Errorf("principal %+v is not the one minted", p)
	}
}

func TestLocalKeyRefusesWhatOthersCanRead(t *testing.T) {
	dir := t.TempDir()
	if _, err := auth.LocalKey(dir); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "token.key")
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("mode %v, %v, want 0600", info.Mode(), err)
	}
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	if _, err := auth.LocalKey(dir); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("got %v, want a refusal that says what to do", err)
	}
}

func TestMintRefuses(t *testing.T) {
	key, err := auth.LocalKey(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range []auth.TokenRequest{
		{Tenant: "_plane", Subject: "a"}, {Tenant: "a.b", Subject: "a"}, {Tenant: "a", Subject: ""}, {Tenant: "a", Subject: "x\n"},
		{Tenant: "a", Subject: "a", TTL: -1}, {Tenant: "a", Subject: "a", TTL: auth.LifetimeMax + time.Second},
		{Tenant: "a", Subject: "a", App: " "}, {Tenant: "a", Subject: "a", App: "x\ny"}, {Operator: true, Subject: "a", App: "x"}, {Operator: true, Tenant: "a", Subject: "a"},
	} {
		if _, err := key.Mint(r); err == nil {
			t.Errorf("minted %+v", r)
		}
	}
}

func TestBearer(t *testing.T) {
	for name, c := range map[string]struct {
		values []string
		code   auth.Code
		ok     bool
	}{
		"none":         {nil, auth.NoToken, false},
		"token":        {[]string{"Bearer abc"}, "", true},
		"scheme case":  {[]string{"bearer abc"}, "", true},
		"two headers":  {[]string{"Bearer a", "Bearer b"}, auth.InvalidRequest, false},
		"basic":        {[]string{"Basic abc"}, auth.InvalidRequest, false},
		"bound token":  {[]string{"DPoP abc"}, auth.InvalidRequest, false},
		"nothing else": {[]string{"Bearer"}, auth.InvalidRequest, false},
		"empty":        {[]string{"Bearer "}, auth.InvalidRequest, false},
	} {
		_, err := auth.Bearer(c.values)
		var refused *auth.Error
		if errors.As(err, &refused) == c.ok || refused != nil && refused.Code != c.code {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

// Every subset of scopes: an operation is allowed exactly when its own scope is there.
func TestAuthorizeByTheTable(t *testing.T) {
	scopes := auth.AllScopes()
	all := 1<<len(scopes) - 1
	masks := []int{0, all} // none and all, each alone, all but each, and some of the quarter of a million others
	for i := range scopes {
		masks = append(masks, 1<<i, all&^(1<<i))
	}
	for range 1000 {
		masks = append(masks, rand.IntN(all))
	}
	for _, mask := range masks {
		var p auth.Principal
		for i, scope := range scopes {
			if mask&(1<<i) != 0 {
				p.Scopes = append(p.Scopes, scope)
			}
		}
		for _, operation := range auth.Operations() {
			wanted, _ := auth.ScopeOf(operation)
			p.Operator = auth.ForOperators(operation)
			err := auth.Authorize(p, operation)
			if allowed := wanted == auth.Open || p.Has(wanted); allowed != (err == nil) {
				t.Fatalf("%s with %v: %v", operation, p.Scopes, err)
			}
			var refused *auth.Error
			if errors.As(err, &refused) && !strings.Contains(refused.Challenge(), `scope="`+wanted+`"`) {
				t.Fatalf("challenge %s does not ask for %s", refused.Challenge(), wanted)
			}
		}
	}
	if err := auth.Authorize(auth.Principal{Scopes: scopes}, "unheardOf"); err == nil {
		t.Error("an operation outside the table was allowed")
	}
}
