package httpapi

import (
	"context"
	"errors"

	"github.com/google/uuid"
	"github.com/refold-dev/refold/events/envelope"
	"github.com/refold-dev/refold/internal/auth"
	"github.com/refold-dev/refold/internal/directory"
	"github.com/refold-dev/refold/internal/reader"
	"github.com/refold-dev/refold/internal/user"
)

// caller is a principal together with what the plane knows about its tenant.
type caller struct {
	principal auth.Principal
	tenant    directory.Tenant
	user      uuid.UUID // derived from the login; there may be no such user yet
}

// caller fails with directory.ErrNoTenant for a tenant that does not exist: to it, everything is absent.
func (s *server) caller(ctx context.Context) (caller, error) {
	principal, ok := auth.FromContext(ctx)
	if !ok {
		return caller{}, errors.New("an operation without a principal asks for the caller") // a defect: fail closed
	}
	tenant, err := s.Tenants.Tenant(ctx, principal.Tenant)
	if err != nil {
		return caller{}, err
	}
	return caller{principal, tenant, user.ID(tenant.Key, tenant.ID, principal.Subject)}, nil
}

// reads is the caller as readers see it.
func (c caller) reads() reader.Caller {
	return reader.Caller{Tenant: c.tenant.ID, Shard: c.tenant.Shard, User: c.user}
}

// readsFrom is reads for a page after the first, which is of the edition that the first was of.
func (c caller) readsFrom(edition int64) reader.Caller {
	r := c.reads()
	r.Edition = edition
	return r
}

func (c caller) key(entity string, id uuid.UUID) envelope.Key {
	return envelope.Key{Tenant: c.tenant.ID, Entity: entity, ID: id.String()}
}

// asker is a caller with the freshness that a question asks for.
func (s *server) asker(ctx context.Context, prefer, position *string) (caller, reader.Freshness, error) {
	c, err := s.caller(ctx)
	if err != nil {
		return c, reader.Freshness{}, err
	}
	f, err := s.freshness(c.tenant.ID, prefer, position)
	return c, f, err
}
