package verify

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/refold-dev/refold/events/envelope"
	"github.com/refold-dev/refold/internal/edition"
	"github.com/refold-dev/refold/internal/journal"
)

// events hands over what a run has to read between two positions, in order and none left out.
func (v *verification) events(ctx context.Context, after, upto uint64, each func(*envelope.Event) error) error {
	if v.Scope.filtered() {
		return eventsOf(ctx, v.Shard, v.Scope.Tenants[0], after, upto, each)
	}
	return edition.Read(ctx, v.Shard, after, upto, each)
}

// silenceMax is how long a filtered read waits for an event that the stream counts.
const silenceMax = 30 * time.Second

// eventsOf hands over the events of one tenant between two positions. The stream itself says how many there are: with
// fewer, the read fails. Text that is no token has no events.
func eventsOf(ctx context.Context, shard journal.Shard, tenant string, after, upto uint64, each func(*envelope.Event) error) error {
	if after >= upto || !envelope.ValidToken(tenant) {
		return nil
	}
	// What is at upto by now is counted; what comes later is behind it.
	count, err := shard.Count(ctx, tenant, after)
	if err != nil || count == 0 {
		return err
	}
	follower, err := shard.Follow(ctx, journal.FollowOptions{Tenant: tenant, After: after})
	if err != nil {
		return err
	}
	defer follower.Close()
	for read := uint64(0); read < count; {
		waiting, cancel := context.WithTimeout(ctx, silenceMax)
		batch, err := follower.Next(waiting, 0, 0)
		cancel()
		if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
			return fmt.Errorf("the stream counts %d events of tenant %s after sequence %d and delivers %d", count, tenant, after, read)
		}
		if err != nil {
			return fmt.Errorf("read events of tenant %s: %w", tenant, err)
		}
		for i := range batch {
			if batch[i].Seq > upto {
				return nil
			}
			read++
			if err := each(&batch[i]); err != nil {
				return err
			}
		}
	}
	return nil
}

// observed is what a run learns of the journal itself. Each event is taken in once, in order, in whichever part it is
// met first.
type observed struct {
	seq     uint64
	history edition.History
	tenants map[string]uint64
	events  uint64
	check   JournalCheck // nil = none
	marks   map[uint64]*mark
}

// mark is a position at which the chain of the journal is held against that of a checkpoint.
type mark struct {
	chain, last []byte // of the checkpoint
	found       []byte // the chain of the journal
	equal       bool
}

func newObserved(check JournalCheck) *observed {
	return &observed{history: edition.History{Chained: true}, tenants: map[string]uint64{}, check: check, marks: map[uint64]*mark{}}
}

func (o *observed) add(ctx context.Context, e *envelope.Event, filtered bool) error {
	if e.Seq <= o.seq {
		return nil
	}
	o.seq = e.Seq
	o.events++
	o.tenants[e.Tenant]++
	if filtered {
		return nil
	}
	o.history.Add(e)
	if len(o.marks) > 0 {
		o.settle()
	}
	if o.check != nil {
		return o.check.AddDigest(ctx, e, o.history.Last)
	}
	return nil
}

// mark asks for the chain at a position; last may be unknown (nil).
func (o *observed) mark(seq uint64, chain, last []byte) {
	if o.marks[seq] == nil {
		o.marks[seq] = &mark{chain: chain, last: last}
	}
	if seq == o.seq {
		o.settle()
	}
}

func (o *observed) settle() {
	m := o.marks[o.seq]
	if m == nil || m.found != nil {
		return
	}
	m.found = bytes.Clone(o.history.Chain[:])
	m.equal = bytes.Equal(m.found, m.chain) && (m.last == nil || bytes.Equal(o.history.Last[:], m.last))
}
