package reader

import (
	"context"
	"time"

	"github.com/google/uuid"

	"github.com/refold-dev/refold/internal/activity"
	"github.com/refold-dev/refold/internal/postgres/db"
)

// Noted tells the access log that a caller accessed memories. It never blocks. Questions about memories and
// exports note themselves; commands are noted by who carries them out.
func (r *Reader) Noted(c Caller, kind activity.Kind, memories ...uuid.UUID) {
	r.Activity.Record(activity.Access{Tenant: c.Tenant, User: c.User, App: c.App, Kind: kind, Memories: memories})
}

func memoryIDs(memories []Memory) []uuid.UUID {
	ids := make([]uuid.UUID, len(memories))
	for i, m := range memories {
		ids[i] = m.ID
	}
	return ids
}

// Access is one entry of the access log.
type Access = db.AccessPageRow

// AccessMark is the last access of a page; the next page begins behind it.
type AccessMark struct {
	At      time.Time `json:"t"`
	Batch   uuid.UUID `json:"b"`
	Ordinal int32     `json:"o"`
}

// AccessLog returns a page of the accesses to a memory of the caller, newest first, or ErrNotFound. The log is not
// proven: it is no fold of the journal, comes a little later than what it tells of, and expires.
func (r *Reader) AccessLog(ctx context.Context, c Caller, f Freshness, memory uuid.UUID, pages Pages[AccessMark]) (page Page[Access, AccessMark], stamp Stamp, err error) {
	params := db.AccessPageParams{TenantID: c.Tenant, MemoryID: memory, UserID: c.User, Skip: int32(pages.Skip), CountMax: int32(pages.count() + 1)}
	if b := pages.Behind; b != nil {
		params.BeforeAt, params.BeforeBatch, params.BeforeOrdinal = &b.At, &b.Batch, &b.Ordinal
	}
	stamp, err = r.ask(ctx, c, f, func(q *db.Queries) error {
		if _, err := memoryByID(ctx, q, c, memory); err != nil {
			return err
		}
		found, err := q.AccessPage(ctx, params)
		if err != nil {
			return err
		}
		page = paged(found, pages.count(), func(a Access) AccessMark { return AccessMark{a.AccessedAt, a.Batch, a.Ordinal} })
		if pages.Total {
			page.Total, err = q.AccessCount(ctx, db.AccessCountParams{TenantID: c.Tenant, MemoryID: memory, UserID: c.User})
		}
		return err
	})
	return page, stamp, err
}

// Accessed is a memory with how often an app accessed it.
type Accessed struct {
	Memory
	Count  int64
	LastAt time.Time
}

// AccessedMark is the last memory of a page; the next page begins behind it.
type AccessedMark struct {
	Count int64     `json:"c"`
	ID    uuid.UUID `json:"i"`
}

// AppAccessed returns a page of the memories that an app of the caller accessed, most accessed first, or ErrNotFound.
// Deleted ones are left out. As AccessLog it is not proven.
func (r *Reader) AppAccessed(ctx context.Context, c Caller, f Freshness, app uuid.UUID, pages Pages[AccessedMark]) (page Page[Accessed, AccessedMark], stamp Stamp, err error) {
	params := db.AccessedPageParams{TenantID: c.Tenant, AppID: app, UserID: c.User, Skip: int32(pages.Skip), CountMax: int32(pages.count() + 1)}
	if b := pages.Behind; b != nil {
		params.Below, params.BelowID = &b.Count, &b.ID
	}
	stamp, err = r.ask(ctx, c, f, func(q *db.Queries) error {
		if err := ownApp(ctx, q, c, app); err != nil {
			return err
		}
		found, err := q.AccessedPage(ctx, params)
		if err != nil {
			return err
		}
		page = paged(accessed(found), pages.count(), func(a Accessed) AccessedMark { return AccessedMark{a.Count, a.ID} })
		if !pages.Total {
			return nil
		}
		sums, err := q.AccessesOfApps(ctx, db.AccessesOfAppsParams{TenantID: c.Tenant, UserID: c.User, AppIds: []uuid.UUID{app}})
		for _, sum := range sums {
			page.Total = sum.Memories
		}
		return err
	})
	return page, stamp, err
}

func accessed(found []db.AccessedPageRow) []Accessed {
	all := make([]Accessed, len(found))
	for i, row := range found {
		all[i] = Accessed{Memory{Memory: row.Memory, AppName: row.AppName, Categories: row.Categories}, row.Accesses, row.LastAt}
	}
	return all
}

func ownApp(ctx context.Context, q *db.Queries, c Caller, app uuid.UUID) error {
	_, err := q.AppByID(ctx, db.AppByIDParams{TenantID: c.Tenant, ID: app, OwnerID: c.User})
	return absent(err)
}

// AppAccess sums up what an app accessed.
type AppAccess struct {
	Memories        int64 // that are not deleted
	FirstAt, LastAt *time.Time
}

// AppAccesses sums up what apps of the caller accessed. All of them are in the answer; those that accessed nothing, and
// those that are not the caller's, with zeros.
func (r *Reader) AppAccesses(ctx context.Context, c Caller, f Freshness, apps []uuid.UUID) (all map[uuid.UUID]AppAccess, stamp Stamp, err error) {
	stamp, err = r.ask(ctx, c, f, func(q *db.Queries) error {
		found, err := q.AccessesOfApps(ctx, db.AccessesOfAppsParams{TenantID: c.Tenant, UserID: c.User, AppIds: apps})
		all = make(map[uuid.UUID]AppAccess, len(apps))
		for _, id := range apps {
			all[id] = AppAccess{}
		}
		for _, row := range found {
			all[row.AppID] = AppAccess{row.Memories, &row.FirstAt, &row.LastAt}
		}
		return err
	})
	return all, stamp, err
}
