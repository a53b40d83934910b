package memory_test

import (
	"encoding/json"
	"errors"
	"reflect"
	"testing"
	"time"

	"github.com/google/uuid"
	"pgregory.net/rapid"

	"github.com/refold-dev/refold/events"
	"github.com/refold-dev/refold/events/jsonb"
	"github.com/refold-dev/refold/internal/command"
	"github.com/refold-dev/refold/internal/memory"
)

// TestDecisionsHold: along any sequence of commands, whatever is decided encodes, can be stored and evolves; the same
// command once more finds nothing to do, or is refused; and a command never changes another user's memory.
func TestDecisionsHold(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var s memory.State
		n := 0
		for range rapid.IntRange(1, 20).Draw(rt, "commands") {
			cmd := anyCommand.Draw(rt, "command")
			p, err := memory.Decide(s, cmd)
			var refusal *command.Refusal
			if err != nil && !errors.As(err, &refusal) {
				rt.Fatalf("%#v: %v is no refusal", cmd, err)
			}
			if p == nil {
				continue
			}
			storable(rt, p)
			owner, existed := s.UserID, s.Exists
			n++
			if s, err = memory.Evolve(s, event(t, n, p)); err != nil {
				rt.Fatalf("%#v: evolve %s: %v", cmd, p.Kind(), err)
			}
			if existed && (s.UserID != owner || user(cmd) != owner) {
				rt.Fatalf("%#v changed the memory of %s", cmd, owner)
			}
			if again, err := memory.Decide(s, cmd); again != nil || err == nil && user(cmd) != s.UserID {
				rt.Fatalf("%#v again: %v, %v", cmd, again, err)
			}
		}
	})
}

// storable looks at everything in a payload that a table could refuse.
func storable(t *rapid.T, p events.Payload) {
	var metadata json.RawMessage
	switch p := p.(type) {
	case *events.MemoryAdded:
		metadata = p.Private.Metadata
	case *events.MemoryImported:
		metadata = p.Private.Metadata
	case *events.MemoryChanged:
		metadata = p.Private.Metadata
	}
	if normal, err := jsonb.NormalizeObject(metadata); metadata != nil && (err != nil || string(normal) != string(metadata)) {
		t.Fatalf("%s: metadata %s is not normal: %v", p.Kind(), metadata, err)
	}
	public, private, err := p.Halves()
	if err != nil || !json.Valid(public) || !json.Valid(private) {
		t.Fatalf("%s: %s, %s, %v", p.Kind(), public, private, err)
	}
}

// user is who gave a command.
func user(cmd memory.Command) uuid.UUID {
	v := reflect.ValueOf(cmd)
	if by := v.FieldByName("By"); by.IsValid() {
		return by.Interface().(uuid.UUID)
	}
	return v.FieldByName("UserID").Interface().(uuid.UUID)
}

var anyCommand = rapid.Custom(func(t *rapid.T) memory.Command {
	by := rapid.SampledFrom([]uuid.UUID{ada, ada, ada, bob}).Draw(t, "by")
	content := rapid.SampledFrom([]string{"tea", "milk", "", "\x00", "日本"}).Draw(t, "content")
	metadata := rapid.SampledFrom([]json.RawMessage{nil, json.RawMessage(`{}`), json.RawMessage(`{"b": 1,"a":2e2}`), json.RawMessage(`[`)}).Draw(t, "metadata")
	ids := rapid.SliceOfN(rapid.SampledFrom([]uuid.UUID{work, fun, id(3), id(4)}), 0, 5).Draw(t, "categories")
	state := rapid.SampledFrom([]events.State{events.Active, events.Paused, events.Archived, events.Deleted}).Draw(t, "state")
	history := rapid.SliceOfN(rapid.SampledFrom([]events.StatusChange{line1, line2}), 0, 3).Draw(t, "history")
	second := rapid.IntRange(0, 59).Draw(t, "second")
	return rapid.SampledFrom([]memory.Command{
		memory.Add{UserID: by, AppID: &inApp, CategoryIDs: ids, Content: content, Metadata: metadata},
		memory.Change{By: by, Content: &content, Metadata: metadata, CategoryIDs: &ids},
		memory.Archive{By: by}, memory.Pause{By: by}, memory.Activate{By: by}, memory.Delete{By: by}, memory.Undelete{By: by},
		memory.Import{
			UserID: by, CategoryIDs: ids, Content: content, Metadata: metadata, State: state, CreatedAt: at(second),
			UpdatedAt: at(second).Add(time.Nanosecond).In(time.FixedZone("x", 3600)), History: history, Overwrite: rapid.Bool().Draw(t, "overwrite"),
		},
	}).Draw(t, "kind")
})
