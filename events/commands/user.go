package commands

import (
	"encoding/json"

	"github.com/google/uuid"

	"github.com/refold-dev/refold/events/storable"
)

const nameChangeUser = "user.change"

var membersOfChangeUser = []string{"name", "email", "metadata"}

// ChangeUser: user.change. It replaces what is not nil about the caller; something must be given. The plane knows the
// caller from then on, if it did not before. Any other user is absent.
type ChangeUser struct {
	ID       uuid.UUID       `json:"-"`
	UserName *string         `json:"name,omitempty"`     // empty = none from now on
	Email    *string         `json:"email,omitempty"`    // empty = none from now on
	Metadata json.RawMessage `json:"metadata,omitempty"` // a JSON object
}

func (ChangeUser) command() {}

// Name implements Command.
func (ChangeUser) Name() string { return nameChangeUser }

// Target implements Command.
func (c ChangeUser) Target() uuid.UUID { return c.ID }

// Validate implements Command.
func (c ChangeUser) Validate() error {
	if c.UserName == nil && c.Email == nil && c.Metadata == nil {
		return &InvalidError{Reason: "nothing to change: want name, email or metadata"}
	}
	if err := at("/name", storable.OptionalName("name", c.UserName)); err != nil {
		return err
	}
	if err := at("/email", storable.OptionalName("email", c.Email)); err != nil {
		return err
	}
	return metadata(c.Metadata)
}
