package reader

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/refold-dev/refold/internal/activity"
	"github.com/refold-dev/refold/internal/postgres"
	"github.com/refold-dev/refold/internal/postgres/db"
)

// exportPage is how many memories an export holds at once. The largest ones take 25 MB together.
const exportPage = 100

// ExportFilter selects the memories of an export; nil fields select all.
type ExportFilter struct {
	AppID    *uuid.UUID
	From, To *time.Time // of creation, both included
}

// Export is all that a user has, deleted memories included, as it stood at one moment. It is of use only within the call
// of Reader.Export that made it, and by one goroutine.
type Export struct {
	Stamp  Stamp
	Filter ExportFilter
	User   db.UserAccount

	ctx context.Context
	c   Caller
	q   *db.Queries
	// note tells the access log; nil after the first visit of all memories.
	note func(memories ...uuid.UUID)
}

// Export calls fn with what a user has. All it reads is of one snapshot, page by page, so fn must not dawdle between two
// of them for more than half a minute. It fails with ErrNotFound for a user who has never been here.
func (r *Reader) Export(ctx context.Context, c Caller, f Freshness, filter ExportFilter, fn func(*Export) error) error {
	number, pool, err := r.live(ctx, c)
	if err != nil {
		return err
	}
	if f.Least != nil && f.Wait > 0 {
		if err := r.await(ctx, place{number, c.Shard}, pool, f); err != nil {
			return c.retired(err)
		}
	}
	leave, err := r.share(ctx, c, Snapshot)
	if err != nil {
		return err
	}
	defer leave()
	note := func(memories ...uuid.UUID) { r.Noted(c, activity.Export, memories...) }
	_, err = postgres.WithTenant(ctx, pool, postgres.Entry{Tenant: c.Tenant, Planned: true, StatementMax: statementMax[Snapshot]}, func(q *db.Queries) error {
		e := &Export{Filter: filter, ctx: ctx, c: c, q: q, note: note}
		if err := e.begin(number, f); err != nil {
			return err
		}
		return fn(e)
	})
	return c.retired(tooSlow(err))
}

func (e *Export) begin(number int64, f Freshness) error {
	checkpoint, err := e.q.CheckpointGet(e.ctx, db.CheckpointGetParams{Edition: number, Shard: int32(e.c.Shard)})
	if errors.Is(err, pgx.ErrNoRows) {
		return ErrEditionGone
	}
	if err != nil {
		return fmt.Errorf("checkpoint of edition %d, shard %d: %w", number, e.c.Shard, err)
	}
	e.Stamp = Stamp{Edition: number, Position: positionOf(checkpoint), Age: max(0, time.Since(checkpoint.UpdatedAt))}
	if f.Least != nil {
		if err := f.Least.reachedBy(e.Stamp.Position); err != nil {
			return err
		}
	}
	e.User, err = e.q.ExportUser(e.ctx, db.ExportUserParams{TenantID: e.c.Tenant, UserID: e.c.User})
	return absent(err)
}

// Memories visits the memories, oldest first, page by page. Whoever visits them several times has accessed them once.
func (e *Export) Memories(visit func([]db.Memory) error) error {
	note := e.note
	e.note = nil
	p := db.ExportMemoryPageParams{
		TenantID: e.c.Tenant, UserID: e.c.User, AppID: e.Filter.AppID, CreatedFrom: e.Filter.From, CreatedTo: e.Filter.To, CountMax: exportPage,
	}
	for {
		page, err := e.q.ExportMemoryPage(e.ctx, p)
		if err != nil || len(page) == 0 {
			return err
		}
		if note != nil {
			note(idsOf(page)...) // before the visit: what has left the plane in part was accessed
		}
		if err := visit(page); err != nil {
			return err
		}
		last := page[len(page)-1]
		p.AfterAt, p.AfterID = &last.CreatedAt, &last.ID
	}
}

// Apps visits the apps by id. With a filter they are those of the memories selected.
func (e *Export) Apps(visit func([]db.App) error) error {
	p := db.ExportAppPageParams{
		TenantID: e.c.Tenant, UserID: e.c.User, Selected: e.Filter != ExportFilter{},
		AppID: e.Filter.AppID, CreatedFrom: e.Filter.From, CreatedTo: e.Filter.To, CountMax: exportPage,
	}
	for {
		page, err := e.q.ExportAppPage(e.ctx, p)
		if err != nil || len(page) == 0 {
			return err
		}
		if err := visit(page); err != nil {
			return err
		}
		p.AfterID = &page[len(page)-1].ID
	}
}

// Categories visits those that the memories have, by id.
func (e *Export) Categories(visit func([]db.Category) error) error {
	p := db.ExportCategoryPageParams{
		TenantID: e.c.Tenant, UserID: e.c.User, AppID: e.Filter.AppID, CreatedFrom: e.Filter.From, CreatedTo: e.Filter.To, CountMax: exportPage,
	}
	for {
		page, err := e.q.ExportCategoryPage(e.ctx, p)
		if err != nil || len(page) == 0 {
			return err
		}
		if err := visit(page); err != nil {
			return err
		}
		p.AfterID = &page[len(page)-1].ID
	}
}

// Links returns the categories of some memories.
func (e *Export) Links(memories []db.Memory) ([]db.ExportLinksRow, error) {
	return e.q.ExportLinks(e.ctx, db.ExportLinksParams{TenantID: e.c.Tenant, MemoryIds: idsOf(memories)})
}

// Statuses returns the status history of some memories, of each one oldest first.
func (e *Export) Statuses(memories []db.Memory) ([]db.MemoryStatus, error) {
	return e.q.ExportStatuses(e.ctx, db.ExportStatusesParams{TenantID: e.c.Tenant, MemoryIds: idsOf(memories)})
}

// Rules returns the access rules of some apps.
func (e *Export) Rules(apps []db.App) ([]db.AppAccessRule, error) {
	ids := make([]uuid.UUID, len(apps))
	for i, a := range apps {
		ids[i] = a.ID
	}
	return e.q.ExportRules(e.ctx, db.ExportRulesParams{TenantID: e.c.Tenant, AppIds: ids})
}

func idsOf(memories []db.Memory) []uuid.UUID {
	ids := make([]uuid.UUID, len(memories))
	for i, m := range memories {
		ids[i] = m.ID
	}
	return ids
}
