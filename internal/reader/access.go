package reader

import (
	"context"
	"time"

	"github.com/google/uuid"

	"github.com/refold-dev/refold/internal/activity"
	"github.com/refold-dev/refold/internal/postgres/db"
)

// Noted tells the access log that a caller accessed memories. It never blocks. Questions about memories note
// themselves; commands and exports are noted by who carries them out.
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

// AccessPage is a page of the access log of one memory.
type AccessPage struct {
	Accesses []Access // newest first; never nil
	Total    int64    // of all pages
	Next     *AccessMark
}

// AccessLog returns a page of the accesses to a memory of the caller, or ErrNotFound. The log is not proven: it is no
// fold of the journal, comes a little later than what it tells of, and expires. count is 1 to PageCountMax.
func (r *Reader) AccessLog(ctx context.Context, c Caller, f Freshness, memory uuid.UUID, behind *AccessMark, count int) (page AccessPage, stamp Stamp, err error) {
	count = max(1, min(count, PageCountMax))
	params := db.AccessPageParams{TenantID: c.Tenant, MemoryID: memory, UserID: c.User, CountMax: int32(count + 1)}
	if behind != nil {
		params.BeforeAt, params.BeforeBatch, params.BeforeOrdinal = &behind.At, &behind.Batch, &behind.Ordinal
	}
	stamp, err = r.ask(ctx, c, f, func(q *db.Queries) error {
		if _, err := memoryByID(ctx, q, c, memory); err != nil {
			return err
		}
		found, err := q.AccessPage(ctx, params)
		if err != nil {
			return err
		}
		page = AccessPage{Accesses: found}
		if len(found) > count {
			page.Accesses = found[:count]
			last := found[count-1]
			page.Next = &AccessMark{last.AccessedAt, last.Batch, last.Ordinal}
		}
		page.Total, err = q.AccessCount(ctx, db.AccessCountParams{TenantID: c.Tenant, MemoryID: memory, UserID: c.User})
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
// Deleted ones are left out. As AccessLog it is not proven. count is 1 to PageCountMax.
func (r *Reader) AppAccessed(ctx context.Context, c Caller, f Freshness, app uuid.UUID, behind *AccessedMark, count int) (page []Accessed, next *AccessedMark, stamp Stamp, err error) {
	count = max(1, min(count, PageCountMax))
	params := db.AccessedPageParams{TenantID: c.Tenant, AppID: app, UserID: c.User, CountMax: int32(count + 1)}
	if behind != nil {
		params.Below, params.BelowID = &behind.Count, &behind.ID
	}
	stamp, err = r.ask(ctx, c, f, func(q *db.Queries) error {
		if err := ownApp(ctx, q, c, app); err != nil {
			return err
		}
		found, err := q.AccessedPage(ctx, params)
		if err != nil {
			return err
		}
		page, next = accessed(found, count)
		return nil
	})
	return page, next, stamp, err
}

func accessed(found []db.AccessedPageRow, count int) (page []Accessed, next *AccessedMark) {
	if len(found) > count {
		found = found[:count]
		next = &AccessedMark{found[count-1].Accesses, found[count-1].Memory.ID}
	}
	page = make([]Accessed, len(found))
	for i, row := range found {
		page[i] = Accessed{Memory{Memory: row.Memory, AppName: row.AppName, Categories: row.Categories}, row.Accesses, row.LastAt}
	}
	return page, next
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
