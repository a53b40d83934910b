package fold

import (
	"time"

	"github.com/refold-dev/refold/events"
	"github.com/refold-dev/refold/events/jsonb"
	"github.com/refold-dev/refold/internal/postgres/db"
	"github.com/refold-dev/refold/internal/rows"
)

func (n entity) userRegistered(w *rows.Set, p *events.UserRegistered) error {
	return n.putUser(w, p.Private, n.or(p.CreatedAt), n.or(p.UpdatedAt))
}

func (n entity) userChanged(w *rows.Set, p *events.UserChanged) error {
	old, ok := users.Get(w, rows.One{})
	if !ok {
		return errNotThere
	}
	created := old.CreatedAt
	if p.CreatedAt != nil {
		created = *p.CreatedAt
	}
	return n.putUser(w, p.Private, created, n.or(p.UpdatedAt))
}

func (n entity) putUser(w *rows.Set, p events.UserPrivate, created, updated time.Time) error {
	metadata, err := jsonb.NormalizeObject(p.Metadata)
	if err != nil {
		return err
	}
	return users.Put(w, db.UserAccount{
		TenantID: n.event.Tenant, ID: n.id, Version: n.version,
		Subject: p.Subject, Name: p.Name, Email: p.Email, Metadata: metadata,
		CreatedAt: created, UpdatedAt: updated,
	})
}

// or is the time of an imported record, or that of the event.
func (n entity) or(t *time.Time) time.Time {
	if t != nil {
		return *t
	}
	return n.event.Time
}

func (n entity) categoryDefined(w *rows.Set, p *events.CategoryDefined) error {
	return categories.Put(w, db.Category{
		TenantID: n.event.Tenant, ID: n.id, Version: n.version,
		Name: p.Private.Name, Description: p.Private.Description,
		CreatedAt: n.or(p.CreatedAt), UpdatedAt: n.or(p.UpdatedAt),
	})
}
