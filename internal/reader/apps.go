package reader

import (
	"context"

	"github.com/google/uuid"
	"github.com/refold-dev/refold/internal/postgres/db"
)

// App is an app with the number of its memories that are not deleted.
type App struct {
	db.App
	Memories int64
}

// App returns an app of the caller, or ErrNotFound.
func (r *Reader) App(ctx context.Context, c Caller, f Freshness, id uuid.UUID) (app App, stamp Stamp, err error) {
	stamp, err = r.ask(ctx, c, f, func(q *db.Queries) error {
		row, err := q.AppByID(ctx, db.AppByIDParams{TenantID: c.Tenant, ID: id, OwnerID: c.User})
		app = App{App: row.App, Memories: row.Memories}
		return absent(err)
	})
	return app, stamp, err
}

// AppFilter selects apps; nil fields select all.
type AppFilter struct {
	Search *string // substring of the name
	Active *bool
}

// AppMark is the last app of a page; the next page begins behind it.
type AppMark struct {
	Name string    `json:"n"`
	ID   uuid.UUID `json:"i"`
}

// Apps returns a page of the caller's apps by name, and the mark for the next page, nil at the end. count is 1 to
// PageCountMax.
func (r *Reader) Apps(ctx context.Context, c Caller, f Freshness, filter AppFilter, behind *AppMark, count int) (page []App, next *AppMark, stamp Stamp, err error) {
	count = max(1, min(count, PageCountMax))
	params := db.AppPageParams{
		TenantID: c.Tenant, OwnerID: c.User, Search: filter.Search, IsActive: filter.Active, CountMax: int32(count + 1),
	}
	if behind != nil {
		params.AfterName, params.AfterID = &behind.Name, &behind.ID
	}
	stamp, err = r.ask(ctx, c, f, func(q *db.Queries) error {
		found, err := q.AppPage(ctx, params)
		if err != nil {
			return err
		}
		page, next = make([]App, 0, len(found)), nil
		for i, row := range found {
			if i == count {
				last := page[i-1]
				next = &AppMark{last.Name, last.ID}
				break
			}
			page = append(page, App{App: row.App, Memories: row.Memories})
		}
		return nil
	})
	return page, next, stamp, err
}
