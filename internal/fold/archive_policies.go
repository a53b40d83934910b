package fold

import (
	"errors"

	"github.com/refold-dev/refold/events"
	"github.com/refold-dev/refold/internal/postgres/db"
	"github.com/refold-dev/refold/internal/rows"
)

func (n entity) archivePolicySet(w *rows.Set, p *events.ArchivePolicySet) error {
	created := n.or(p.CreatedAt)
	old, known := archivePolicies.Get(w, rows.One{})
	switch {
	case known && old.OwnerID != p.OwnerID:
		return errors.New("the policy is another user's")
	case known && p.CreatedAt == nil:
		created = old.CreatedAt
	}
	return archivePolicies.Put(w, db.ArchivePolicy{
		TenantID: n.event.Tenant, ID: n.id, Version: n.version, OwnerID: p.OwnerID,
		Criteria: string(p.Criteria), CriteriaID: p.CriteriaID, Days: int64(p.Days), CreatedAt: created, UpdatedAt: n.event.Time,
	})
}

// archivePolicyWithdrawn leaves no row.
func (n entity) archivePolicyWithdrawn(w *rows.Set) error {
	if _, ok := archivePolicies.Get(w, rows.One{}); !ok {
		return errNotThere
	}
	archivePolicies.Delete(w, rows.One{})
	return nil
}
