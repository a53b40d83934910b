package main

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/refold-dev/refold/events"
	"github.com/refold-dev/refold/events/envelope"
	"github.com/refold-dev/refold/internal/edition"
	"github.com/refold-dev/refold/internal/journal"
	"github.com/refold-dev/refold/internal/plane"
	"github.com/refold-dev/refold/internal/postgres"
)

// naiveEvents bounds the sample of the naive projector, which is slow.
const naiveEvents = 3000

// sample returns all events of some memories, in the order of the stream: kinds are mixed as they are in the whole.
func (b *bench) sample(ctx context.Context, p *plane.Plane) ([]envelope.Event, error) {
	facts, err := p.Journal.Shard(0).Facts(ctx)
	if err != nil {
		return nil, err
	}
	parts := max(b.events/naiveEvents, 1)
	var out []envelope.Event
	err = journal.Read(ctx, p.Journal.Shard(0), 0, facts.LastSeq, func(e *envelope.Event) error {
		if e.Entity == "memory" && edition.Part(e.Key, parts) == 0 {
			out = append(out, *e)
		}
		return nil
	})
	return out, err
}

// naive projects as one would write it first: a transaction for each event, no batches, no working set. It is given
// its events in memory, tables that stay small and no digests to compute; and it must come to the rows of the replay.
func (b *bench) naive(ctx context.Context, p *plane.Plane, sample []envelope.Event, replayed int64) error {
	b.note("naive")
	if err := p.DB.CreateEdition(ctx, naiveEdition); err != nil {
		return err
	}
	if err := p.DB.FinishEdition(ctx, naiveEdition, false); err != nil {
		return err
	}
	pool, err := p.DB.OwnerOf(ctx, naiveEdition)
	if err != nil {
		return err
	}
	_, err = pool.Exec(ctx, "CREATE TABLE naive_checkpoint (shard int PRIMARY KEY, seq bigint NOT NULL); INSERT INTO naive_checkpoint VALUES (0, 0)")
	if err != nil {
		return err
	}
	if err := b.calm(ctx); err != nil {
		return err
	}
	if err := b.projectEach(ctx, pool, sample); err != nil {
		return err
	}
	if err := sameRows(ctx, pool, postgres.SchemaName(replayed)); err != nil {
		return err
	}
	return p.DB.DropEdition(ctx, naiveEdition)
}

func (b *bench) projectEach(ctx context.Context, pool *pgxpool.Pool, sample []envelope.Event) error {
	conn, err := pool.Acquire(ctx)
	if err != nil {
		return err
	}
	defer conn.Release()
	started := time.Now()
	for i := range sample {
		if err := pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error { return naiveEvent(ctx, tx, &sample[i]) }); err != nil {
			return fmt.Errorf("naive projector: event %d: %w", sample[i].Seq, err)
		}
	}
	b.say("naive", rate(len(sample), started), "events/s")
	return nil
}

func naiveEvent(ctx context.Context, tx pgx.Tx, e *envelope.Event) error {
	moved, err := tx.Exec(ctx, "UPDATE naive_checkpoint SET seq = $1 WHERE shard = 0 AND seq < $1", int64(e.Seq))
	if err != nil || moved.RowsAffected() != 1 {
		return fmt.Errorf("the checkpoint did not move: %w", err)
	}
	payload, err := events.Decode(e.Kind, e.Data)
	if err != nil {
		return err
	}
	switch payload := payload.(type) {
	case *events.MemoryAdded:
		_, err = tx.Exec(ctx, `INSERT INTO memory (tenant_id, id, version, user_id, app_id, content, metadata, state, created_at, updated_at)
			VALUES ($1, $2, $3, $4, $5, $6, $7, 'active', $8, $8)
			ON CONFLICT (tenant_id, id) DO UPDATE SET version = excluded.version, content = excluded.content, updated_at = excluded.updated_at`,
			e.Tenant, e.ID, e.Version, payload.UserID, payload.AppID, payload.Private.Content, payload.Private.Metadata, e.Time)
	case *events.MemoryChanged:
		_, err = tx.Exec(ctx, "UPDATE memory SET content = $4, version = $3, updated_at = $5 WHERE tenant_id = $1 AND id = $2",
			e.Tenant, e.ID, e.Version, payload.Private.Content, e.Time)
	case *events.MemoryPaused:
		return naivePaused(ctx, tx, e, payload)
	default:
		return fmt.Errorf("the benchmark publishes no %s", e.Kind)
	}
	return err
}

func naivePaused(ctx context.Context, tx pgx.Tx, e *envelope.Event, payload *events.MemoryPaused) error {
	_, err := tx.Exec(ctx, `INSERT INTO memory_status (tenant_id, memory_id, seq, ordinal, version, id, changed_by, old_state, new_state, changed_at)
		SELECT $1, $2, $3, 0, $4, $5, $6, state, 'paused', $7 FROM memory WHERE tenant_id = $1 AND id = $2`,
		e.Tenant, e.ID, int64(e.Seq), e.Version, envelope.RowID("memory_status", e.Tenant, e.ID, e.EventID), payload.By, e.Time)
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, "UPDATE memory SET state = 'paused', version = $3, updated_at = $4 WHERE tenant_id = $1 AND id = $2", e.Tenant, e.ID, e.Version, e.Time)
	return err
}

// sameRows fails unless every row of the naive projector is one of the replay's: it has done the same work.
func sameRows(ctx context.Context, pool *pgxpool.Pool, replayed string) error {
	for _, table := range []string{"memory", "memory_status"} {
		var rows, other int
		err := pool.QueryRow(ctx, "SELECT count(*), (SELECT count(*) FROM (TABLE "+table+" EXCEPT TABLE "+replayed+"."+table+") AS d) FROM "+table).Scan(&rows, &other)
		if err != nil {
			return err
		}
		if rows == 0 || other > 0 {
			return fmt.Errorf("naive projector: %d of %d rows of table %s are not those of the replay", other, rows, table)
		}
	}
	return nil
}
