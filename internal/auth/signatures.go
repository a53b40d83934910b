package auth

import (
	"bytes"
	"crypto"
	"crypto/sha256"
	"sync"
)

// signaturesMax bounds the signatures that are remembered: twice as many, 100 bytes each.
const signaturesMax = 10_000

// signatures remembers which tokens were signed by which key: clients send one token many times, and checking its
// signature costs more than all the rest of a small read. Everything else about a token, its key and its times first of
// all, is checked at each request.
type signatures struct {
	mu            sync.Mutex
	recent, older map[[sha256.Size]byte]any // digest of the token -> public key
}

// has reports whether the key is known to have signed the token.
func (s *signatures) has(token string, public any) bool {
	id := sha256.Sum256([]byte(token))
	s.mu.Lock()
	defer s.mu.Unlock()
	if known, ok := s.recent[id]; ok {
		return samePublic(known, public)
	}
	known, ok := s.older[id]
	if !ok || !samePublic(known, public) {
		return false
	}
	s.put(id, known) // used again: it outlives the next change
	return true
}

// add remembers that the key has signed the token.
func (s *signatures) add(token string, public any) {
	id := sha256.Sum256([]byte(token))
	s.mu.Lock()
	defer s.mu.Unlock()
	s.put(id, public)
}

func (s *signatures) put(id [sha256.Size]byte, public any) {
	if s.recent == nil || len(s.recent) >= signaturesMax {
		s.recent, s.older = map[[sha256.Size]byte]any{}, s.recent
	}
	s.recent[id] = public
}

func samePublic(a, b any) bool {
	if secret, ok := a.([]byte); ok {
		other, ok := b.([]byte)
		return ok && bytes.Equal(secret, other)
	}
	key, ok := a.(interface{ Equal(crypto.PublicKey) bool })
	return ok && key.Equal(b)
}
