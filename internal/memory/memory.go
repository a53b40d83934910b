// Package memory is what a memory means: which commands there are, what they are refused for, and how events change
// what is known about it. It is pure: no clock, no network, no database.
package memory

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/refold-dev/refold/events"
	"github.com/refold-dev/refold/events/envelope"
	"github.com/refold-dev/refold/events/jsonb"
)

// Entity is the token of memories in keys and subjects.
const Entity = "memory"

// Payload is what Decide returns.
type Payload = events.Payload

// NewID derives the id of the memory that a user of the tenant adds under an idempotency key, so that a repeated
// command finds the memory of the first, and users never meet on one key.
func NewID(tenantKey []byte, tenant, subject, idempotencyKey string) uuid.UUID {
	return envelope.DerivedID(tenantKey, tenant, Entity, subject, idempotencyKey)
}

// State is what decisions about a memory rest on. States share memory and are never changed: Evolve makes a new one.
type State struct {
	Exists                bool // a deleted memory exists
	Events                int
	UserID                uuid.UUID
	AppID                 *uuid.UUID
	CategoryIDs           []uuid.UUID // sorted
	Content               string
	Metadata              json.RawMessage // normalised
	Status                events.State
	CreatedAt, UpdatedAt  time.Time
	ArchivedAt, DeletedAt *time.Time

	history *line
}

// WithoutHistory is the state without its status history, for those who fold a long one and decide nothing.
func (s State) WithoutHistory() State {
	s.history = nil
	return s
}

// line is one line of the status history, newest first: adding one leaves the older states as they were.
type line struct {
	change events.StatusChange
	older  *line
}

// known returns all lines of the history by id.
func (s *State) known() map[uuid.UUID]events.StatusChange {
	lines := map[uuid.UUID]events.StatusChange{}
	for l := s.history; l != nil; l = l.older {
		lines[l.change.ID] = l.change
	}
	return lines
}

// StatusID is the id of the line that an event which moves a memory to another state writes into its history.
func StatusID(e *envelope.Event) uuid.UUID {
	return envelope.RowID("memory_status", e.Tenant, e.ID, e.EventID)
}

var (
	errAbsent = errors.New("the memory does not exist")
	errTwice  = errors.New("the memory exists already")
)

// Evolve folds one event. It fails on an event that contradicts the state.
func Evolve(s State, e *envelope.Event) (State, error) {
	payload, err := events.Decode(e.Kind, e.Data)
	if err != nil {
		return s, err
	}
	if err := s.apply(payload, e); err != nil {
		return s, fmt.Errorf("%s: %w", e.Kind, err)
	}
	s.Events++
	return s, nil
}

// apply works on Evolve's copy of the state.
func (s *State) apply(payload events.Payload, e *envelope.Event) error {
	switch p := payload.(type) {
	case *events.MemoryAdded:
		return s.added(p, e)
	case *events.MemoryChanged:
		return s.changed(p, e)
	case *events.MemoryActivated:
		if err := s.moved(events.Active, p.By, e); err != nil {
			return err
		}
		return s.take(p.Private)
	case *events.MemoryPaused:
		return s.moved(events.Paused, p.By, e)
	case *events.MemoryArchived:
		return s.moved(events.Archived, p.By, e)
	case *events.MemoryDeleted:
		return s.moved(events.Deleted, p.By, e)
	case *events.MemoryImported:
		return s.imported(p)
	case *events.MemorySupplemented:
		if !s.Exists {
			return errAbsent
		}
		s.supplement(p.CategoryIDs, p.History)
		return nil
	case *events.UserRegistered, *events.UserChanged, *events.CategoryDefined,
		*events.AppRegistered, *events.AppChanged, *events.AppPaused, *events.AppResumed,
		*events.AppAccessRuled, *events.AppAccessWithdrawn,
		*events.ArchivePolicySet, *events.ArchivePolicyWithdrawn, *events.ConfigSet, *events.JournalCreated, *events.JournalReconciled, *events.TenantCreated,
		*events.TenantSuspended, *events.TenantResumed, *events.TenantRemoved, *events.TenantLimited, *events.BarrierRaised, *events.RowsRepaired:
	}
	return errors.New("not an event of a memory")
}

func (s *State) added(p *events.MemoryAdded, e *envelope.Event) error {
	if s.Exists {
		return errTwice
	}
	metadata, err := jsonb.NormalizeObject(p.Private.Metadata)
	if err != nil {
		return err
	}
	s.Exists, s.UserID, s.AppID, s.Status = true, p.UserID, p.AppID, events.Active
	s.Content, s.Metadata = p.Private.Content, metadata
	s.CreatedAt, s.UpdatedAt = e.Time, e.Time
	s.CategoryIDs = sorted(p.CategoryIDs)
	return nil
}

func (s *State) changed(p *events.MemoryChanged, e *envelope.Event) error {
	if !s.Exists {
		return errAbsent
	}
	if p.CategoryIDs != nil {
		s.CategoryIDs = sorted(*p.CategoryIDs)
	}
	s.UpdatedAt = e.Time
	return s.take(p.Private)
}

// take replaces what is given of content and metadata.
func (s *State) take(p events.MemoryChangedPrivate) error {
	if p.Content != nil {
		s.Content = *p.Content
	}
	if p.Metadata == nil {
		return nil
	}
	metadata, err := jsonb.NormalizeObject(p.Metadata)
	if err != nil {
		return err
	}
	s.Metadata = metadata
	return nil
}

// moved brings the memory into another state and writes the line of its history.
func (s *State) moved(to events.State, by uuid.UUID, e *envelope.Event) error {
	if !s.Exists {
		return errAbsent
	}
	at := e.Time
	change := events.StatusChange{ID: StatusID(e), ChangedBy: by, OldState: s.Status, NewState: to, ChangedAt: at}
	s.history = &line{change, s.history}
	s.Status, s.UpdatedAt, s.ArchivedAt, s.DeletedAt = to, at, nil, nil
	switch to {
	case events.Archived:
		s.ArchivedAt = &at
	case events.Deleted:
		s.DeletedAt = &at
	case events.Active, events.Paused:
	}
	return nil
}

func (s *State) imported(p *events.MemoryImported) error {
	if s.Exists && s.UserID != p.UserID {
		return errors.New("the memory belongs to another user")
	}
	metadata, err := jsonb.NormalizeObject(p.Private.Metadata)
	if err != nil {
		return err
	}
	s.Exists, s.UserID, s.AppID, s.Status = true, p.UserID, p.AppID, p.State
	s.Content, s.Metadata = p.Private.Content, metadata
	s.CreatedAt, s.UpdatedAt, s.ArchivedAt, s.DeletedAt = p.CreatedAt, p.UpdatedAt, p.ArchivedAt, p.DeletedAt
	s.supplement(p.CategoryIDs, p.History)
	return nil
}

func (s *State) supplement(categoryIDs []uuid.UUID, history []events.StatusChange) {
	s.CategoryIDs = sorted(slices.Concat(s.CategoryIDs, categoryIDs))
	for _, change := range history {
		s.history = &line{change, s.history}
	}
}

// sorted returns the ids in order and each once, in a slice of its own; nil when there is none.
func sorted(ids []uuid.UUID) []uuid.UUID {
	if len(ids) == 0 {
		return nil
	}
	out := slices.Clone(ids)
	slices.SortFunc(out, compareIDs)
	return slices.Compact(out)
}

func compareIDs(a, b uuid.UUID) int { return slices.Compare(a[:], b[:]) }
