package plane

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"

	"github.com/refold-dev/refold/events/envelope"
	"github.com/refold-dev/refold/internal/activity"
	"github.com/refold-dev/refold/internal/command"
	"github.com/refold-dev/refold/internal/directory"
	"github.com/refold-dev/refold/internal/fold"
	"github.com/refold-dev/refold/internal/journal"
	"github.com/refold-dev/refold/internal/postgres/db"
	"github.com/refold-dev/refold/internal/rows"
	"github.com/refold-dev/refold/internal/tenant"
)

// foldTenant is the fold of a tenant's events, for the directory.
func foldTenant(t directory.Tenant, e *envelope.Event) (directory.Tenant, error) {
	state, err := tenant.Evolve(tenant.State{
		Standing: tenant.Standing(t.Standing), Name: t.Name, Key: t.Key, Limits: tenant.Limits(t.Limits),
	}, e)
	if err != nil {
		return t, err
	}
	if t.Standing == "" {
		t.ID, t.Shard, t.Created = e.ID, e.Shard, e.Time
	}
	t.Name, t.Key, t.Seq = state.Name, state.Key, e.Seq
	t.Standing, t.Limits = directory.Standing(state.Standing), directory.Limits(state.Limits)
	return t, nil
}

// CreateTenant creates a tenant in its shard; one that is there already is returned as it is, with false. One that was
// removed is refused, for ever.
func (p *Plane) CreateTenant(ctx context.Context, id, name, actor string) (directory.Tenant, bool, error) {
	if !envelope.ValidTenant(id) {
		return directory.Tenant{}, false, command.Refuse(command.Invalid,
			"tenant %q: use 1 to %d characters of A-Z a-z 0-9 _ -, not beginning with _", id, envelope.TokenBytesMax)
	}
	if name == "" {
		name = id
	}
	key := make([]byte, tenant.KeyBytes)
	rand.Read(key)
	request, err := createRequest(id, actor)
	if err != nil {
		return directory.Tenant{}, false, err
	}
	out, err := command.Execute(ctx, p.home(id), request, tenant.Evolve, tenant.Decide, tenant.Command(tenant.Create{Name: name, Key: key}))
	if err != nil {
		return directory.Tenant{}, false, fmt.Errorf("create tenant %s: %w", id, err)
	}
	t, err := p.learn(ctx, id)
	if err == nil && t.Standing == directory.Removed {
		err = fmt.Errorf("create tenant %s: %w", id, tenant.ErrRemoved)
	}
	return t, !out.Repeated, err
}

// SuspendTenant refuses the tenant's commands from here on, and ResumeTenant takes them again. When SuspendTenant
// returns, this process appends nothing of the tenant any more; others follow when they read the event, at once if
// nothing holds them up. Both change nothing where it is so already.
func (p *Plane) SuspendTenant(ctx context.Context, id, actor string) (directory.Tenant, error) {
	return p.changeTenant(ctx, id, "tenant.suspend", actor, tenant.Suspend{})
}

// ResumeTenant is the inverse of SuspendTenant.
func (p *Plane) ResumeTenant(ctx context.Context, id, actor string) (directory.Tenant, error) {
	return p.changeTenant(ctx, id, "tenant.resume", actor, tenant.Resume{})
}

// LimitTenant replaces the limits of a tenant; zeros stand for those of the plane.
func (p *Plane) LimitTenant(ctx context.Context, id string, l directory.Limits, actor string) (directory.Tenant, error) {
	return p.changeTenant(ctx, id, "tenant.limit", actor, tenant.Limit{Limits: tenant.Limits(l)})
}

// RemoveTenant makes a tenant absent to its principals for ever, ends the logins that read it by SQL, and forgets its access log. Its events and
// rows stay where they are: the journal never forgets. It may be repeated until it succeeds.
func (p *Plane) RemoveTenant(ctx context.Context, id, actor string) (directory.Tenant, error) {
	t, err := p.changeTenant(ctx, id, "tenant.remove", actor, tenant.Remove{})
	if err != nil {
		return t, err
	}
	readers, err := p.DB.SQLReaders(ctx)
	if err != nil {
		return t, fmt.Errorf("tenant %s is removed, its SQL readers are not known: %w", id, err)
	}
	_, err = activity.Forget(ctx, p.DB, id)
	faults := []error{err}
	for _, r := range readers {
		if r.Tenant == id {
			faults = append(faults, p.DB.DropSQLReader(ctx, r.Login))
		}
	}
	if err := errors.Join(faults...); err != nil {
		return t, fmt.Errorf("tenant %s is removed, but still read by SQL, or its access log is still there; repeat this: %w", id, err)
	}
	return t, nil
}

