// Package app is what an app means: the program through which a user's memories come, and what it may read of them.
// It is pure: no clock, no network, no database.
package app

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/google/uuid"

	"github.com/refold-dev/refold/events"
	"github.com/refold-dev/refold/events/envelope"
	"github.com/refold-dev/refold/events/jsonb"
)

// Entity is the token of apps in keys and subjects.
const Entity = "app"

// Payload is what Decide returns.
type Payload = events.Payload

// ID derives the id of a user's app from its name.
func ID(tenantKey []byte, tenant string, ownerID uuid.UUID, name string) uuid.UUID {
	return envelope.DerivedID(tenantKey, tenant, Entity, ownerID.String(), name)
}

// State is what decisions about an app rest on. States share memory and are never changed: Evolve makes a new one.
type State struct {
	Exists               bool
	Events               int
	OwnerID              uuid.UUID
	Name                 string
	Description          *string
	Metadata             json.RawMessage // normalised
	Active               bool
	CreatedAt, UpdatedAt time.Time
	Rules                map[uuid.UUID]AccessRule
}

// AccessRule says which objects the app may read, or may not.
type AccessRule struct {
	ObjectType string
	ObjectID   *uuid.UUID // nil = all
	Effect     events.Effect
	CreatedAt  time.Time
}

var (
	errAbsent = errors.New("the app does not exist")
	errTwice  = errors.New("the app exists already")
)

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
	if p, ok := payload.(*events.AppRegistered); ok {
		return s.registered(p, at)
	}
	if !s.Exists {
		return errAbsent
	}
	switch p := payload.(type) {
	case *events.AppChanged:
		return s.changed(p, at)
	case *events.AppPaused:
		s.Active, s.UpdatedAt = false, at
		return nil
	case *events.AppResumed:
		s.Active, s.UpdatedAt = true, at
		return nil
	case *events.AppAccessRuled:
		s.Rules = cloned(s.Rules)
		s.Rules[p.RuleID] = AccessRule{p.ObjectType, p.ObjectID, p.Effect, or(p.CreatedAt, at)}
		return nil
	case *events.AppAccessWithdrawn:
		s.Rules = cloned(s.Rules)
		delete(s.Rules, p.RuleID)
		return nil
	case *events.AppRegistered, *events.UserRegistered, *events.UserChanged, *events.CategoryDefined,
		*events.MemoryAdded, *events.MemoryChanged, *events.MemoryActivated, *events.MemoryPaused,
		*events.MemoryArchived, *events.MemoryDeleted, *events.MemoryImported, *events.MemorySupplemented,
		*events.ArchivePolicySet, *events.ArchivePolicyWithdrawn, *events.ConfigSet, *events.JournalCreated, *events.JournalReconciled, *events.TenantCreated,
		*events.TenantSuspended, *events.TenantResumed, *events.TenantRemoved, *events.TenantLimited, *events.BarrierRaised, *events.RowsRepaired:
	}
	return errors.New("not an event of an app")
}

func (s *State) registered(p *events.AppRegistered, at time.Time) error {
	if s.Exists {
		return errTwice
	}
	metadata, err := jsonb.NormalizeObject(p.Private.Metadata)
	if err != nil {
		return err
	}
	s.Exists, s.OwnerID, s.Active = true, p.OwnerID, p.Active
	s.Name, s.Description, s.Metadata = p.Private.Name, p.Private.Description, metadata
	s.CreatedAt, s.UpdatedAt = or(p.CreatedAt, at), or(p.UpdatedAt, at)
	return nil
}

func (s *State) changed(p *events.AppChanged, at time.Time) error {
	metadata, err := jsonb.NormalizeObject(p.Private.Metadata)
	if err != nil {
		return err
	}
	s.Active, s.Description, s.Metadata = p.Active, p.Private.Description, metadata
	s.CreatedAt, s.UpdatedAt = or(p.CreatedAt, s.CreatedAt), or(p.UpdatedAt, at)
	return nil
}

func cloned(rules map[uuid.UUID]AccessRule) map[uuid.UUID]AccessRule {
	if rules == nil {
		return map[uuid.UUID]AccessRule{}
	}
	return maps.Clone(rules)
}

func or(t *time.Time, other time.Time) time.Time {
	if t != nil {
		return *t
	}
	return other
}
