package commands

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/google/uuid"

	"github.com/refold-dev/refold/events/storable"
)

const (
	nameChangeApp      = "app.change"
	namePauseApp       = "app.pause"
	nameActivateApp    = "app.activate"
	nameRuleAccess     = "app.rule-access"
	nameWithdrawAccess = "app.withdraw-access"
)

var (
	membersOfChangeApp      = []string{"description", "metadata"}
	membersOfRuleAccess     = []string{"rule", "object_type", "object_id", "effect"}
	membersOfWithdrawAccess = []string{"rule"}
)

// ObjectTypes are what access rules are about: a memory, or the memories of an app, of a category or of a user. An app
// reads nothing but the memories of its owner, so a rule about another user covers none.
var ObjectTypes = []string{"memory", "app", "category", "user"}

// ChangeApp: app.change. It replaces what is not nil about an app of the caller's; something must be given. Apps are made
// by the first memory that names them.
type ChangeApp struct {
	ID          uuid.UUID       `json:"-"`
	Description *string         `json:"description,omitempty"` // empty = none from now on
	Metadata    json.RawMessage `json:"metadata,omitempty"`    // a JSON object
}

// PauseApp: app.pause. The app takes no new memories and reads none.
type PauseApp struct {
	ID uuid.UUID `json:"-"`
}

// ActivateApp: app.activate. It ends the pause of an app.
type ActivateApp struct {
	ID uuid.UUID `json:"-"`
}

// RuleAccess: app.rule-access. It sets the access rule of an app of the caller's that has this id, which the caller
// makes up. A rule without an object is about all of the type. Nobody looks whether there is such an object.
type RuleAccess struct {
	ID         uuid.UUID  `json:"-"`
	Rule       uuid.UUID  `json:"rule"`
	ObjectType string     `json:"object_type"`
	ObjectID   *uuid.UUID `json:"object_id,omitempty"`
	Effect     string     `json:"effect"` // allow or deny; deny beats allow
}

// WithdrawAccess: app.withdraw-access.
type WithdrawAccess struct {
	ID   uuid.UUID `json:"-"`
	Rule uuid.UUID `json:"rule"`
}

func (ChangeApp) command()      {}
func (PauseApp) command()       {}
func (ActivateApp) command()    {}
func (RuleAccess) command()     {}
func (WithdrawAccess) command() {}

// Name implements Command.
func (ChangeApp) Name() string { return nameChangeApp }

// Name implements Command.
func (PauseApp) Name() string { return namePauseApp }

// Name implements Command.
func (ActivateApp) Name() string { return nameActivateApp }

// Name implements Command.
func (RuleAccess) Name() string { return nameRuleAccess }

// Name implements Command.
func (WithdrawAccess) Name() string { return nameWithdrawAccess }

// Target implements Command.
func (c ChangeApp) Target() uuid.UUID { return c.ID }

// Target implements Command.
func (c PauseApp) Target() uuid.UUID { return c.ID }

// Target implements Command.
func (c ActivateApp) Target() uuid.UUID { return c.ID }

// Target implements Command.
func (c RuleAccess) Target() uuid.UUID { return c.ID }

// Target implements Command.
func (c WithdrawAccess) Target() uuid.UUID { return c.ID }

// Validate implements Command.
func (c ChangeApp) Validate() error {
	if c.Description == nil && c.Metadata == nil {
		return &InvalidError{Reason: "nothing to change: want description or metadata"}
	}
	if err := at("/description", storable.Description(c.Description)); err != nil {
		return err
	}
	return metadata(c.Metadata)
}

// Validate implements Command.
func (PauseApp) Validate() error { return nil }

// Validate implements Command.
func (ActivateApp) Validate() error { return nil }

// Validate implements Command.
func (c RuleAccess) Validate() error {
	switch {
	case c.Rule == uuid.Nil:
		return &InvalidError{"/rule", "want a UUID that is not all zeros"}
	case !slices.Contains(ObjectTypes, c.ObjectType):
		return &InvalidError{"/object_type", fmt.Sprintf("want one of %v", ObjectTypes)}
	case c.ObjectID != nil && *c.ObjectID == uuid.Nil:
		return &InvalidError{"/object_id", "want a UUID that is not all zeros"}
	case c.Effect != "allow" && c.Effect != "deny":
		return &InvalidError{"/effect", "want allow or deny"}
	}
	return nil
}

// Validate implements Command.
func (c WithdrawAccess) Validate() error {
	if c.Rule == uuid.Nil {
		return &InvalidError{"/rule", "want a UUID that is not all zeros"}
	}
	return nil
}
