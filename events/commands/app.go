package commands

import (
	"fmt"
	"slices"

	"github.com/google/uuid"
)

const (
	nameRuleAccess     = "app.rule-access"
	nameWithdrawAccess = "app.withdraw-access"
)

var (
	membersOfRuleAccess     = []string{"rule", "object_type", "object_id", "effect"}
	membersOfWithdrawAccess = []string{"rule"}
)

// ObjectTypes are what access rules are about: a memory, the memories of an app, or those of a category.
var ObjectTypes = []string{"memory", "app", "category"}

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

func (RuleAccess) command()     {}
func (WithdrawAccess) command() {}

// Name implements Command.
func (RuleAccess) Name() string { return nameRuleAccess }

// Name implements Command.
func (WithdrawAccess) Name() string { return nameWithdrawAccess }

// Target implements Command.
func (c RuleAccess) Target() uuid.UUID { return c.ID }

// Target implements Command.
func (c WithdrawAccess) Target() uuid.UUID { return c.ID }

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
