package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/refold-dev/refold/events"
	"github.com/refold-dev/refold/events/envelope"
	"github.com/refold-dev/refold/internal/edition"
	"github.com/refold-dev/refold/internal/fold"
	"github.com/refold-dev/refold/internal/localstack"
	"github.com/refold-dev/refold/internal/plane"
	"github.com/refold-dev/refold/internal/postgres/db"
	"github.com/refold-dev/refold/internal/verify"
)

// Schemas of the comparisons, far from those that are built.
const (
	copyEdition  = 900
	naiveEdition = 901
)

const (
	naiveEvents   = 4000
	batchedEvents = 60_000
)

// withHistory measures replay and verification of events with history beside everything they are compared with.
func (b *bench) withHistory(ctx context.Context) error {
	p, end, err := b.open(ctx, localstack.DurabilityRelaxed)
	if err != nil {
		return err
	}
	defer end()
	if err := b.fill(ctx, p, true); err != nil {
		return err
	}
	for _, part := range []func(context.Context, *plane.Plane) error{b.drain, b.naive} {
		if err := part(ctx, p); err != nil {
			return err
		}
	}
	number, err := b.replay(ctx, p, "with_history")
	if err != nil {
		return err
	}
	if err := b.verify(ctx, p, number); err != nil {
		return err
	}
	if err := b.rawCopy(ctx, p, number, "with_history"); err != nil {
		return err
	}
	return b.batched(ctx, p)
}

func (b *bench) rowsOnly(ctx context.Context) error {
	p, end, err := b.open(ctx, localstack.DurabilityRelaxed)
	if err != nil {
		return err
	}
	defer end()
	if err := b.fill(ctx, p, false); err != nil {
		return err
	}
	number, err := b.replay(ctx, p, "rows_only")
	if err != nil {
		return err
	}
	return b.rawCopy(ctx, p, number, "rows_only")
}

// drain reads the stream and does nothing.
func (b *bench) drain(ctx context.Context, p *plane.Plane) error {
	facts, err := p.Journal.Shard(0).Facts(ctx)
	if err != nil {
		return err
	}
	started := time.Now()
	if err := edition.Read(ctx, p.Journal.Shard(0), 0, facts.LastSeq, func(*envelope.Event) error { return nil }); err != nil {
		return err
	}
	b.say("drain", rate(int(facts.LastSeq), started), "events/s")
	return nil
}

func (b *bench) replay(ctx context.Context, p *plane.Plane, set string) (int64, error) {
	started := time.Now()
	number, err := p.Editions.Build(ctx, nil)
	if err != nil {
		return 0, err
	}
	b.say("replay_"+set, rate(b.events, started), "events/s")
	return number, nil
}

func (b *bench) verify(ctx context.Context, p *plane.Plane, number int64) error {
	started := time.Now()
	report, err := verify.Run(ctx, verify.Config{
		DB: p.DB, Shard: p.Journal.Shard(0), Edition: number, Schema: fold.Tables, Fold: fold.Apply, Shape: p.Shape,
	})
	if err != nil {
		return err
	}
	if !report.Clean {
		return fmt.Errorf("edition %d is not clean: %+v", number, report.Differences)
	}
	b.say("verify", rate(b.events, started), "events/s")
	b.say("verify_rows", rate(int(report.Rows), started), "rows/s")
	started = time.Now()
	if err := eachTable(ctx, p, number, func(conn *pgx.Conn, table string) error {
		_, err := conn.PgConn().CopyTo(ctx, io.Discard, "COPY "+table+" TO STDOUT (FORMAT binary)")
		return err
	}); err != nil {
		return err
	}
	b.say("bare_scan_rows", rate(int(report.Rows), started), "rows/s")
	return nil
}

func eachTable(ctx context.Context, p *plane.Plane, number int64, do func(conn *pgx.Conn, table string) error) error {
	tables, err := p.DB.TableNames(ctx, number)
	if err != nil {
		return err
	}
	pool, err := p.DB.OwnerOf(ctx, number)
	if err != nil {
		return err
	}
	conn, err := pool.Acquire(ctx)
	if err != nil {
		return err
	}
	defer conn.Release()
	for _, table := range tables {
		if err := do(conn.Conn(), table); err != nil {
			return fmt.Errorf("table %s: %w", table, err)
		}
	}
	return nil
}

