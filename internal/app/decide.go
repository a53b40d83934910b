package app

import (
	"bytes"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/refold-dev/refold/events"
	"github.com/refold-dev/refold/internal/command"
)

// Decide answers a command: an event, a *command.Refusal, or nil and nil when there is nothing to do. An app that is
// absent and one of another user are refused with one and the same text.
func Decide(s State, cmd Command) (Payload, error) {
	cmd, err := checked(cmd)
	if err != nil {
		return nil, err
	}
	payload, err := s.decide(cmd)
	if err != nil || payload == nil {
		return nil, err
	}
	if s.Events >= EventsMax {
		return nil, command.Refuse(command.StateForbids, "the app has %d events, which is the most; use an app of another name", s.Events)
	}
	return payload, nil
}

func (s State) decide(cmd Command) (Payload, error) {
	switch c := cmd.(type) {
	case Register:
		return s.register(c)
	case Import:
		return s.importRecord(c)
	case Change:
		return s.change(c)
	case Pause:
		return s.activity(c.By, false, &events.AppPaused{})
	case Resume:
		return s.activity(c.By, true, &events.AppResumed{})
	case Rule:
		return s.rule(c)
	case Withdraw:
		return s.withdraw(c)
	}
	return nil, fmt.Errorf("no decision about the command %T", cmd)
}

// of refuses unless the app is the user's.
func (s State) of(user uuid.UUID) error {
	if !s.Exists || s.OwnerID != user {
		return command.Refuse(command.NotFound, "not found")
	}
	return nil
}

func (s State) register(c Register) (Payload, error) {
	if s.Exists {
		return nil, command.Refuse(command.Exists, "the app exists already")
	}
	return &events.AppRegistered{
		OwnerID: c.OwnerID, Active: c.Active, CreatedAt: c.CreatedAt, UpdatedAt: c.UpdatedAt,
		Private: events.AppPrivate{Name: c.Name, Description: c.Description, Metadata: c.Metadata},
	}, nil
}

func (s State) change(c Change) (Payload, error) {
	if err := s.of(c.By); err != nil {
		return nil, err
	}
	description, metadata := s.Description, s.Metadata
	if c.Description != nil {
		description = stated(c.Description)
	}
	if c.Metadata != nil {
		metadata = c.Metadata
	}
	if equal(s.Description, description) && bytes.Equal(s.Metadata, metadata) {
		return nil, nil
	}
	return &events.AppChanged{
		Active:  s.Active,
		Private: events.AppPrivate{Name: s.Name, Description: description, Metadata: metadata},
	}, nil
}

// stated is nil for an empty text, by which something is taken away.
func stated(text *string) *string {
	if *text == "" {
		return nil
	}
	return text
}

func (s State) activity(by uuid.UUID, active bool, moved Payload) (Payload, error) {
	if err := s.of(by); err != nil {
		return nil, err
	}
	if s.Active == active {
		return nil, nil
	}
	return moved, nil
}

func (s State) importRecord(c Import) (Payload, error) {
	switch {
	case !s.Exists:
		return s.register(Register{c.OwnerID, c.Name, c.Description, c.Metadata, c.Active, c.CreatedAt, c.UpdatedAt})
	case s.OwnerID != c.OwnerID || s.Name != c.Name:
		// The id is derived from both, so this is a caller's mistake and no question of rights.
		return nil, command.Refuse(command.Invalid, "the id belongs to an app of another owner or name")
	case !c.Overwrite || s.equals(c):
		return nil, nil
	}
	p := &events.AppChanged{
		Active: c.Active, CreatedAt: c.CreatedAt, UpdatedAt: c.UpdatedAt,
		Private: events.AppPrivate{Name: c.Name, Description: c.Description, Metadata: c.Metadata},
	}
	if p.UpdatedAt == nil {
		p.UpdatedAt = &s.UpdatedAt
	}
	return p, nil
}

func (s State) equals(c Import) bool {
	return s.Active == c.Active && equal(s.Description, c.Description) && bytes.Equal(s.Metadata, c.Metadata) &&
		given(c.CreatedAt, s.CreatedAt) && given(c.UpdatedAt, s.UpdatedAt)
}

func (s State) rule(c Rule) (Payload, error) {
	if err := s.of(c.By); err != nil {
		return nil, err
	}
	have, known := s.Rules[c.RuleID]
	switch {
	case known && (c.Keep || have.equals(c)):
		return nil, nil
	case !known && len(s.Rules) >= RulesMax:
		return nil, command.Refuse(command.StateForbids, "the app has %d access rules, which is the most; withdraw one first", len(s.Rules))
	}
	p := &events.AppAccessRuled{
		RuleID: c.RuleID, ObjectType: c.ObjectType, ObjectID: c.ObjectID, Effect: c.Effect, CreatedAt: c.CreatedAt,
	}
	if known && p.CreatedAt == nil {
		p.CreatedAt = &have.CreatedAt
	}
	return p, nil
}

func (r AccessRule) equals(c Rule) bool {
	return r.ObjectType == c.ObjectType && equal(r.ObjectID, c.ObjectID) && r.Effect == c.Effect && given(c.CreatedAt, r.CreatedAt)
}

func (s State) withdraw(c Withdraw) (Payload, error) {
	if err := s.of(c.By); err != nil {
		return nil, err
	}
	if _, known := s.Rules[c.RuleID]; !known {
		return nil, nil
	}
	return &events.AppAccessWithdrawn{RuleID: c.RuleID}, nil
}

func equal[T comparable](a, b *T) bool {
	return a == nil && b == nil || a != nil && b != nil && *a == *b
}

// given reports whether a time that may have been left open is the one there is.
func given(t *time.Time, have time.Time) bool { return t == nil || t.Equal(have) }
