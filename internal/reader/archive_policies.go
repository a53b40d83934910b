package reader

import (
	"context"
	"time"

	"github.com/google/uuid"

	"github.com/refold-dev/refold/events"
	"github.com/refold-dev/refold/internal/postgres/db"
)

// ArchivePolicy returns an archive policy of the caller, or ErrNotFound.
func (r *Reader) ArchivePolicy(ctx context.Context, c Caller, f Freshness, id uuid.UUID) (policy db.ArchivePolicy, stamp Stamp, err error) {
	stamp, err = r.ask(ctx, c, f, func(q *db.Queries) error {
		policy, err = q.ArchivePolicyByID(ctx, db.ArchivePolicyByIDParams{TenantID: c.Tenant, ID: id, OwnerID: c.User})
		return absent(err)
	})
	return policy, stamp, err
}

// ArchivePolicyMark is the last policy of a page; the next page begins behind it.
type ArchivePolicyMark struct {
	CreatedAt time.Time `json:"t"`
	ID        uuid.UUID `json:"i"`
}

// ArchivePolicies returns a page of the caller's archive policies, oldest first, and the mark for the next page, nil at
// the end. count is 1 to PageCountMax.
func (r *Reader) ArchivePolicies(ctx context.Context, c Caller, f Freshness, behind *ArchivePolicyMark, count int) (page []db.ArchivePolicy, next *ArchivePolicyMark, stamp Stamp, err error) {
	count = max(1, min(count, PageCountMax))
	params := db.ArchivePolicyPageParams{TenantID: c.Tenant, OwnerID: c.User, CountMax: int32(count + 1)}
	if behind != nil {
		params.AfterAt, params.AfterID = &behind.CreatedAt, &behind.ID
	}
	stamp, err = r.ask(ctx, c, f, func(q *db.Queries) error {
		page, err = q.ArchivePolicyPage(ctx, params)
		next = nil
		if err == nil && len(page) > count {
			page = page[:count]
			last := page[count-1]
			next = &ArchivePolicyMark{last.CreatedAt, last.ID}
		}
		return err
	})
	return page, next, stamp, err
}

// PoliciesToApply returns some archive policies of all users of the caller's tenant, by id, behind one; none at the end.
// It is for who applies them, and not for callers.
func (r *Reader) PoliciesToApply(ctx context.Context, c Caller, behind uuid.UUID, count int) (policies []db.ArchivePolicy, err error) {
	_, err = r.ask(ctx, c, Freshness{}, func(q *db.Queries) error {
		policies, err = q.ArchivePoliciesOfTenant(ctx, db.ArchivePoliciesOfTenantParams{TenantID: c.Tenant, AfterID: behind, CountMax: int32(count)})
		return err
	})
	return policies, err
}

// Due is a memory that a policy wants archived.
type Due = db.MemoriesDueRow

// MemoriesDue returns some of the memories that a policy of the caller wants archived at a time, oldest first, behind the
// last one of the answer before; none at the end.
func (r *Reader) MemoriesDue(ctx context.Context, c Caller, p db.ArchivePolicy, now time.Time, behind *Due, count int) (due []Due, err error) {
	params := db.MemoriesDueParams{
		TenantID: c.Tenant, OwnerID: p.OwnerID, CreatedBefore: now.AddDate(0, 0, -int(p.Days)), CountMax: int32(count),
	}
	if behind != nil {
		params.AfterAt, params.AfterID = behind.CreatedAt, behind.ID
	}
	switch events.Criteria(p.Criteria) {
	case events.OfApp:
		params.AppID = p.CriteriaID
	case events.OfCategory:
		params.CategoryID = p.CriteriaID
	case events.Global:
	}
	_, err = r.ask(ctx, c, Freshness{}, func(q *db.Queries) error {
		due, err = q.MemoriesDue(ctx, params)
		return err
	})
	return due, err
}