// rawCopy loads the same final rows from memory into bare tables and makes the same keys and policies: what no
// replay can be quicker than.
func (b *bench) rawCopy(ctx context.Context, p *plane.Plane, number int64, set string) error {
	rows := map[string]*bytes.Buffer{}
	err := eachTable(ctx, p, number, func(conn *pgx.Conn, table string) error {
		rows[table] = &bytes.Buffer{}
		_, err := conn.PgConn().CopyTo(ctx, rows[table], "COPY "+table+" TO STDOUT (FORMAT binary)")
		return err
	})
	if err != nil {
		return err
	}
	started := time.Now()
	if err := p.DB.CreateEdition(ctx, copyEdition); err != nil {
		return err
	}
	err = eachTable(ctx, p, copyEdition, func(conn *pgx.Conn, table string) error {
		_, err := conn.PgConn().CopyFrom(ctx, rows[table], "COPY "+table+" FROM STDIN (FORMAT binary)")
		return err
	})
	if err != nil {
		return err
	}
	if err := p.DB.FinishEdition(ctx, copyEdition); err != nil {
		return err
	}
	b.say("raw_copy_"+set, rate(b.events, started), "events/s")
	return p.DB.DropEdition(ctx, copyEdition)
}

// batched is the live projector on the first edition, which has folded nothing yet.
func (b *bench) batched(ctx context.Context, p *plane.Plane) error {
	running, stop := context.WithCancel(ctx)
	done := make(chan error, 1)
	pool, err := p.DB.Operator(ctx)
	if err != nil {
		stop()
		return err
	}
	goal := int64(min(batchedEvents, b.events))
	started := time.Now()
	go func() { done <- p.Run(running) }()
	for {
		cp, err := db.New(pool).CheckpointGet(ctx, db.CheckpointGetParams{Edition: 1, Shard: 0})
		if err != nil {
			stop()
			return err
		}
		if cp.Seq >= goal {
			b.say("batched_upsert", rate(int(cp.Seq), started), "events/s")
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	stop()
	return <-done
}

// naive projects with a transaction for each event, as one would write it first: no working set, no batches.
func (b *bench) naive(ctx context.Context, p *plane.Plane) error {
	if err := p.DB.CreateEdition(ctx, naiveEdition); err != nil {
		return err
	}
	if err := p.DB.FinishEdition(ctx, naiveEdition); err != nil {
		return err
	}
	pool, err := p.DB.OwnerOf(ctx, naiveEdition)
	if err != nil {
		return err
	}
	if _, err := pool.Exec(ctx, "CREATE TABLE naive_checkpoint (tenant_id text NOT NULL, seq bigint NOT NULL); INSERT INTO naive_checkpoint VALUES ('', 0)"); err != nil {
		return err
	}
	conn, err := pool.Acquire(ctx)
	if err != nil {
		return err
	}
	n, started := 0, time.Now()
	err = edition.Read(ctx, p.Journal.Shard(0), 1, uint64(b.tenants+1+naiveEvents), func(e *envelope.Event) error {
		if e.Tenant == envelope.PlaneTenant {
			started = time.Now()
			return nil
		}
		n++
		return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error { return naiveEvent(ctx, tx, e) })
	})
	conn.Release()
	if err != nil {
		return err
	}
	b.say("naive", rate(n, started), "events/s")
	return p.DB.DropEdition(ctx, naiveEdition)
}

func naiveEvent(ctx context.Context, tx pgx.Tx, e *envelope.Event) error {
	if _, err := tx.Exec(ctx, "UPDATE naive_checkpoint SET seq = $1 WHERE seq < $1", int64(e.Seq)); err != nil {
		return err
	}
	payload, err := events.Decode(e.Kind, e.Data)
	if err != nil {
		return err
	}
	switch payload := payload.(type) {
	case *events.MemoryAdded:
		_, err = tx.Exec(ctx, `INSERT INTO memory (tenant_id, id, version, user_id, app_id, content, metadata, state, created_at, updated_at)
			VALUES ($1, $2, $3, $4, $5, $6, $7, 'active', $8, $8)`, e.Tenant, e.ID, e.Version, payload.UserID, payload.AppID, payload.Private.Content, payload.Private.Metadata, e.Time)
	case *events.MemoryChanged:
		_, err = tx.Exec(ctx, "UPDATE memory SET content = $4, version = $3, updated_at = $5 WHERE tenant_id = $1 AND id = $2", e.Tenant, e.ID, e.Version, payload.Private.Content, e.Time)
	case *events.MemoryPaused:
		var old string
		if err := tx.QueryRow(ctx, "SELECT state FROM memory WHERE tenant_id = $1 AND id = $2", e.Tenant, e.ID).Scan(&old); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, "UPDATE memory SET state = 'paused', version = $3, updated_at = $4 WHERE tenant_id = $1 AND id = $2", e.Tenant, e.ID, e.Version, e.Time); err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `INSERT INTO memory_status (tenant_id, memory_id, seq, ordinal, version, id, changed_by, old_state, new_state, changed_at)
			VALUES ($1, $2, $3, 0, $4, $5, $6, $7, 'paused', $8)`, e.Tenant, e.ID, int64(e.Seq), e.Version, envelope.RowID(e.EventID), payload.By, old, e.Time)
	default:
		return fmt.Errorf("the benchmark publishes no %s", e.Kind)
	}
	return err
}
