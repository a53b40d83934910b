package verify

import (
	"bytes"
	"context"

	"github.com/refold-dev/refold/events/envelope"
	"github.com/refold-dev/refold/internal/edition"
	"github.com/refold-dev/refold/internal/journal"
)

// events hands over what a run has to read between two positions, in order and none left out.
func (v *verification) events(ctx context.Context, after, upto uint64, each func(*envelope.Event) error) error {
	if v.Scope.filtered() {
		return journal.ReadTenant(ctx, v.Shard, v.Scope.Tenants[0], after, upto, each)
	}
	return journal.Read(ctx, v.Shard, after, upto, each)
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
