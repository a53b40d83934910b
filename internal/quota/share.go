package quota

import (
	"context"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/refold-dev/refold/internal/problem"
)

// Share shares the places of what a process does at a time. A tenant may take more as long as it has fewer than are
// free: alone it gets half of them, two get a third each, and whoever has none finds some. Those who may not wait in the
// order of their tenant, for a while. The zero value is not usable.
type Share struct {
	config  ShareConfig
	mu      sync.Mutex
	taken   int
	waiting int
	tenants map[string]*part // those who have places or wait; guarded by mu, together with what is in them
}

// ShareConfig bounds a Share. All fields must be set.
type ShareConfig struct {
	Places     int           // whoever takes several at once may go beyond by what it takes
	WaitersMax int           // a tenant may have as many as it leaves to the others
	WaitMax    time.Duration // how long one waits
}

type part struct {
	taken   int
	waiting []*waiter
}

type waiter struct {
	places int
	let    chan struct{} // closed when it has them
}

// NewShare returns a Share without anybody in it.
func NewShare(config ShareConfig) *Share {
	return &Share{config: config, tenants: map[string]*part{}}
}

// Take takes places for a tenant, and waits for them if need be. It returns a problem (429), or the function to call
// when they are free again.
func (s *Share) Take(ctx context.Context, tenant string, places int) (leave func(), err error) {
	w := s.ask(tenant, places)
	if w == nil {
		return nil, partUsedUp()
	}
	ctx, cancel := context.WithTimeout(ctx, s.config.WaitMax)
	defer cancel()
	select {
	case <-w.let:
	case <-ctx.Done():
		if s.withdraw(tenant, w) {
			return nil, partUsedUp()
		}
	}
	return func() { s.leave(tenant, places) }, nil
}

// ask returns nil for one more than may wait.
func (s *Share) ask(tenant string, places int) *waiter {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.tenants[tenant]
	if p == nil {
		p = &part{}
	}
	w := &waiter{places, make(chan struct{})}
	switch {
	case len(p.waiting) == 0 && s.free(p):
		s.let(p, w)
	case len(p.waiting) < s.config.WaitersMax-s.waiting:
		p.waiting = append(p.waiting, w)
		s.waiting++
	default:
		return nil
	}
	s.tenants[tenant] = p
	return w
}

func (s *Share) free(p *part) bool { return p.taken < s.config.Places-s.taken }

func (s *Share) let(p *part, w *waiter) {
	p.taken += w.places
	s.taken += w.places
	close(w.let)
}

// withdraw is false for one who has places by now.
func (s *Share) withdraw(tenant string, w *waiter) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.tenants[tenant]
	if p == nil || !slices.Contains(p.waiting, w) {
		return false
	}
	p.waiting = slices.DeleteFunc(p.waiting, func(other *waiter) bool { return other == w })
	s.waiting--
	s.forget(tenant)
	return true
}

func (s *Share) leave(tenant string, places int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tenants[tenant].taken -= places
	s.taken -= places
	for p := s.next(); p != nil; p = s.next() {
		w := p.waiting[0]
		p.waiting = p.waiting[1:]
		s.waiting--
		s.let(p, w)
	}
	s.forget(tenant)
}

// next is the part with the fewest places of those that wait and may have more.
func (s *Share) next() (least *part) {
	for _, p := range s.tenants {
		if len(p.waiting) > 0 && s.free(p) && (least == nil || p.taken < least.taken) {
			least = p
		}
	}
	return least
}

func (s *Share) forget(tenant string) {
	if p := s.tenants[tenant]; p.taken == 0 && len(p.waiting) == 0 {
		delete(s.tenants, tenant)
	}
}

func partUsedUp() *problem.Problem {
	return &problem.Problem{
		Status: http.StatusTooManyRequests, Code: "too_many_requests", Detail: "the tenant's part of what is done at a time is used up; nothing was stored",
		Retryable: true, Header: http.Header{"Retry-After": {"1"}},
	}
}
