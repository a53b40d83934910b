package command

import (
	"errors"
	"fmt"

	"github.com/refold-dev/refold/events/storable"
)

// Code classes a refusal, so that each edge can map it once.
type Code string

// The codes of a refusal.
const (
	NotFound           Code = "not_found"           // the entity is absent, deleted, or not the caller's
	Exists             Code = "exists"              // there is one already
	StateForbids       Code = "state_forbids"       // the entity's state does not allow it
	Invalid            Code = "invalid"             // the command is malformed
	PreconditionFailed Code = "precondition_failed" // another version than the caller expects
	KeyReused          Code = "key_reused"          // the idempotency key was used for another command
	Forbidden          Code = "forbidden"           // a policy of the caller's own tenant says no
)

// Refusal is a definite no: the command is not, and will never be, in the journal.
type Refusal struct {
	Code    Code
	Message string
}

func (r *Refusal) Error() string { return r.Message }

// Refuse returns a Refusal.
func Refuse(code Code, format string, args ...any) error {
	return &Refusal{Code: code, Message: fmt.Sprintf(format, args...)}
}

// Refused makes a Refusal of what could not be stored (*storable.Error), and leaves all other errors as they are.
func Refused(err error) error {
	if unfit, ok := errors.AsType[*storable.Error](err); ok {
		return &Refusal{Code: Invalid, Message: unfit.Error()}
	}
	return err
}
