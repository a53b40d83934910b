// Package archivepolicy is what an archive policy means: a user's wish that memories are archived when they are so many
// days old. It is pure: no clock, no network, no database. Who applies policies is package archival.
package archivepolicy

import (
	"errors"
	"fmt"

	"github.com/google/uuid"

	"github.com/refold-dev/refold/events"
	"github.com/refold-dev/refold/events/envelope"
	"github.com/refold-dev/refold/events/storable"
	"github.com/refold-dev/refold/internal/command"
)

// Entity is the token of archive policies in keys and subjects.
const Entity = "archive-policy"

const (
	// DaysMax bounds the age at which memories are archived.
	DaysMax = 36_500
	// EventsMax bounds the events of a policy, since each decision reads them all.
	EventsMax = 1_000
)

// Payload is what Decide returns.
type Payload = events.Payload

// NewID derives the id of the policy that a command makes.
func NewID(tenantKey []byte, tenant, subject, commandID string) uuid.UUID {
	return envelope.DerivedID(tenantKey, tenant, Entity, subject, commandID)
}

// State is what decisions about a policy rest on.
type State struct {
	Exists    bool
	Withdrawn bool
	Events    int
	OwnerID   uuid.UUID
	Rule      Rule
}

// Rule says which memories are archived, and when.
type Rule struct {
	Criteria   events.Criteria
	CriteriaID uuid.UUID // Nil for global
	Days       int
}

var errContradiction = errors.New("the event contradicts the state of the policy")

// Evolve folds one event. It fails on an event that contradicts the state.
func Evolve(s State, e *envelope.Event) (State, error) {
	payload, err := events.Decode(e.Kind, e.Data)
	if err != nil {
		return s, err
	}
	s.Events++
	switch p := payload.(type) {
	case *events.ArchivePolicySet:
		if s.Withdrawn || s.Exists && s.OwnerID != p.OwnerID {
			return s, errContradiction
		}
		s.Exists, s.OwnerID, s.Rule = true, p.OwnerID, Rule{p.Criteria, orNil(p.CriteriaID), p.Days}
		return s, nil
	case *events.ArchivePolicyWithdrawn:
		if !s.Exists || s.Withdrawn {
			return s, errContradiction
		}
		s.Withdrawn = true
		return s, nil
	case *events.UserRegistered, *events.UserChanged, *events.CategoryDefined,
		*events.AppRegistered, *events.AppChanged, *events.AppPaused, *events.AppResumed,
		*events.AppAccessRuled, *events.AppAccessWithdrawn,
		*events.MemoryAdded, *events.MemoryChanged, *events.MemoryActivated, *events.MemoryPaused,
		*events.MemoryArchived, *events.MemoryDeleted, *events.MemoryImported, *events.MemorySupplemented,
		*events.ConfigSet, *events.JournalCreated, *events.JournalReconciled, *events.TenantCreated,
		*events.TenantSuspended, *events.TenantResumed, *events.TenantRemoved, *events.TenantLimited, *events.BarrierRaised, *events.RowsRepaired:
	}
	return s, fmt.Errorf("%s: not an event of an archive policy", e.Kind)
}

func orNil(id *uuid.UUID) uuid.UUID {
	if id == nil {
		return uuid.Nil
	}
	return *id
}

// Command is a wish about one policy. `By` is the user who wishes. The set is sealed:
//
//sumtype:decl
type Command interface{ command() }

// Make makes a policy of the user's, and Change replaces what one says.
type (
	Make struct {
		By uuid.UUID
		Rule
	}
	Change struct {
		By uuid.UUID
		Rule
	}
)

// Withdraw ends a policy. What it archived stays archived.
type Withdraw struct{ By uuid.UUID }

func (Make) command()     {}
func (Change) command()   {}
func (Withdraw) command() {}

// Decide answers a command: an event, a *command.Refusal, or nil and nil when there is nothing to do. A policy that is
// absent and one of another user are refused with one and the same text.
func Decide(s State, cmd Command) (Payload, error) {
	switch c := cmd.(type) {
	case Make:
		if err := c.check(c.By); err != nil {
			return nil, err
		}
		if s.Exists {
			return nil, command.Refuse(command.Exists, "the archive policy exists already")
		}
		return c.set(c.By), nil
	case Change:
		if err := c.check(c.By); err != nil {
			return nil, err
		}
		if err := s.of(c.By); err != nil {
			return nil, err
		}
		switch {
		case s.Rule == c.Rule:
			return nil, nil
		case s.Events >= EventsMax-1: // the last one is kept for a withdrawal
			return nil, command.Refuse(command.StateForbids, "the archive policy has %d events, which is the most; withdraw it and make another", s.Events)
		}
		return c.set(c.By), nil
	case Withdraw:
		if err := s.of(c.By); err != nil {
			return nil, err
		}
		return &events.ArchivePolicyWithdrawn{By: c.By}, nil
	}
	return nil, fmt.Errorf("no decision about the command %T", cmd)
}

// of refuses unless there is such a policy, and it is the user's.
func (s State) of(user uuid.UUID) error {
	if !s.Exists || s.Withdrawn || s.OwnerID != user {
		return command.Refuse(command.NotFound, "not found")
	}
	return nil
}

func (r Rule) check(by uuid.UUID) error {
	if err := storable.ID("the user", by); err != nil {
		return command.Refused(err)
	}
	switch {
	case !r.Criteria.Valid():
		return command.Refuse(command.Invalid, "criteria %q are not global, app or category", r.Criteria)
	case (r.Criteria == events.Global) != (r.CriteriaID == uuid.Nil):
		return command.Refuse(command.Invalid, "app and category want an id, global none")
	case r.Days < 1 || r.Days > DaysMax:
		return command.Refuse(command.Invalid, "%d days: want 1 to %d", r.Days, DaysMax)
	}
	return nil
}

func (r Rule) set(owner uuid.UUID) *events.ArchivePolicySet {
	p := &events.ArchivePolicySet{OwnerID: owner, Criteria: r.Criteria, Days: r.Days}
	if r.CriteriaID != uuid.Nil {
		p.CriteriaID = &r.CriteriaID
	}
	return p
}
