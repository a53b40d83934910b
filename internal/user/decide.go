package user

import (
	"bytes"
	"encoding/json"
	"fmt"
	"time"

	"github.com/refold-dev/refold/events"
	"github.com/refold-dev/refold/events/storable"
	"github.com/refold-dev/refold/internal/command"
)

// EventsMax bounds the events of a user, since each decision reads them all.
const EventsMax = 10_000

// Command is a wish about one user. The set is sealed:
//
//sumtype:decl
type Command interface{ command() }

// Register makes a user, when a login is seen for the first time.
type Register struct {
	Subject     string
	Name, Email *string
	Metadata    json.RawMessage // a JSON object; nil = {}
}

// Change replaces what is not nil. It makes the user, when the login has not been seen before.
type Change struct {
	Subject     string
	Name, Email *string // empty = none from now on
	Metadata    json.RawMessage
}

// Import brings the record of another system. A user who is unknown is made; one who exists is left as is, or with
// Overwrite replaced.
type Import struct {
	Subject              string
	Name, Email          *string
	Metadata             json.RawMessage
	CreatedAt, UpdatedAt *time.Time // nil = as it is, or now
	Overwrite            bool
}

func (Register) command() {}
func (Change) command()   {}
func (Import) command()   {}

// Validate refuses a command that no state would allow, because it could not be stored. Decide does so, too.
func Validate(cmd Command) error {
	_, err := checked(cmd)
	return err
}

// checked returns the command as it goes into an event: metadata normalised, times in UTC.
func checked(cmd Command) (Command, error) {
	cmd, err := storableForm(cmd)
	return cmd, command.Refused(err)
}

func storableForm(cmd Command) (Command, error) {
	switch c := cmd.(type) {
	case Register:
		record, err := Import{Subject: c.Subject, Name: c.Name, Email: c.Email, Metadata: c.Metadata}.checked()
		c.Metadata = record.Metadata
		return c, err
	case Change:
		return c.checked()
	case Import:
		return c.checked()
	}
	return nil, fmt.Errorf("no rules for the command %T", cmd)
}

func (c Change) checked() (_ Change, err error) {
	if err = storable.Name("subject", c.Subject); err != nil {
		return c, err
	}
	if err = storable.OptionalName("name", stated(c.Name)); err != nil {
		return c, err
	}
	if err = storable.OptionalName("email", stated(c.Email)); err != nil {
		return c, err
	}
	if c.Metadata != nil {
		c.Metadata, err = storable.Metadata(c.Metadata)
	}
	return c, err
}

// stated is nil for an empty text, by which something is taken away.
func stated(text *string) *string {
	if text == nil || *text == "" {
		return nil
	}
	return text
}

func (c Import) checked() (_ Import, err error) {
	if err = storable.Name("subject", c.Subject); err != nil {
		return c, err
	}
	if err = storable.OptionalName("name", c.Name); err != nil {
		return c, err
	}
	if err = storable.OptionalName("email", c.Email); err != nil {
		return c, err
	}
	if c.Metadata, err = storable.Metadata(c.Metadata); err != nil {
		return c, err
	}
	if c.CreatedAt, err = storable.OptionalTime("created_at", c.CreatedAt); err != nil {
		return c, err
	}
	c.UpdatedAt, err = storable.OptionalTime("updated_at", c.UpdatedAt)
	return c, err
}

// Decide answers a command: an event, a *command.Refusal, or nil and nil when there is nothing to do.
func Decide(s State, cmd Command) (Payload, error) {
	cmd, err := checked(cmd)
	if err != nil {
		return nil, err
	}
	switch c := cmd.(type) {
	case Register:
		if s.Exists {
			return nil, command.Refuse(command.Exists, "the user exists already")
		}
		return &events.UserRegistered{Private: events.UserPrivate{Subject: c.Subject, Name: c.Name, Email: c.Email, Metadata: c.Metadata}}, nil
	case Change:
		return s.change(c)
	case Import:
		return s.importRecord(c)
	}
	return nil, fmt.Errorf("no decision about the command %T", cmd)
}

func (s State) change(c Change) (Payload, error) {
	if s.Exists && s.Subject != c.Subject {
		return nil, command.Refuse(command.Invalid, "the id belongs to a user of another subject")
	}
	private := events.UserPrivate{Subject: c.Subject, Name: s.Name, Email: s.Email, Metadata: s.Metadata}
	if c.Name != nil {
		private.Name = stated(c.Name)
	}
	if c.Email != nil {
		private.Email = stated(c.Email)
	}
	if c.Metadata != nil {
		private.Metadata = c.Metadata
	}
	switch {
	case !s.Exists:
		return &events.UserRegistered{Private: private}, nil
	case equal(s.Name, private.Name) && equal(s.Email, private.Email) && bytes.Equal(s.Metadata, private.Metadata):
		return nil, nil
	case s.Events >= EventsMax:
		return nil, command.Refuse(command.StateForbids, "the user has %d events, which is the most", s.Events)
	}
	return &events.UserChanged{Private: private}, nil
}

func (s State) importRecord(c Import) (Payload, error) {
	private := events.UserPrivate{Subject: c.Subject, Name: c.Name, Email: c.Email, Metadata: c.Metadata}
	switch {
	case !s.Exists:
		return &events.UserRegistered{CreatedAt: c.CreatedAt, UpdatedAt: c.UpdatedAt, Private: private}, nil
	case s.Subject != c.Subject:
		// The id is derived from it, so this is a caller's mistake.
		return nil, command.Refuse(command.Invalid, "the id belongs to a user of another subject")
	case !c.Overwrite || s.equals(c):
		return nil, nil
	case s.Events >= EventsMax:
		return nil, command.Refuse(command.StateForbids, "the user has %d events, which is the most", s.Events)
	}
	p := &events.UserChanged{CreatedAt: c.CreatedAt, UpdatedAt: c.UpdatedAt, Private: private}
	if p.UpdatedAt == nil {
		p.UpdatedAt = &s.UpdatedAt
	}
	return p, nil
}

func (s State) equals(c Import) bool {
	return equal(s.Name, c.Name) && equal(s.Email, c.Email) && bytes.Equal(s.Metadata, c.Metadata) &&
		given(c.CreatedAt, s.CreatedAt) && given(c.UpdatedAt, s.UpdatedAt)
}

func equal(a, b *string) bool {
	return a == nil && b == nil || a != nil && b != nil && *a == *b
}

// given reports whether a time that may have been left open is the one there is.
func given(t *time.Time, have time.Time) bool { return t == nil || t.Equal(have) }
