package auth

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"testing"
	"time"
)

func (s *signatures) has(token string, public any) bool {
	return s.get(sha256.Sum256([]byte(token))).by(public)
}

func (s *signatures) add(token string, public any) {
	s.put(sha256.Sum256([]byte(token)), &signed{signedBy: public})
}

func TestASignatureIsRememberedForItsKeyAlone(t *testing.T) {
	one, _, _ := ed25519.GenerateKey(rand.Reader)
	two, _, _ := ed25519.GenerateKey(rand.Reader)
	var s signatures
	if s.has("token", one) {
		t.Fatal("remembered what nobody added")
	}
	s.add("token", one)
	s.add("secret", []byte("one"))
	for _, c := range []struct {
		token string
		key   any
		want  bool
	}{
		{"token", one, true}, {"token", append(ed25519.PublicKey{}, one...), true}, {"token", two, false}, {"token", []byte(one), false}, {"token", nil, false},
		{"secret", []byte("one"), true}, {"secret", []byte("two"), false}, {"secret", one, false}, {"token ", one, false},
	} {
		if got := s.has(c.token, c.key); got != c.want {
			t.Errorf("%q with %T: got %v", c.token, c.key, got)
		}
	}
}

func TestWhatIsRememberedIsBounded(t *testing.T) {
	public, _, _ := ed25519.GenerateKey(rand.Reader)
	var s signatures
	s.add("often", public)
	for i := range 5 * signaturesMax {
		s.add(fmt.Sprint(i), public)
		if i%1000 == 0 && !s.has("often", public) {
			t.Fatalf("forgot what is used all the time after %d others", i)
		}
	}
	if n := len(s.recent) + len(s.older); n > 2*signaturesMax {
		t.Fatalf("%d are remembered", n)
	}
	if s.has("7", public) {
		t.Fatal("nothing is ever forgotten")
	}
}

// A token whose signature is remembered still expires, and its claims still count.
func TestARememberedTokenExpires(t *testing.T) {
	key, err := LocalKey(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	token, err := key.Mint(TokenRequest{Tenant: "acme", Subject: "ann", TTL: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	verifier, err := NewVerifier(Config{Issuers: []Issuer{key.Issuer()}, Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if p, err := verifier.Verify(t.Context(), token); err != nil || p.Tenant != "acme" {
			t.Fatalf("got %v, %v", p, err)
		}
	}
	now = now.Add(time.Hour)
	if _, err := verifier.Verify(t.Context(), token); err == nil {
		t.Fatal("an expired token was taken")
	}
}

func BenchmarkVerify(b *testing.B) {
	key, err := LocalKey(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	token, err := key.Mint(TokenRequest{Tenant: "acme", Subject: "ann", Scopes: AllScopes(), TTL: time.Hour})
	if err != nil {
		b.Fatal(err)
	}
	for _, c := range []struct {
		name string
		keep bool
	}{{"first", false}, {"again", true}} {
		b.Run(c.name, func(b *testing.B) {
			verifier, err := NewVerifier(Config{Issuers: []Issuer{key.Issuer()}})
			if err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				if !c.keep {
					verifier.signed = signatures{}
				}
				if _, err := verifier.Verify(b.Context(), token); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
