package edition

import (
	"context"
	"fmt"
	"time"

	"github.com/refold-dev/refold/internal/postgres/db"
)

// CatchUp waits until projectors have brought every shard of an edition to the end the journal has now, and records
// that it has caught up. It does not project itself. It fails when a shard is stopped, and with ctx.
func (m *Editions) CatchUp(ctx context.Context, number int64, progress func(Progress)) error {
	pool, err := m.DB.Operator(ctx)
	if err != nil {
		return err
	}
	q := db.New(pool)
	for _, shard := range m.Shards {
		facts, err := shard.Facts(ctx)
		if err != nil {
			return err
		}
		params := db.CheckpointGetParams{Edition: number, Shard: int32(shard.Number())}
		for {
			cp, err := q.CheckpointGet(ctx, params)
			if err != nil {
				return fmt.Errorf("checkpoint of edition %d shard %d: %w", number, shard.Number(), err)
			}
			if cp.Stopped != nil {
				return fmt.Errorf("edition %d shard %d is stopped (%s): %w", number, shard.Number(), *cp.Stopped, ErrState)
			}
			if progress != nil {
				progress(Progress{Edition: number, Phase: "catch up", Shard: shard.Number(), Done: min(uint64(cp.Seq), facts.LastSeq), Total: facts.LastSeq})
			}
			if uint64(cp.Seq) >= facts.LastSeq {
				break
			}
			select {
			case <-ctx.Done():
				return fmt.Errorf("edition %d shard %d is at %d of %d: %w", number, shard.Number(), cp.Seq, facts.LastSeq, ctx.Err())
			case <-time.After(20 * time.Millisecond):
			}
		}
		if err := q.EditionShardCaughtUp(ctx, db.EditionShardCaughtUpParams{Edition: number, Shard: int32(shard.Number())}); err != nil {
			return err
		}
	}
	return nil
}
