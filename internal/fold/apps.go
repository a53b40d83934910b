package fold

import (
	"github.com/refold-dev/refold/events"
	"github.com/refold-dev/refold/events/jsonb"
	"github.com/refold-dev/refold/internal/postgres/db"
	"github.com/refold-dev/refold/internal/rows"
)

func (n entity) appRegistered(w *rows.Set, p *events.AppRegistered) error {
	metadata, err := jsonb.NormalizeObject(p.Private.Metadata)
	if err != nil {
		return err
	}
	return apps.Put(w, db.App{
		TenantID: n.event.Tenant, ID: n.id, Version: n.version, OwnerID: p.OwnerID,
		Name: p.Private.Name, Description: p.Private.Description, Metadata: metadata, IsActive: p.Active,
		CreatedAt: n.or(p.CreatedAt), UpdatedAt: n.or(p.UpdatedAt),
	})
}

func (n entity) appChanged(w *rows.Set, p *events.AppChanged) error {
	metadata, err := jsonb.NormalizeObject(p.Private.Metadata)
	if err != nil {
		return err
	}
	return n.changeApp(w, func(a *db.App) {
		a.Description, a.Metadata, a.IsActive = p.Private.Description, metadata, p.Active
		if p.CreatedAt != nil {
			a.CreatedAt = *p.CreatedAt
		}
		a.UpdatedAt = n.or(p.UpdatedAt)
	})
}

func (n entity) appActive(w *rows.Set, active bool) error {
	return n.changeApp(w, func(a *db.App) {
		a.IsActive, a.UpdatedAt = active, n.event.Time
	})
}

func (n entity) changeApp(w *rows.Set, change func(*db.App)) error {
	a, ok := apps.Get(w, rows.One{})
	if !ok {
		return errNotThere
	}
	change(&a)
	a.Version = n.version
	return apps.Put(w, a)
}

func (n entity) accessRuled(w *rows.Set, p *events.AppAccessRuled) error {
	err := accessRules.Put(w, db.AppAccessRule{
		TenantID: n.event.Tenant, AppID: n.id, ID: p.RuleID, Version: n.version,
		ObjectType: p.ObjectType, ObjectID: p.ObjectID, Effect: string(p.Effect), CreatedAt: n.or(p.CreatedAt),
	})
	if err != nil {
		return err
	}
	return n.changeApp(w, func(*db.App) {})
}

func (n entity) accessWithdrawn(w *rows.Set, p *events.AppAccessWithdrawn) error {
	accessRules.Delete(w, p.RuleID)
	return n.changeApp(w, func(*db.App) {})
}
