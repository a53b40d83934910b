package memory

import (
	"bytes"
	"slices"

	"github.com/refold-dev/refold/events/envelope"
	"github.com/refold-dev/refold/internal/command"
)

// Past is what the decision about a Restore rests on: a memory as it is, and as it was at one version.
type Past struct {
	State
	then *State // nil until that version
}

// Evolve folds one event. It fails on an event that contradicts the state.
func (c Restore) Evolve(p Past, e *envelope.Event) (_ Past, err error) {
	if p.State, err = Evolve(p.State, e); err == nil && e.Version == c.Version {
		then := p.State
		p.then = &then
	}
	return p, err
}

// DecideRestore answers a Restore as Decide does other commands. Whether there is such a version is told to the memory's user
// alone.
func DecideRestore(p Past, c Restore) (Payload, error) {
	if err := Validate(c); err != nil {
		return nil, err
	}
	if err := p.of(c.By); err != nil {
		return nil, err
	}
	if p.then == nil {
		return nil, command.Refuse(command.Invalid, "there is no version %d: the memory has the versions 1 to %d", c.Version, p.Events)
	}
	payload, err := p.change(Change{By: c.By, Content: &p.then.Content, Metadata: p.then.Metadata, CategoryIDs: &p.then.CategoryIDs})
	if err != nil || payload == nil {
		return nil, err
	}
	return p.within(payload)
}

// Field is a part of a memory that differs between two of its versions.
type Field string

// The fields.
const (
	Content    Field = "content"
	Metadata   Field = "metadata"
	Categories Field = "categories"
	Status     Field = "state"
	App        Field = "app"
)

// Differences lists the fields that two states of a memory differ in.
func Differences(a, b State) (fields []Field) {
	for _, field := range []struct {
		name Field
		same bool
	}{
		{Content, a.Content == b.Content},
		{Metadata, bytes.Equal(a.Metadata, b.Metadata)},
		{Categories, slices.Equal(a.CategoryIDs, b.CategoryIDs)},
		{Status, a.Status == b.Status},
		{App, equalIDs(a.AppID, b.AppID)},
	} {
		if !field.same {
			fields = append(fields, field.name)
		}
	}
	return fields
}
