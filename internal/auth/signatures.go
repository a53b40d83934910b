package auth

import (
	"bytes"
	"crypto"
	"crypto/sha256"
	"encoding/json"
	"sync"
)

// signaturesMax bounds the tokens that are remembered: twice as many, a kilobyte or two each.
const signaturesMax = 5_000

// signatures remembers tokens and which key has signed them: clients send one token many times, and checking its
// signature, or only reading it, costs more than all the rest of a small question. What it says, its key and its times
// first of all, is checked at each request.
type signatures struct {
	mu            sync.Mutex
	recent, older map[[sha256.Size]byte]*signed // by digest of the token
}

// signed is a token that was read. Its members are shared and never changed.
type signed struct {
	header, claims map[string]json.RawMessage
	signedBy       any // public key; nil when no signature was checked yet
}

// by reports whether the key is known to have signed the token.
func (s *signed) by(public any) bool {
	return s != nil && s.signedBy != nil && samePublic(s.signedBy, public)
}

// get returns a token that was seen with a good signature before, or nil.
func (s *signatures) get(id [sha256.Size]byte) *signed {
	s.mu.Lock()
	defer s.mu.Unlock()
	if known := s.recent[id]; known != nil {
		return known
	}
	known := s.older[id]
	if known != nil {
		s.keep(id, known) // used again: it outlives the next change
	}
	return known
}

func (s *signatures) put(id [sha256.Size]byte, known *signed) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keep(id, known)
}

func (s *signatures) keep(id [sha256.Size]byte, known *signed) {
	if s.recent == nil || len(s.recent) >= signaturesMax {
		s.recent, s.older = map[[sha256.Size]byte]*signed{}, s.recent
	}
	s.recent[id] = known
}

func samePublic(a, b any) bool {
	if secret, ok := a.([]byte); ok {
		other, ok := b.([]byte)
		return ok && bytes.Equal(secret, other)
	}
	key, ok := a.(interface{ Equal(crypto.PublicKey) bool })
	return ok && key.Equal(b)
}
