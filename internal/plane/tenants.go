package plane

import (
	"context"
	"crypto/rand"
	"fmt"

	"github.com/refold-dev/refold/events"
	"github.com/refold-dev/refold/events/envelope"
	"github.com/refold-dev/refold/internal/command"
	"github.com/refold-dev/refold/internal/directory"
	"github.com/refold-dev/refold/internal/tenant"
)

// tenantOf reads a tenant out of a tenant.created event.
func tenantOf(e *envelope.Event) (directory.Tenant, bool, error) {
	if e.Entity != "tenant" {
		return directory.Tenant{}, false, nil
	}
	payload, err := events.Decode(e.Kind, e.Data)
	if err != nil {
		return directory.Tenant{}, false, err
	}
	created, ok := payload.(*events.TenantCreated)
	if !ok {
		return directory.Tenant{}, false, nil
	}
	return directory.Tenant{ID: e.ID, Name: created.Private.Name, Shard: e.Shard, Key: created.Private.Key, Created: e.Time}, true, nil
}

// CreateTenant creates a tenant in its shard; one that is there already is returned as it is, with false.
func (p *Plane) CreateTenant(ctx context.Context, id, name, actor string) (directory.Tenant, bool, error) {
	if !envelope.ValidTenant(id) {
		return directory.Tenant{}, false, command.Refuse(command.Invalid,
			"tenant %q: use 1 to %d characters of A-Z a-z 0-9 _ -, not beginning with _", id, envelope.TokenBytesMax)
	}
	if t, err := p.Directory.Tenant(ctx, id); err == nil {
		return t, false, nil
	}
	if name == "" {
		name = id
	}
	key := make([]byte, 32)
	rand.Read(key)
	cmd := tenant.Create{Name: name, Key: key}
	request, err := createRequest(id, actor)
	if err != nil {
		return directory.Tenant{}, false, err
	}
	shard := p.Journal.Shard(directory.Place(id, len(p.Journal.Shards)))
	out, err := command.Execute(ctx, shard, request, tenant.Evolve, tenant.Decide, cmd)
	if err != nil {
		return directory.Tenant{}, false, fmt.Errorf("create tenant %s: %w", id, err)
	}
	if err := p.Directory.Apply(ctx, out.Event); err != nil {
		return directory.Tenant{}, false, err
	}
	t, err := p.Directory.Tenant(ctx, id)
	return t, !out.Repeated, err
}

// createRequest surrounds the command that creates a tenant, always the same one.
func createRequest(id, actor string) (command.Request, error) {
	hash, err := command.Hash("tenant.create", id)
	return command.Request{
		Key:       envelope.Key{Tenant: envelope.PlaneTenant, Entity: "tenant", ID: id},
		CommandID: "create", RequestHash: hash, Actor: actor,
	}, err
}
