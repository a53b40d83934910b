package edition

import (
	"context"
	"fmt"

	"github.com/refold-dev/refold/events/envelope"
	"github.com/refold-dev/refold/internal/ledger"
	"github.com/refold-dev/refold/internal/postgres/db"
)

// ledgerShare is the part of a build's memory budget that its ledger may take, and ledgerEventBytes what an event takes
// there, about.
const (
	ledgerShare      = 8
	ledgerEventBytes = 64
)

// recorder writes the ledger of a replay: of the newest events up to the head, as a projector would have. Without it the
// commands of an edition could not be named that was built a moment before its journal is restored to an older point.
type recorder struct {
	after   uint64 // events behind this one are recorded
	head    uint64
	packer  ledger.Packer
	batches []db.AppliedInsertParams
}

func (p *pass) recorder() recorder {
	r := recorder{after: uint64(p.state.Head), head: uint64(p.state.Head)}
	keep := p.LedgerEvents
	if keep == 0 {
		keep = ledger.KeepDefault
	}
	keep = min(keep, max(p.memoryBytes()/ledgerShare/ledgerEventBytes, 1))
	if keep > 0 {
		r.after -= min(r.after, uint64(keep))
	}
	return r
}

// add takes in the event that was added to the history last.
func (r *recorder) add(e *envelope.Event, h *History) {
	if e.Seq <= r.after {
		return
	}
	r.packer.Add(e, h.Last)
	if r.packer.Len() == ledger.BatchEvents || e.Seq == r.head {
		r.batches = append(r.batches, db.AppliedInsertParams{
			FirstSeq: int64(r.packer.First()), LastSeq: int64(r.packer.Last()), Chain: append([]byte{}, h.Chain[:]...), Events: r.packer.Bytes(),
		})
		r.packer.Reset()
	}
}

func (r *recorder) write(ctx context.Context, q *db.Queries, s db.ControlEditionShard) error {
	for _, b := range r.batches {
		b.Edition, b.Shard = s.Edition, s.Shard
		if err := q.AppliedInsert(ctx, b); err != nil {
			return fmt.Errorf("ledger up to %d: %w", b.LastSeq, err)
		}
	}
	return nil
}
