package edition

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/refold-dev/refold/internal/failpoint"
	"github.com/refold-dev/refold/internal/postgres/db"
	"github.com/refold-dev/refold/internal/projector"
)

// Resume takes a stop state off an edition's checkpoints, by its name: an operator has found out what happened to
// the journal or to the database and says that it may go on. The continuity check runs again at once, so a state
// that still holds comes back. It is refused when no shard of the edition is in that state, and with ErrPast for an edition that
// a reconciliation has given up.
func (m *Editions) Resume(ctx context.Context, number int64, state string) error {
	if state == string(projector.GivenUp) {
		return fmt.Errorf("edition %d was given up by a reconciliation and never goes on, build a new one: %w", number, ErrPast)
	}
	pool, err := m.DB.Operator(ctx)
	if err != nil {
		return err
	}
	resumed := int64(0)
	for _, shard := range m.Shards {
		n, err := db.New(pool).CheckpointResume(ctx, db.CheckpointResumeParams{Edition: number, Shard: int32(shard.Number()), Stopped: state})
		if err != nil {
			return fmt.Errorf("resume edition %d: %w", number, err)
		}
		resumed += n
	}
	if resumed == 0 {
		return fmt.Errorf("edition %d is not stopped by %q, see `refold status`: %w", number, state, ErrState)
	}
	return nil
}

// Retire removes an edition for good. It is refused while the edition is live anywhere, to one tenant even, while a
// process answers readers from it, and until cursorLife has passed since it last was live or answered from. After a
// crash it is simply repeated.
func (m *Editions) Retire(ctx context.Context, number int64, cursorLife time.Duration) error {
	pool, err := m.DB.Operator(ctx)
	if err != nil {
		return err
	}
	err = pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error { return m.markRetired(ctx, tx, number, cursorLife) })
	if err != nil {
		return fmt.Errorf("retire edition %d: %w", number, err)
	}
	if err := failpoint.Hit("edition.retired"); err != nil {
		return err
	}
	return m.DB.DropEdition(ctx, number)
}

func (m *Editions) markRetired(ctx context.Context, tx pgx.Tx, number int64, cursorLife time.Duration) error {
	q := db.New(tx)
	if _, err := tx.Exec(ctx, "LOCK TABLE control.live IN SHARE ROW EXCLUSIVE MODE"); err != nil {
		return err
	}
	e, err := q.EditionByNumber(ctx, number)
	if errors.Is(err, pgx.ErrNoRows) {
		return ErrNoEdition
	}
	if err != nil || e.State == "retired" {
		return err
	}
	lives, err := q.LiveList(ctx)
	if err != nil {
		return err
	}
	for _, l := range lives {
		if l.Edition == number {
			return ErrLive
		}
	}
	if err := notInUse(ctx, q, e, cursorLife); err != nil {
		return err
	}
	epoch, err := q.EditionClaim(ctx, number) // a builder that still works on it is fenced
	if err != nil {
		return err
	}
	if _, err := q.EditionSetState(ctx, db.EditionSetStateParams{State: "retired", Number: number, Epoch: epoch}); err != nil {
		return err
	}
	if err := errors.Join(q.CheckpointDelete(ctx, number), q.AppliedDelete(ctx, number)); err != nil {
		return err
	}
	if err := forgetKept(ctx, q, number); err != nil {
		return err
	}
	for _, shard := range m.Shards {
		params := db.EditionShardSetStateParams{State: "retired", Edition: number, Shard: int32(shard.Number())}
		if _, err := q.EditionShardSetState(ctx, params); err != nil {
			return err
		}
	}
	return q.LiveForgetPrevious(ctx, number)
}

// forgetKept deletes the digests of an edition, and what was proven by them.
func forgetKept(ctx context.Context, q *db.Queries, number int64) error {
	return cmp.Or(q.KeptShardDelete(ctx, number), q.KeptDigestDelete(ctx, number), q.ScrubDelete(ctx, number))
}

// notInUse refuses an edition that readers may still come back to.
func notInUse(ctx context.Context, q *db.Queries, e db.ControlEdition, cursorLife time.Duration) error {
	replicas, err := q.ReplicaList(ctx, seenWithin.Seconds())
	if err != nil {
		return err
	}
	for _, r := range replicas {
		if slices.Contains(r.Editions, e.Number) {
			return fmt.Errorf("%w (%s)", ErrAnswering, r.ID)
		}
	}
	used, err := q.FlipLastAway(ctx, e.Number)
	if err != nil {
		return err
	}
	if e.AnsweredAt != nil && e.AnsweredAt.After(used) {
		used = *e.AnsweredAt
	}
	if wait := cursorLife - time.Since(used); wait > 0 {
		return fmt.Errorf("%w for another %s", ErrCursors, wait.Round(time.Second))
	}
	return nil
}
