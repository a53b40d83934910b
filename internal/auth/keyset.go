package auth

import (
	"context"
	"fmt"
	"io"
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
)

// keySet is the JWKS of one issuer. Unknown kids cannot cause more than one fetch in keySetRetryAfter.
type keySet struct {
	url    string
	client *http.Client
	now    func() time.Time

	mu      sync.Mutex // guards what follows, and is held while fetching: one fetch at a time
	keys    []Key
	fetched time.Time
	tried   time.Time
}

// find returns the key with this kid, after a fetch if it is due.
func (s *keySet) find(ctx context.Context, kid string) (Key, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	key, ok := findKey(s.keys, kid)
	now := s.now()
	due := !ok || now.Sub(s.fetched) > keySetFreshMax
	if due && (s.tried.IsZero() || now.Sub(s.tried) >= keySetRetryAfter) {
		s.tried = now
		if keys, err := s.fetch(ctx); err == nil {
			s.keys, s.fetched = keys, now
			key, ok = findKey(keys, kid)
		}
		// When the issuer cannot be reached, the keys of before go on: an outage there must not be one here.
	}
	return key, ok
}

func (s *keySet) fetch(ctx context.Context) ([]Key, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), keySetFetchMax)
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
	return parseKeySet(document)
}

func findKey(keys []Key, kid string) (Key, bool) {
	for _, key := range keys {
		if key.ID == kid {
			return key, true
		}
	}
	return Key{}, false
}
