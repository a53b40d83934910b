package edition

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"
	"github.com/refold-dev/refold/internal/failpoint"
	"github.com/refold-dev/refold/internal/postgres/db"
)

// Abort gives up an edition that is being built, or that was built and never became live, and removes what there is of
// it. Its builder is fenced and finds out (ErrAborted); one that is frozen or cut off is not waited for. It is refused for
// an edition that is or was live (ErrWasLive: Retire), that a process answers readers from (ErrAnswering) or that there is not
// (ErrNoEdition). After a crash it is simply repeated.
func (m *Editions) Abort(ctx context.Context, number int64) error {
	err := m.DB.Unblocked(ctx, func(tx pgx.Tx) error { return m.markAborted(ctx, tx, number) })
	if err != nil {
		return fmt.Errorf("abort edition %d: %w", number, err)
	}
	if err := failpoint.Hit("edition.aborting"); err != nil {
		return err
	}
	if _, err := m.DB.Evict(ctx, number); err != nil {
		return err
	}
	if err := m.DB.DropEdition(ctx, number); err != nil {
		return err
	}
	return failpoint.Hit("edition.aborted")
}

func (m *Editions) markAborted(ctx context.Context, tx pgx.Tx, number int64) error {
	q := db.New(tx)
	if _, err := tx.Exec(ctx, "LOCK TABLE control.live IN SHARE ROW EXCLUSIVE MODE"); err != nil {
		return err
	}
	e, err := q.EditionByNumber(ctx, number)
	if errors.Is(err, pgx.ErrNoRows) {
		return ErrNoEdition
	}
	if err != nil {
		return err
	}
	was, err := q.EditionEverLive(ctx, number)
	if err == nil && was {
		err = ErrWasLive
	}
	if err == nil {
		err = notAnswered(ctx, q, number)
	}
	if err != nil || e.State == "retired" {
		return err // of a retired one, what a crash has left is dropped
	}
	// Whoever builds it holds locks in its schema while it loads; those would make us wait for what it has counted.
	if _, err := m.DB.Evict(ctx, number); err != nil {
		return err
	}
	epoch, err := q.EditionClaim(ctx, number)
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
	return nil
}

// notAnswered refuses an edition that a process answers readers from: a new version does so before its cutover.
func notAnswered(ctx context.Context, q *db.Queries, number int64) error {
	replicas, err := q.ReplicaList(ctx, seenWithin.Seconds())
	if err != nil {
		return err
	}
	for _, r := range replicas {
		if slices.Contains(r.Editions, number) {
			return fmt.Errorf("%w (%s)", ErrAnswering, r.ID)
		}
	}
	return nil
}
