package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/refold-dev/refold/events/envelope"
	"github.com/refold-dev/refold/internal/edition"
	"github.com/refold-dev/refold/internal/fold"
	"github.com/refold-dev/refold/internal/journal"
	"github.com/refold-dev/refold/internal/localstack"
	"github.com/refold-dev/refold/internal/plane"
	"github.com/refold-dev/refold/internal/projector"
	"github.com/refold-dev/refold/internal/verify"
)

// Schemas of the comparisons, far from those that are built.
const (
	copyEdition  = 900
	naiveEdition = 901
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
	sample, err := b.sample(ctx, p)
	if err != nil {
		return err
	}
	for range b.rounds {
		if err := b.round(ctx, p, sample); err != nil {
			return err
		}
	}
	return b.batched(ctx, p)
}

func (b *bench) round(ctx context.Context, p *plane.Plane, sample []envelope.Event) error {
	if err := b.drain(ctx, p); err != nil {
		return err
	}
	number, err := b.replay(ctx, p, "with_history")
	if err != nil {
		return err
	}
	if err := b.naive(ctx, p, sample, number); err != nil {
		return err
	}
	if err := b.verify(ctx, p, number); err != nil {
		return err
	}
	if err := b.bareScan(ctx, p, number); err != nil {
		return err
	}
	if err := b.verifyInParts(ctx, p, number); err != nil {
		return err
	}
	if err := b.rawCopy(ctx, p, number, "with_history"); err != nil {
		return err
	}
	return b.repair(ctx, p, number) // the last one: the rows of this edition are not used again
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
	for range b.rounds {
		number, err := b.replay(ctx, p, "rows_only")
		if err != nil {
			return err
		}
		if err := b.rawCopy(ctx, p, number, "rows_only"); err != nil {
			return err
		}
	}
	return nil
}

// drain reads the stream and does nothing.
func (b *bench) drain(ctx context.Context, p *plane.Plane) error {
	b.note("drain")
	facts, err := p.Journal.Shard(0).Facts(ctx)
	if err != nil {
		return err
	}
	if err := b.calm(ctx); err != nil {
		return err
	}
	started := time.Now()
	if err := journal.Read(ctx, p.Journal.Shard(0), 0, facts.LastSeq, func(*envelope.Event) error { return nil }); err != nil {
		return err
	}
	b.say("drain", rate(int(facts.LastSeq), started), "events/s")
	return nil
}

// replay builds an edition: reading, folding, loading, keys, policies, checkpoint.
func (b *bench) replay(ctx context.Context, p *plane.Plane, set string) (int64, error) {
	b.note("replay " + set)
	if err := b.calm(ctx); err != nil {
		return 0, err
	}
	started := time.Now()
	var folded, indexing time.Duration
	number, err := p.Editions.Build(ctx, func(at edition.Progress) {
		switch {
		case at.Phase == "replay":
			folded = time.Since(started)
		case at.Phase == "load":
			indexing = time.Since(started)
		}
	})
	if err != nil {
		return 0, err
	}
	b.say("replay_"+set, rate(b.events, started), "events/s")
	b.say("replay_"+set+".read_and_fold", folded.Seconds(), "s")
	b.say("replay_"+set+".rest_of_load", (indexing - folded).Seconds(), "s")
	b.say("replay_"+set+".keys_and_policies", (time.Since(started) - indexing).Seconds(), "s")
	return number, nil
}

func (b *bench) verify(ctx context.Context, p *plane.Plane, number int64) error {
	b.note("verify")
	if err := b.calm(ctx); err != nil {
		return err
	}
	started := time.Now()
	var folded time.Duration
	report, err := runVerify(ctx, p, number, func(at verify.Progress) {
		if at.Phase == "compare" {
			folded = time.Since(started)
		}
	})
	if err != nil {
		return err
	}
	b.say("verify", rate(b.events, started), "events/s")
	b.say("verify_rows", rate(int(report.Rows), started), "rows/s")
	b.say("verify.read_and_fold", folded.Seconds(), "s")
	b.say("verify.compare", (time.Since(started) - folded).Seconds(), "s")
	return nil
}

func runVerify(ctx context.Context, p *plane.Plane, number int64, progress func(verify.Progress)) (*verify.Report, error) {
	report, err := verify.Run(ctx, verify.Config{
		DB: p.DB, Shard: p.Journal.Shard(0), Edition: number, Schema: fold.Tables, Fold: fold.Apply, Shape: p.Shape, Progress: progress,
	})
	if err == nil && !report.Clean {
		err = fmt.Errorf("edition %d is not clean: %+v", number, report.Differences)
	}
	return report, err
}

// bareScan reads the same rows out of the same tables and looks at nothing.
func (b *bench) bareScan(ctx context.Context, p *plane.Plane, number int64) error {
	rows, started := int64(0), time.Now()
	err := eachTable(ctx, p, number, func(conn *pgx.Conn, table string) error {
		tag, err := conn.PgConn().CopyTo(ctx, io.Discard, "COPY "+table+" TO STDOUT (FORMAT binary)")
		rows += tag.RowsAffected()
		return err
	})
	if err != nil {
		return err
	}
	b.say("bare_scan_rows", rate(int(rows), started), "rows/s")
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
	b.note("raw copy " + set)
	rows := map[string]*bytes.Buffer{}
	err := eachTable(ctx, p, number, func(conn *pgx.Conn, table string) error {
		rows[table] = &bytes.Buffer{}
		_, err := conn.PgConn().CopyTo(ctx, rows[table], "COPY "+table+" TO STDOUT (FORMAT binary)")
		return err
	})
	if err != nil {
		return err
	}
	if err := b.calm(ctx); err != nil {
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
	if err := p.DB.FinishEdition(ctx, copyEdition, false); err != nil {
		return err
	}
	b.say("raw_copy_"+set, rate(b.events, started), "events/s")
	return p.DB.DropEdition(ctx, copyEdition)
}

// batched is the live projector catching up on the first edition, which has folded nothing yet. The first batch is
// the start of the clock: claiming and connecting are not counted against it.
func (b *bench) batched(ctx context.Context, p *plane.Plane) error {
	b.note("batched upsert")
	facts, err := p.Journal.Shard(0).Facts(ctx)
	if err != nil {
		return err
	}
	if err := b.calm(ctx); err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var started time.Time
	events, batches := 0, 0
	err = projector.Run(ctx, projector.Config{
		DB: p.DB, Shard: p.Journal.Shard(0), Edition: 1, Schema: fold.Tables, Fold: fold.Apply,
		OnBatch: func(batch projector.Batch) {
			if started.IsZero() {
				started = time.Now()
				return
			}
			events, batches = events+len(batch.Events), batches+1
			if batch.Seq >= facts.LastSeq {
				b.say("batched_upsert", rate(events, started), "events/s")
				stop()
			}
		},
	})
	if err == nil && batches == 0 {
		return fmt.Errorf("the projector has committed no second batch: %w", ctx.Err())
	}
	b.say("batched_upsert.batch", float64(events)/float64(max(batches, 1)), "events")
	return err
}
