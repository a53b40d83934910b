package events

import (
	"encoding/json"
	"time"
)

// A user is the entity "user"; its id is derived from the subject of the login.

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

func (*UserRegistered) payload() {}
func (*UserChanged) payload()    {}

// Kind implements Payload.
func (*UserRegistered) Kind() string { return kindUserRegistered }

// Kind implements Payload.
func (*UserChanged) Kind() string { return kindUserChanged }

// Halves implements Payload.
func (p *UserRegistered) Halves() (public, private []byte, err error) {
	return halves(times(p.CreatedAt, p.UpdatedAt), p.Private.write())
}

// Halves implements Payload.
func (p *UserChanged) Halves() (public, private []byte, err error) {
	return halves(times(p.CreatedAt, p.UpdatedAt), p.Private.write())
}

// times starts a public half with the times of an imported record.
func times(createdAt, updatedAt *time.Time) writer {
	w := object(0)
	w.timePointer("created_at", createdAt)
	w.timePointer("updated_at", updatedAt)
	return w
}

func (p *UserPrivate) write() writer {
	w := object(len(p.Subject) + len(p.Metadata))
	w.text("subject", p.Subject)
	w.textPointer("name", p.Name)
	w.textPointer("email", p.Email)
	w.metadata("metadata", p.Metadata)
	return w
}

func decodeUserRegistered(s *scanner) *UserRegistered {
	return (*UserRegistered)(decodeUserChanged(s))
}

func decodeUserChanged(s *scanner) *UserChanged {
	p := new(UserChanged)
	m := s.object()
	for s.next(&m) {
		switch string(m.name) {
		case "private":
			p.Private.read(s)
		case "created_at":
			p.CreatedAt = s.timePointer()
		case "updated_at":
			p.UpdatedAt = s.timePointer()
		default:
			s.skip()
		}
	}
	s.require(&m, "private")
	return p
}

func (p *UserPrivate) read(s *scanner) {
	m := s.object()
	for s.next(&m) {
		switch string(m.name) {
		case "subject":
			p.Subject = s.text()
		case "name":
			p.Name = s.textPointer()
		case "email":
			p.Email = s.textPointer()
		case "metadata":
			p.Metadata = s.metadata()
		default:
			s.skip()
		}
	}
	s.require(&m, "subject")
}
