package reader

import (
	"context"
	"time"

	"github.com/google/uuid"

	"github.com/refold-dev/refold/internal/postgres/db"
)

// ArchivePolicyMark is the last archive policy of a page; the next page begins behind it.
type ArchivePolicyMark struct {
	CreatedAt time.Time `json:"t"`
	ID        uuid.UUID `json:"i"`
}

// ArchivePolicies returns a page of the caller's archive policies, oldest first. The Total of pages is not counted.
func (r *Reader) ArchivePolicies(ctx context.Context, c Caller, f Freshness, pages Pages[ArchivePolicyMark]) (page Page[db.ArchivePolicy, ArchivePolicyMark], stamp Stamp, err error) {
	params := db.ArchivePolicyPageParams{TenantID: c.Tenant, OwnerID: c.User, CountMax: int32(pages.count() + 1)}
	if b := pages.Behind; b != nil {
		params.AfterAt, params.AfterID = &b.CreatedAt, &b.ID
	}
	stamp, err = r.askOne(ctx, c, f, func(q *db.Queries) error {
		found, err := q.ArchivePolicyPage(ctx, params)
		page = paged(found, pages.count(), func(p db.ArchivePolicy) ArchivePolicyMark { return ArchivePolicyMark{p.CreatedAt, p.ID} })
		return err
	})
	return page, stamp, err
}

// ArchivePolicy returns an archive policy of the caller, or ErrNotFound.
func (r *Reader) ArchivePolicy(ctx context.Context, c Caller, f Freshness, id uuid.UUID) (policy db.ArchivePolicy, stamp Stamp, err error) {
	stamp, err = r.askOne(ctx, c, f, func(q *db.Queries) error {
		policy, err = q.ArchivePolicyByID(ctx, db.ArchivePolicyByIDParams{TenantID: c.Tenant, ID: id, OwnerID: c.User})
		return absent(err)
	})
	return policy, stamp, err
}

// PoliciesToApply returns at most count of the archive policies of all users of a tenant, in the order of the ids, those
// behind an id.
func (r *Reader) PoliciesToApply(ctx context.Context, c Caller, behind uuid.UUID, count int) (policies []db.ArchivePolicy, err error) {
	_, err = r.askOne(ctx, c, Freshness{}, func(q *db.Queries) error {
		policies, err = q.ArchivePoliciesOfTenant(ctx, db.ArchivePoliciesOfTenantParams{TenantID: c.Tenant, AfterID: behind, CountMax: int32(count)})
		return err
	})
	return policies, err
}

// Due is a memory that an archive policy wants archived.
type Due = db.MemoriesDueRow

// MemoriesDue returns at most count of the active and paused memories that an archive policy wants archived at a time,
// oldest first, those behind one. That it is asked is no access.
func (r *Reader) MemoriesDue(ctx context.Context, c Caller, policy db.ArchivePolicy, at time.Time, behind *Due, count int) (due []Due, err error) {
	params := db.MemoriesDueParams{
		TenantID: c.Tenant, OwnerID: policy.OwnerID, CreatedBefore: at.AddDate(0, 0, -int(policy.Days)), CountMax: int32(count),
	}
	if behind != nil {
		params.AfterAt, params.AfterID = behind.CreatedAt, behind.ID
	}
	switch policy.Criteria {
	case "app":
		params.AppID = policy.CriteriaID
	case "category":
		params.CategoryID = policy.CriteriaID
	}
	_, err = r.listOne(ctx, c, Freshness{}, false, func(q *db.Queries) error {
		due, err = q.MemoriesDue(ctx, params)
		return err
	})
	return due, err
}
