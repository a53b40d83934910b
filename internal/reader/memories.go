package reader

import (
	"context"
	"time"

	"github.com/google/uuid"

	"github.com/refold-dev/refold/internal/activity"
	"github.com/refold-dev/refold/internal/postgres/db"
)

// Bounds of answers.
const (
	PageCountMax    = 100
	HistoryCountMax = 10_000
)

// Memory is a memory with the names that belong to it.
type Memory struct {
	db.Memory
	AppName    *string
	Categories []string // by name; never nil
}

// Memory returns a memory of the caller, or ErrNotFound.
func (r *Reader) Memory(ctx context.Context, c Caller, f Freshness, id uuid.UUID) (memory Memory, stamp Stamp, err error) {
	stamp, err = r.ask(ctx, c, f, func(q *db.Queries) error {
		memory, err = memoryByID(ctx, q, c, id)
		return err
	})
	if err == nil {
		r.Noted(c, activity.Read, id)
	}
	return memory, stamp, err
}

func memoryByID(ctx context.Context, q *db.Queries, c Caller, id uuid.UUID) (Memory, error) {
	row, err := q.MemoryByID(ctx, db.MemoryByIDParams{TenantID: c.Tenant, ID: id, UserID: c.User})
	if err != nil {
		return Memory{}, absent(err)
	}
	memories := []Memory{{Memory: row.Memory, AppName: row.AppName}}
	err = addCategories(ctx, q, c, memories)
	return memories[0], err
}

func addCategories(ctx context.Context, q *db.Queries, c Caller, memories []Memory) error {
	ids := make([]uuid.UUID, len(memories))
	for i, m := range memories {
		ids[i] = m.ID
	}
	links, err := q.MemoryCategoryNames(ctx, db.MemoryCategoryNamesParams{TenantID: c.Tenant, MemoryIds: ids})
	if err != nil {
		return err
	}
	names := map[uuid.UUID][]string{}
	for _, link := range links {
		names[link.MemoryID] = append(names[link.MemoryID], link.Name)
	}
	for i := range memories {
		memories[i].Categories = append([]string{}, names[memories[i].ID]...)
	}
	return nil
}

// MemoryFilter selects memories; nil fields select all.
type MemoryFilter struct {
	States   []string // none = active and paused
	AppID    *uuid.UUID
	Search   *string // substring of the content; case does not matter, nothing in it is a wildcard
	Category *string // name
	From, To *time.Time
}

// MemoryMark is the last memory of a page; the next page begins behind it.
type MemoryMark struct {
	CreatedAt time.Time `json:"t"`
	ID        uuid.UUID `json:"i"`
}

// Memories returns a page of the caller's memories, newest first, and the mark for the next page, nil at the end.
// Deleted ones never appear. count is 1 to PageCountMax.
func (r *Reader) Memories(ctx context.Context, c Caller, f Freshness, filter MemoryFilter, behind *MemoryMark, count int) (page []Memory, next *MemoryMark, stamp Stamp, err error) {
	count = max(1, min(count, PageCountMax))
	params := filter.params(c, behind)
	params.CountMax = int32(count + 1) // one more tells whether there is another page
	stamp, err = r.ask(ctx, c, f, func(q *db.Queries) error {
		found, err := q.MemoryPage(ctx, params)
		if err != nil {
			return err
		}
		page, next = make([]Memory, 0, len(found)), nil
		for i, row := range found {
			if i == count {
				last := page[i-1]
				next = &MemoryMark{last.CreatedAt, last.ID}
				break
			}
			page = append(page, Memory{Memory: row.Memory, AppName: row.AppName})
		}
		return addCategories(ctx, q, c, page)
	})
	if err == nil {
		r.Noted(c, filter.kind(), memoryIDs(page)...)
	}
	return page, next, stamp, err
}

// kind is what a list under the filter counts as.
func (f MemoryFilter) kind() activity.Kind {
	if f.Search != nil {
		return activity.Search
	}
	return activity.List
}

func (f MemoryFilter) params(c Caller, behind *MemoryMark) db.MemoryPageParams {
	p := db.MemoryPageParams{
		TenantID: c.Tenant, UserID: c.User, States: f.States, AppID: f.AppID, Search: f.Search, Category: f.Category,
		CreatedFrom: f.From, CreatedTo: f.To,
	}
	if len(p.States) == 0 {
		p.States = []string{"active", "paused"}
	}
	if behind != nil {
		p.BeforeAt, p.BeforeID = &behind.CreatedAt, &behind.ID
	}
	return p
}

// MemoryHistory returns the changes of a memory's state, oldest first, at most HistoryCountMax, with the memory
// itself; ErrNotFound as for Memory.
func (r *Reader) MemoryHistory(ctx context.Context, c Caller, f Freshness, id uuid.UUID) (memory Memory, history []db.MemoryStatus, stamp Stamp, err error) {
	stamp, err = r.ask(ctx, c, f, func(q *db.Queries) error {
		if memory, err = memoryByID(ctx, q, c, id); err != nil {
			return err
		}
		history, err = q.MemoryStatusOf(ctx, db.MemoryStatusOfParams{TenantID: c.Tenant, MemoryID: id, CountMax: HistoryCountMax})
		return err
	})
	return memory, history, stamp, err
}
