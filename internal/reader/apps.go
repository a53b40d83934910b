package reader

import (
	"cmp"
	"context"
	"errors"
	"time"

	"github.com/google/uuid"

	"github.com/refold-dev/refold/internal/postgres/db"
)

// App is an app with the number of its memories that the caller may read.
type App struct {
	db.App
	Memories int64
}

// App returns an app of the caller, or ErrNotFound.
func (r *Reader) App(ctx context.Context, c Caller, f Freshness, id uuid.UUID) (app App, stamp Stamp, err error) {
	stamp, err = r.askOne(ctx, c, f, func(q *db.Queries) error {
		row, err := q.AppByID(ctx, db.AppByIDParams{TenantID: c.Tenant, ID: id, OwnerID: c.User, AsApp: c.App})
		app = App{App: row.App, Memories: row.Memories}
		return absent(err)
	})
	return app, stamp, err
}

// IsActive says whether an app of the caller takes memories, or fails with ErrNotFound.
func (r *Reader) IsActive(ctx context.Context, c Caller, id uuid.UUID) (active bool, err error) {
	_, err = r.askOne(ctx, c, Freshness{}, func(q *db.Queries) error {
		active, err = q.AppIsActive(ctx, db.AppIsActiveParams{TenantID: c.Tenant, ID: id, OwnerID: c.User})
		return absent(err)
	})
	return active, err
}

// AppAlike is an app whose name means the same as another.
type AppAlike struct {
	ID                 uuid.UUID
	Name               string
	IsActive, HasRules bool
}

// alikeMax bounds the apps of one user whose names are compared: with more, none can be told apart.
const alikeMax = 10_000

// ErrTooManyApps: the user has too many apps to say which of them a name means.
var ErrTooManyApps = errors.New("the user has too many apps")

// AppsAlike returns the apps of the caller that a name means, by name: those for which alike says so. folded is the name
// in the form in which they are equal.
func (r *Reader) AppsAlike(ctx context.Context, c Caller, folded string, alike func(name string) bool) (found []AppAlike, err error) {
	_, err = r.askOne(ctx, c, Freshness{}, func(q *db.Queries) error {
		found = nil
		all, err := q.AppsAlike(ctx, db.AppsAlikeParams{TenantID: c.Tenant, OwnerID: c.User, Folded: folded, CountMax: alikeMax + 1})
		if err != nil {
			return err
		}
		if len(all) > alikeMax {
			return ErrTooManyApps
		}
		for _, a := range all {
			if alike(a.Name) {
				found = append(found, AppAlike{a.ID, a.Name, a.IsActive, a.HasRules})
			}
		}
		return nil
	})
	return found, err
}

// AppFilter selects apps; nil fields select all.
type AppFilter struct {
	Search *string // substring of the name; case does not matter, nothing in it is a wildcard
	Active *bool
}

// What apps are sorted by.
const (
	ByName     = "name" // byte by byte
	ByMemories = "memories"
)

// AppMark is the last app of a page; the next page begins behind it. Which of the fields counts depends on the sort.
type AppMark struct {
	Name      string    `json:"n"`
	Memories  int64     `json:"m"`
	CreatedAt time.Time `json:"t"`
	ID        uuid.UUID `json:"i"`
}

// AppList asks for a page of apps.
type AppList struct {
	Filter AppFilter
	Sort   Sort // by ByName (also when empty), ByMemories or ByCreated
	Pages[AppMark]
}

// Apps returns a page of the caller's apps.
func (r *Reader) Apps(ctx context.Context, c Caller, f Freshness, list AppList) (page Page[App, AppMark], stamp Stamp, err error) {
	count := list.count()
	params := list.params(c)
	stamp, err = r.listOne(ctx, c, f, list.Total, func(q *db.Queries) error {
		found, err := q.AppPage(ctx, params)
		if err != nil {
			return err
		}
		apps := make([]App, 0, len(found))
		for _, row := range found {
			apps = append(apps, App{App: row.App, Memories: row.Memories})
		}
		page = paged(apps, count, func(a App) AppMark { return AppMark{a.Name, a.Memories, a.CreatedAt, a.ID} })
		if list.Total {
			page.Total, err = q.AppCount(ctx, db.AppCountParams{
				TenantID: c.Tenant, OwnerID: c.User, Search: params.Search, IsActive: params.IsActive,
			})
		}
		return err
	})
	return page, stamp, err
}

func (l AppList) params(c Caller) db.AppPageParams {
	p := db.AppPageParams{
		TenantID: c.Tenant, OwnerID: c.User, AsApp: c.App, Search: l.Filter.Search, IsActive: l.Filter.Active,
		Sort: cmp.Or(l.Sort.By, ByName), Descending: l.Sort.Descending, Skip: int32(l.Skip), CountMax: int32(l.count() + 1),
	}
	if b := l.Behind; b != nil {
		p.AfterID, p.AfterName, p.AfterCount, p.AfterAt = &b.ID, &b.Name, &b.Memories, &b.CreatedAt
	}
	return p
}
