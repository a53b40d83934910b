package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/refold-dev/refold/internal/fold"
	"github.com/refold-dev/refold/internal/localstack"
	"github.com/refold-dev/refold/internal/plane"
	"github.com/refold-dev/refold/internal/projector"
	"github.com/refold-dev/refold/internal/verify"
)

// kept measures what it costs a projector to keep digests, and how fast rows are held against them beside a binary COPY of
// the same rows to a client that throws them away.
func (b *bench) kept(ctx context.Context) error {
	p, end, err := b.open(ctx, localstack.DurabilityRelaxed)
	if err != nil {
		return err
	}
	defer end()
	if err := b.rememberStart(ctx, p); err != nil {
		return err
	}
	if err := b.fill(ctx, p, true); err != nil {
		return err
	}
	for _, none := range b.inTurns() {
		if err := b.projected(ctx, p, none); err != nil {
			return err
		}
		if none {
			continue // nothing is kept to verify by
		}
		if err := b.quick(ctx, p); err != nil {
			return err
		}
	}
	b.keptRatios()
	return nil
}

// inTurns is the order in which something is measured with and without: as often the one first as the other, because the
// second finds what the first has left behind.
func (b *bench) inTurns() (without []bool) {
	for range (b.rounds + 1) / 2 {
		without = append(without, true, false, false, true)
	}
	return without
}

// projectedMax bounds the events that a projector is timed over.
const projectedMax = 100_000

func (b *bench) keptRatios() {
	b.over("ratio.projector_with_digests_over_without", "projector_with_digests", "projector_without_digests")
	b.over("ratio.quick_verify_over_copy_on_one_core", "quick_verify_one_core", "copy_to_client_one_core")
	b.over("ratio.quick_verify_over_copy", "quick_verify", "copy_to_client")
}

// rememberStart keeps how the first edition begins, and backToStart brings it there again: no edition but the first one
// begins at the start of a journal.
func (b *bench) rememberStart(ctx context.Context, p *plane.Plane) error {
	return b.onEdition(ctx, p, "CREATE SCHEMA start", "CREATE TABLE start.checkpoint AS TABLE control.checkpoint",
		"CREATE TABLE start.kept_shard AS TABLE control.kept_shard", "CREATE TABLE start.kept_digest AS TABLE control.kept_digest")
}

func (b *bench) backToStart(ctx context.Context, p *plane.Plane) error {
	tables, err := p.DB.TableNames(ctx, 1)
	if err != nil {
		return err
	}
	var statements []string
	for _, table := range append(tables, "control.applied") {
		statements = append(statements, "TRUNCATE "+table)
	}
	for _, table := range []string{"checkpoint", "kept_shard", "kept_digest"} {
		statements = append(statements, "TRUNCATE control."+table, "INSERT INTO control."+table+" SELECT * FROM start."+table)
	}
	return b.onEdition(ctx, p, statements...)
}

func (b *bench) onEdition(ctx context.Context, p *plane.Plane, statements ...string) error {
	pool, err := p.DB.OwnerOf(ctx, 1)
	if err != nil {
		return err
	}
	for _, sql := range statements {
		if _, err := pool.Exec(ctx, sql); err != nil {
			return fmt.Errorf("%s: %w", sql, err)
		}
	}
	return nil
}

// projected is the live projector on its way from an empty edition to the end of the journal. The first batch starts the
// clock.
func (b *bench) projected(ctx context.Context, p *plane.Plane, none bool) error {
	name := "projector_with_digests"
	if none {
		name = "projector_without_digests"
	}
	b.note(name)
	if err := errors.Join(b.backToStart(ctx, p), b.calm(ctx)); err != nil {
		return err
	}
	facts, err := p.Journal.Shard(0).Facts(ctx)
	if err != nil {
		return err
	}
	goal := min(facts.LastSeq, projectedMax)
	running, stop := context.WithCancel(ctx)
	defer stop()
	var started time.Time
	events, level := 0, false
	err = projector.Run(running, projector.Config{
		DB: p.DB, Shard: p.Journal.Shard(0), Edition: 1, Schema: fold.Tables, Fold: fold.Apply, KeepNoDigests: none,
		OnBatch: func(batch projector.Batch) {
			if started.IsZero() {
				started = time.Now()
				return
			}
			events += len(batch.Events)
			if batch.Seq >= goal && !level {
				b.say(name, rate(events, started), "events/s")
				level = true
				stop()
			}
		},
	})
	if err == nil && !level {
		return fmt.Errorf("the projector ended before sequence %d: %w", goal, ctx.Err())
	}
	return err
}

// quick verifies on one core and on all, each beside a COPY by one connection with as many.
func (b *bench) quick(ctx context.Context, p *plane.Plane) error {
	for _, one := range []bool{true, false} {
		suffix := ""
		if one {
			suffix = "_one_core"
		}
		if err := b.quickOn(ctx, p, suffix, one); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) quickOn(ctx context.Context, p *plane.Plane, suffix string, one bool) error {
	b.note("quick verify" + suffix)
	if one {
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	}
	if err := b.calm(ctx); err != nil {
		return err
	}
	started := time.Now()
	report, err := verify.Quick(ctx, verify.QuickConfig{DB: p.DB, Edition: 1})
	if err != nil {
		return err
	}
	if !report.Clean {
		return fmt.Errorf("the edition is not what its digests say: %+v", report.Differences)
	}
	b.say("quick_verify"+suffix, rate(int(report.Rows), started), "rows/s")
	started = time.Now()
	rows := int64(0)
	err = eachTable(ctx, p, 1, func(conn *pgx.Conn, table string) error {
		tag, err := conn.PgConn().CopyTo(ctx, io.Discard, "COPY "+table+" TO STDOUT (FORMAT binary)")
		rows += tag.RowsAffected()
		return err
	})
	if err == nil && rows != report.Rows {
		err = fmt.Errorf("%d rows were copied, %d verified", rows, report.Rows)
	}
	if err != nil {
		return err
	}
	b.say("copy_to_client"+suffix, rate(int(rows), started), "rows/s")
	return nil
}
