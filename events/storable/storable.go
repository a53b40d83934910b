// Package storable refuses what the tables could not take, before it becomes an event: whatever a command brings and
// these functions accept can be inserted. All refusals are *Error.
package storable

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/refold-dev/refold/events/jsonb"
)

const (
	// NameBytesMax bounds names, logins and e-mail addresses; an index takes no more than about 2,700 bytes.
	NameBytesMax = 1000
	// DescriptionBytesMax bounds descriptions.
	DescriptionBytesMax = 64 << 10
	// ContentBytesMax bounds the content of a memory.
	ContentBytesMax = 256 << 10
)

// Error says what could not be stored, and why.
type Error struct{ Reason string }

func (e *Error) Error() string { return e.Reason }

func refuse(format string, args ...any) error { return &Error{fmt.Sprintf(format, args...)} }

// Text takes valid UTF-8 without the zero character, of bytesMin to bytesMax bytes.
func Text(what, text string, bytesMin, bytesMax int) error {
	switch {
	case len(text) > bytesMax:
		return refuse("%s has %d bytes, at most %d are taken", what, len(text), bytesMax)
	case len(text) < bytesMin:
		return refuse("%s is empty", what)
	case !jsonb.Storable(text):
		return refuse("%s is not valid UTF-8, or holds the character U+0000", what)
	}
	return nil
}

// Name takes 1 to NameBytesMax bytes of text.
func Name(what, text string) error { return Text(what, text, 1, NameBytesMax) }

// OptionalName takes what Name takes, an empty text and nil.
func OptionalName(what string, text *string) error {
	if text == nil {
		return nil
	}
	return Text(what, *text, 0, NameBytesMax)
}

// Description takes up to DescriptionBytesMax bytes of text, and nil.
func Description(text *string) error {
	if text == nil {
		return nil
	}
	return Text("description", *text, 0, DescriptionBytesMax)
}

// Metadata takes a JSON object, or nothing for the empty one, and returns it normalised.
func Metadata(metadata json.RawMessage) (json.RawMessage, error) {
	normal, err := jsonb.NormalizeObject(metadata)
	if err != nil {
		return nil, refuse("metadata: %v", err)
	}
	return normal, nil
}

// ID takes every UUID but that of zeros, which names nothing.
func ID(what string, id uuid.UUID) error {
	if id == uuid.Nil {
		return refuse("%s is missing", what)
	}
	return nil
}

// Time takes the years 1 to 9999, and returns the time in UTC, cut to the microseconds that a table keeps.
func Time(what string, t time.Time) (time.Time, error) {
	t = t.UTC().Truncate(time.Microsecond)
	if t.Year() < 1 || t.Year() > 9999 {
		return time.Time{}, refuse("%s is outside of the years 1 to 9999", what)
	}
	return t, nil
}

// OptionalTime is Time for one that may be nil. The result is another pointer.
func OptionalTime(what string, t *time.Time) (*time.Time, error) {
	if t == nil {
		return nil, nil
	}
	cut, err := Time(what, *t)
	if err != nil {
		return nil, err
	}
	return &cut, nil
}
