// Package commands is what callers may wish: every command with its name, its JSON form and its rules. It is the same
// for every edge of the plane and for those who send commands, so that what Validate accepts here is not refused there
// for its form. It stands on nothing but the standard library and the packages beside it.
//
// A command is sent as its name, the id of the entity it is about (none, when it makes one), and its body. The body is
// a JSON object in strict form: known names only, each once, in their own case, none null; no \u0000, no half
// surrogates, no number beyond all measure. A command without members has the body {}, and no body is the same.
//
// To add a command: a type in the file of its entity, a case in Decode, a name in Names. The rest of the code that
// must know it does not compile or does not pass its tests before it does.
package commands

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/google/uuid"

	"github.com/refold-dev/refold/events/jsonb"
)

// Command is what a caller may wish. The set is sealed:
//
//sumtype:decl
type Command interface {
	// Name is the command on the wire, such as "memory.add": the entity, a point, and what to do.
	Name() string
	// Target is the id of the entity the command is about; uuid.Nil for one that makes an entity.
	Target() uuid.UUID
	// Validate fails with *InvalidError for what the plane would refuse in any state.
	Validate() error
	command()
}

// The bounds of what surrounds a command.
const (
	KeyBytesMax = 200
	// BodyBytesMax bounds the body of a command.
	BodyBytesMax = 1 << 20
)

// ErrUnknown is returned by Decode for a name that this version of the code does not know.
var ErrUnknown = errors.New("unknown command")

// InvalidError says what about a command is not as it must be, and where, as a JSON pointer into its body.
type InvalidError struct {
	Pointer string // empty = the body itself, or what stands beside it
	Reason  string
}

func (e *InvalidError) Error() string {
	if e.Pointer == "" {
		return e.Reason
	}
	return e.Pointer + ": " + e.Reason
}

// Names returns the name of every command that Decode knows.
func Names() []string {
	return []string{nameAddMemory, nameChangeMemory, nameArchiveMemory, namePauseMemory, nameActivateMemory, nameDeleteMemory,
		nameUndeleteMemory, nameRestoreMemory,
		nameChangeApp, namePauseApp, nameActivateApp, nameRuleAccess, nameWithdrawAccess, nameChangeUser,
		nameMakeArchivePolicy, nameChangeArchivePolicy, nameWithdrawArchivePolicy}
}

// EntityOf returns the entity that a command of this name is about: the part before the point.
func EntityOf(name string) string {
	entity, _, _ := strings.Cut(name, ".")
	return entity
}

// Makes reports whether a command of this name makes an entity, and so has no target.
func Makes(name string) bool { return name == nameAddMemory || name == nameMakeArchivePolicy }

// Decode reads a command in its strict form and validates it. target must be uuid.Nil for a command that makes an
// entity, and an id for all others. It fails with ErrUnknown or *InvalidError. The command shares no memory with body.
func Decode(name string, target uuid.UUID, body []byte) (Command, error) {
	c, err := decode(name, target, body)
	if err != nil {
		return nil, err
	}
	if (target == uuid.Nil) != Makes(name) {
		return nil, &InvalidError{Reason: fmt.Sprintf("%s wants the id of what it is about, or none if it makes it", name)}
	}
	return c, c.Validate()
}

func decode(name string, target uuid.UUID, body []byte) (Command, error) {
	switch name {
	case nameAddMemory:
		return read[AddMemory](body, membersOfAddMemory)
	case nameChangeMemory:
		c, err := read[ChangeMemory](body, membersOfChangeMemory)
		c.ID = target
		return c, err
	case nameArchiveMemory:
		return ArchiveMemory{target}, nothing(body)
	case namePauseMemory:
		return PauseMemory{target}, nothing(body)
	case nameActivateMemory:
		return ActivateMemory{target}, nothing(body)
	case nameDeleteMemory:
		return DeleteMemory{target}, nothing(body)
	case nameUndeleteMemory:
		return UndeleteMemory{target}, nothing(body)
	case nameRestoreMemory:
		c, err := read[RestoreMemory](body, membersOfRestoreMemory)
		c.ID = target
		return c, err
	case nameChangeApp:
		c, err := read[ChangeApp](body, membersOfChangeApp)
		c.ID = target
		return c, err
	case namePauseApp:
		return PauseApp{target}, nothing(body)
	case nameActivateApp:
		return ActivateApp{target}, nothing(body)
	case nameChangeUser:
		c, err := read[ChangeUser](body, membersOfChangeUser)
		c.ID = target
		return c, err
	case nameRuleAccess:
		c, err := read[RuleAccess](body, membersOfRuleAccess)
		c.ID = target
		return c, err
	case nameWithdrawAccess:
		c, err := read[WithdrawAccess](body, membersOfWithdrawAccess)
		c.ID = target
		return c, err
	case nameMakeArchivePolicy:
		rule, err := read[ArchiveRule](body, membersOfArchivePolicy)
		return MakeArchivePolicy{rule}, err
	case nameChangeArchivePolicy:
		rule, err := read[ArchiveRule](body, membersOfArchivePolicy)
		return ChangeArchivePolicy{target, rule}, err
	case nameWithdrawArchivePolicy:
		return WithdrawArchivePolicy{target}, nothing(body)
	}
	return nil, fmt.Errorf("%w: %q", ErrUnknown, name)
}

// Body returns the JSON form of a command's body.
func Body(c Command) ([]byte, error) {
	body, err := plainJSON(c)
	if err != nil {
		return nil, fmt.Errorf("body of %s: %w", c.Name(), err)
	}
	return body, nil
}

// plainJSON leaves out the escapes that only HTML needs: they make six bytes of one.
func plainJSON(v any) ([]byte, error) {
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(v)
	return bytes.TrimSuffix(out.Bytes(), []byte("\n")), err
}

// read reads a strict body with these members.
func read[C any](body []byte, members []string) (c C, err error) {
	if err := strict(body, members); err != nil {
		return c, err
	}
	var wrong *json.UnmarshalTypeError
	err = json.Unmarshal(body, &c)
	if errors.As(err, &wrong) {
		return c, &InvalidError{"/" + strings.ReplaceAll(wrong.Field, ".", "/"), "not a " + wrong.Type.String()}
	}
	if err != nil {
		return c, &InvalidError{Reason: err.Error()}
	}
	return c, nil
}

func nothing(body []byte) error {
	if len(body) == 0 {
		return nil
	}
	return strict(body, nil)
}

func strict(body []byte, members []string) error {
	if len(body) > BodyBytesMax {
		return &InvalidError{Reason: fmt.Sprintf("the body has %d bytes, at most %d are taken", len(body), BodyBytesMax)}
	}
	err := jsonb.CheckObject(body, members)
	if at, ok := errors.AsType[*jsonb.PointerError](err); ok {
		return &InvalidError{at.Pointer, at.Reason}
	}
	return err
}

// CheckKey takes an idempotency key: 1 to KeyBytesMax visible ASCII characters. A command that is sent again
// with the same key, at any time, is carried out once.
func CheckKey(key string) error {
	if key == "" || len(key) > KeyBytesMax || strings.ContainsFunc(key, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return &InvalidError{Reason: fmt.Sprintf("an idempotency key has 1 to %d visible ASCII characters", KeyBytesMax)}
	}
	return nil
}
