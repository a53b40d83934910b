package events

import (
	"encoding/json"
	"time"

	"github.com/google/uuid"
)

const (
	kindAppRegistered      = "app.registered.v1"
	kindAppChanged         = "app.changed.v1"
	kindAppPaused          = "app.paused.v1"
	kindAppResumed         = "app.resumed.v1"
	kindAppAccessRuled     = "app.access-ruled.v1"
	kindAppAccessWithdrawn = "app.access-withdrawn.v1"
)

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

// Kind is the event type on the wire.
func (*AppRegistered) Kind() string { return kindAppRegistered }
func (*AppRegistered) payload()     {}

// Kind is the event type on the wire.
func (*AppChanged) Kind() string { return kindAppChanged }
func (*AppChanged) payload()     {}

// Kind is the event type on the wire.
func (*AppPaused) Kind() string { return kindAppPaused }
func (*AppPaused) payload()     {}

// Kind is the event type on the wire.
func (*AppResumed) Kind() string { return kindAppResumed }
func (*AppResumed) payload()     {}

// Kind is the event type on the wire.
func (*AppAccessRuled) Kind() string { return kindAppAccessRuled }
func (*AppAccessRuled) payload()     {}

// Kind is the event type on the wire.
func (*AppAccessWithdrawn) Kind() string { return kindAppAccessWithdrawn }
func (*AppAccessWithdrawn) payload()     {}

// Halves returns the two halves of the payload.
func (*AppPaused) Halves() (public, private []byte, err error) {
	return []byte("{}"), []byte("{}"), nil
}

// Halves returns the two halves of the payload.
func (*AppResumed) Halves() (public, private []byte, err error) {
	return []byte("{}"), []byte("{}"), nil
}

// Halves returns the two halves of the payload.
func (p *AppRegistered) Halves() (public, private []byte, err error) {
	return halves(func(w *writer) {
		w.id("owner_id", p.OwnerID)
		w.boolean("active", p.Active)
		w.recordTimes(p.CreatedAt, p.UpdatedAt)
	}, p.Private.write)
}

// Halves returns the two halves of the payload.
func (p *AppChanged) Halves() (public, private []byte, err error) {
	return halves(func(w *writer) {
		w.boolean("active", p.Active)
		w.recordTimes(p.CreatedAt, p.UpdatedAt)
	}, p.Private.write)
}

// Halves returns the two halves of the payload.
func (p *AppAccessRuled) Halves() (public, private []byte, err error) {
	return halves(func(w *writer) {
		w.id("rule_id", p.RuleID)
		w.text("object_type", p.ObjectType)
		w.idIf("object_id", p.ObjectID)
		w.text("effect", string(p.Effect))
		w.timeIf("created_at", p.CreatedAt)
	}, nil)
}

// Halves returns the two halves of the payload.
func (p *AppAccessWithdrawn) Halves() (public, private []byte, err error) {
	return halves(func(w *writer) { w.id("rule_id", p.RuleID) }, nil)
}

func (p AppPrivate) write(w *writer) {
	w.text("name", p.Name)
	w.textIf("description", p.Description)
	w.rawIf("metadata", p.Metadata)
}

func (p *AppPrivate) read(s *scanner) {
	s.object(func(name []byte) int {
		switch string(name) {
		case "name":
			p.Name = s.str()
			return 0
		case "description":
			p.Description = s.strOrNull()
			return 1
		case "metadata":
			p.Metadata = s.raw()
			return 2
		}
		return skipped
	})
}

func appRegistered(s *scanner) Payload {
	p := &AppRegistered{}
	s.record(p.Private.read, &p.CreatedAt, &p.UpdatedAt, func(name []byte) int {
		switch string(name) {
		case "owner_id":
			p.OwnerID = s.id()
			return 3
		case "active":
			p.Active = s.boolean()
			return 4
		}
		return skipped
	})
	return p
}

func appChanged(s *scanner) Payload {
	p := &AppChanged{}
	s.record(p.Private.read, &p.CreatedAt, &p.UpdatedAt, func(name []byte) int {
		if string(name) == "active" {
			p.Active = s.boolean()
			return 3
		}
		return skipped
	})
	return p
}

func appAccessRuled(s *scanner) Payload {
	p := &AppAccessRuled{}
	s.object(func(name []byte) int {
		switch string(name) {
		case "rule_id":
			p.RuleID = s.id()
			return 0
		case "object_type":
			p.ObjectType = s.str()
			return 1
		case "object_id":
			p.ObjectID = s.idOrNull()
			return 2
		case "effect":
			p.Effect = Effect(s.str())
			return 3
		case "created_at":
			p.CreatedAt = s.timeOrNull()
			return 4
		}
		return skipped
	})
	return p
}

func appAccessWithdrawn(s *scanner) Payload {
	p := &AppAccessWithdrawn{}
	s.object(func(name []byte) int {
		if string(name) == "rule_id" {
			p.RuleID = s.id()
			return 0
		}
		return skipped
	})
	return p
}
