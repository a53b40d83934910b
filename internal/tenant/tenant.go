// Package tenant is what a tenant means to the plane: an organisation with a secret of its own. It is pure: no clock,
// no network, no database.
package tenant

import (
	"cmp"
	"fmt"

	"github.com/refold-dev/refold/events"
	"github.com/refold-dev/refold/events/envelope"
	"github.com/refold-dev/refold/events/storable"
	"github.com/refold-dev/refold/internal/command"
)

// Entity is the token of tenants in keys and subjects, in the tenant envelope.PlaneTenant. The id is the tenant.
const Entity = "tenant"

// KeyBytes is the length of a tenant's key.
const KeyBytes = 32

// Payload is what Decide returns.
type Payload = events.Payload

// Key returns the key of a tenant's own entity.
func Key(id string) envelope.Key {
	return envelope.Key{Tenant: envelope.PlaneTenant, Entity: Entity, ID: id}
}

// Standing is what the plane lets a tenant do.
type Standing string

// The standings of a tenant.
const (
	Active    Standing = "active"
	Suspended Standing = "suspended" // questions are answered, commands are refused
	Removed   Standing = "removed"   // absent to its principals, for ever
)

// Limits of a tenant; a zero is what the plane gives every tenant.
type Limits struct {
	PerSecond int // requests a second, over time
	Burst     int // requests at once after a quiet time
	InFlight  int // requests at any moment
}

// LimitMax bounds each limit.
const LimitMax = 1_000_000

// State is what decisions about a tenant rest on, and all that the plane knows about it.
type State struct {
	Standing Standing // empty = there is no such tenant
	Name     string
	Key      []byte
	Limits   Limits
}

// Evolve folds one event. It fails on an event that contradicts the state.
func Evolve(s State, e *envelope.Event) (State, error) {
	payload, err := events.Decode(e.Kind, e.Data)
	if err != nil {
		return s, err
	}
	if _, creates := payload.(*events.TenantCreated); creates != (s.Standing == "") || s.Standing == Removed {
		return s, fmt.Errorf("%s: the tenant is %s", e.Kind, cmp.Or(s.Standing, "not there"))
	}
	switch p := payload.(type) {
	case *events.TenantCreated:
		return State{Standing: Active, Name: p.Private.Name, Key: p.Private.Key}, nil
	case *events.TenantSuspended:
		s.Standing = Suspended
		return s, nil
	case *events.TenantResumed:
		s.Standing = Active
		return s, nil
	case *events.TenantRemoved:
		s.Standing = Removed
		return s, nil
	case *events.TenantLimited:
		s.Limits = Limits{p.PerSecond, p.Burst, p.InFlight}
		return s, nil
	case *events.UserRegistered, *events.UserChanged, *events.CategoryDefined,
		*events.AppRegistered, *events.AppChanged, *events.AppPaused, *events.AppResumed,
		*events.AppAccessRuled, *events.AppAccessWithdrawn,
		*events.MemoryAdded, *events.MemoryChanged, *events.MemoryActivated, *events.MemoryPaused,
		*events.MemoryArchived, *events.MemoryDeleted, *events.MemoryImported, *events.MemorySupplemented,
		*events.ArchivePolicySet, *events.ArchivePolicyWithdrawn, *events.ConfigSet, *events.JournalCreated, *events.JournalReconciled, *events.BarrierRaised, *events.RowsRepaired:
	}
	return s, fmt.Errorf("%s: not an event of a tenant", e.Kind)
}

// Command is a wish about a tenant. The set is sealed:
//
//sumtype:decl
type Command interface{ command() }

// Create makes a tenant.
type Create struct {
	Name string
	Key  []byte // KeyBytes random bytes
}

// Suspend, Resume and Remove change the standing of a tenant. A removed one is never anything else again.
type (
	Suspend struct{}
	Resume  struct{}
	Remove  struct{}
)

// Limit replaces the limits of a tenant.
type Limit struct{ Limits Limits }

func (Create) command()  {}
func (Suspend) command() {}
func (Resume) command()  {}
func (Remove) command()  {}
func (Limit) command()   {}

// Decide answers a command: an event, a *command.Refusal, or nothing to do.
func Decide(s State, c Command) (Payload, error) {
	if create, ok := c.(Create); ok {
		return decideCreate(s, create)
	}
	switch s.Standing {
	case "":
		return nil, command.Refuse(command.NotFound, "there is no such tenant")
	case Removed:
		if _, again := c.(Remove); again {
			return nil, nil
		}
		return nil, ErrRemoved
	case Active, Suspended:
	}
	switch c := c.(type) {
	case Suspend:
		return unless(s.Standing == Suspended, &events.TenantSuspended{})
	case Resume:
		return unless(s.Standing == Active, &events.TenantResumed{})
	case Remove:
		return &events.TenantRemoved{}, nil
	case Limit:
		return decideLimit(s, c.Limits)
	case Create: // answered above
	}
	return nil, fmt.Errorf("no decision for %T", c)
}

// unless returns the event, or nothing where that is so already.
func unless(already bool, event Payload) (Payload, error) {
	if already {
		return nil, nil
	}
	return event, nil
}

// ErrRemoved: the tenant was removed. Take another id.
var ErrRemoved = command.Refuse(command.StateForbids, "the tenant was removed: its id is never used again")

func decideCreate(s State, c Create) (Payload, error) {
	if err := storable.Name("name", c.Name); err != nil {
		return nil, command.Refused(err)
	}
	if len(c.Key) != KeyBytes {
		return nil, command.Refuse(command.Invalid, "the key has %d bytes, want %d", len(c.Key), KeyBytes)
	}
	switch s.Standing {
	case "":
		return &events.TenantCreated{Private: events.TenantPrivate{Name: c.Name, Key: c.Key}}, nil
	case Removed:
		return nil, ErrRemoved
	case Active, Suspended:
	}
	return nil, command.Refuse(command.Exists, "the tenant exists already")
}

func decideLimit(s State, l Limits) (Payload, error) {
	for _, limit := range []int{l.PerSecond, l.Burst, l.InFlight} {
		if limit < 0 || limit > LimitMax {
			return nil, command.Refuse(command.Invalid, "a limit is 0 to %d, not %d", LimitMax, limit)
		}
	}
	return unless(s.Limits == l, &events.TenantLimited{PerSecond: l.PerSecond, Burst: l.Burst, InFlight: l.InFlight})
}
