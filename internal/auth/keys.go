package auth

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"errors"
	"fmt"

	"github.com/lestrrat-go/jwx/v3/jwa"
	"github.com/lestrrat-go/jwx/v3/jwk"
)

// Bounds of keys.
const (
	rsaBitsMin     = 2048
	secretBytesMin = 32
	keysMax        = 64  // of one key set
	kidBytesMax    = 200 // of the kid of a key and of a token
)

// Key verifies the tokens of one issuer. Its algorithm is fixed here; what a token says is only compared with it.
type Key struct {
	ID        string // kid; empty matches tokens without one
	Algorithm string // HS256, RS256, PS256, ES256, ES384 or EdDSA
	Public    any    // *rsa.PublicKey, *ecdsa.PublicKey, ed25519.PublicKey, or []byte for HS256
}

func (k Key) algorithm() jwa.SignatureAlgorithm {
	algorithm, _ := jwa.LookupSignatureAlgorithm(k.Algorithm)
	return algorithm
}

// check reports why a key must not be trusted: a weak one, or one whose type does not fit its algorithm.
func (k Key) check() error {
	if len(k.ID) > kidBytesMax {
		return fmt.Errorf("kid is longer than %d bytes", kidBytesMax)
	}
	ok := false
	switch key := k.Public.(type) {
	case *rsa.PublicKey:
		ok = (k.Algorithm == "RS256" || k.Algorithm == "PS256") && key.N.BitLen() >= rsaBitsMin
	case *ecdsa.PublicKey:
		ok = k.Algorithm == "ES256" && key.Curve == elliptic.P256() || k.Algorithm == "ES384" && key.Curve == elliptic.P384()
	case ed25519.PublicKey:
		ok = k.Algorithm == "EdDSA" && len(key) == ed25519.PublicKeySize
	case []byte:
		ok = k.Algorithm == "HS256" && len(key) >= secretBytesMin
	}
	if !ok {
		return fmt.Errorf("key %q: a %T does not fit algorithm %q or is too weak", k.ID, k.Public, k.Algorithm)
	}
	return nil
}

// parseKeySet reads a JWKS. Keys that cannot verify signatures by a known algorithm are left out, symmetric ones
// too: a secret has no business in a published document.
func parseKeySet(document []byte) ([]Key, error) {
	set, err := jwk.Parse(document)
	if err != nil {
		return nil, fmt.Errorf("key set: %w", err)
	}
	if set.Len() > keysMax {
		return nil, fmt.Errorf("key set: %d keys, at most %d are read", set.Len(), keysMax)
	}
	var keys []Key
	for i := range set.Len() {
		raw, _ := set.Key(i)
		if key, ok := publicKey(raw); ok {
			keys = append(keys, key)
		}
	}
	if len(keys) == 0 {
		return nil, errors.New("key set: no key that can verify a signature")
	}
	return keys, nil
}

func publicKey(raw jwk.Key) (Key, bool) {
	if use, ok := raw.KeyUsage(); ok && use != "sig" {
		return Key{}, false
	}
	if private, err := jwk.IsPrivateKey(raw); err != nil || private {
		return Key{}, false
	}
	var public crypto.PublicKey
	if err := jwk.Export(raw, &public); err != nil {
		return Key{}, false
	}
	key := Key{Public: public}
	key.ID, _ = raw.KeyID()
	if algorithm, ok := raw.Algorithm(); ok {
		key.Algorithm = algorithm.String()
	} else {
		key.Algorithm = usualAlgorithm(public)
	}
	if _, symmetric := public.([]byte); symmetric {
		return Key{}, false
	}
	return key, key.check() == nil
}

// usualAlgorithm is the algorithm of a published key that does not name one.
func usualAlgorithm(public any) string {
	switch key := public.(type) {
	case *rsa.PublicKey:
		return "RS256"
	case *ecdsa.PublicKey:
		if key.Curve == elliptic.P384() {
			return "ES384"
		}
		return "ES256"
	case ed25519.PublicKey:
		return "EdDSA"
	}
	return ""
}
