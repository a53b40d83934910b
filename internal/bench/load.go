package main

import (
	"context"
	"fmt"

	"github.com/refold-dev/refold/internal/bench/dataset"
	"github.com/refold-dev/refold/internal/plane"
)

// fill publishes the events of a data set (see dataset.Fill).
func (b *bench) fill(ctx context.Context, p *plane.Plane, history bool) error {
	b.note(fmt.Sprintf("fill the journal, with history: %v", history))
	return dataset.Fill(ctx, p, dataset.Set{Events: b.events, Tenants: b.tenants, Seed: b.seed, History: history})
}
