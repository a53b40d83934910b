package plane

import (
	"context"

	"github.com/refold-dev/refold/events"
	"github.com/refold-dev/refold/events/envelope"
	"github.com/refold-dev/refold/internal/fold"
	"github.com/refold-dev/refold/internal/postgres/db"
	"github.com/refold-dev/refold/internal/verify"
)

const barrierEntity = "barrier"

func isBarrier(e *envelope.Event) bool {
	return e.Tenant == envelope.PlaneTenant && e.Entity == barrierEntity
}

// Barrier proves all editions of this binary's shape that are kept level at one position of a shard (see
// verify.Barrier). Of c, Progress, Pause and the bounds are used.
func (p *Plane) Barrier(ctx context.Context, shard int, actor string, c verify.Config) (*verify.BarrierReport, error) {
	pool, err := p.DB.Operator(ctx)
	if err != nil {
		return nil, err
	}
	all, err := db.New(pool).EditionList(ctx)
	if err != nil {
		return nil, err
	}
	c.DB, c.Shard, c.Schema, c.Fold, c.Shape = p.DB, p.Journal.Shard(shard), fold.Tables, p.Fold, p.Shape
	c.Signer = p.Reports.Signer
	b := verify.BarrierConfig{Config: c}
	for _, e := range all {
		if e.State == "serving" && e.Shape == p.Shape {
			b.Editions = append(b.Editions, e.Number)
		}
	}
	b.Raise = func(ctx context.Context, id string) (uint64, error) {
		return p.appendOwn(ctx, shard, barrierEntity, id, actor, &events.BarrierRaised{})
	}
	return verify.Barrier(ctx, b)
}
