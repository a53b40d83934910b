package reader

import (
	"context"

	"github.com/google/uuid"

	"github.com/refold-dev/refold/internal/app"
	"github.com/refold-dev/refold/internal/postgres/db"
)

// AccessRules returns all access rules of an app of the caller, oldest first, with the app; or ErrNotFound.
func (r *Reader) AccessRules(ctx context.Context, c Caller, f Freshness, id uuid.UUID) (owner App, rules []db.AppAccessRule, stamp Stamp, err error) {
	stamp, err = r.ask(ctx, c, f, func(q *db.Queries) error {
		row, err := q.AppByID(ctx, db.AppByIDParams{TenantID: c.Tenant, ID: id, OwnerID: c.User})
		if err != nil {
			return absent(err)
		}
		owner = App{App: row.App, Memories: row.Memories}
		rules, err = q.AppAccessRules(ctx, db.AppAccessRulesParams{TenantID: c.Tenant, AppID: id, OwnerID: c.User, CountMax: app.RulesMax})
		return err
	})
	return owner, rules, stamp, err
}

// AccessRule returns one access rule of an app of the caller, with the app; or ErrNotFound.
func (r *Reader) AccessRule(ctx context.Context, c Caller, f Freshness, id, rule uuid.UUID) (owner App, found db.AppAccessRule, stamp Stamp, err error) {
	owner, rules, stamp, err := r.AccessRules(ctx, c, f, id)
	for _, one := range rules {
		if one.ID == rule {
			return owner, one, stamp, err
		}
	}
	if err == nil {
		err = ErrNotFound
	}
	return owner, found, stamp, err
}
