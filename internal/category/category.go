// Package category is what a category means: a name under which memories of a tenant are filed. It is pure: no
// clock, no network, no database.
package category

import (
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/refold-dev/refold/events"
	"github.com/refold-dev/refold/events/envelope"
	"github.com/refold-dev/refold/events/storable"
	"github.com/refold-dev/refold/internal/command"
)

// Entity is the token of categories in keys and subjects.
const Entity = "category"

// Payload is what Decide returns.
type Payload = events.Payload

// ID derives the id of a category from its name.
func ID(tenantKey []byte, tenant, name string) uuid.UUID {
	return envelope.DerivedID(tenantKey, tenant, Entity, name)
}

// State is what decisions about a category rest on.
type State struct {
	Exists bool
	Name   string
}

// Evolve folds one event. It fails on an event that contradicts the state.
func Evolve(s State, e *envelope.Event) (State, error) {
	payload, err := events.Decode(e.Kind, e.Data)
	if err != nil {
		return s, err
	}
	switch p := payload.(type) {
	case *events.CategoryDefined:
		return State{Exists: true, Name: p.Private.Name}, nil
	case *events.UserRegistered, *events.UserChanged,
		*events.AppRegistered, *events.AppChanged, *events.AppPaused, *events.AppResumed,
		*events.AppAccessRuled, *events.AppAccessWithdrawn,
		*events.MemoryAdded, *events.MemoryChanged, *events.MemoryActivated, *events.MemoryPaused,
		*events.MemoryArchived, *events.MemoryDeleted, *events.MemoryImported, *events.MemorySupplemented,
		*events.ArchivePolicySet, *events.ArchivePolicyWithdrawn, *events.ConfigSet, *events.JournalCreated, *events.JournalReconciled, *events.TenantCreated,
		*events.TenantSuspended, *events.TenantResumed, *events.TenantRemoved, *events.TenantLimited, *events.BarrierRaised, *events.RowsRepaired:
	}
	return s, fmt.Errorf("%s: not an event of a category", e.Kind)
}

// Command is a wish about one category. The set is sealed:
//
//sumtype:decl
type Command interface{ command() }

// Define makes a category.
type Define struct {
	Name                 string
	Description          *string
	CreatedAt, UpdatedAt *time.Time // of an older record; nil = now
}

// Import makes a category unless there is one of this name: categories belong to all users of a tenant, so nobody's
// import changes them.
type Import struct {
	Name                 string
	Description          *string
	CreatedAt, UpdatedAt *time.Time
}

func (Define) command() {}
func (Import) command() {}

// Validate refuses a command that no state would allow, because it could not be stored. Decide does so, too.
func Validate(cmd Command) error {
	_, err := Decide(State{}, cmd)
	return err
}

// Decide answers a command: an event, a *command.Refusal, or nil and nil when there is nothing to do.
func Decide(s State, cmd Command) (Payload, error) {
	switch c := cmd.(type) {
	case Define:
		p, err := c.defined()
		if err != nil {
			return nil, err
		}
		if s.Exists {
			return nil, command.Refuse(command.Exists, "the category exists already")
		}
		return p, nil
	case Import:
		p, err := Define(c).defined()
		if err != nil || s.Exists {
			return nil, err
		}
		return p, nil
	}
	return nil, fmt.Errorf("no decision about the command %T", cmd)
}

func (c Define) defined() (*events.CategoryDefined, error) {
	p, err := c.storable()
	return p, command.Refused(err)
}

func (c Define) storable() (p *events.CategoryDefined, err error) {
	if err = storable.Name("name", c.Name); err != nil {
		return nil, err
	}
	if err = storable.Description(c.Description); err != nil {
		return nil, err
	}
	p = &events.CategoryDefined{Private: events.CategoryPrivate{Name: c.Name, Description: c.Description}}
	if p.CreatedAt, err = storable.OptionalTime("created_at", c.CreatedAt); err != nil {
		return nil, err
	}
	p.UpdatedAt, err = storable.OptionalTime("updated_at", c.UpdatedAt)
	return p, err
}
