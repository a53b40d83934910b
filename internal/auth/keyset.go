package auth

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"sync"
	"time"
)

// Bounds of a remote key set.
const (
	keySetBytesMax   = 256 << 10
	keySetFreshMax   = 15 * time.Minute // older sets are fetched again when a token comes in
	keySetRetryAfter = 30 * time.Second // at most one fetch in this time, whatever tokens say
	keySetFetchMax   = 5 * time.Second
	keySetStaleMax   = 24 * time.Hour // how long keys are believed while the issuer cannot be reached
)

// ErrKeysUnavailable: the issuer's keys cannot be fetched, and none are there that may still be believed. Verify returns it:
// nothing is wrong with the token, so the caller may try again.
var ErrKeysUnavailable = errors.New("the keys of the token's issuer cannot be had")

// keySet is the JWKS of one issuer. Unknown kids cannot cause more than one fetch in keySetRetryAfter, and no token that
// is signed with a known key waits for one.
type keySet struct {
	url    string
	client *http.Client
	now    func() time.Time
	logger *slog.Logger

	mu       sync.Mutex // guards what follows
	keys     []Key
	fetched  time.Time
	tried    time.Time
	fetching chan struct{} // closed at the end of the fetch that is under way; nil = none is
}

// find returns the key with this kid. For one that is not known it waits for a fetch, when one is due or under way.
func (s *keySet) find(ctx context.Context, kid string) (Key, error) {
	key, ok, fetching := s.look(ctx, kid)
	if ok {
		return key, nil
	}
	if fetching != nil {
		select {
		case <-ctx.Done():
		case <-fetching:
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if key, ok = s.known(kid); ok {
		return key, nil
	}
	if s.stale() {
		return Key{}, ErrKeysUnavailable
	}
	return Key{}, invalid("unknown key")
}

// look returns what is known, and begins a fetch when one is due.
func (s *keySet) look(ctx context.Context, kid string) (key Key, ok bool, fetching <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	key, ok = s.known(kid)
	now := s.now()
	due := !ok || now.Sub(s.fetched) > keySetFreshMax
	if due && s.fetching == nil && (s.tried.IsZero() || now.Sub(s.tried) >= keySetRetryAfter) {
		s.tried, s.fetching = now, make(chan struct{})
		go s.refresh(context.WithoutCancel(ctx), s.fetching)
	}
	return key, ok, s.fetching
}

// known is called with the lock held.
func (s *keySet) known(kid string) (Key, bool) {
	if s.stale() {
		return Key{}, false
	}
	return findKey(s.keys, kid)
}

// stale is called with the lock held. When the issuer cannot be reached, the keys of before go on, but not for ever: one of
// them may have been revoked.
func (s *keySet) stale() bool { return s.now().Sub(s.fetched) > keySetStaleMax }

func (s *keySet) refresh(ctx context.Context, done chan struct{}) {
	began := s.now()
	keys, err := s.fetch(ctx)
	if err != nil { // at most once in keySetRetryAfter
		s.logger.WarnContext(ctx, "the keys of an issuer cannot be fetched", "error", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil {
		s.keys, s.fetched = keys, began
	}
	s.fetching = nil
	close(done)
}

func (s *keySet) fetch(ctx context.Context) ([]Key, error) {
	ctx, cancel := context.WithTimeout(ctx, keySetFetchMax)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url, nil)
	if err != nil {
		return nil, fmt.Errorf("key set %s: %w", s.url, err)
	}
	response, err := s.client.Do(request)
	if err != nil {
		return nil, fmt.Errorf("key set %s: %w", s.url, err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("key set %s: %s", s.url, response.Status)
	}
	document, err := io.ReadAll(io.LimitReader(response.Body, keySetBytesMax+1))
	if err != nil || len(document) > keySetBytesMax {
		return nil, fmt.Errorf("key set %s: unreadable or over %d bytes: %w", s.url, keySetBytesMax, err)
	}
	keys, err := parseKeySet(document)
	if err != nil {
		return nil, fmt.Errorf("key set %s: %w", s.url, err)
	}
	return keys, nil
}

func findKey(keys []Key, kid string) (Key, bool) {
	for _, key := range keys {
		if key.ID == kid {
			return key, true
		}
	}
	return Key{}, false
}
