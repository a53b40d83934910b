package reader

import (
	"context"

	"github.com/google/uuid"

	"github.com/refold-dev/refold/internal/postgres"
	"github.com/refold-dev/refold/internal/postgres/db"
)

// Entity names an entity of a tenant.
type Entity struct {
	Kind string // "memory", "app", ...
	ID   uuid.UUID
}

// Stand says where the rows stand that a caller is answered from. It fails with ErrPositionLost when f.Least was given
// up in a restore, and with ErrNotYet when they are behind it.
func (r *Reader) Stand(ctx context.Context, c Caller, f Freshness) (Stamp, error) {
	return r.ask(ctx, c, f, func(*db.Queries) error { return nil })
}

// Visible says which of the entities a caller may read, deleted ones of its own included.
func (r *Reader) Visible(ctx context.Context, c Caller, f Freshness, entities []Entity) (visible map[Entity]bool, stamp Stamp, err error) {
	params := db.EntitiesVisibleParams{TenantID: c.Tenant, UserID: c.User}
	for _, e := range entities {
		params.Entities, params.Ids = append(params.Entities, e.Kind), append(params.Ids, e.ID)
	}
	stamp, err = r.through(ctx, postgres.Entry{Single: true}, List, c, f, func(q *db.Queries) error {
		found, err := q.EntitiesVisible(ctx, params)
		visible = make(map[Entity]bool, len(found))
		for _, row := range found {
			visible[Entity{row.Entity, row.ID}] = true
		}
		return err
	})
	return visible, stamp, err
}
