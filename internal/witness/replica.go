package witness

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/refold-dev/refold/events/envelope"
	"github.com/refold-dev/refold/internal/journal"
)

// Replicas reads single replicas of a journal. *journal.Journal implements it.
type Replicas interface {
	Peers(ctx context.Context, shard int) ([]journal.Peer, error)
	ReplicaExtent(ctx context.Context, shard int, server string) (journal.Extent, error)
	ReadReplica(ctx context.Context, shard int, server string, after, upto uint64, each func(*journal.Raw) error) error
}

const (
	// replicaIdleMax is how long one replica may take for its next event until it counts as unreadable there.
	replicaIdleMax = 20 * time.Second
	// probeIdleMax is the same for a look whether it can be read further on.
	probeIdleMax = 5 * time.Second
)

// passedOver explains a hole: the server hands over nothing of a record whose checksum is wrong, and tells nobody.
const passedOver = "the server passes over it: its record is gone or damaged"

// errIdle: a replica hands nothing over.
var errIdle = errors.New("no event came in time")

// replicaRead is a read of one replica that goes on after whatever cannot be read.
type replicaRead struct {
	from   Replicas
	shard  int
	server string
	idle   time.Duration
	// each takes every event in order; lost the last sequence of a hole that begins after the last event or hole. An
	// error of theirs ends the read.
	each func(*envelope.Event) error
	lost func(upto uint64, what, detail string) error
}

// run reads what follows after, up to upto. It fails with an error of each or lost, or with that of ctx: nothing that a
// replica does makes it fail, or wait for longer than idle.
func (r *replicaRead) run(ctx context.Context, after, upto uint64) error {
	decoder := journal.NewDecoder(r.shard)
	for after < upto {
		var own error
		err := r.attempt(ctx, r.idle, after, upto, func(m *journal.Raw) error {
			after = m.Seq
			e := decoder.Event(m)
			own = r.each(&e)
			return own
		})
		var gap *journal.GapError
		switch {
		case own != nil:
			return own
		case ctx.Err() != nil:
			return ctx.Err()
		case err == nil:
			return nil
		case errors.As(err, &gap):
			after = min(gap.Got-1, upto)
			err = r.lost(after, Missing, passedOver)
		default:
			why := err.Error()
			if after, err = r.next(ctx, after, upto); err == nil {
				err = r.lost(after, Unreadable, why)
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// attempt is one read that ends when no event comes for as long as idle. The time that each takes does not count.
func (r *replicaRead) attempt(ctx context.Context, idle time.Duration, after, upto uint64, each func(*journal.Raw) error) error {
	reading, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watch := time.AfterFunc(idle, func() { cancel(errIdle) })
	defer watch.Stop()
	last := after
	err := r.from.ReadReplica(reading, r.shard, r.server, after, upto, func(m *journal.Raw) error {
		watch.Stop()
		last = m.Seq
		err := each(m)
		watch.Reset(idle)
		return err
	})
	if err != nil && errors.Is(context.Cause(reading), errIdle) {
		return fmt.Errorf("%s handed over nothing after sequence %d within %s", r.server, last, idle)
	}
	return err
}

// next returns the last sequence of a hole: it asks in growing steps for what follows, and takes everything before the
// first answer as part of the hole.
func (r *replicaRead) next(ctx context.Context, after, upto uint64) (uint64, error) {
	for step := uint64(1); after+step < upto; step *= 8 {
		found := uint64(0)
		err := r.attempt(ctx, min(probeIdleMax, r.idle), after+step, after+step+1, func(m *journal.Raw) error {
			found = m.Seq
			return nil
		})
		var gap *journal.GapError
		switch {
		case ctx.Err() != nil:
			return 0, ctx.Err()
		case err == nil && found > 0:
			return found - 1, nil
		case errors.As(err, &gap):
			return min(gap.Got-1, upto), nil
		}
	}
	return upto, nil
}
