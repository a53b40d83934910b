package app

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/refold-dev/refold/events"
	"github.com/refold-dev/refold/events/storable"
	"github.com/refold-dev/refold/internal/command"
)

const (
	// RulesMax bounds the access rules of an app, since readers evaluate them all.
	RulesMax = 1000
	// EventsMax bounds the events of an app, since each decision reads them all.
	EventsMax = 10_000
)

// Command is a wish about one app. `By` is the user who wishes. The set is sealed:
//
//sumtype:decl
type Command interface{ command() }

// Register makes an app.
type Register struct {
	OwnerID              uuid.UUID
	Name                 string
	Description          *string
	Metadata             json.RawMessage // a JSON object; nil = {}
	Active               bool
	CreatedAt, UpdatedAt *time.Time // of an older record; nil = now
}

// Change replaces what is not nil.
type Change struct {
	By          uuid.UUID
	Description *string // empty = none from now on
	Metadata    json.RawMessage
}

// Pause makes the app take no new memories, Resume ends that.
type (
	Pause  struct{ By uuid.UUID }
	Resume struct{ By uuid.UUID }
)

// Rule sets an access rule.
type Rule struct {
	By         uuid.UUID
	RuleID     uuid.UUID
	ObjectType string
	ObjectID   *uuid.UUID // nil = all
	Effect     events.Effect
	CreatedAt  *time.Time // nil = as it is, or now
	Keep       bool       // leave a rule with this id as it is, instead of replacing it
}

// Withdraw removes an access rule.
type Withdraw struct {
	By     uuid.UUID
	RuleID uuid.UUID
}

// Import brings the record of another system. An app that is unknown is made; one that exists is left as it is, or
// with Overwrite replaced but for its name.
type Import struct {
	OwnerID              uuid.UUID
	Name                 string
	Description          *string
	Metadata             json.RawMessage
	Active               bool
	CreatedAt, UpdatedAt *time.Time // nil = as it is, or now
	Overwrite            bool
}

func (Register) command() {}
func (Change) command()   {}
func (Pause) command()    {}
func (Resume) command()   {}
func (Rule) command()     {}
func (Withdraw) command() {}
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
		return c.checked()
	case Import:
		record, err := Register{c.OwnerID, c.Name, c.Description, c.Metadata, c.Active, c.CreatedAt, c.UpdatedAt}.checked()
		c.Metadata, c.CreatedAt, c.UpdatedAt = record.Metadata, record.CreatedAt, record.UpdatedAt
		return c, err
	case Change:
		return c.checked()
	case Pause:
		return c, storable.ID("the user", c.By)
	case Resume:
		return c, storable.ID("the user", c.By)
	case Rule:
		return c.checked()
	case Withdraw:
		if err := storable.ID("the user", c.By); err != nil {
			return c, err
		}
		return c, storable.ID("the rule", c.RuleID)
	}
	return nil, fmt.Errorf("no rules for the command %T", cmd)
}

func (c Register) checked() (_ Register, err error) {
	if err = storable.ID("the owner", c.OwnerID); err != nil {
		return c, err
	}
	if err = storable.Name("name", c.Name); err != nil {
		return c, err
	}
	if err = storable.Description(c.Description); err != nil {
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

func (c Change) checked() (_ Change, err error) {
	if err = storable.ID("the user", c.By); err != nil {
		return c, err
	}
	if err = storable.Description(c.Description); err != nil {
		return c, err
	}
	if c.Metadata != nil {
		c.Metadata, err = storable.Metadata(c.Metadata)
	}
	return c, err
}

func (c Rule) checked() (_ Rule, err error) {
	if err = storable.ID("the user", c.By); err != nil {
		return c, err
	}
	if err = storable.ID("the rule", c.RuleID); err != nil {
		return c, err
	}
	if err = storable.Name("object type", c.ObjectType); err != nil {
		return c, err
	}
	if c.ObjectID != nil {
		if err = storable.ID("the object", *c.ObjectID); err != nil {
			return c, err
		}
	}
	if c.Effect != events.Allow && c.Effect != events.Deny {
		return c, command.Refuse(command.Invalid, "effect %q is not allow or deny", c.Effect)
	}
	c.CreatedAt, err = storable.OptionalTime("created_at", c.CreatedAt)
	return c, err
}
