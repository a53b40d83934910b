// Package user is what a user means: someone with a login in a tenant. It is pure: no clock, no network, no database.
package user

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/refold-dev/refold/events"
	"github.com/refold-dev/refold/events/envelope"
	"github.com/refold-dev/refold/events/jsonb"
)

// Entity is the token of users in keys and subjects.
const Entity = "user"

// Payload is what Decide returns.
type Payload = events.Payload

// ID derives the id of a user from its login.
func ID(tenantKey []byte, tenant, subject string) uuid.UUID {
	return envelope.DerivedID(tenantKey, tenant, Entity, subject)
}

// State is what decisions about a user rest on.
type State struct {
	Exists               bool
	Events               int
	Subject              string
	Name, Email          *string
	Metadata             json.RawMessage // normalised
	CreatedAt, UpdatedAt time.Time
}

// Evolve folds one event. It fails on an event that contradicts the state.
func Evolve(s State, e *envelope.Event) (State, error) {
	payload, err := events.Decode(e.Kind, e.Data)
	if err != nil {
		return s, err
	}
	if err := s.apply(payload, e.Time); err != nil {
		return s, fmt.Errorf("%s: %w", e.Kind, err)
	}
	s.Events++
	return s, nil
}

// apply works on Evolve's copy of the state; at is the time of the event.
func (s *State) apply(payload events.Payload, at time.Time) error {
	switch p := payload.(type) {
	case *events.UserRegistered:
		if s.Exists {
			return errors.New("the user exists already")
		}
		s.CreatedAt, s.UpdatedAt = or(p.CreatedAt, at), or(p.UpdatedAt, at)
		return s.replace(p.Private)
	case *events.UserChanged:
		if !s.Exists {
			return errors.New("the user does not exist")
		}
		s.CreatedAt, s.UpdatedAt = or(p.CreatedAt, s.CreatedAt), or(p.UpdatedAt, at)
		return s.replace(p.Private)
	case *events.CategoryDefined,
		*events.AppRegistered, *events.AppChanged, *events.AppPaused, *events.AppResumed,
		*events.AppAccessRuled, *events.AppAccessWithdrawn,
		*events.MemoryAdded, *events.MemoryChanged, *events.MemoryActivated, *events.MemoryPaused,
		*events.MemoryArchived, *events.MemoryDeleted, *events.MemoryImported, *events.MemorySupplemented,
		*events.ArchivePolicySet, *events.ArchivePolicyWithdrawn, *events.ConfigSet, *events.JournalCreated, *events.JournalReconciled, *events.TenantCreated,
		*events.TenantSuspended, *events.TenantResumed, *events.TenantRemoved, *events.TenantLimited, *events.BarrierRaised, *events.RowsRepaired:
	}
	return errors.New("not an event of a user")
}

func (s *State) replace(p events.UserPrivate) error {
	metadata, err := jsonb.NormalizeObject(p.Metadata)
	if err != nil {
		return err
	}
	s.Exists, s.Subject, s.Name, s.Email, s.Metadata = true, p.Subject, p.Name, p.Email, metadata
	return nil
}

func or(t *time.Time, other time.Time) time.Time {
	if t != nil {
		return *t
	}
	return other
}
