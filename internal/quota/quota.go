// Package quota shares what a process can do among tenants and users: the allowance of requests that each tenant has at all
// edges together, and the places of what is done at a time.
package quota

import (
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/refold-dev/refold/internal/problem"
	"golang.org/x/time/rate"
)

// Limits bound what one tenant can take of the plane, so that a noisy one does not starve the others. A zero is no
// limit. A request with many commands is one request.
type Limits struct {
	PerSecond float64 // requests, over time
	Burst     int     // requests at once after a quiet time; 0 = PerSecond
	InFlight  int     // requests at any moment, but for
	Listeners int     // those that listen for changes, and
	Transfers int     // exports and imports
}

// Class says against which limit of requests under way one counts.
type Class int

// The classes. Brief is any request that is not one of the others.
const (
	Brief Class = iota
	Listening
	Transferring
	classCount
)

// underWay names the limit of a class, and says how high it is.
func (l Limits) underWay(c Class) (name string, quota int) {
	switch c {
	case Listening:
		return "listeners", l.Listeners
	case Transferring:
		return "transfers", l.Transfers
	case Brief, classCount:
	}
	return "in-flight", l.InFlight
}

// allowancesMax bounds how many tenants are remembered; those at rest are forgotten first.
const allowancesMax = 10_000

// Limiter keeps an allowance for each tenant.
type Limiter struct {
	limits  func(tenant string) Limits
	mu      sync.Mutex
	tenants map[string]*allowance // guarded by mu, together with what is in them
}

type allowance struct {
	limits   Limits        // that rate was made for
	rate     *rate.Limiter // nil = unlimited
	underWay [classCount]int
}

// New returns a Limiter with the same limits for every tenant.
func New(l Limits) *Limiter { return Each(func(string) Limits { return l }) }

// Each returns a Limiter that asks at each request for the limits of the tenant, which may change at any time. What it
// asks must not look anything up.
func Each(limits func(tenant string) Limits) *Limiter {
	return &Limiter{limits: limits, tenants: map[string]*allowance{}}
}

// filled has a burst where there is a rate.
func (l Limits) filled() Limits {
	if l.Burst == 0 {
		l.Burst = max(1, int(l.PerSecond))
	}
	return l
}

// Enter takes a request in. It returns a problem (429), or the function to call when the request is over.
func (l *Limiter) Enter(tenant string, c Class) (leave func(), err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	a := l.of(tenant)
	if name, quota := a.limits.underWay(c); quota > 0 && a.underWay[c] >= quota {
		return nil, tooMany(name, quota, 0, time.Second) // nobody knows when one of them ends
	}
	if wait := a.take(); wait > 0 {
		return nil, tooMany("requests", a.limits.Burst, a.limits.window(), wait)
	}
	a.underWay[c]++
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		a.underWay[c]--
	}, nil
}

// take takes one request out of the allowance, or says after how long there will be one.
func (a *allowance) take() (wait time.Duration) {
	if a.rate == nil {
		return 0
	}
	now := time.Now()
	r := a.rate.ReserveN(now, 1)
	if wait = r.DelayFrom(now); wait > 0 {
		r.CancelAt(now)
	}
	return wait
}

// window is how long it takes until a used up allowance is full again.
func (l Limits) window() time.Duration {
	return time.Duration(float64(l.Burst) / l.PerSecond * float64(time.Second))
}

// tooMany tells how the limit is called, what it is, and when to come again (draft-ietf-httpapi-ratelimit-headers).
func tooMany(limit string, quota int, window, wait time.Duration) *problem.Problem {
	header := headersOf(limit, quota, window, 0, wait)
	header.Set("Retry-After", strconv.FormatInt(seconds(wait), 10))
	return &problem.Problem{
		Status: http.StatusTooManyRequests, Code: "too_many_requests", Detail: "the tenant's limit is used up; nothing was stored",
		Retryable: true, Header: header,
	}
}

// secondsMax keeps what is handed out a sensible number.
const secondsMax = 86400

// seconds rounds up: whoever waits for so long does not come too early.
func seconds(d time.Duration) int64 {
	return min(int64((d+time.Second-1)/time.Second), secondsMax)
}

func (l *Limiter) of(tenant string) *allowance {
	limits := l.limits(tenant).filled()
	a := l.tenants[tenant]
	if a == nil {
		if len(l.tenants) >= allowancesMax {
			l.forget()
		}
		a = &allowance{}
		l.tenants[tenant] = a
	}
	if a.limits != limits {
		a.limits, a.rate = limits, nil
		if limits.PerSecond > 0 {
			a.rate = rate.NewLimiter(rate.Limit(limits.PerSecond), limits.Burst)
		}
	}
	return a
}

// forget drops those whose absence changes nothing: no request under way, and a full allowance.
func (l *Limiter) forget() {
	for tenant, a := range l.tenants {
		if a.underWay == [classCount]int{} && (a.rate == nil || a.rate.Tokens() >= float64(a.limits.Burst)) {
			delete(l.tenants, tenant)
		}
	}
}
