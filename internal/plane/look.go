package plane

import (
	"context"
	"fmt"

	"github.com/refold-dev/refold/internal/fold"
	"github.com/refold-dev/refold/internal/journal"
	"github.com/refold-dev/refold/internal/postgres"
	"github.com/refold-dev/refold/internal/verify"
)

// Look opens a plane without touching it: no control migration, no new journal, no edition. It fits beside a plane
// that an older binary runs. Only Stack, DB, Journal, Shape and Fold can be used; Close must be called.
func Look(ctx context.Context, c Config) (*Plane, error) {
	return begin(ctx, c, (*Plane).look)
}

func (p *Plane) look(ctx context.Context) (err error) {
	if p.Stack, err = p.stack(ctx); err != nil {
		return err
	}
	if p.DB, err = postgres.Open(ctx, p.Stack.PostgresURL()); err != nil {
		return err
	}
	if err = p.mustExist(ctx); err != nil {
		return err
	}
	p.Journal, err = journal.Open(ctx, p.Stack.NATS(), journal.Config{Shards: p.Shards})
	if err != nil {
		return fmt.Errorf("look at the journal: %w", err)
	}
	return nil
}

// PlanEdition says what an edition built by this binary would hold, against the live one. It works on a plane that
// was opened by Look, and writes nothing.
func (p *Plane) PlanEdition(ctx context.Context, progress func(verify.Progress)) (*verify.PlanReport, error) {
	return verify.Plan(ctx, verify.PlanConfig{
		DB: p.DB, Shards: p.Journal.Shards, Schema: fold.Tables, Fold: p.Fold, Shape: p.Shape,
		MemoryBytes: p.MemoryBytes, Progress: progress,
	})
}
