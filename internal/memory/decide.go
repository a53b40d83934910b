package memory

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/refold-dev/refold/events"
	"github.com/refold-dev/refold/internal/command"
)

// Decide answers a command: an event, a *command.Refusal, or nil and nil when there is nothing to do. A memory that
// is absent, another user's or, but for Undelete, deleted is refused with one and the same text.
func Decide(s State, cmd Command) (Payload, error) {
	cmd, err := checked(cmd)
	if err != nil {
		return nil, err
	}
	payload, err := s.decide(cmd)
	if err != nil || payload == nil {
		return nil, err
	}
	return s.within(payload)
}

// within refuses an event beyond the most that a memory may have.
func (s State) within(payload Payload) (Payload, error) {
	if _, isDelete := payload.(*events.MemoryDeleted); s.Events >= EventsMax && !isDelete {
		return nil, command.Refuse(command.StateForbids, "the memory has %d events, which is the most; add it anew", s.Events)
	}
	return payload, nil
}

func (s State) decide(cmd Command) (Payload, error) {
	switch c := cmd.(type) {
	case Add:
		return s.add(c)
	case Import:
		return s.importRecord(c)
	case Change:
		return s.change(c)
	case Archive:
		return s.move(c.By, events.Archived, &events.MemoryArchived{By: c.By})
	case Pause:
		return s.move(c.By, events.Paused, &events.MemoryPaused{By: c.By})
	case Activate:
		return s.move(c.By, events.Active, &events.MemoryActivated{By: c.By})
	case Delete:
		return s.move(c.By, events.Deleted, &events.MemoryDeleted{By: c.By})
	case Undelete:
		return s.undelete(c)
	case Restore:
		return nil, errors.New("a Restore is decided by DecideRestore")
	}
	return nil, fmt.Errorf("no decision about the command %T", cmd)
}

// of refuses unless the user has this memory.
func (s State) of(user uuid.UUID) error {
	if !s.Exists || s.Status == events.Deleted || s.UserID != user {
		return errNotFound
	}
	return nil
}

var errNotFound = command.Refuse(command.NotFound, "not found")

func (s State) undelete(c Undelete) (Payload, error) {
	switch {
	case !s.Exists || s.UserID != c.By:
		return nil, errNotFound
	case s.Status != events.Deleted:
		return nil, nil
	}
	return &events.MemoryActivated{By: c.By, Private: events.MemoryChangedPrivate{Content: &s.Content, Metadata: s.Metadata}}, nil
}

func (s State) add(c Add) (Payload, error) {
	if s.Exists {
		return nil, command.Refuse(command.Exists, "the memory exists already")
	}
	return &events.MemoryAdded{
		UserID: c.UserID, AppID: c.AppID, CategoryIDs: c.CategoryIDs,
		Private: events.MemoryPrivate{Content: c.Content, Metadata: c.Metadata},
	}, nil
}

func (s State) move(by uuid.UUID, to events.State, moved Payload) (Payload, error) {
	if err := s.of(by); err != nil {
		return nil, err
	}
	if s.Status == to {
		return nil, nil
	}
	return moved, nil
}

// change puts only that into the event which differs.
func (s State) change(c Change) (Payload, error) {
	if err := s.of(c.By); err != nil {
		return nil, err
	}
	var p events.MemoryChanged
	if c.Content != nil && *c.Content != s.Content {
		p.Private.Content = c.Content
	}
	if c.Metadata != nil && !bytes.Equal(c.Metadata, s.Metadata) {
		p.Private.Metadata = c.Metadata
	}
	if c.CategoryIDs != nil && !slices.Equal(*c.CategoryIDs, s.CategoryIDs) {
		p.CategoryIDs = c.CategoryIDs
	}
	if p.Private.Content == nil && p.Private.Metadata == nil && p.CategoryIDs == nil {
		return nil, nil
	}
	return &p, nil
}

func (s State) importRecord(c Import) (Payload, error) {
	if s.Exists && s.UserID != c.UserID {
		return nil, command.Refuse(command.Forbidden, "the id belongs to another user of the tenant")
	}
	history, err := s.missingHistory(c)
	if err != nil {
		return nil, err
	}
	categoryIDs := slices.DeleteFunc(slices.Clone(c.CategoryIDs), func(id uuid.UUID) bool {
		_, known := slices.BinarySearchFunc(s.CategoryIDs, id, compareIDs)
		return known
	})
	if count := len(s.CategoryIDs) + len(categoryIDs); count > CategoriesMax {
		return nil, tooManyCategories(count)
	}
	supplements := len(categoryIDs)+len(history) > 0
	if s.Exists && !c.Overwrite {
		if !supplements {
			return nil, nil
		}
		return &events.MemorySupplemented{CategoryIDs: categoryIDs, History: history}, nil
	}
	record, err := s.record(c)
	if err != nil || s.equals(record) && !supplements {
		return nil, err
	}
	record.CategoryIDs, record.History = categoryIDs, history
	return record, nil
}

// missingHistory returns the lines that the memory does not have. The history is never rewritten: a line that is
// known with other content is left by a skipping import, and refuses an overwriting one.
func (s State) missingHistory(c Import) ([]events.StatusChange, error) {
	if len(c.History) == 0 {
		return nil, nil
	}
	known := s.known()
	var missing []events.StatusChange
	for _, change := range c.History {
		have, ok := known[change.ID]
		switch {
		case !ok:
			missing = append(missing, change)
		case c.Overwrite && !sameChange(have, change):
			return nil, command.Refuse(command.StateForbids,
				"status change %s is known with other content, and a history is never rewritten", change.ID)
		}
	}
	return missing, nil
}

// record is the event of an import without what is added to the memory.
func (s State) record(c Import) (*events.MemoryImported, error) {
	p := &events.MemoryImported{
		UserID: c.UserID, AppID: c.AppID, State: c.State,
		CreatedAt: c.CreatedAt, UpdatedAt: c.UpdatedAt, ArchivedAt: c.ArchivedAt, DeletedAt: c.DeletedAt,
		Private: events.MemoryPrivate{Content: c.Content, Metadata: c.Metadata},
	}
	if !s.Exists && (c.CreatedAt.IsZero() || c.UpdatedAt.IsZero()) {
		return nil, command.Refuse(command.Invalid, "created_at or updated_at of a new memory is missing")
	}
	if c.CreatedAt.IsZero() {
		p.CreatedAt = s.CreatedAt
	}
	if c.UpdatedAt.IsZero() {
		p.UpdatedAt = s.UpdatedAt
	}
	return p, nil
}

// equals reports whether the event would change nothing but add to the memory.
func (s State) equals(p *events.MemoryImported) bool {
	return s.Exists && equalIDs(s.AppID, p.AppID) && s.Status == p.State &&
		s.Content == p.Private.Content && bytes.Equal(s.Metadata, p.Private.Metadata) &&
		s.CreatedAt.Equal(p.CreatedAt) && s.UpdatedAt.Equal(p.UpdatedAt) &&
		equalTimes(s.ArchivedAt, p.ArchivedAt) && equalTimes(s.DeletedAt, p.DeletedAt)
}

func sameChange(a, b events.StatusChange) bool {
	at := a.ChangedAt.Equal(b.ChangedAt)
	a.ChangedAt = b.ChangedAt
	return at && a == b
}

func equalIDs(a, b *uuid.UUID) bool {
	return a == nil && b == nil || a != nil && b != nil && *a == *b
}

func equalTimes(a, b *time.Time) bool {
	return a == nil && b == nil || a != nil && b != nil && a.Equal(*b)
}
