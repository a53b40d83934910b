// Package events is the contract between those who publish and those who fold: every kind of event with its
// payload, its JSON form and the order of its versions. Producers may import it.
//
// Payloads evolve by addition only. A changed meaning is a new kind (".v2"); old kinds stay readable for ever,
// each with a golden file in testdata that never changes. What is personal (content, metadata, names, e-mail,
// free text) sits in the Private half of a payload and nowhere else in an event.
package events

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
)

// Payload is the content of one event. The set of its implementations is sealed:
//
//sumtype:decl
type Payload interface {
	// Kind is the event type on the wire, such as "memory.added.v1".
	Kind() string
	// Halves returns the public and the private half as JSON objects, for envelope.Compose.
	Halves() (public, private []byte, err error)
	payload()
}

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

// Effect of an access rule.
type Effect string

// The effects of an access rule. Deny beats allow in any order.
const (
	Allow Effect = "allow"
	Deny  Effect = "deny"
)

// ErrUnknownKind is returned by Decode for a kind that this version of the code does not know. The entity is to
// be held, never skipped: a newer version can fold the event.
var ErrUnknownKind = errors.New("unknown kind of event")

// MalformedError is returned by Decode for a payload that does not fit its kind.
type MalformedError struct {
	Kind string
	Err  error
}

func (e *MalformedError) Error() string { return fmt.Sprintf("malformed %s: %v", e.Kind, e.Err) }
func (e *MalformedError) Unwrap() error { return e.Err }

// ---- user: entity "user", id = DerivedID(tenant, "user", subject of the login) ----

// UserRegistered: kind user.registered.v1. A principal was seen for the first time, or was imported.
type UserRegistered struct {
	CreatedAt, UpdatedAt *time.Time // of the imported record; nil = the time of the event
	Private              UserPrivate
}

// UserChanged: kind user.changed.v1. All fields of Private replace the old ones.
type UserChanged struct {
	CreatedAt, UpdatedAt *time.Time
	Private              UserPrivate
}

// UserPrivate is what is personal about a user.
type UserPrivate struct {
	Subject  string          // the login: `sub` of its tokens, user_id of the old system
	Name     *string         //
	Email    *string         //
	Metadata json.RawMessage // a JSON object; nil = {}
}

// ---- app: entity "app", id = DerivedID(tenant, "app", owner id, name) ----

// AppRegistered: kind app.registered.v1.
type AppRegistered struct {
	OwnerID              uuid.UUID
	Active               bool
	CreatedAt, UpdatedAt *time.Time
	Private              AppPrivate
}

// AppChanged: kind app.changed.v1. Replaces activity, description and metadata; the name identifies and stays.
type AppChanged struct {
	Active               bool
	CreatedAt, UpdatedAt *time.Time
	Private              AppPrivate
}

// AppPaused: kind app.paused.v1. A paused app takes no new memories.
type AppPaused struct{}

// AppResumed: kind app.resumed.v1.
type AppResumed struct{}

// AppPrivate is what is personal about an app.
type AppPrivate struct {
	Name        string
	Description *string
	Metadata    json.RawMessage
}

// AppAccessRuled: kind app.access-ruled.v1. A rule says which memories the app may read.
// A rule with a known id is replaced.
type AppAccessRuled struct {
	RuleID     uuid.UUID
	ObjectType string     // "memory" is the only one that is evaluated
	ObjectID   *uuid.UUID // nil = all
	Effect     Effect
	CreatedAt  *time.Time
}

// AppAccessWithdrawn: kind app.access-withdrawn.v1.
type AppAccessWithdrawn struct{ RuleID uuid.UUID }

// ---- category: entity "category", id = DerivedID(tenant, "category", name) ----

// CategoryDefined: kind category.defined.v1. A category with a description; a memory may carry categories that
// were never defined, those have a name only.
type CategoryDefined struct {
	CreatedAt, UpdatedAt *time.Time
	Private              CategoryPrivate
}

// CategoryPrivate is the free text of a category.
type CategoryPrivate struct {
	Name        string
	Description *string
}

// ---- memory: entity "memory", id = DerivedID(tenant, "memory", idempotency key) or the imported id ----

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

// ---- the plane's own events, tenant envelope.PlaneTenant ----

// JournalCreated: kind journal.created.v1, entity "journal". The genesis event, sequence 1 of every shard.
type JournalCreated struct {
	JournalID string
	Shard     int
	Shards    int
	Format    int
}

// TenantCreated: kind tenant.created.v1, entity "tenant", id = the tenant. Key is the tenant's secret for
// message ids and derived ids.
type TenantCreated struct {
	Private TenantPrivate
}

// TenantPrivate is what only the plane knows about a tenant.
type TenantPrivate struct {
	Name string
	Key  []byte // 32 random bytes
}

// BarrierRaised: kind barrier.raised.v1, entity "barrier". An edition that has applied it has applied all before.
type BarrierRaised struct{}
