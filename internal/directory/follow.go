package directory

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/refold-dev/refold/events/envelope"
	"github.com/refold-dev/refold/internal/journal"
	"github.com/refold-dev/refold/internal/postgres"
	"github.com/refold-dev/refold/internal/postgres/db"
	"golang.org/x/sync/errgroup"
)

// Fold reads a tenant out of one of the plane's events; false for events that are about no tenant.
type Fold func(e *envelope.Event) (Tenant, bool, error)

// Directory answers from memory; what is not there it asks the control table for, where another process may have
// put it. It is safe for concurrent use.
type Directory struct {
	DB     *postgres.DB
	Shards []journal.Shard
	Fold   Fold
	Logger *slog.Logger

	mu      sync.RWMutex
	tenants map[string]Tenant
}

// Place says in which shard a new tenant is to live: always the same one, so that two operators cannot create a
// tenant twice.
func Place(tenant string, shards int) int {
	h := fnv.New64a()
	h.Write([]byte(tenant))
	return int((h.Sum64() >> 16) % uint64(shards))
}

// Tenant returns a tenant or ErrNoTenant.
func (d *Directory) Tenant(ctx context.Context, id string) (Tenant, error) {
	d.mu.RLock()
	t, ok := d.tenants[id]
	d.mu.RUnlock()
	if ok {
		return t, nil
	}
	if !envelope.ValidTenant(id) {
		return Tenant{}, ErrNoTenant
	}
	pool, err := d.DB.Operator(ctx)
	if err != nil {
		return Tenant{}, err
	}
	row, err := db.New(pool).TenantGet(ctx, id)
	if errors.Is(err, pgx.ErrNoRows) {
		return Tenant{}, ErrNoTenant
	}
	if err != nil {
		return Tenant{}, fmt.Errorf("tenant: %w", err)
	}
	t = ofRow(row)
	d.remember(t)
	return t, nil
}

// List returns all tenants by id.
func (d *Directory) List(ctx context.Context) ([]Tenant, error) {
	pool, err := d.DB.Operator(ctx)
	if err != nil {
		return nil, err
	}
	all, err := db.New(pool).TenantList(ctx)
	if err != nil {
		return nil, fmt.Errorf("list tenants: %w", err)
	}
	out := make([]Tenant, 0, len(all))
	for _, row := range all {
		out = append(out, ofRow(row))
	}
	return out, nil
}

// Apply folds one event of the plane into the control table and memory. It may be repeated, in any order.
func (d *Directory) Apply(ctx context.Context, e *envelope.Event) error {
	t, ok, err := d.Fold(e)
	if err != nil {
		return fmt.Errorf("tenant event %d of shard %d: %w", e.Seq, e.Shard, err)
	}
	if !ok {
		return nil
	}
	pool, err := d.DB.Operator(ctx)
	if err != nil {
		return err
	}
	err = db.New(pool).TenantUpsert(ctx, db.TenantUpsertParams{
		TenantID: t.ID, Shard: int32(t.Shard), Name: t.Name, IDKey: t.Key, Seq: int64(e.Seq), CreatedAt: t.Created,
	})
	if err != nil {
		return fmt.Errorf("store tenant %s: %w", t.ID, err)
	}
	d.remember(t)
	return nil
}

// Run follows the plane's events of all shards until ctx ends.
func (d *Directory) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	for _, shard := range d.Shards {
		group.Go(func() error {
			for ctx.Err() == nil {
				if err := d.follow(ctx, shard); err != nil && ctx.Err() == nil {
					d.Logger.Warn("cannot follow tenant events", "shard", shard.Number(), "error", err)
					select {
					case <-ctx.Done():
					case <-time.After(time.Second):
					}
				}
			}
			return nil
		})
	}
	return group.Wait()
}

func (d *Directory) follow(ctx context.Context, shard journal.Shard) error {
	follower, err := shard.Follow(ctx, journal.FollowOptions{Tenant: envelope.PlaneTenant})
	if err != nil {
		return err
	}
	defer follower.Close()
	for {
		batch, err := follower.Next(ctx, 0, 0)
		if err != nil {
			return err
		}
		for i := range batch {
			if err := d.Apply(ctx, &batch[i]); err != nil {
				return err
			}
		}
	}
}

// CatchUp returns when the control table has every tenant that the journal has at the call: after a restore of an older
// database Run may still be on its way there.
func (d *Directory) CatchUp(ctx context.Context) error {
	for _, shard := range d.Shards {
		if err := d.catchUp(ctx, shard); err != nil {
			return fmt.Errorf("tenants of shard %d: %w", shard.Number(), err)
		}
	}
	return nil
}

func (d *Directory) catchUp(ctx context.Context, shard journal.Shard) error {
	left, err := shard.Count(ctx, envelope.PlaneTenant, 0)
	if err != nil || left == 0 {
		return err
	}
	follower, err := shard.Follow(ctx, journal.FollowOptions{Tenant: envelope.PlaneTenant})
	if err != nil {
		return err
	}
	defer follower.Close()
	for left > 0 {
		batch, err := follower.Next(ctx, int(min(left, catchUpBatch)), 0)
		if err != nil {
			return err
		}
		for i := range batch {
			if err := d.Apply(ctx, &batch[i]); err != nil {
				return err
			}
		}
		left -= uint64(len(batch))
	}
	return nil
}

const catchUpBatch = 1000

func (d *Directory) remember(t Tenant) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.tenants == nil {
		d.tenants = map[string]Tenant{}
	}
	d.tenants[t.ID] = t
}

func ofRow(row db.ControlTenant) Tenant {
	return Tenant{ID: row.TenantID, Name: row.Name, Shard: int(row.Shard), Key: row.IDKey, Created: row.CreatedAt.UTC()}
}
