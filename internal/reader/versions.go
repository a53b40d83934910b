package reader

import (
	"context"
	"errors"
	"slices"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/refold-dev/refold/internal/app"
	"github.com/refold-dev/refold/internal/postgres/db"
)

// Rules are all access rules of an app. They say of a memory that no row is of what memory_readable of the edition says of
// rows.
type Rules []db.AppAccessRule

// Allow reports whether the app may read a memory of its owner that is of an app and in these categories.
func (r Rules) Allow(memory, owner uuid.UUID, of *uuid.UUID, categories []uuid.UUID) bool {
	restricted, allowed := false, false
	for _, rule := range r {
		covers := covers(rule, memory, owner, of, categories)
		if rule.Effect != "allow" {
			if covers {
				return false
			}
			continue
		}
		restricted, allowed = true, allowed || covers
	}
	return allowed || !restricted
}

func covers(rule db.AppAccessRule, memory, owner uuid.UUID, of *uuid.UUID, categories []uuid.UUID) bool {
	object := rule.ObjectID
	switch rule.ObjectType {
	case "memory":
		return object == nil || *object == memory
	case "user":
		return object == nil || *object == owner
	case "app":
		return of != nil && (object == nil || *object == *of)
	case "category":
		return len(categories) > 0 && (object == nil || slices.Contains(categories, *object))
	}
	return false
}

// Versioned returns the version of a memory that the caller may read, with the rules of the app through which is read, none
// without one; or ErrNotFound.
func (r *Reader) Versioned(ctx context.Context, c Caller, f Freshness, id uuid.UUID) (version uint64, rules Rules, stamp Stamp, err error) {
	stamp, err = r.ask(ctx, c, f, func(q *db.Queries) error {
		m, err := memoryByID(ctx, q, c, id)
		if err != nil {
			return err
		}
		version = uint64(m.Version)
		rules, err = rulesOf(ctx, q, c)
		return err
	})
	return version, rules, stamp, err
}

func rulesOf(ctx context.Context, q *db.Queries, c Caller) (Rules, error) {
	if c.App == nil {
		return nil, nil
	}
	return q.AppAccessRules(ctx, db.AppAccessRulesParams{TenantID: c.Tenant, AppID: *c.App, OwnerID: c.User, CountMax: app.RulesMax})
}

// MayUndelete reports whether the caller could read a memory of its user once it is not deleted: through an app not what the
// rules of that keep from it. What the rows do not have is left to the command to find.
func (r *Reader) MayUndelete(ctx context.Context, c Caller, id uuid.UUID) (may bool, err error) {
	if c.App == nil {
		return true, nil
	}
	_, err = r.ask(ctx, c, Freshness{}, func(q *db.Queries) error {
		m, err := q.MemoryRuled(ctx, db.MemoryRuledParams{TenantID: c.Tenant, ID: id, UserID: c.User})
		if errors.Is(err, pgx.ErrNoRows) {
			may = true
			return nil
		}
		if err != nil {
			return err
		}
		active, err := q.AppIsActive(ctx, db.AppIsActiveParams{TenantID: c.Tenant, ID: *c.App, OwnerID: c.User})
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		if err != nil {
			return err
		}
		rules, err := rulesOf(ctx, q, c)
		may = active && rules.Allow(id, c.User, m.AppID, m.CategoryIds)
		return err
	})
	return may && err == nil, err
}

// Names returns the names of categories, and of apps of the caller, by their ids. Those that are not there are not in it.
func (r *Reader) Names(ctx context.Context, c Caller, categories, apps []uuid.UUID) (names map[uuid.UUID]string, err error) {
	names = map[uuid.UUID]string{}
	if len(categories)+len(apps) == 0 {
		return names, nil
	}
	_, err = r.ask(ctx, c, Freshness{}, func(q *db.Queries) error {
		ofCategories, err := q.CategoryNames(ctx, db.CategoryNamesParams{TenantID: c.Tenant, Ids: categories})
		if err != nil {
			return err
		}
		ofApps, err := q.AppNames(ctx, db.AppNamesParams{TenantID: c.Tenant, OwnerID: c.User, Ids: apps})
		for _, row := range ofCategories {
			names[row.ID] = row.Name
		}
		for _, row := range ofApps {
			names[row.ID] = row.Name
		}
		return err
	})
	return names, err
}
