package main

import (
	"context"
	"fmt"
	"time"

	"github.com/refold-dev/refold/internal/fold"
	"github.com/refold-dev/refold/internal/plane"
	"github.com/refold-dev/refold/internal/verify"
)

// verifyInParts verifies with memory for about a quarter of the rows: what it costs to read the journal and the tables
// four times.
func (b *bench) verifyInParts(ctx context.Context, p *plane.Plane, number int64) error {
	b.note("verify in 4 parts")
	if err := b.calm(ctx); err != nil {
		return err
	}
	config := verify.Config{
		DB: p.DB, Shard: p.Journal.Shard(0), Edition: number, Schema: fold.Tables, Fold: fold.Apply, Shape: p.Shape,
		MemoryBytes: b.events * 115, // between 3 and 4 times less than a verification reckons with
	}
	started := time.Now()
	report, err := verify.Run(ctx, config)
	if err != nil {
		return err
	}
	if !report.Clean || report.Parts < 4 {
		return fmt.Errorf("edition %d: %d parts, clean: %v", number, report.Parts, report.Clean)
	}
	b.say("verify_4_parts", rate(b.events, started), "events/s")
	b.say("verify_4_parts.parts", float64(report.Parts), "parts")
	return nil
}

// repairRowsMax is how many rows are repaired at most.
const repairRowsMax = 10_000

// repair changes rows behind refold's back, lets a verification find them, and repairs them.
func (b *bench) repair(ctx context.Context, p *plane.Plane, number int64) error {
	b.note("repair")
	pool, err := p.DB.Projector(ctx, number)
	if err != nil {
		return err
	}
	tag, err := pool.Exec(ctx, `UPDATE memory SET content = content || '!' WHERE (tenant_id, id) IN (SELECT tenant_id, id FROM memory LIMIT $1)`, repairRowsMax)
	if err != nil {
		return err
	}
	report, err := verify.Run(ctx, verify.Config{DB: p.DB, Shard: p.Journal.Shard(0), Edition: number, Schema: fold.Tables, Fold: fold.Apply, Shape: p.Shape, Signer: p.Reports.Signer})
	if err != nil {
		return err
	}
	if int64(report.Total) != tag.RowsAffected() {
		return fmt.Errorf("%d rows were changed, %d found", tag.RowsAffected(), report.Total)
	}
	if err := b.calm(ctx); err != nil {
		return err
	}
	started := time.Now()
	// Trusting the journal is part of it, and is said apart: it takes the same however few rows there are.
	var trusted time.Time
	done, err := p.Repair(ctx, verify.RepairConfig{Shard: p.Journal.Shard(0), Edition: number, Actor: "bench", Progress: func(at verify.Progress) {
		if at.Phase == "repair" && trusted.IsZero() {
			trusted = time.Now() // behind the first batch
		}
	}})
	if err != nil {
		return err
	}
	if got := done[len(done)-1].Entities; got != tag.RowsAffected() {
		return fmt.Errorf("%d rows were changed, %d repaired", tag.RowsAffected(), got)
	}
	b.say("repair_rows", rate(int(tag.RowsAffected()), started), "rows/s")
	b.say("repair_rows.until_first_batch", trusted.Sub(started).Seconds(), "s")
	return nil
}
