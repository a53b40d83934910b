package auth

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/lestrrat-go/jwx/v3/jwk"
)

const issuersBytesMax = 1 << 20

// issuerEntry is an issuer as a file of issuers has it.
type issuerEntry struct {
	Issuer   string   `json:"issuer"`
	Audience string   `json:"audience"`
	JWKS     string   `json:"jwks"`      // URL of a key set
	Keys     string   `json:"keys"`      // file with a key set, relative to this one
	Tenants  []string `json:"tenants"`   // that it may speak for; EveryTenant = all
	Operator bool     `json:"operator"`  // may name operators of the plane
	AppClaim string   `json:"app_claim"` // of the app that a token is bound to
}

// LoadIssuers reads a file {"issuers": [...]}: whose tokens are believed, beside the plane's own. Everything that is
// wrong with it is reported at once; NewVerifier checks the rest.
func LoadIssuers(path string) ([]Issuer, error) {
	content, err := readBounded(path, issuersBytesMax)
	if err != nil {
		return nil, fmt.Errorf("issuers: %w", err)
	}
	var file struct {
		Issuers []issuerEntry `json:"issuers"`
	}
	decoder := json.NewDecoder(bytes.NewReader(content))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&file); err != nil {
		return nil, fmt.Errorf("issuers %s: %w", path, err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("issuers %s: something follows the object", path)
	}
	if len(file.Issuers) == 0 {
		return nil, fmt.Errorf("issuers %s: the list `issuers` is missing or empty", path)
	}
	var issuers []Issuer
	var faults []error
	for n, e := range file.Issuers {
		issuer, err := e.load(filepath.Dir(path))
		if err == nil {
			err = issuer.check()
		}
		if err != nil {
			faults = append(faults, fmt.Errorf("issuers %s: entry %d (%q): %w", path, n+1, e.Issuer, err))
		}
		issuers = append(issuers, issuer)
	}
	return issuers, errors.Join(faults...)
}

func (e issuerEntry) load(dir string) (Issuer, error) {
	i := Issuer{Issuer: e.Issuer, Audience: e.Audience, KeySet: e.JWKS, Tenants: e.Tenants, Operator: e.Operator, AppClaim: e.AppClaim}
	if e.Issuer == LocalIssuer {
		return i, errors.New("that is the name of the plane's own issuer")
	}
	if e.Keys == "" {
		return i, nil
	}
	path := e.Keys
	if !filepath.IsAbs(path) {
		path = filepath.Join(dir, path)
	}
	var err error
	i.Keys, err = loadKeys(path)
	return i, err
}

// loadKeys reads a file with a key set. Every key in it must be usable, and must name its algorithm when it is a secret;
// secrets are taken only out of a file that nobody else can read.
func loadKeys(path string) ([]Key, error) {
	document, err := readBounded(path, keySetBytesMax)
	if err != nil {
		return nil, err
	}
	set, err := jwk.Parse(document)
	if err != nil {
		return nil, fmt.Errorf("%s is not a key set (JWKS)", path) // its text may hold a secret
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	var keys []Key
	for n := range set.Len() {
		raw, _ := set.Key(n)
		key, ok := publicKey(raw)
		if secret, isSecret := secretKey(raw); isSecret {
			key, ok = secret, secret.check() == nil
			if info.Mode().Perm()&0o077 != 0 {
				return nil, fmt.Errorf("%s holds a secret and others can read it (chmod 600)", path)
			}
		}
		if !ok {
			return nil, fmt.Errorf("%s: key %d cannot verify signatures: want a public key for RS256, PS256, ES256, ES384 or EdDSA, or a secret of 32 bytes and more with alg HS256", path, n+1)
		}
		keys = append(keys, key)
	}
	if len(keys) == 0 || len(keys) > keysMax {
		return nil, fmt.Errorf("%s holds %d keys, want 1 to %d", path, len(keys), keysMax)
	}
	return keys, nil
}

// secretKey returns a symmetric key. A secret must say what it is for: only HS256.
func secretKey(raw jwk.Key) (Key, bool) {
	var secret []byte
	if raw.KeyType().String() != "oct" || jwk.Export(raw, &secret) != nil {
		return Key{}, false
	}
	key := Key{Public: secret}
	key.ID, _ = raw.KeyID()
	if algorithm, ok := raw.Algorithm(); ok {
		key.Algorithm = algorithm.String()
	}
	return key, true
}

func readBounded(path string, bytesMax int64) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }() // it was only read
	content, err := io.ReadAll(io.LimitReader(file, bytesMax+1))
	if err == nil && int64(len(content)) > bytesMax {
		err = fmt.Errorf("%s is larger than %d bytes", path, bytesMax)
	}
	return content, err
}
