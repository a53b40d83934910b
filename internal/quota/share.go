package quota

import (
	"context"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/refold-dev/refold/internal/problem"
)

// Share shares the places of what a process does at a time, among tenants and among the users of each. A tenant may take
// more as long as it has fewer than are free: alone it gets half of them, two get a third each, and whoever has none finds
// some. A user may take more as long as he has fewer than twice what his tenant may still take: alone he gets two thirds of
// the tenant's part, and whoever has none finds some. Those who may not wait in the order of their user, for a while; of
// those who wait, the user with the fewest places of the tenant with the fewest goes first. The zero value is not usable.
type Share struct {
	config  ShareConfig
	mu      sync.Mutex
	taken   int
	waiting int
	tenants map[string]*tenantPart // those who have places or wait; guarded by mu, together with what is in them
}

// ShareConfig bounds a Share. All fields must be set.
type ShareConfig struct {
	Places     int           // whoever takes several at once may go beyond by what it takes
	WaitingMax int           // how many are waited for, shared like the places
	WaitMax    time.Duration // how long one waits
}

type tenantPart struct {
	taken, waiting int
	users          map[string]*userPart
}

type userPart struct {
	whole          bool // the tenant's, with no bound of a user's
	taken, waiting int  // places
	waiters        []*waiter
}

type waiter struct {
	places int
	let    chan struct{} // closed when it has them
}

// NewShare returns a Share without anybody in it.
func NewShare(config ShareConfig) *Share {
	return &Share{config: config, tenants: map[string]*tenantPart{}}
}

// Take takes places for a user of a tenant, or with an empty user for the tenant as a whole, and waits for them if need be. It returns a problem (429), or the function to
// call when they are free again.
func (s *Share) Take(ctx context.Context, tenant, user string, places int) (leave func(), err error) {
	w := s.ask(tenant, user, places)
	if w == nil {
		return nil, partUsedUp()
	}
	select {
	case <-w.let:
		return func() { s.leave(tenant, user, places) }, nil
	default:
	}
	ctx, cancel := context.WithTimeout(ctx, s.config.WaitMax)
	defer cancel()
	select {
	case <-w.let:
	case <-ctx.Done():
		if s.withdraw(tenant, user, w) {
			return nil, partUsedUp()
		}
	}
	return func() { s.leave(tenant, user, places) }, nil
}

// mayTake is the rule, of all places, those of other tenants, those of the tenant and, among these, those of the user.
func mayTake(all, ofOthers, ofTenant, ofUser int) bool {
	ofTenantMax := (all - ofOthers + 1) / 2 // fewer than are free: half, rounded up, of what the others leave
	return ofTenant < ofTenantMax && ofUser < 2*(ofTenantMax-ofTenant)
}

// ask returns nil for one more than may wait.
func (s *Share) ask(tenant, user string, places int) *waiter {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.tenants[tenant]
	if t == nil {
		t = &tenantPart{users: map[string]*userPart{}}
	}
	u := t.users[user]
	if u == nil {
		u = &userPart{whole: user == ""}
	}
	w := &waiter{places, make(chan struct{})}
	switch {
	case len(u.waiters) == 0 && s.free(t, u):
		s.let(t, u, w)
	case mayTake(s.config.WaitingMax, s.waiting-t.waiting, t.waiting, u.counted(u.waiting)):
		u.waiters = append(u.waiters, w)
		s.wait(t, u, places)
	default:
		return nil
	}
	s.tenants[tenant], t.users[user] = t, u
	return w
}

func (s *Share) free(t *tenantPart, u *userPart) bool {
	return mayTake(s.config.Places, s.taken-t.taken, t.taken, u.counted(u.taken))
}

// counted is how many places count against what a user may have.
func (u *userPart) counted(places int) int {
	if u.whole {
		return 0
	}
	return places
}

func (s *Share) wait(t *tenantPart, u *userPart, places int) {
	u.waiting += places
	t.waiting += places
	s.waiting += places
}

func (s *Share) let(t *tenantPart, u *userPart, w *waiter) {
	u.taken += w.places
	t.taken += w.places
	s.taken += w.places
	close(w.let)
}

// withdraw is false for one who has places by now.
func (s *Share) withdraw(tenant, user string, w *waiter) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.tenants[tenant]
	if t == nil || t.users[user] == nil || !slices.Contains(t.users[user].waiters, w) {
		return false
	}
	u := t.users[user]
	u.waiters = slices.DeleteFunc(u.waiters, func(other *waiter) bool { return other == w })
	s.wait(t, u, -w.places)
	s.forget(tenant, user)
	return true
}

func (s *Share) leave(tenant, user string, places int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.tenants[tenant]
	t.users[user].taken -= places
	t.taken -= places
	s.taken -= places
	for t, u := s.next(); u != nil; t, u = s.next() {
		w := u.waiters[0]
		u.waiters = u.waiters[1:]
		s.wait(t, u, -w.places)
		s.let(t, u, w)
	}
	s.forget(tenant, user)
}

// next is the user who goes first of those who wait and may have more; nil = there is none.
func (s *Share) next() (ofTenant *tenantPart, least *userPart) {
	for _, t := range s.tenants {
		if t.waiting == 0 || ofTenant != nil && t.taken >= ofTenant.taken {
			continue
		}
		var leastHere *userPart
		for _, u := range t.users {
			if len(u.waiters) > 0 && s.free(t, u) && (leastHere == nil || u.taken < leastHere.taken) {
				leastHere = u
			}
		}
		if leastHere != nil {
			ofTenant, least = t, leastHere
		}
	}
	return ofTenant, least
}

func (s *Share) forget(tenant, user string) {
	t := s.tenants[tenant]
	if u := t.users[user]; u.taken == 0 && len(u.waiters) == 0 {
		delete(t.users, user)
	}
	if len(t.users) == 0 {
		delete(s.tenants, tenant)
	}
}

func partUsedUp() *problem.Problem {
	return &problem.Problem{
		Status: http.StatusTooManyRequests, Code: "too_many_requests", Detail: "your part of what is done at a time is used up",
		Retryable: true, Header: http.Header{"Retry-After": {"1"}},
	}
}
