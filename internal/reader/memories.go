package reader

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"time"

	"github.com/google/uuid"

	"github.com/refold-dev/refold/events/jsonb"
	"github.com/refold-dev/refold/internal/activity"
	"github.com/refold-dev/refold/internal/postgres"
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

// Memory returns a memory that the caller may read, or ErrNotFound.
func (r *Reader) Memory(ctx context.Context, c Caller, f Freshness, id uuid.UUID) (memory Memory, stamp Stamp, err error) {
	stamp, err = r.askOne(ctx, c, f, func(q *db.Queries) error {
		memory, err = memoryByID(ctx, q, c, id)
		return err
	})
	if err == nil {
		r.Noted(c, activity.Read, id)
	}
	return memory, stamp, err
}

func memoryByID(ctx context.Context, q *db.Queries, c Caller, id uuid.UUID) (Memory, error) {
	if c.App == nil {
		row, err := q.OwnMemoryByID(ctx, db.OwnMemoryByIDParams{TenantID: c.Tenant, ID: id, UserID: c.User})
		if err != nil {
			return Memory{}, absent(err)
		}
		return memoryOf(db.MemoryPageRow(row)), nil
	}
	row, err := q.MemoryByID(ctx, db.MemoryByIDParams{TenantID: c.Tenant, ID: id, UserID: c.User, AsApp: c.App})
	if err != nil {
		return Memory{}, absent(err)
	}
	return memoryOf(db.MemoryPageRow(row)), nil
}

// MemoryFilter selects memories; nil fields select all. The tags are those of sealed values.
type MemoryFilter struct {
	States      []string    `json:"s,omitempty"` // nil = active and paused; deleted ones never appear
	AppIDs      []uuid.UUID `json:"a,omitempty"` // of any of these apps, or
	Apps        []string    `json:"p,omitempty"` // of any of the user's apps with these names
	CategoryIDs []uuid.UUID `json:"c,omitempty"` // of any of these categories, or
	Categories  []string    `json:"n,omitempty"` // of any category with these names
	Search      *string     `json:"q,omitempty"` // substring of the content; case does not matter, nothing in it is a wildcard
	From        *time.Time  `json:"f,omitempty"` // created
	To          *time.Time  `json:"t,omitempty"`
	UpdatedFrom *time.Time  `json:"uf,omitempty"`
	UpdatedTo   *time.Time  `json:"ut,omitempty"`
	// The metadata contains all of Metadata, and not all of NotMetadata; both are what MetadataPart returns.
	Metadata    json.RawMessage `json:"m,omitempty"`
	NotMetadata json.RawMessage `json:"nm,omitempty"`
}

// MetadataPartBytesMax bounds what a filter says of metadata.
const MetadataPartBytesMax = 4 << 10

// MetadataPart takes a JSON object for a filter and returns it in the form that equal ones share; nil for an object of
// nothing, which is no condition. It refuses what metadata could not hold, so that Postgres takes the rest.
func MetadataPart(object []byte) (json.RawMessage, error) {
	if len(object) > MetadataPartBytesMax {
		return nil, fmt.Errorf("at most %d bytes", MetadataPartBytesMax)
	}
	normal, err := jsonb.NormalizeObject(object)
	if err != nil || string(normal) == "{}" {
		return nil, err
	}
	return normal, nil
}

// What memories are sorted by, beside ByCreated.
const (
	ByUpdated = "updated_at"
	ByContent = "content" // its first contentRunes characters, byte by byte
	ByApp     = "app"     // the name of the app, byte by byte; those without one as if it were empty
)

// contentRunes is how much of its content a memory is sorted by; a mark has to hold it.
const contentRunes = 100

// MemoryMark is the last memory of a page; the next page begins behind it. Which of the fields counts depends on the
// sort.
type MemoryMark struct {
	At   *time.Time `json:"t,omitempty"`
	Text *string    `json:"x,omitempty"`
	ID   uuid.UUID  `json:"i"`
}

// MemoryList asks for a page of memories.
type MemoryList struct {
	Filter MemoryFilter
	Sort   Sort // by ByCreated, ByUpdated, ByContent or ByApp; the zero value = newest first
	Pages[MemoryMark]
}

// Memories returns a page of the memories that the caller may read.
func (r *Reader) Memories(ctx context.Context, c Caller, f Freshness, list MemoryList) (page Page[Memory, MemoryMark], stamp Stamp, err error) {
	params := list.params(c)
	take := func(found []db.MemoryPageRow) {
		memories := make([]Memory, 0, len(found))
		for _, row := range found {
			memories = append(memories, memoryOf(row))
		}
		page = paged(memories, list.count(), func(m Memory) MemoryMark { return markOf(m, params.Sort) })
	}
	if list.isNewestOwn(c) {
		stamp, err = r.through(ctx, postgres.Entry{Single: true}, List, c, f, func(q *db.Queries) error {
			found, err := newestOwn(ctx, q, params)
			take(found)
			return err
		})
	} else {
		stamp, err = r.listOne(ctx, c, f, list.Total, func(q *db.Queries) error {
			found, err := q.MemoryPage(ctx, params)
			take(found)
			if err == nil && list.Total {
				page.Total, err = q.MemoryCount(ctx, countParams(params))
			}
			return err
		})
	}
	if err == nil {
		r.Noted(c, list.Filter.kind(), memoryIDs(page.Items)...)
	}
	return page, stamp, err
}

// isNewestOwn tells the list that one plan serves, whoever asks for it.
func (l MemoryList) isNewestOwn(c Caller) bool {
	f := l.Filter
	f.States = nil
	return c.App == nil && !l.Total && l.Skip == 0 && (l.Sort == Sort{} || l.Sort == Sort{By: ByCreated, Descending: true}) && reflect.ValueOf(f).IsZero()
}

