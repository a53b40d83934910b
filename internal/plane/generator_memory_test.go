package plane_test

import (
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/refold-dev/refold/events"
	"github.com/refold-dev/refold/events/envelope"
)

// memory makes the events of memories: they are added or imported, changed, moved between states, supplemented.
func (g *generator) memory(on *subject) (events.Payload, func(*model, *envelope.Event)) {
	if on.version == 0 {
		if g.random.IntN(4) == 0 {
			return g.imported(on)
		}
		return g.added(on)
	}
	if on.state == events.Deleted && g.random.IntN(3) == 0 {
		return g.undeleted(on)
	}
	if on.state == events.Deleted || g.random.IntN(10) == 0 {
		if g.random.IntN(2) == 0 {
			return g.imported(on)
		}
		categories, history := g.categories(), g.history()
		return &events.MemorySupplemented{CategoryIDs: categories, History: history}, func(m *model, e *envelope.Event) {
			m.change(e, "memory")
			m.supplement(e, categories, history)
		}
	}
	if g.random.IntN(2) == 0 {
		return g.changed()
	}
	return g.moved(on)
}

func (g *generator) added(on *subject) (events.Payload, func(*model, *envelope.Event)) {
	metadata, stored := g.metadata()
	p := &events.MemoryAdded{UserID: g.uuid(), AppID: g.uuidOrNil(), CategoryIDs: g.categories(), Private: events.MemoryPrivate{Content: g.text(), Metadata: metadata}}
	on.state = events.Active
	return p, func(m *model, e *envelope.Event) {
		m.put(e, "memory", e.ID, p.UserID, p.AppID, p.Private.Content, stored, "active", e.Time, e.Time, nil, nil)
		m.supplement(e, p.CategoryIDs, nil)
	}
}

func (g *generator) changed() (events.Payload, func(*model, *envelope.Event)) {
	p := &events.MemoryChanged{Private: events.MemoryChangedPrivate{Content: g.textOrNil()}}
	stored := ""
	if g.random.IntN(2) == 0 {
		p.Private.Metadata, stored = g.metadata()
	}
	if g.random.IntN(2) == 0 {
		categories := g.categories()
		p.CategoryIDs = &categories
	}
	return p, func(m *model, e *envelope.Event) {
		m.change(e, "memory", "updated_at", e.Time)
		if p.Private.Content != nil {
			m.change(e, "memory", "content", *p.Private.Content)
		}
		if p.Private.Metadata != nil {
			m.change(e, "memory", "metadata", stored)
		}
		if p.CategoryIDs != nil {
			m.categories(e, *p.CategoryIDs)
		}
	}
}

func (g *generator) moved(on *subject) (events.Payload, func(*model, *envelope.Event)) {
	by, old := g.uuid(), on.state
	var p events.Payload
	switch g.random.IntN(8) {
	case 0:
		p, on.state = &events.MemoryDeleted{By: by}, events.Deleted
	case 1, 2:
		p, on.state = &events.MemoryArchived{By: by}, events.Archived
	case 3, 4:
		p, on.state = &events.MemoryPaused{By: by}, events.Paused
	default:
		p, on.state = &events.MemoryActivated{By: by}, events.Active
	}
	return p, movedTo(on.state, old, by)
}

// undeleted brings a deleted memory back with content of its own: what a row keeps of it does not count.
func (g *generator) undeleted(on *subject) (events.Payload, func(*model, *envelope.Event)) {
	metadata, stored := g.metadata()
	by, content := g.uuid(), g.text()
	moved := movedTo(events.Active, on.state, by)
	on.state = events.Active
	return &events.MemoryActivated{By: by, Private: events.MemoryChangedPrivate{Content: &content, Metadata: metadata}}, func(m *model, e *envelope.Event) {
		moved(m, e)
		m.change(e, "memory", "content", content)
		if metadata != nil {
			m.change(e, "memory", "metadata", stored)
		}
	}
}

func movedTo(state, old events.State, by uuid.UUID) func(*model, *envelope.Event) {
	return func(m *model, e *envelope.Event) {
		var archived, deleted any
		switch state {
		case events.Archived:
			archived = e.Time
		case events.Deleted:
			deleted = e.Time
		case events.Active, events.Paused:
		}
		m.change(e, "memory", "state", string(state), "updated_at", e.Time, "archived_at", archived, "deleted_at", deleted)
		m.put(e, "memory_status", e.ID, e.Seq, 0, envelope.RowID("memory_status", e.Tenant, e.ID, e.EventID), by, string(old), string(state), e.Time)
	}
}

func (g *generator) imported(on *subject) (events.Payload, func(*model, *envelope.Event)) {
	metadata, stored := g.metadata()
	created, updated := g.timeOrNil(), g.timeOrNil()
	if created == nil {
		created = &g.clock
	}
	at, until := *created, *created
	if updated != nil {
		until = *updated
	}
	p := &events.MemoryImported{
		UserID: g.uuid(), AppID: g.uuidOrNil(), State: []events.State{events.Active, events.Paused, events.Archived, events.Deleted}[g.random.IntN(4)],
		CreatedAt: at, UpdatedAt: until, ArchivedAt: g.timeOrNil(), DeletedAt: g.timeOrNil(),
		CategoryIDs: g.categories(), History: g.history(), Private: events.MemoryPrivate{Content: g.text(), Metadata: metadata},
	}
	on.state = p.State
	return p, func(m *model, e *envelope.Event) {
		m.put(e, "memory", e.ID, p.UserID, p.AppID, p.Private.Content, stored, string(p.State), at, until, p.ArchivedAt, p.DeletedAt)
		m.supplement(e, p.CategoryIDs, p.History)
	}
}

// categories are few, so that memories share them.
func (g *generator) categories() []uuid.UUID {
	var out []uuid.UUID
	for range g.random.IntN(4) {
		id := uuid.NewSHA1(uuid.NameSpaceOID, fmt.Appendf(nil, "category %d", g.random.IntN(6)))
		for _, known := range out {
			if known == id {
				id = g.uuid()
			}
		}
		out = append(out, id)
	}
	return out
}

func (g *generator) history() []events.StatusChange {
	var out []events.StatusChange
	for range g.random.IntN(3) {
		out = append(out, events.StatusChange{
			ID: g.uuid(), ChangedBy: g.uuid(), OldState: events.Active, NewState: events.Archived, ChangedAt: time.UnixMicro(g.random.Int64N(2e15)).UTC(),
		})
	}
	return out
}
