package writer

import (
	"context"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"github.com/refold-dev/refold/internal/journal"
	"github.com/refold-dev/refold/internal/reader"
)

const (
	// BulkMax bounds the memories that one call moves.
	BulkMax = 1000
	// bulkInFlight bounds the commands of one call that are under way: enough to share the journal's commits.
	bulkInFlight = 64
)

// Move is what is done to each memory of many.
type Move string

// The moves.
const (
	MoveArchive  Move = "archive"
	MovePause    Move = "pause"
	MoveActivate Move = "activate"
	MoveDelete   Move = "delete"
)

// target is the state that memories have after the move.
func (m Move) target() string {
	return map[Move]string{MoveArchive: "archived", MovePause: "paused", MoveActivate: "active", MoveDelete: "deleted"}[m]
}

// Moved is what became of one memory. Err is as that of the command about this memory alone.
type Moved struct {
	ID uuid.UUID
	Done
	Err error
}

// MoveMemories moves memories one by one, each by a command of its own under the same idempotency key, and returns what
// became of each, in order: some may be refused, and some unknown, while others are done. The whole may be repeated,
// which repeats nothing that is done. It fails, and then has begun nothing, only where no command is taken.
func (w *Writer) MoveMemories(ctx context.Context, c Caller, wish Wish, move Move, ids []uuid.UUID) ([]Moved, error) {
	if _, _, err := w.open(ctx, c); err != nil {
		return nil, err
	}
	run := map[Move]func(context.Context, Caller, Wish, uuid.UUID) (Done, error){
		MoveArchive: w.ArchiveMemory, MovePause: w.PauseMemory, MoveActivate: w.ActivateMemory, MoveDelete: w.DeleteMemory,
	}[move]
	moved := make([]Moved, len(ids))
	var group errgroup.Group
	group.SetLimit(bulkInFlight)
	for i, id := range ids {
		group.Go(func() error {
			done, err := run(ctx, c, wish, id)
			moved[i] = Moved{id, done, err}
			return nil
		})
	}
	return moved, group.Wait()
}

// MoveSelected is MoveMemories for up to BulkMax of the memories that a filter selects in the rows as they are, without
// those that are in that state already; more tells that there are others. Whoever repeats it until there are no more,
// each time once the rows have what was done, has moved all. A filter without states selects the active and paused ones,
// for a deletion also the archived ones.
func (w *Writer) MoveSelected(ctx context.Context, c Caller, wish Wish, move Move, f reader.Freshness, filter reader.MemoryFilter) (moved []Moved, more bool, err error) {
	if filter.States == nil {
		filter.States = []string{"active", "paused"}
		if move == MoveDelete {
			filter.States = append(filter.States, "archived")
		}
	}
	states := []string{}
	for _, state := range filter.States {
		if state != move.target() {
			states = append(states, state)
		}
	}
	filter.States = states
	ids, err := w.reader.MemoryIDs(ctx, c.Reads(), f, filter, BulkMax+1)
	if err != nil {
		return nil, false, journal.Unavailable(err)
	}
	if more = len(ids) > BulkMax; more {
		ids = ids[:BulkMax]
	}
	moved, err = w.MoveMemories(ctx, c, wish, move, ids)
	return moved, more, err
}
