package projector

import (
	"context"
	"fmt"
	"time"

	"github.com/refold-dev/refold/events/envelope"
	"github.com/refold-dev/refold/internal/postgres"
)

// BarrierWait is how long a projector waits at a barrier at most, whatever becomes of who has raised it.
const BarrierWait = 5 * time.Second

// BarrierLock names the advisory lock (see postgres.DB.TryLock) for which a projector waits at the barrier of an id. Who
// takes it before the barrier is appended finds every projector standing exactly there, until the lock ends, with its
// holder's connection at the latest.
func BarrierLock(id string) string { return "refold barrier " + id }

// untilBarrier cuts behind the first barrier.
func (p *projector) untilBarrier(events []envelope.Event) (batch []envelope.Event, barrier bool) {
	if p.Barrier == nil {
		return events, false
	}
	for i := range events {
		if p.Barrier(&events[i]) {
			return events[:i+1], true
		}
	}
	return events, false
}

// hold waits at a barrier while somebody wants us to.
func (p *projector) hold(ctx context.Context, id string) error {
	err := postgres.AwaitLock(ctx, p.conn, BarrierLock(id), BarrierWait)
	if postgres.IsLockTimeout(err) {
		p.Logger.Warn("nobody has released the barrier; going on", "edition", p.Edition, "barrier", id)
		return nil
	}
	if err != nil {
		return fmt.Errorf("wait at barrier %s: %w", id, err)
	}
	return nil
}
