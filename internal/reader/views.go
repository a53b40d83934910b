package reader

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/refold-dev/refold/internal/activity"
	"github.com/refold-dev/refold/internal/postgres/db"
)

// RelatedMark is the last of a page of related memories; the next page begins behind it.
type RelatedMark struct {
	Shared    int64     `json:"s"`
	CreatedAt time.Time `json:"t"`
	ID        uuid.UUID `json:"i"`
}

// Related is a memory with the number of categories that it shares with another.
type Related struct {
	Memory
	Shared int64
}

// Related returns a page of the memories that share categories with one of the caller's: those that share most first,
// then the newest. ErrNotFound as for Memory.
func (r *Reader) Related(ctx context.Context, c Caller, f Freshness, id uuid.UUID, pages Pages[RelatedMark]) (page Page[Related, RelatedMark], stamp Stamp, err error) {
	params := db.MemoryRelatedPageParams{
		TenantID: c.Tenant, UserID: c.User, AsApp: c.App, ID: id, Skip: int32(pages.Skip), CountMax: int32(pages.count() + 1),
	}
	if b := pages.Behind; b != nil {
		params.AfterShared, params.AfterAt, params.AfterID = &b.Shared, &b.CreatedAt, &b.ID
	}
	stamp, err = r.list(ctx, c, f, func(q *db.Queries) error {
		if _, err := memoryByID(ctx, q, c, id); err != nil {
			return err
		}
		rows, err := q.MemoryRelatedPage(ctx, params)
		if err != nil {
			return err
		}
		if page = relatedPage(rows, pages.count()); !pages.Total {
			return nil
		}
		page.Total, err = q.MemoryRelatedCount(ctx, db.MemoryRelatedCountParams{TenantID: c.Tenant, UserID: c.User, AsApp: c.App, ID: id})
		return err
	})
	if err == nil {
		ids := make([]uuid.UUID, 0, len(page.Items))
		for _, m := range page.Items {
			ids = append(ids, m.ID)
		}
		r.Noted(c, activity.Related, ids...)
	}
	return page, stamp, err
}

func relatedPage(rows []db.MemoryRelatedPageRow, count int) Page[Related, RelatedMark] {
	related := make([]Related, 0, len(rows))
	for _, row := range rows {
		related = append(related, Related{memoryOf(db.MemoryPageRow{
			TenantID: row.TenantID, ID: row.ID, Version: row.Version, UserID: row.UserID, AppID: row.AppID, Content: row.Content,
			Metadata: row.Metadata, State: row.State, CreatedAt: row.CreatedAt, UpdatedAt: row.UpdatedAt,
			ArchivedAt: row.ArchivedAt, DeletedAt: row.DeletedAt, AppName: row.AppName, Categories: row.Categories,
		}), row.Shared})
	}
	return paged(related, count, func(m Related) RelatedMark { return RelatedMark{m.Shared, m.CreatedAt, m.ID} })
}

// Category is a category with the number of memories that the caller may read in it.
type Category = db.CategoryPageRow

// CategoryMark is the last category of a page; the next page begins behind it.
type CategoryMark struct {
	Name string    `json:"n"`
	ID   uuid.UUID `json:"i"`
}

// Categories returns a page, by name, of the categories of the active and paused memories that the caller may read.
func (r *Reader) Categories(ctx context.Context, c Caller, f Freshness, pages Pages[CategoryMark]) (page Page[Category, CategoryMark], stamp Stamp, err error) {
	params := db.CategoryPageParams{
		TenantID: c.Tenant, UserID: c.User, AsApp: c.App, Skip: int32(pages.Skip), CountMax: int32(pages.count() + 1),
	}
	if b := pages.Behind; b != nil {
		params.AfterName, params.AfterID = &b.Name, &b.ID
	}
	stamp, err = r.listOne(ctx, c, f, pages.Total, func(q *db.Queries) error {
		rows, err := q.CategoryPage(ctx, params)
		if err != nil {
			return err
		}
		page = paged(rows, pages.count(), func(row Category) CategoryMark { return CategoryMark{row.Name, row.ID} })
		if pages.Total {
			page.Total, err = q.CategoryCount(ctx, db.CategoryCountParams{TenantID: c.Tenant, UserID: c.User, AsApp: c.App})
		}
		return err
	})
	return page, stamp, err
}

// Stats counts what the caller has and may read.
type Stats struct {
	Active, Paused, Archived int64 // memories
	Apps                     int64
	Categories               int64 // of the active and paused memories
}

// Stats counts what the caller has and may read.
func (r *Reader) Stats(ctx context.Context, c Caller, f Freshness) (stats Stats, stamp Stamp, err error) {
	stamp, err = r.list(ctx, c, f, func(q *db.Queries) error {
		memories, err := q.MemoryStats(ctx, db.MemoryStatsParams{TenantID: c.Tenant, UserID: c.User, AsApp: c.App})
		if err != nil {
			return err
		}
		stats = Stats{Active: memories.Active, Paused: memories.Paused, Archived: memories.Archived}
		if stats.Apps, err = q.AppCount(ctx, db.AppCountParams{TenantID: c.Tenant, OwnerID: c.User}); err != nil {
			return err
		}
		stats.Categories, err = q.CategoryCount(ctx, db.CategoryCountParams{TenantID: c.Tenant, UserID: c.User, AsApp: c.App})
		return err
	})
	return stats, stamp, err
}

// User returns the caller's own record; known is false as long as nothing is stored about the user.
func (r *Reader) User(ctx context.Context, c Caller, f Freshness) (user db.UserAccount, known bool, stamp Stamp, err error) {
	stamp, err = r.askOne(ctx, c, f, func(q *db.Queries) error {
		user, err = q.UserAccountByID(ctx, db.UserAccountByIDParams{TenantID: c.Tenant, ID: c.User})
		known = err == nil
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		return err
	})
	return user, known, stamp, err
}
