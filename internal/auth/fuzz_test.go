package auth_test

import (
	"errors"
	"testing"
	"time"

	"github.com/refold-dev/refold/internal/auth"
)

// FuzzVerify: no token is believed but those that were minted, to the letter, and whatever is refused is refused by a
// typed error.
func FuzzVerify(f *testing.F) {
	key, err := auth.LocalKey(f.TempDir())
	if err != nil {
		f.Fatal(err)
	}
	verifier, err := auth.NewVerifier(auth.Config{Issuers: []auth.Issuer{key.Issuer()}})
	if err != nil {
		f.Fatal(err)
	}
	genuine := map[string]string{}
	for _, subject := range []string{"ann", "bob", "ü"} {
		token, err := key.Mint(auth.TokenRequest{Tenant: "acme", Subject: subject, Scopes: auth.AllScopes(), TTL: 24 * time.Hour})
		if err != nil {
			f.Fatal(err)
		}
		genuine[token] = subject
		f.Add(token)
		f.Add(token + ".")
		f.Add(token[:len(token)-2])
	}
	for _, seed := range []string{"", ".", "..", "...", "eyJhbGciOiJub25lIn0.e30.", "a.b.c", "eyJhbGciOiJFZERTQSJ9.bnVsbA.AA"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, token string) {
		p, err := verifier.Verify(t.Context(), token)
		subject, minted := genuine[token]
		var refused *auth.Error
		if (err == nil) != minted || minted && p.Subject != subject || err != nil && !errors.As(err, &refused) {
			t.Errorf("%q: %+v, %v", token, p, err)
		}
	})
}
