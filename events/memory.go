package events

import (
	"encoding/json"
	"time"

	"github.com/google/uuid"
)

const (
	kindMemoryAdded        = "memory.added.v1"
	kindMemoryChanged      = "memory.changed.v1"
	kindMemoryActivated    = "memory.activated.v1"
	kindMemoryPaused       = "memory.paused.v1"
	kindMemoryArchived     = "memory.archived.v1"
	kindMemoryDeleted      = "memory.deleted.v1"
	kindMemoryImported     = "memory.imported.v1"
	kindMemorySupplemented = "memory.supplemented.v1"
)

// MemoryAdded: kind memory.added.v1. The memory is active.
type MemoryAdded struct {
	UserID      uuid.UUID
	AppID       *uuid.UUID
	CategoryIDs []uuid.UUID
	Private     MemoryPrivate
}

// MemoryChanged: kind memory.changed.v1. Nil fields stay as they are.
type MemoryChanged struct {
	CategoryIDs *[]uuid.UUID // the whole new set
	Private     MemoryChangedPrivate
}

// MemoryActivated: kind memory.activated.v1.
type MemoryActivated struct{ By uuid.UUID }

// MemoryPaused: kind memory.paused.v1.
type MemoryPaused struct{ By uuid.UUID }

// MemoryArchived: kind memory.archived.v1.
type MemoryArchived struct{ By uuid.UUID }

// MemoryDeleted: kind memory.deleted.v1.
type MemoryDeleted struct{ By uuid.UUID }

// MemoryImported: kind memory.imported.v1. The whole record of another system. It makes the memory, or replaces
// its app, content, metadata, state and times; categories and status changes are added to those it has.
type MemoryImported struct {
	UserID                uuid.UUID
	AppID                 *uuid.UUID
	State                 State
	CreatedAt, UpdatedAt  time.Time
	ArchivedAt, DeletedAt *time.Time
	CategoryIDs           []uuid.UUID    // those to add
	History               []StatusChange // those to add, oldest first
	Private               MemoryPrivate
}

// MemorySupplemented: kind memory.supplemented.v1. Categories and status changes that an import found missing
// on a memory that it otherwise left alone.
type MemorySupplemented struct {
	CategoryIDs []uuid.UUID
	History     []StatusChange
}

// StatusChange is one line of a memory's status history.
type StatusChange struct {
	ID        uuid.UUID
	ChangedBy uuid.UUID
	OldState  State
	NewState  State
	ChangedAt time.Time
}

// MemoryPrivate is what is personal about a memory.
type MemoryPrivate struct {
	Content  string
	Metadata json.RawMessage // a JSON object; nil = {}
}

// MemoryChangedPrivate is the personal half of a change.
type MemoryChangedPrivate struct {
	Content  *string
	Metadata json.RawMessage // nil = unchanged
}

// Kind is the event type on the wire.
func (*MemoryAdded) Kind() string { return kindMemoryAdded }
func (*MemoryAdded) payload()     {}

// Kind is the event type on the wire.
func (*MemoryChanged) Kind() string { return kindMemoryChanged }
func (*MemoryChanged) payload()     {}

// Kind is the event type on the wire.
func (*MemoryActivated) Kind() string { return kindMemoryActivated }
func (*MemoryActivated) payload()     {}

// Kind is the event type on the wire.
func (*MemoryPaused) Kind() string { return kindMemoryPaused }
func (*MemoryPaused) payload()     {}

// Kind is the event type on the wire.
func (*MemoryArchived) Kind() string { return kindMemoryArchived }
func (*MemoryArchived) payload()     {}

// Kind is the event type on the wire.
func (*MemoryDeleted) Kind() string { return kindMemoryDeleted }
func (*MemoryDeleted) payload()     {}

// Kind is the event type on the wire.
func (*MemoryImported) Kind() string { return kindMemoryImported }
func (*MemoryImported) payload()     {}

// Kind is the event type on the wire.
func (*MemorySupplemented) Kind() string { return kindMemorySupplemented }
func (*MemorySupplemented) payload()     {}

// Halves returns the two halves of the payload.
func (p *MemoryActivated) Halves() (public, private []byte, err error) { return byHalves(p.By) }

// Halves returns the two halves of the payload.
func (p *MemoryPaused) Halves() (public, private []byte, err error) { return byHalves(p.By) }

// Halves returns the two halves of the payload.
func (p *MemoryArchived) Halves() (public, private []byte, err error) { return byHalves(p.By) }

// Halves returns the two halves of the payload.
func (p *MemoryDeleted) Halves() (public, private []byte, err error) { return byHalves(p.By) }

func byHalves(by uuid.UUID) (public, private []byte, err error) {
	return halves(func(w *writer) { w.id("by", by) }, nil)
}

func by(s *scanner, field *uuid.UUID, p Payload) Payload {
	s.object(func(name []byte) int {
		if string(name) == "by" {
			*field = s.id()
			return 0
		}
		return skipped
	})
	return p
}

// Halves returns the two halves of the payload.
func (p *MemoryAdded) Halves() (public, private []byte, err error) {
	return halves(func(w *writer) {
		w.id("user_id", p.UserID)
		w.idIf("app_id", p.AppID)
		w.idsIf("category_ids", p.CategoryIDs)
	}, p.Private.write)
}

