package auth

import (
	"context"
	"errors"
	"sync/atomic"
	"time"
)

const (
	// RevocationsOld is how long ago revocations may have been read until a process is shown as degraded.
	RevocationsOld = 5 * time.Second
	// RevocationsStale is how long it believes tokens by what it read last: a failover of the database is shorter.
	RevocationsStale = time.Minute
	// standingEvery is how often it is looked whether a caller is still to be served who is served for long.
	standingEvery = time.Second
)

// ErrRevocationsUnknown: which tokens were revoked could not be read for too long, so none is believed. Nothing is wrong
// with the token: the caller may try again.
var ErrRevocationsUnknown = errors.New("which tokens were revoked is not known")

// Revocation refuses tokens, of whatever issuer, that were issued at NotBefore or earlier. They are those of a tenant
// (envelope.PlaneTenant = of operators), of one of its subjects, or with an id. Empty = not asked for, but one of Tenant
// and TokenID is given.
type Revocation struct {
	Tenant, Subject, TokenID string
	NotBefore                time.Time
}

// revokes is what a revocation is about.
type revokes struct{ tenant, subject, tokenID string }

// Revocations is what was revoked, in memory. It is safe for concurrent use; nothing is known until the first Replace.
type Revocations struct{ known atomic.Pointer[revoked] }

type revoked struct {
	at  time.Time
	all map[revokes]time.Time
}

// Replace sets all revocations, as they were read at a time.
func (r *Revocations) Replace(list []Revocation, at time.Time) {
	all := make(map[revokes]time.Time, len(list))
	for _, one := range list {
		all[revokes{one.Tenant, one.Subject, one.TokenID}] = one.NotBefore
	}
	r.known.Store(&revoked{at, all})
}

// Confirm says that what is known was still all of it at a time.
func (r *Revocations) Confirm(at time.Time) {
	if known := r.known.Load(); known != nil {
		r.known.Store(&revoked{at, known.all})
	}
}

// At is when revocations were read last; zero = never.
func (r *Revocations) At() time.Time {
	if known := r.known.Load(); known != nil {
		return known.at
	}
	return time.Time{}
}

// check is nil for a caller whose token was not revoked.
func (r *Revocations) check(p Principal, now time.Time) error {
	if r == nil {
		return nil
	}
	known := r.known.Load()
	if known == nil || now.Sub(known.at) > RevocationsStale {
		return ErrRevocationsUnknown
	}
	if known.refuse(p) {
		return invalid("the token was revoked")
	}
	return nil
}

func (r *revoked) refuse(p Principal) bool {
	if len(r.all) == 0 {
		return false
	}
	for _, one := range [...]revokes{{"", "", p.TokenID}, {p.Tenant, "", p.TokenID}, {p.Tenant, p.Subject, p.TokenID}, {p.Tenant, p.Subject, ""}, {p.Tenant, "", ""}} {
		if notBefore, is := r.all[one]; is && !p.Issued.After(notBefore) {
			return true
		}
	}
	return false
}

// Revokes reports whether one of the revocations refuses the token of a principal.
func Revokes(list []Revocation, p Principal) bool {
	var r Revocations
	r.Replace(list, time.Now())
	return r.known.Load().refuse(p)
}

// Ended is why While has ended a context, nil when it has not.
func Ended(ctx context.Context) error {
	cause := context.Cause(ctx)
	var refused *Error
	if errors.As(cause, &refused) || errors.Is(cause, ErrRevocationsUnknown) {
		return cause
	}
	return nil
}

// While returns a context that ends within some seconds after a caller is not to be served any longer, as standing says;
// that is its cause then. The function it returns must be called.
func While(ctx context.Context, p Principal, standing func(Principal) error) (context.Context, context.CancelFunc) {
	ctx, end := context.WithCancelCause(ctx)
	every := standingEvery
	if left := time.Until(p.Expires); !p.Expires.IsZero() && left < every {
		every = max(left, 0)
	}
	watch := time.NewTimer(every)
	go func() {
		defer watch.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-watch.C:
			}
			if err := standing(p); err != nil {
				end(err)
				return
			}
			next := standingEvery
			if left := time.Until(p.Expires); !p.Expires.IsZero() && left > 0 && left < next {
				next = left
			}
			watch.Reset(next)
		}
	}()
	return ctx, func() { end(context.Canceled) }
}
