package reader

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
)

// ErrSealed: a sealed value is garbage, was made for somebody or something else, or has expired.
var ErrSealed = errors.New("not a value that was handed out here for this")

const sealKeyBytesMin = 32

// Sealer seals what callers carry for the plane, so that they can neither read nor change it nor use it elsewhere.
// All replicas share one key. The same value is sealed alike each time, so that equal answers stay equal.
type Sealer struct {
	aead cipher.AEAD
	mac  []byte
}

// NewSealer makes a Sealer from a secret of at least 32 bytes.
func NewSealer(secret []byte) (*Sealer, error) {
	if len(secret) < sealKeyBytesMin {
		return nil, fmt.Errorf("key for sealing: %d bytes, want at least %d", len(secret), sealKeyBytesMin)
	}
	keys, err := hkdf.Key(sha256.New, secret, nil, "refold seal v1", 64)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(keys[:32])
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, err
	}
	return &Sealer{aead: aead, mac: keys[32:]}, nil
}

// Seal binds a body to its kind and to whatever it must not be used outside of (tenant, user, route, filter).
func (s *Sealer) Seal(kind string, body []byte, bound ...string) string {
	context := sealContext(kind, bound)
	nonce := s.nonce(context, body)
	return base64.RawURLEncoding.EncodeToString(s.aead.Seal(nonce, nonce, body, context))
}

// Open returns the body, or ErrSealed.
func (s *Sealer) Open(kind, sealed string, bound ...string) ([]byte, error) {
	raw, err := base64.RawURLEncoding.Strict().DecodeString(sealed)
	// The decoder skips line breaks, even strictly: with them a value is not the one that was handed out.
	if err != nil || strings.ContainsAny(sealed, "\r\n") || len(raw) < s.aead.NonceSize() {
		return nil, ErrSealed
	}
	nonce, box := raw[:s.aead.NonceSize()], raw[s.aead.NonceSize():]
	body, err := s.aead.Open(nil, nonce, box, sealContext(kind, bound))
	if err != nil {
		return nil, ErrSealed
	}
	return body, nil
}

// nonce is synthetic: a MAC over all that is sealed. Only an equal value can get an equal one.
func (s *Sealer) nonce(context, body []byte) []byte {
	mac := hmac.New(sha256.New, s.mac)
	mac.Write(context)
	mac.Write(body)
	return mac.Sum(nil)[:s.aead.NonceSize()]
}

func sealContext(kind string, bound []string) []byte {
	var b []byte
	for _, part := range append([]string{kind}, bound...) {
		b = binary.BigEndian.AppendUint32(b, uint32(len(part)))
		b = append(b, part...)
	}
	return b
}
