package httpapi

import (
	"net/http"
	"sync"

	"golang.org/x/time/rate"
)

// Limits bound what one tenant can take of the plane, so that a noisy one does not starve the others. A zero is no
// limit.
type Limits struct {
	PerSecond float64 // requests, over time
	Burst     int     // requests at once after a quiet time; 0 = PerSecond
	InFlight  int     // requests at any moment
}

// allowancesMax bounds how many tenants are remembered; those at rest are forgotten first.
const allowancesMax = 10_000

// limiter keeps an allowance for each tenant.
type limiter struct {
	Limits
	mu      sync.Mutex
	tenants map[string]*allowance // guarded by mu, together with what is in them
}

type allowance struct {
	rate     *rate.Limiter // nil = unlimited
	inFlight int
}

func newLimiter(l Limits) *limiter {
	if l.Burst == 0 {
		l.Burst = max(1, int(l.PerSecond))
	}
	return &limiter{Limits: l, tenants: map[string]*allowance{}}
}

// enter takes a request in. It returns a problem (429), or the function to call when the request is over.
func (l *limiter) enter(tenant string) (leave func(), err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	a := l.of(tenant)
	if l.InFlight > 0 && a.inFlight >= l.InFlight || a.rate != nil && !a.rate.Allow() {
		return nil, &problem{
			status: http.StatusTooManyRequests, code: "too_many_requests", detail: "the tenant's limit is used up; nothing was stored",
			retryable: true, header: http.Header{"Retry-After": {"1"}},
		}
	}
	a.inFlight++
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		a.inFlight--
	}, nil
}

func (l *limiter) of(tenant string) *allowance {
	a := l.tenants[tenant]
	if a != nil {
		return a
	}
	if len(l.tenants) >= allowancesMax {
		l.forget()
	}
	a = &allowance{}
	if l.PerSecond > 0 {
		a.rate = rate.NewLimiter(rate.Limit(l.PerSecond), l.Burst)
	}
	l.tenants[tenant] = a
	return a
}

// forget drops those whose absence changes nothing: no request under way, and a full allowance.
func (l *limiter) forget() {
	for tenant, a := range l.tenants {
		if a.inFlight == 0 && (a.rate == nil || a.rate.Tokens() >= float64(l.Burst)) {
			delete(l.tenants, tenant)
		}
	}
}
