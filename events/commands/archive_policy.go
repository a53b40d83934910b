package commands

import (
	"fmt"

	"github.com/google/uuid"

	"github.com/refold-dev/refold/events"
)

const (
	nameMakeArchivePolicy     = "archive-policy.make"
	nameChangeArchivePolicy   = "archive-policy.change"
	nameWithdrawArchivePolicy = "archive-policy.withdraw"
)

// DaysMax bounds the age at which memories are archived.
const DaysMax = 36_500

var membersOfArchivePolicy = []string{"criteria", "criteria_id", "days"}

// ArchiveRule says which of the caller's memories are archived, and how many days after they were made. Nobody looks
// whether there is such an app or category.
type ArchiveRule struct {
	Criteria   string     `json:"criteria"` // global, app or category
	CriteriaID *uuid.UUID `json:"criteria_id,omitempty"`
	Days       int        `json:"days"`
}

// MakeArchivePolicy: archive-policy.make. Its id is derived from the caller and the idempotency key.
type MakeArchivePolicy struct{ ArchiveRule }

// ChangeArchivePolicy: archive-policy.change. It replaces the whole rule.
type ChangeArchivePolicy struct {
	ID uuid.UUID `json:"-"`
	ArchiveRule
}

// WithdrawArchivePolicy: archive-policy.withdraw. What was archived stays archived.
type WithdrawArchivePolicy struct {
	ID uuid.UUID `json:"-"`
}

func (MakeArchivePolicy) command()     {}
func (ChangeArchivePolicy) command()   {}
func (WithdrawArchivePolicy) command() {}

// Name implements Command.
func (MakeArchivePolicy) Name() string { return nameMakeArchivePolicy }

// Name implements Command.
func (ChangeArchivePolicy) Name() string { return nameChangeArchivePolicy }

// Name implements Command.
func (WithdrawArchivePolicy) Name() string { return nameWithdrawArchivePolicy }

// Target implements Command.
func (MakeArchivePolicy) Target() uuid.UUID { return uuid.Nil }

// Target implements Command.
func (c ChangeArchivePolicy) Target() uuid.UUID { return c.ID }

// Target implements Command.
func (c WithdrawArchivePolicy) Target() uuid.UUID { return c.ID }

// Validate implements Command.
func (c ArchiveRule) Validate() error {
	criteria := events.Criteria(c.Criteria)
	switch {
	case !criteria.Valid():
		return &InvalidError{"/criteria", "want global, app or category"}
	case criteria == events.Global && c.CriteriaID != nil:
		return &InvalidError{"/criteria_id", "global has none"}
	case criteria != events.Global && (c.CriteriaID == nil || *c.CriteriaID == uuid.Nil):
		return &InvalidError{"/criteria_id", "want the id of the " + c.Criteria}
	case c.Days < 1 || c.Days > DaysMax:
		return &InvalidError{"/days", fmt.Sprintf("want 1 to %d", DaysMax)}
	}
	return nil
}

// Validate implements Command.
func (WithdrawArchivePolicy) Validate() error { return nil }
