package directory

import (
	"context"
	"errors"

	"github.com/refold-dev/refold/events/envelope"
	"github.com/refold-dev/refold/internal/journal"
)

// Guard returns the shard with an Append that refuses the events of suspended tenants (ErrSuspended) and of absent ones
// (ErrNoTenant). It asks right before it appends and lets no tenant change meanwhile: once Apply has returned from a
// suspension, nothing of that tenant is appended by this process, however long ago the command began.
func (d *Directory) Guard(shard journal.Shard) journal.Shard { return guarded{shard, d} }

type guarded struct {
	journal.Shard
	directory *Directory
}

func (g guarded) Append(ctx context.Context, e *envelope.Event, last uint64) (journal.Receipt, error) {
	if _, err := g.directory.Tenant(ctx, e.Tenant); errors.Is(err, ErrNoTenant) { // brings it into memory
		return journal.Receipt{}, err
	} else if err != nil {
		return journal.Receipt{}, journal.Unavailable(err)
	}
	entry := g.directory.entry(e.Tenant)
	entry.gate.RLock()
	defer entry.gate.RUnlock()
	switch entry.tenant.Load().Standing {
	case Active:
		return g.Shard.Append(ctx, e, last)
	case Suspended:
		return journal.Receipt{}, ErrSuspended
	case Removed:
	}
	return journal.Receipt{}, ErrNoTenant
}