// Halves returns the two halves of the payload.
func (p *MemoryChanged) Halves() (public, private []byte, err error) {
	return halves(func(w *writer) {
		if p.CategoryIDs != nil {
			w.ids("category_ids", *p.CategoryIDs)
		}
	}, func(w *writer) {
		w.textIf("content", p.Private.Content)
		w.rawIf("metadata", p.Private.Metadata)
	})
}

// Halves returns the two halves of the payload.
func (p *MemoryImported) Halves() (public, private []byte, err error) {
	return halves(func(w *writer) {
		w.id("user_id", p.UserID)
		w.idIf("app_id", p.AppID)
		w.text("state", string(p.State))
		w.time("created_at", p.CreatedAt)
		w.time("updated_at", p.UpdatedAt)
		w.timeIf("archived_at", p.ArchivedAt)
		w.timeIf("deleted_at", p.DeletedAt)
		w.idsIf("category_ids", p.CategoryIDs)
		w.history(p.History)
	}, p.Private.write)
}

// Halves returns the two halves of the payload.
func (p *MemorySupplemented) Halves() (public, private []byte, err error) {
	return halves(func(w *writer) {
		w.idsIf("category_ids", p.CategoryIDs)
		w.history(p.History)
	}, nil)
}

func (p MemoryPrivate) write(w *writer) {
	w.text("content", p.Content)
	w.rawIf("metadata", p.Metadata)
}

func (p *MemoryPrivate) read(s *scanner) {
	s.object(func(name []byte) int {
		switch string(name) {
		case "content":
			p.Content = s.str()
			return 0
		case "metadata":
			p.Metadata = s.raw()
			return 1
		}
		return skipped
	})
}

func (w *writer) history(changes []StatusChange) {
	if len(changes) == 0 {
		return
	}
	w.member("history")
	w.b = append(w.b, '[')
	for i, c := range changes {
		var one writer
		one.id("id", c.ID)
		one.id("changed_by", c.ChangedBy)
		one.text("old_state", string(c.OldState))
		one.text("new_state", string(c.NewState))
		one.time("changed_at", c.ChangedAt)
		object, _ := one.object()
		if i > 0 {
			w.b = append(w.b, ',')
		}
		w.b = append(w.b, object...)
	}
	w.b = append(w.b, ']')
}

func (s *scanner) history() (out []StatusChange) {
	s.array(func() {
		var c StatusChange
		s.object(func(name []byte) int {
			switch string(name) {
			case "id":
				c.ID = s.id()
				return 0
			case "changed_by":
				c.ChangedBy = s.id()
				return 1
			case "old_state":
				c.OldState = State(s.str())
				return 2
			case "new_state":
				c.NewState = State(s.str())
				return 3
			case "changed_at":
				c.ChangedAt = s.time()
				return 4
			}
			return skipped
		})
		out = append(out, c)
	})
	return out
}

func memoryAdded(s *scanner) Payload {
	p := &MemoryAdded{}
	s.object(func(name []byte) int {
		switch string(name) {
		case "private":
			p.Private.read(s)
			return 0
		case "user_id":
			p.UserID = s.id()
			return 1
		case "app_id":
			p.AppID = s.idOrNull()
			return 2
		case "category_ids":
			p.CategoryIDs = s.ids()
			return 3
		}
		return skipped
	})
	return p
}

func memoryChanged(s *scanner) Payload {
	p := &MemoryChanged{}
	s.object(func(name []byte) int {
		switch string(name) {
		case "private":
			p.Private.read(s)
			return 0
		case "category_ids":
			ids := s.ids()
			p.CategoryIDs = &ids
			return 1
		}
		return skipped
	})
	return p
}

func (p *MemoryChangedPrivate) read(s *scanner) {
	s.object(func(name []byte) int {
		switch string(name) {
		case "content":
			p.Content = s.strOrNull()
			return 0
		case "metadata":
			p.Metadata = s.raw()
			return 1
		}
		return skipped
	})
}

func memoryImported(s *scanner) Payload {
	p := &MemoryImported{}
	s.object(func(name []byte) int {
		switch string(name) {
		case "private":
			p.Private.read(s)
			return 0
		case "user_id":
			p.UserID = s.id()
			return 1
		case "app_id":
			p.AppID = s.idOrNull()
			return 2
		case "state":
			p.State = State(s.str())
			return 3
		case "created_at":
			p.CreatedAt = s.time()
			return 4
		case "updated_at":
			p.UpdatedAt = s.time()
			return 5
		case "archived_at":
			p.ArchivedAt = s.timeOrNull()
			return 6
		case "deleted_at":
			p.DeletedAt = s.timeOrNull()
			return 7
		case "category_ids":
			p.CategoryIDs = s.ids()
			return 8
		case "history":
			p.History = s.history()
			return 9
		}
		return skipped
	})
	return p
}

func memorySupplemented(s *scanner) Payload {
	p := &MemorySupplemented{}
	s.object(func(name []byte) int {
		switch string(name) {
		case "category_ids":
			p.CategoryIDs = s.ids()
			return 0
		case "history":
			p.History = s.history()
			return 1
		}
		return skipped
	})
	return p
}
