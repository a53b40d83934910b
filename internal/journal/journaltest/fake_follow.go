package journaltest

import (
	"context"
	"errors"

	"github.com/refold-dev/refold/events/envelope"
	"github.com/refold-dev/refold/internal/journal"
)

// Follow implements journal.Shard.
func (f *Fake) Follow(ctx context.Context, options journal.FollowOptions) (journal.Follower, error) {
	if options.Tenant != "" {
		if _, err := envelope.TenantSubjects(f.Number(), options.Tenant); err != nil {
			return nil, err
		}
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	f.count(1)
	return &fakeFollower{fake: f, tenant: options.Tenant, after: options.After, closed: make(chan struct{})}, nil
}

func (f *Fake) count(readers int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.readers += readers
}

// Count implements journal.Shard.
func (f *Fake) Count(ctx context.Context, tenant string, after uint64) (uint64, error) {
	if _, err := envelope.TenantSubjects(f.Number(), tenant); err != nil {
		return 0, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	count := uint64(0)
	for i := range f.events {
		if f.events[i].Seq > after && f.events[i].Tenant == tenant {
			count++
		}
	}
	return count, ctx.Err()
}

type fakeFollower struct {
	fake   *Fake
	tenant string
	after  uint64
	failed error
	closed chan struct{}
}

// Close implements journal.Follower.
func (r *fakeFollower) Close() {
	select {
	case <-r.closed:
	default:
		close(r.closed)
		r.fake.count(-1)
	}
}

// Next implements journal.Follower.
func (r *fakeFollower) Next(ctx context.Context, countMax, bytesMax int) ([]envelope.Event, error) {
	for {
		if r.failed != nil {
			return nil, r.failed
		}
		events, grown := r.there(countMax, bytesMax)
		if len(events) > 0 {
			return events, nil
		}
		if r.failed != nil {
			continue
		}
		select {
		case <-grown:
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-r.closed:
			return nil, errors.New("the follower is closed")
		}
	}
}

// there returns what has arrived and a channel that is closed when more does.
func (r *fakeFollower) there(countMax, bytesMax int) ([]envelope.Event, <-chan struct{}) {
	r.fake.mu.Lock()
	defer r.fake.mu.Unlock()
	var events []envelope.Event
	bytes := 0
	for r.after < uint64(len(r.fake.events)) && (countMax <= 0 || len(events) < countMax) {
		e := r.fake.events[r.after]
		if e.Seq == 0 && r.tenant == "" {
			if got := r.nextAfter(r.after + 1); got != 0 && len(events) == 0 {
				r.failed = &journal.GapError{Want: r.after + 1, Got: got}
			}
			break
		}
		if e.Seq != 0 && (r.tenant == "" || e.Tenant == r.tenant) {
			if bytes += len(e.Data); bytesMax > 0 && len(events) > 0 && bytes > bytesMax {
				break
			}
			events = append(events, e)
		}
		r.after++
	}
	return events, r.fake.grown
}

// nextAfter returns the sequence of the next event that is still there, or 0: a gap shows only when one follows.
func (r *fakeFollower) nextAfter(seq uint64) uint64 {
	for _, e := range r.fake.events[seq:] {
		if e.Seq != 0 {
			return e.Seq
		}
	}
	return 0
}
