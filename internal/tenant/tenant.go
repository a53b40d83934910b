// Package tenant is what a tenant means to the plane: an organisation with a secret of its own. It is pure: no clock,
// no network, no database.
package tenant

import (
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

// State is what decisions about a tenant rest on.
type State struct {
	Exists bool
}

// Evolve folds one event. It fails on an event that contradicts the state.
func Evolve(s State, e *envelope.Event) (State, error) {
	payload, err := events.Decode(e.Kind, e.Data)
	if err != nil {
		return s, err
	}
	switch payload.(type) {
	case *events.TenantCreated:
		if s.Exists {
			return s, fmt.Errorf("%s: the tenant exists already", e.Kind)
		}
		return State{Exists: true}, nil
	case *events.UserRegistered, *events.UserChanged, *events.CategoryDefined,
		*events.AppRegistered, *events.AppChanged, *events.AppPaused, *events.AppResumed,
		*events.AppAccessRuled, *events.AppAccessWithdrawn,
		*events.MemoryAdded, *events.MemoryChanged, *events.MemoryActivated, *events.MemoryPaused,
		*events.MemoryArchived, *events.MemoryDeleted, *events.MemoryImported, *events.MemorySupplemented,
		*events.JournalCreated, *events.JournalReconciled, *events.BarrierRaised, *events.RowsRepaired:
	}
	return s, fmt.Errorf("%s: not an event of a tenant", e.Kind)
}

// Create makes a tenant. It is the only command so far.
type Create struct {
	Name string
	Key  []byte // KeyBytes random bytes
}

// Decide answers a command: an event or a *command.Refusal.
func Decide(s State, c Create) (Payload, error) {
	if err := storable.Name("name", c.Name); err != nil {
		return nil, command.Refused(err)
	}
	if len(c.Key) != KeyBytes {
		return nil, command.Refuse(command.Invalid, "the key has %d bytes, want %d", len(c.Key), KeyBytes)
	}
	if s.Exists {
		return nil, command.Refuse(command.Exists, "the tenant exists already")
	}
	return &events.TenantCreated{Private: events.TenantPrivate{Name: c.Name, Key: c.Key}}, nil
}
