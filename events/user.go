package events

import (
	"encoding/json"
	"time"
)

const (
	kindUserRegistered = "user.registered.v1"
	kindUserChanged    = "user.changed.v1"
)

// UserRegistered: kind user.registered.v1. A principal was seen for the first time, or was imported.
type UserRegistered struct {
	CreatedAt, UpdatedAt *time.Time // of the imported record; nil = the time of the event
	Private              UserPrivate
}

// UserChanged: kind user.changed.v1. All fields of Private replace the old ones.
type UserChanged struct {
	CreatedAt, UpdatedAt *time.Time
	Private              UserPrivate
}

// UserPrivate is what is personal about a user.
type UserPrivate struct {
	Subject  string          // the login: `sub` of its tokens, user_id of the old system
	Name     *string         //
	Email    *string         //
	Metadata json.RawMessage // a JSON object; nil = {}
}

// Kind is the event type on the wire.
func (*UserRegistered) Kind() string { return kindUserRegistered }
func (*UserRegistered) payload()     {}

// Halves returns the two halves of the payload.
func (p *UserRegistered) Halves() (public, private []byte, err error) {
	return halves(func(w *writer) { w.recordTimes(p.CreatedAt, p.UpdatedAt) }, p.Private.write)
}

// Kind is the event type on the wire.
func (*UserChanged) Kind() string { return kindUserChanged }
func (*UserChanged) payload()     {}

// Halves returns the two halves of the payload.
func (p *UserChanged) Halves() (public, private []byte, err error) {
	return halves(func(w *writer) { w.recordTimes(p.CreatedAt, p.UpdatedAt) }, p.Private.write)
}

func (p UserPrivate) write(w *writer) {
	w.text("subject", p.Subject)
	w.textIf("name", p.Name)
	w.textIf("email", p.Email)
	w.rawIf("metadata", p.Metadata)
}

func (p *UserPrivate) read(s *scanner) {
	s.object(func(name []byte) int {
		switch string(name) {
		case "subject":
			p.Subject = s.str()
			return 0
		case "name":
			p.Name = s.strOrNull()
			return 1
		case "email":
			p.Email = s.strOrNull()
			return 2
		case "metadata":
			p.Metadata = s.raw()
			return 3
		}
		return skipped
	})
}

func userRegistered(s *scanner) Payload {
	p := &UserRegistered{}
	s.record(p.Private.read, &p.CreatedAt, &p.UpdatedAt, nil)
	return p
}

func userChanged(s *scanner) Payload {
	p := &UserChanged{}
	s.record(p.Private.read, &p.CreatedAt, &p.UpdatedAt, nil)
	return p
}

// halves writes the two halves of a payload; nil = nothing in it.
func halves(public, private func(*writer)) ([]byte, []byte, error) {
	var a, b writer
	if public != nil {
		public(&a)
	}
	if private != nil {
		private(&b)
	}
	first, err := a.object()
	if err != nil {
		return nil, nil, err
	}
	second, err := b.object()
	return first, second, err
}

func (w *writer) recordTimes(created, updated *time.Time) {
	w.timeIf("created_at", created)
	w.timeIf("updated_at", updated)
}

// record reads a payload with a private half and the times of an imported record; more reads further members and
// numbers them from 3.
func (s *scanner) record(private func(*scanner), created, updated **time.Time, more func(name []byte) int) {
	s.object(func(name []byte) int {
		switch string(name) {
		case "private":
			private(s)
			return 0
		case "created_at":
			*created = s.timeOrNull()
			return 1
		case "updated_at":
			*updated = s.timeOrNull()
			return 2
		}
		if more != nil {
			return more(name)
		}
		return skipped
	})
}
