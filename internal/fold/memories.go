package fold

import (
	"time"

	"github.com/google/uuid"
	"github.com/refold-dev/refold/events"
	"github.com/refold-dev/refold/events/envelope"
	"github.com/refold-dev/refold/events/jsonb"
	"github.com/refold-dev/refold/internal/postgres/db"
	"github.com/refold-dev/refold/internal/rows"
)

func (n entity) memoryAdded(w *rows.Set, p *events.MemoryAdded) error {
	metadata, err := jsonb.NormalizeObject(p.Private.Metadata)
	if err != nil {
		return err
	}
	err = memories.Put(w, db.Memory{
		TenantID: n.event.Tenant, ID: n.id, Version: n.version, UserID: p.UserID, AppID: p.AppID,
		Content: p.Private.Content, Metadata: metadata, State: string(events.Active),
		CreatedAt: n.event.Time, UpdatedAt: n.event.Time,
	})
	if err != nil {
		return err
	}
	return n.addCategories(w, p.CategoryIDs)
}

func (n entity) memoryChanged(w *rows.Set, p *events.MemoryChanged) error {
	m, ok := memories.Get(w, rows.One{})
	if !ok {
		return errNotThere
	}
	if err := change(&m, p.Private); err != nil {
		return err
	}
	m.Version, m.UpdatedAt = n.version, n.event.Time
	if err := memories.Put(w, m); err != nil {
		return err
	}
	if p.CategoryIDs == nil {
		return nil
	}
	for _, link := range memoryCategories.All(w) {
		memoryCategories.Delete(w, link.CategoryID)
	}
	return n.addCategories(w, *p.CategoryIDs)
}

// change replaces what is given of a memory's content and metadata.
func change(m *db.Memory, p events.MemoryChangedPrivate) error {
	if p.Content != nil {
		m.Content = *p.Content
	}
	if p.Metadata == nil {
		return nil
	}
	metadata, err := jsonb.NormalizeObject(p.Metadata)
	if err != nil {
		return err
	}
	m.Metadata = metadata
	return nil
}

// unchanged is what an event says of content that says nothing of it.
var unchanged events.MemoryChangedPrivate

// memoryState moves a memory to another state and writes the line of its status history.
func (n entity) memoryState(w *rows.Set, state events.State, by uuid.UUID, private events.MemoryChangedPrivate) error {
	m, ok := memories.Get(w, rows.One{})
	if !ok {
		return errNotThere
	}
	if err := change(&m, private); err != nil {
		return err
	}
	old := m.State
	at := n.event.Time
	m.Version, m.State, m.UpdatedAt = n.version, string(state), at
	m.ArchivedAt, m.DeletedAt = nil, nil
	switch state {
	case events.Archived:
		m.ArchivedAt = &at
	case events.Deleted:
		m.DeletedAt = &at
	case events.Active, events.Paused:
	}
	if err := memories.Put(w, m); err != nil {
		return err
	}
	return n.appendStatus(w, 0, events.StatusChange{
		ID:        envelope.RowID("memory_status", n.event.Tenant, n.event.ID, n.event.EventID),
		ChangedBy: by, OldState: events.State(old), NewState: state, ChangedAt: at,
	})
}

func (n entity) memoryImported(w *rows.Set, p *events.MemoryImported) error {
	metadata, err := jsonb.NormalizeObject(p.Private.Metadata)
	if err != nil {
		return err
	}
	err = memories.Put(w, db.Memory{
		TenantID: n.event.Tenant, ID: n.id, Version: n.version, UserID: p.UserID, AppID: p.AppID,
		Content: p.Private.Content, Metadata: metadata, State: string(p.State),
		CreatedAt: p.CreatedAt, UpdatedAt: p.UpdatedAt, ArchivedAt: p.ArchivedAt, DeletedAt: p.DeletedAt,
	})
	if err != nil {
		return err
	}
	return n.supplement(w, p.CategoryIDs, p.History)
}

func (n entity) memorySupplemented(w *rows.Set, p *events.MemorySupplemented) error {
	m, ok := memories.Get(w, rows.One{})
	if !ok {
		return errNotThere
	}
	m.Version = n.version
	if err := memories.Put(w, m); err != nil {
		return err
	}
	return n.supplement(w, p.CategoryIDs, p.History)
}

func (n entity) supplement(w *rows.Set, categoryIDs []uuid.UUID, history []events.StatusChange) error {
	if err := n.addCategories(w, categoryIDs); err != nil {
		return err
	}
	for i, change := range history {
		if err := n.appendStatus(w, i, change); err != nil {
			return err
		}
	}
	return nil
}

func (n entity) addCategories(w *rows.Set, ids []uuid.UUID) error {
	for _, id := range ids {
		if _, ok := memoryCategories.Get(w, id); ok {
			continue
		}
		err := memoryCategories.Put(w, db.MemoryCategory{TenantID: n.event.Tenant, MemoryID: n.id, CategoryID: id, Version: n.version})
		if err != nil {
			return err
		}
	}
	return nil
}

func (n entity) appendStatus(w *rows.Set, ordinal int, c events.StatusChange) error {
	return memoryStatuses.Append(w, db.MemoryStatus{
		TenantID: n.event.Tenant, MemoryID: n.id, Seq: int64(n.event.Seq), Ordinal: int32(ordinal), Version: n.version,
		ID: c.ID, ChangedBy: c.ChangedBy, OldState: string(c.OldState), NewState: string(c.NewState),
		ChangedAt: c.ChangedAt.Truncate(time.Microsecond),
	})
}