func newestOwn(ctx context.Context, q *db.Queries, p db.MemoryPageParams) ([]db.MemoryPageRow, error) {
	found, err := q.OwnMemoryPage(ctx, db.OwnMemoryPageParams{
		TenantID: p.TenantID, UserID: p.UserID, States: p.States, AfterAt: p.AfterAt, AfterID: p.AfterID, CountMax: p.CountMax,
	})
	rows := make([]db.MemoryPageRow, len(found))
	for i, row := range found {
		rows[i] = db.MemoryPageRow(row)
	}
	return rows, err
}

// kind is what a list under the filter counts as.
func (f MemoryFilter) kind() activity.Kind {
	if f.Search != nil {
		return activity.Search
	}
	return activity.List
}

func memoryOf(row db.MemoryPageRow) Memory {
	return Memory{Memory: db.Memory{
		TenantID: row.TenantID, ID: row.ID, Version: row.Version, UserID: row.UserID, AppID: row.AppID, Content: row.Content,
		Metadata: row.Metadata, State: row.State, CreatedAt: row.CreatedAt, UpdatedAt: row.UpdatedAt,
		ArchivedAt: row.ArchivedAt, DeletedAt: row.DeletedAt,
	}, AppName: row.AppName, Categories: row.Categories}
}

func markOf(m Memory, by string) MemoryMark {
	mark := MemoryMark{ID: m.ID}
	text := ""
	switch by {
	case ByUpdated:
		mark.At = &m.UpdatedAt
		return mark
	case ByContent:
		text = firstRunes(m.Content, contentRunes)
	case ByApp:
		if m.AppName != nil {
			text = *m.AppName
		}
	default:
		mark.At = &m.CreatedAt
		return mark
	}
	mark.Text = &text
	return mark
}

func firstRunes(s string, count int) string {
	for i := range s {
		if count == 0 {
			return s[:i]
		}
		count--
	}
	return s
}

func (l MemoryList) params(c Caller) db.MemoryPageParams {
	p := db.MemoryPageParams{
		TenantID: c.Tenant, UserID: c.User, AsApp: c.App, States: l.Filter.states(), AppIds: l.Filter.AppIDs, AppNames: l.Filter.Apps,
		CategoryIds: l.Filter.CategoryIDs, Categories: l.Filter.Categories, Search: l.Filter.Search,
		CreatedFrom: l.Filter.From, CreatedTo: l.Filter.To, UpdatedFrom: l.Filter.UpdatedFrom, UpdatedTo: l.Filter.UpdatedTo,
		Metadata: l.Filter.Metadata, NotMetadata: l.Filter.NotMetadata,
		Sort: l.Sort.By, Descending: l.Sort.Descending, Skip: int32(l.Skip), CountMax: int32(l.count() + 1), // one more tells whether there is another page
	}
	if p.Sort == "" {
		p.Sort, p.Descending = ByCreated, true
	}
	if l.Behind != nil {
		p.AfterAt, p.AfterText, p.AfterID = l.Behind.At, l.Behind.Text, &l.Behind.ID
	}
	return p
}

func (f MemoryFilter) states() []string {
	if f.States == nil {
		return []string{"active", "paused"}
	}
	return f.States
}

func countParams(p db.MemoryPageParams) db.MemoryCountParams {
	return db.MemoryCountParams{
		TenantID: p.TenantID, UserID: p.UserID, AsApp: p.AsApp, States: p.States, AppIds: p.AppIds, AppNames: p.AppNames, CategoryIds: p.CategoryIds,
		Categories: p.Categories, Search: p.Search, CreatedFrom: p.CreatedFrom, CreatedTo: p.CreatedTo, UpdatedFrom: p.UpdatedFrom, UpdatedTo: p.UpdatedTo,
		Metadata: p.Metadata, NotMetadata: p.NotMetadata,
	}
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
	if err == nil {
		r.Noted(c, activity.Read, id)
	}
	return memory, history, stamp, err
}

// MemoryIDs returns the ids of at most count of the memories that the caller may read and a filter selects, in the order
// of the ids.
func (r *Reader) MemoryIDs(ctx context.Context, c Caller, f Freshness, filter MemoryFilter, count int) (ids []uuid.UUID, err error) {
	_, err = r.listOne(ctx, c, f, false, func(q *db.Queries) error {
		ids, err = q.MemoryIDs(ctx, db.MemoryIDsParams{
			TenantID: c.Tenant, UserID: c.User, AsApp: c.App, States: filter.states(), AppIds: filter.AppIDs, AppNames: filter.Apps,
			CategoryIds: filter.CategoryIDs, Categories: filter.Categories, Search: filter.Search,
			CreatedFrom: filter.From, CreatedTo: filter.To, UpdatedFrom: filter.UpdatedFrom, UpdatedTo: filter.UpdatedTo,
			Metadata: filter.Metadata, NotMetadata: filter.NotMetadata, CountMax: int32(count),
		})
		return err
	})
	return ids, err
}

// MayRead tells whether there is a memory that the caller may read. That it is asked is no access.
func (r *Reader) MayRead(ctx context.Context, c Caller, id uuid.UUID) (readable bool, err error) {
	_, err = r.askOne(ctx, c, Freshness{}, func(q *db.Queries) error {
		_, err := memoryByID(ctx, q, c, id)
		readable = err == nil
		if errors.Is(err, ErrNotFound) {
			return nil
		}
		return err
	})
	return readable, err
}
