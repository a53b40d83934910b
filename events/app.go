package events

import (
	"encoding/json"
	"time"

	"github.com/google/uuid"
)

// An app is the entity "app"; its id is derived from its owner and its name.

const (
	kindAppRegistered      = "app.registered.v1"
	kindAppChanged         = "app.changed.v1"
	kindAppPaused          = "app.paused.v1"
	kindAppResumed         = "app.resumed.v1"
	kindAppAccessRuled     = "app.access-ruled.v1"
	kindAppAccessWithdrawn = "app.access-withdrawn.v1"
)

// Effect of an access rule.
type Effect string

// The effects of an access rule. Deny beats allow in any order.
const (
	Allow Effect = "allow"
	Deny  Effect = "deny"
)

// AppRegistered: kind app.registered.v1.
type AppRegistered struct {
	OwnerID              uuid.UUID
	Active               bool
	CreatedAt, UpdatedAt *time.Time // of the imported record; nil = the time of the event
	Private              AppPrivate
}

// AppChanged: kind app.changed.v1. Replaces activity, description and metadata; the name identifies and stays.
type AppChanged struct {
	Active               bool
	CreatedAt, UpdatedAt *time.Time // nil = as it is, the time of the event
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
	Metadata    json.RawMessage // a JSON object; nil = {}
}

// AppAccessRuled: kind app.access-ruled.v1. A rule says which memories the app may read.
// A rule with a known id is replaced.
type AppAccessRuled struct {
	RuleID     uuid.UUID
	ObjectType string     // memory, app, category or user; a rule of another type covers nothing
	ObjectID   *uuid.UUID // nil = all
	Effect     Effect
	CreatedAt  *time.Time
}

// AppAccessWithdrawn: kind app.access-withdrawn.v1.
type AppAccessWithdrawn struct{ RuleID uuid.UUID }

func (*AppRegistered) payload()      {}
func (*AppChanged) payload()         {}
func (*AppPaused) payload()          {}
func (*AppResumed) payload()         {}
func (*AppAccessRuled) payload()     {}
func (*AppAccessWithdrawn) payload() {}

// Kind implements Payload.
func (*AppRegistered) Kind() string { return kindAppRegistered }

// Kind implements Payload.
func (*AppChanged) Kind() string { return kindAppChanged }

// Kind implements Payload.
func (*AppPaused) Kind() string { return kindAppPaused }

// Kind implements Payload.
func (*AppResumed) Kind() string { return kindAppResumed }

// Kind implements Payload.
func (*AppAccessRuled) Kind() string { return kindAppAccessRuled }

// Kind implements Payload.
func (*AppAccessWithdrawn) Kind() string { return kindAppAccessWithdrawn }

// Halves implements Payload.
func (p *AppRegistered) Halves() (public, private []byte, err error) {
	w := times(p.CreatedAt, p.UpdatedAt)
	w.uuid("owner_id", p.OwnerID)
	w.boolean("active", p.Active)
	return halves(w, p.Private.write())
}

// Halves implements Payload.
func (p *AppChanged) Halves() (public, private []byte, err error) {
	w := times(p.CreatedAt, p.UpdatedAt)
	w.boolean("active", p.Active)
	return halves(w, p.Private.write())
}

// Halves implements Payload.
func (*AppPaused) Halves() (public, private []byte, err error) { return halves(object(0), object(0)) }

// Halves implements Payload.
func (*AppResumed) Halves() (public, private []byte, err error) { return halves(object(0), object(0)) }

// Halves implements Payload.
func (p *AppAccessRuled) Halves() (public, private []byte, err error) {
	w := object(len(p.ObjectType))
	w.uuid("rule_id", p.RuleID)
	w.text("object_type", p.ObjectType)
	w.uuidPointer("object_id", p.ObjectID)
	w.effect("effect", p.Effect)
	w.timePointer("created_at", p.CreatedAt)
	return halves(w, object(0))
}

// Halves implements Payload.
func (p *AppAccessWithdrawn) Halves() (public, private []byte, err error) {
	w := object(0)
	w.uuid("rule_id", p.RuleID)
	return halves(w, object(0))
}

func (p *AppPrivate) write() writer {
	w := object(len(p.Name) + len(p.Metadata))
	w.text("name", p.Name)
	w.textPointer("description", p.Description)
	w.metadata("metadata", p.Metadata)
	return w
}

func decodeAppRegistered(s *scanner) *AppRegistered {
	p := new(AppRegistered)
	m := s.object()
	for s.next(&m) {
		switch string(m.name) {
		case "private":
			p.Private.read(s)
		case "owner_id":
			p.OwnerID = s.uuid()
		case "active":
			p.Active = s.boolean()
		case "created_at":
			p.CreatedAt = s.timePointer()
		case "updated_at":
			p.UpdatedAt = s.timePointer()
		default:
			s.skip()
		}
	}
	s.require(&m, "private", "owner_id", "active")
	return p
}

func decodeAppChanged(s *scanner) *AppChanged {
	p := new(AppChanged)
	m := s.object()
	for s.next(&m) {
		switch string(m.name) {
		case "private":
			p.Private.read(s)
		case "active":
			p.Active = s.boolean()
		case "created_at":
			p.CreatedAt = s.timePointer()
		case "updated_at":
			p.UpdatedAt = s.timePointer()
		default:
			s.skip()
		}
	}
	s.require(&m, "private", "active")
	return p
}

func (p *AppPrivate) read(s *scanner) {
	m := s.object()
	for s.next(&m) {
		switch string(m.name) {
		case "name":
			p.Name = s.text()
		case "description":
			p.Description = s.textPointer()
		case "metadata":
			p.Metadata = s.metadata()
		default:
			s.skip()
		}
	}
	s.require(&m, "name")
}

func decodeAppAccessRuled(s *scanner) *AppAccessRuled {
	p := new(AppAccessRuled)
	m := s.object()
	for s.next(&m) {
		switch string(m.name) {
		case "rule_id":
			p.RuleID = s.uuid()
		case "object_type":
			p.ObjectType = s.text()
		case "object_id":
			p.ObjectID = s.uuidPointer()
		case "effect":
			p.Effect = s.effect()
		case "created_at":
			p.CreatedAt = s.timePointer()
		default:
			s.skip()
		}
	}
	s.require(&m, "rule_id", "object_type", "effect")
	return p
}

func decodeAppAccessWithdrawn(s *scanner) *AppAccessWithdrawn {
	p := new(AppAccessWithdrawn)
	m := s.object()
	for s.next(&m) {
		switch string(m.name) {
		case "rule_id":
			p.RuleID = s.uuid()
		default:
			s.skip()
		}
	}
	s.require(&m, "rule_id")
	return p
}
