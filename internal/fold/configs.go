package fold

import (
	"github.com/refold-dev/refold/events"
	"github.com/refold-dev/refold/events/jsonb"
	"github.com/refold-dev/refold/internal/postgres/db"
	"github.com/refold-dev/refold/internal/rows"
)

func (n entity) configSet(w *rows.Set, p *events.ConfigSet) error {
	settings, err := jsonb.NormalizeObject(p.Private.Settings)
	if err != nil {
		return err
	}
	created := n.event.Time
	if old, known := configs.Get(w, rows.One{}); known {
		created = old.CreatedAt
	}
	return configs.Put(w, db.Config{
		TenantID: n.event.Tenant, ID: n.id, Version: n.version, Settings: settings, ChangedBy: p.By, CreatedAt: created, UpdatedAt: n.event.Time,
	})
}
