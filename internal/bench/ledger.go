package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/refold-dev/refold/events/envelope"
	"github.com/refold-dev/refold/internal/fold"
	"github.com/refold-dev/refold/internal/journal"
	"github.com/refold-dev/refold/internal/localstack"
	"github.com/refold-dev/refold/internal/plane"
	"github.com/refold-dev/refold/internal/projector"
)

// singlesMax bounds the events that are projected one by one.
const singlesMax = 2000

// ledger measures what it costs a projector to note what it has folded, in full batches and event by event.
func (b *bench) ledger(ctx context.Context) error {
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
	for _, single := range []bool{false, true} {
		for _, without := range b.inTurns() {
			if err := b.noted(ctx, p, single, without); err != nil {
				return err
			}
		}
	}
	b.over("ratio.projector_with_ledger_over_without", "projector_with_ledger", "projector_without_ledger")
	b.over("ratio.projector_with_ledger_over_without_one_by_one", "projector_with_ledger_one_by_one", "projector_without_ledger_one_by_one")
	return nil
}

// noted is the live projector on its way from an empty edition to the end of the journal, or one event after the other.
// The first batch starts the clock.
func (b *bench) noted(ctx context.Context, p *plane.Plane, single, without bool) error {
	name := "projector_with_ledger"
	c := projector.Config{DB: p.DB, Shard: p.Journal.Shard(0), Edition: 1, Schema: fold.Tables, Fold: fold.Apply}
	if without {
		name, c.LedgerEvents = "projector_without_ledger", -1
	}
	facts, err := c.Shard.Facts(ctx)
	if err != nil {
		return err
	}
	goal := min(facts.LastSeq, projectedMax)
	if single {
		name, c.Shard, goal = name+"_one_by_one", oneByOne{c.Shard}, min(goal, singlesMax)
	}
	b.note(name)
	if err := errors.Join(b.backToStart(ctx, p), b.calm(ctx)); err != nil {
		return err
	}
	running, stop := context.WithCancel(ctx)
	defer stop()
	var started time.Time
	events, level := 0, false
	c.OnBatch = func(batch projector.Batch) {
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
	}
	if err := projector.Run(running, c); err != nil || level {
		return err
	}
	return fmt.Errorf("the projector ended before sequence %d: %w", goal, ctx.Err())
}

// oneByOne is a shard whose events come one by one, as on an idle plane.
type oneByOne struct{ journal.Shard }

func (s oneByOne) Follow(ctx context.Context, o journal.FollowOptions) (journal.Follower, error) {
	f, err := s.Shard.Follow(ctx, o)
	return oneFollower{f}, err
}

type oneFollower struct{ journal.Follower }

func (f oneFollower) Next(ctx context.Context, _, bytesMax int) ([]envelope.Event, error) {
	return f.Follower.Next(ctx, 1, bytesMax)
}
