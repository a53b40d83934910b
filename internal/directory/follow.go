package directory

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/refold-dev/refold/events/envelope"
	"github.com/refold-dev/refold/internal/journal"
	"github.com/refold-dev/refold/internal/postgres"
	"github.com/refold-dev/refold/internal/postgres/db"
	"golang.org/x/sync/errgroup"
)

// Fold folds one of a tenant's events into what the ones before it made; the zero Tenant for the first.
type Fold func(t Tenant, e *envelope.Event) (Tenant, error)

// Directory answers from memory; what is not there it asks the control table for, where another process may have
// put it. It is safe for concurrent use.
type Directory struct {
	DB     *postgres.DB
	Shards []journal.Shard
	Fold   Fold
	Logger *slog.Logger

	mu      sync.RWMutex
	tenants map[string]*entry

	checked checked
}

// entry is a tenant in memory.
type entry struct {
	tenant atomic.Pointer[Tenant]
	gate   sync.RWMutex // held for reading while an event of the tenant is appended, for writing while it changes
}

// Place says in which shard a new tenant is to live: always the same one, so that two operators cannot create a
// tenant twice.
func Place(tenant string, shards int) int {
	h := fnv.New64a()
	h.Write([]byte(tenant))
	return int((h.Sum64() >> 16) % uint64(shards))
}

// Tenant returns a tenant, or ErrNoTenant for one that is not there or was removed.
func (d *Directory) Tenant(ctx context.Context, id string) (Tenant, error) {
	t, err := d.Find(ctx, id)
	if err == nil && t.Standing == Removed {
		return Tenant{}, ErrNoTenant
	}
	return t, err
}

// Find is Tenant for operators: it returns removed ones as well.
func (d *Directory) Find(ctx context.Context, id string) (Tenant, error) {
	if e := d.entry(id); e != nil {
		return *e.tenant.Load(), nil
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
	t, err := d.proven(ctx, OfRow(row))
	if err != nil {
		return Tenant{}, err
	}
	return d.remember(t), nil
}

// proven returns the tenant of a row as its own events have it: keys, standing and limits are not taken from a table that
// anybody may have changed.
func (d *Directory) proven(ctx context.Context, row Tenant) (Tenant, error) {
	t, err := d.ofJournal(ctx, row.ID, row.Shard)
	if home := Place(row.ID, len(d.Shards)); errors.Is(err, ErrNoTenant) && home != row.Shard {
		t, err = d.ofJournal(ctx, row.ID, home)
	}
	switch {
	case errors.Is(err, ErrNoTenant):
		d.Logger.Error("control.tenant has a tenant without events, which is not used: run `refold verify`", "tenant", row.ID)
	case err == nil && t.Seq == row.Seq && len(columnsOf(t, row)) > 0:
		d.Logger.Error("control.tenant is not the fold of the tenant's events, which are used instead: run `refold verify`", "tenant", row.ID)
	}
	return t, err
}

// ofJournal folds the events of a tenant; ErrNoTenant where a shard has none of it.
func (d *Directory) ofJournal(ctx context.Context, id string, number int) (Tenant, error) {
	i := slices.IndexFunc(d.Shards, func(s journal.Shard) bool { return s.Number() == number })
	if i < 0 {
		return Tenant{}, ErrNoTenant
	}
	last, err := d.Shards[i].Last(ctx, EntityOf(id))
	if err != nil {
		return Tenant{}, fmt.Errorf("newest event of tenant %s: %w", id, err)
	}
	if last == nil {
		return Tenant{}, ErrNoTenant
	}
	return d.fold(ctx, last)
}

// LimitsOf returns the limits of a tenant as this process knows them, without asking anybody.
func (d *Directory) LimitsOf(id string) Limits {
	if e := d.entry(id); e != nil {
		return e.tenant.Load().Limits
	}
	return Limits{}
}

// Gone reports whether a tenant was removed, as this process knows it, without asking anybody.
func (d *Directory) Gone(id string) bool {
	e := d.entry(id)
	return e != nil && e.tenant.Load().Standing == Removed
}

func (d *Directory) entry(id string) *entry {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.tenants[id]
}

// List returns all tenants by id, as the control table has them.
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
		out = append(out, OfRow(row))
	}
	return out, nil
}

// Apply folds one event of the plane into the control table and memory. It may be repeated, in any order. When it
// returns, this process has none of the tenant's appends under way that began before, see Guard.
func (d *Directory) Apply(ctx context.Context, e *envelope.Event) error {
	if e.Entity != Entity || d.known(e) != nil {
		return nil
	}
	t, err := d.fold(ctx, e)
	if err != nil {
		return fmt.Errorf("tenant event %d of shard %d: %w", e.Seq, e.Shard, err)
	}
	if err := d.store(ctx, t); err != nil {
		return err
	}
	d.remember(t)
	return nil
}

