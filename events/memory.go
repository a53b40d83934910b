package events

import (
	"encoding/json"
	"time"

	"github.com/google/uuid"
)

// A memory is the entity "memory"; its id is derived from the idempotency key, or is the imported id.

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

// State of a memory.
type State string

// The states of a memory. Deleted memories are absent for readers; the others are shown.
const (
	Active   State = "active"
	Paused   State = "paused"
	Archived State = "archived"
	Deleted  State = "deleted"
)

// Valid reports whether s is one of the four states.
func (s State) Valid() bool { return s == Active || s == Paused || s == Archived || s == Deleted }

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

// MemoryActivated: kind memory.activated.v1. A deleted memory is active again with Private, which holds all of its content
// then: whoever folds events need not keep what is deleted.
type MemoryActivated struct {
	By      uuid.UUID
	Private MemoryChangedPrivate // nil fields stay as they are
}

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

func (*MemoryAdded) payload()        {}
func (*MemoryChanged) payload()      {}
func (*MemoryActivated) payload()    {}
func (*MemoryPaused) payload()       {}
func (*MemoryArchived) payload()     {}
func (*MemoryDeleted) payload()      {}
func (*MemoryImported) payload()     {}
func (*MemorySupplemented) payload() {}

// Kind implements Payload.
func (*MemoryAdded) Kind() string { return kindMemoryAdded }

// Kind implements Payload.
func (*MemoryChanged) Kind() string { return kindMemoryChanged }

// Kind implements Payload.
func (*MemoryActivated) Kind() string { return kindMemoryActivated }

// Kind implements Payload.
func (*MemoryPaused) Kind() string { return kindMemoryPaused }

// Kind implements Payload.
func (*MemoryArchived) Kind() string { return kindMemoryArchived }

// Kind implements Payload.
func (*MemoryDeleted) Kind() string { return kindMemoryDeleted }

// Kind implements Payload.
func (*MemoryImported) Kind() string { return kindMemoryImported }

// Kind implements Payload.
func (*MemorySupplemented) Kind() string { return kindMemorySupplemented }