// home is the shard in which a tenant lives, or would.
func (p *Plane) home(id string) journal.Shard {
	return p.Journal.Shard(directory.Place(id, len(p.Journal.Shards)))
}

// changeTenant runs one command about a tenant that is there.
func (p *Plane) changeTenant(ctx context.Context, id, name, actor string, cmd tenant.Command) (directory.Tenant, error) {
	if !envelope.ValidTenant(id) {
		return directory.Tenant{}, directory.ErrNoTenant
	}
	hash, err := command.Hash(name, cmd)
	if err != nil {
		return directory.Tenant{}, err
	}
	request := command.Request{Key: tenant.Key(id), CommandID: rand.Text(), RequestHash: hash, Actor: actor}
	_, err = command.Execute(ctx, p.home(id), request, tenant.Evolve, tenant.Decide, cmd)
	var refusal *command.Refusal
	if errors.As(err, &refusal) && refusal.Code == command.NotFound {
		return directory.Tenant{}, fmt.Errorf("tenant %s: %w", id, directory.ErrNoTenant)
	}
	if err != nil {
		return directory.Tenant{}, fmt.Errorf("%s %s: %w", name, id, err)
	}
	return p.learn(ctx, id)
}

// learn brings this process and the control table up to the newest event of a tenant.
func (p *Plane) learn(ctx context.Context, id string) (directory.Tenant, error) {
	newest, err := p.home(id).Last(ctx, tenant.Key(id))
	if err != nil {
		return directory.Tenant{}, fmt.Errorf("newest event of tenant %s: %w", id, err)
	}
	if newest == nil {
		return directory.Tenant{}, fmt.Errorf("tenant %s: %w", id, directory.ErrNoTenant)
	}
	if err := p.Directory.Apply(ctx, newest); err != nil {
		return directory.Tenant{}, err
	}
	return p.Directory.Find(ctx, id)
}

// Shard is the shard for tenants' commands: it refuses those of tenants that are suspended or removed.
func (p *Plane) Shard(number int) journal.Shard { return p.Directory.Guard(p.Journal.Shard(number)) }

// TenantSizes returns what the live edition of each tenant holds, without reading a row of it: from the kept digests.
func (p *Plane) TenantSizes(ctx context.Context) (map[string]directory.Size, error) {
	pool, err := p.DB.Operator(ctx)
	if err != nil {
		return nil, err
	}
	found, err := db.New(pool).TenantSizes(ctx)
	if err != nil {
		return nil, fmt.Errorf("sizes of tenants: %w", err)
	}
	sizes := map[string]directory.Size{}
	for _, f := range found {
		size := directory.Size{Edition: f.Edition, Position: f.Position, Events: f.Events, Rows: map[string]int64{}}
		if len(f.Tables) > 0 {
			sums, err := rows.UnpackTables(f.Tables)
			if err != nil {
				return nil, fmt.Errorf("size of tenant %s: %w", f.TenantID, err)
			}
			for _, table := range fold.Tables.Tables() {
				if sum, ok := sums[table.ID()]; ok {
					size.Rows[table.Name] = sum.Count()
				}
			}
		}
		sizes[f.TenantID] = size
	}
	return sizes, nil
}

// Tenants returns all tenants by id, removed ones too.
func (p *Plane) Tenants(ctx context.Context) ([]directory.Tenant, error) {
	return p.Directory.List(ctx)
}

// createRequest surrounds the command that creates a tenant, always the same one.
func createRequest(id, actor string) (command.Request, error) {
	hash, err := command.Hash("tenant.create", id)
	return command.Request{
		Key:       envelope.Key{Tenant: envelope.PlaneTenant, Entity: "tenant", ID: id},
		CommandID: "create", RequestHash: hash, Actor: actor,
	}, err
}