// known returns the tenant of an event as memory has it, nil unless it has the event.
func (d *Directory) known(e *envelope.Event) *Tenant {
	if found := d.entry(e.ID); found != nil && found.tenant.Load().Seq >= e.Seq {
		return found.tenant.Load()
	}
	return nil
}

// store writes the row of a tenant, unless that is of a newer event.
func (d *Directory) store(ctx context.Context, t Tenant) error {
	pool, err := d.DB.Operator(ctx)
	if err != nil {
		return err
	}
	err = db.New(pool).TenantUpsert(ctx, db.TenantUpsertParams{
		TenantID: t.ID, Shard: int32(t.Shard), Name: t.Name, IDKey: t.Key, Seq: int64(t.Seq), CreatedAt: t.Created,
		Standing: string(t.Standing), PerSecond: int32(t.Limits.PerSecond), Burst: int32(t.Limits.Burst), InFlight: int32(t.Limits.InFlight),
	})
	if err != nil {
		return fmt.Errorf("store tenant %s: %w", t.ID, err)
	}
	return nil
}

// fold returns the tenant as of an event, or newer. Events before it may be unknown here: its own process applies an
// event at once, before it has followed those of others.
func (d *Directory) fold(ctx context.Context, e *envelope.Event) (Tenant, error) {
	if known := d.known(e); known != nil {
		return *known, nil
	}
	if e.Version == 1 {
		return d.Fold(Tenant{}, e)
	}
	i := slices.IndexFunc(d.Shards, func(s journal.Shard) bool { return s.Number() == e.Shard })
	if i < 0 {
		return Tenant{}, fmt.Errorf("there is no shard %d", e.Shard)
	}
	history, err := d.Shards[i].History(ctx, e.Key)
	if err != nil {
		return Tenant{}, err
	}
	if n := uint64(len(history)); n == e.Version-1 { // a replica that lags behind
		history = append(history, *e)
	} else if n < e.Version {
		return Tenant{}, fmt.Errorf("the history has %d events, want %d", n, e.Version)
	}
	var t Tenant
	for i := range history {
		if t, err = d.Fold(t, &history[i]); err != nil {
			return Tenant{}, err
		}
	}
	return t, nil
}

// Run follows the plane's events of all shards until ctx ends, and holds the control table against them now and then. It
// begins with all events: what is served rests on them, and not on rows that anybody may have changed.
func (d *Directory) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return d.watch(ctx) })
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
	after, err := d.load(ctx, shard)
	if err != nil {
		return err
	}
	follower, err := shard.Follow(ctx, journal.FollowOptions{Tenant: envelope.PlaneTenant, After: after})
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

// load brings the tenants of a shard into memory, from their events alone, and rows that lag behind up to them. It returns
// up to where the events were read. Rows that are wrong in another way are left to `refold repair`.
func (d *Directory) load(ctx context.Context, shard journal.Shard) (after uint64, err error) {
	said, after, err := d.truthOf(ctx, shard)
	if err != nil {
		return 0, err
	}
	all, err := d.List(ctx)
	have := map[string]uint64{}
	for _, row := range all {
		have[row.ID] = row.Seq
	}
	for id, states := range said {
		t := states[len(states)-1]
		d.remember(t)
		if seq, there := have[id]; err == nil && (!there || seq < t.Seq) {
			d.Logger.Warn("control.tenant lagged and was brought up to the tenant's events", "tenant", id, "row", there)
			err = d.store(ctx, t)
		}
	}
	return after, err
}

// remember keeps the newest of what it is given, and returns that. It waits for appends of the tenant under way.
func (d *Directory) remember(t Tenant) Tenant {
	d.mu.Lock()
	if d.tenants == nil {
		d.tenants = map[string]*entry{}
	}
	e := d.tenants[t.ID]
	if e == nil {
		e = &entry{}
		e.tenant.Store(&t)
		d.tenants[t.ID] = e
	}
	d.mu.Unlock()
	e.gate.Lock()
	defer e.gate.Unlock()
	if e.tenant.Load().Seq < t.Seq {
		e.tenant.Store(&t)
	}
	return *e.tenant.Load()
}

// OfRow is a tenant as the control table has it.
func OfRow(row db.ControlTenant) Tenant {
	return Tenant{
		ID: row.TenantID, Name: row.Name, Shard: int(row.Shard), Key: row.IDKey, Created: row.CreatedAt.UTC(),
		Standing: Standing(row.Standing), Limits: Limits{int(row.PerSecond), int(row.Burst), int(row.InFlight)}, Seq: uint64(row.Seq),
	}
}
