package memory_test

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/refold-dev/refold/events"
	"github.com/refold-dev/refold/internal/command"
	"github.com/refold-dev/refold/internal/memory"
)

func past(t testing.TB, given []events.Payload, c memory.Restore) (p memory.Past) {
	t.Helper()
	for i, payload := range given {
		var err error
		if p, err = c.Evolve(p, event(t, i+1, payload)); err != nil {
			t.Fatalf("given %s: %v", payload.Kind(), err)
		}
	}
	return p
}

func TestRestore(t *testing.T) {
	type given = []events.Payload
	changes := given{
		imported(), // 1: old, {"a": 2, "b": 1}, work and fun
		&events.MemoryChanged{Private: events.MemoryChangedPrivate{Content: ref("new")}},                                 // 2
		&events.MemoryChanged{CategoryIDs: &[]uuid.UUID{}, Private: events.MemoryChangedPrivate{Metadata: []byte(`{}`)}}, // 3
		&events.MemoryPaused{By: ada}, // 4
	}
	for name, c := range map[string]struct {
		given given
		when  memory.Restore
		then  outcome
	}{
		"all that differs": {changes, memory.Restore{By: ada, Version: 1}, does(&events.MemoryChanged{
			CategoryIDs: &[]uuid.UUID{work, fun}, Private: events.MemoryChangedPrivate{Content: ref("old"), Metadata: json.RawMessage(`{"a": 2, "b": 1}`)},
		})},
		"only what differs": {changes, memory.Restore{By: ada, Version: 2}, does(&events.MemoryChanged{
			CategoryIDs: &[]uuid.UUID{work, fun}, Private: events.MemoryChangedPrivate{Metadata: json.RawMessage(`{"a": 2, "b": 1}`)},
		})},
		"of no categories": {append(changes[:3:3], &events.MemoryChanged{CategoryIDs: &[]uuid.UUID{fun}}), memory.Restore{By: ada, Version: 3},
			does(&events.MemoryChanged{CategoryIDs: ref[[]uuid.UUID](nil)})},
		"of empty content": {given{ref(with(*imported(), func(p *events.MemoryImported) { p.Private.Content = "" })), changes[1]}, memory.Restore{By: ada, Version: 1},
			does(&events.MemoryChanged{Private: events.MemoryChangedPrivate{Content: ref("")}})},
		"the state stays":   {changes, memory.Restore{By: ada, Version: 3}, nothing},
		"the newest":        {changes, memory.Restore{By: ada, Version: 4}, nothing},
		"one to come":       {changes, memory.Restore{By: ada, Version: 5}, refuses(command.Invalid, "no version 5: the memory has the versions 1 to 4")},
		"version 0":         {changes, memory.Restore{By: ada}, refuses(command.Invalid, "no version 0")},
		"what is another's": {changes, memory.Restore{By: bob, Version: 1}, refuses(command.NotFound, "not found")},
		"a version that is not there of what is another's": {changes, memory.Restore{By: bob, Version: 9}, refuses(command.NotFound, "not found")},
		"what is absent":  {nil, memory.Restore{By: ada, Version: 1}, refuses(command.NotFound, "not found")},
		"what is deleted": {append(changes[:4:4], &events.MemoryDeleted{By: ada}), memory.Restore{By: ada, Version: 1}, refuses(command.NotFound, "not found")},
		"of what was deleted and is back": {given{added("tea"), &events.MemoryDeleted{By: ada}, &events.MemoryActivated{By: ada, Private: events.MemoryChangedPrivate{Content: ref("milk")}}},
			memory.Restore{By: ada, Version: 2}, does(&events.MemoryChanged{Private: events.MemoryChangedPrivate{Content: ref("tea")}})},
		"by nobody": {changes, memory.Restore{Version: 1}, refuses(command.Invalid, "user is missing")},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := memory.DecideRestore(past(t, c.given, c.when), c.when)
			check(t, got, err, c.then)
		})
	}
}

func TestRestoreBoundsEvents(t *testing.T) {
	c := memory.Restore{By: ada, Version: 1}
	p := past(t, []events.Payload{added("tea"), &events.MemoryChanged{Private: events.MemoryChangedPrivate{Content: ref("milk")}}}, c)
	p.Events = memory.EventsMax
	got, err := memory.DecideRestore(p, c)
	check(t, got, err, refuses(command.StateForbids, "10000"))
}

func TestDifferences(t *testing.T) {
	tea := evolve(t, []events.Payload{added("tea")})
	for name, c := range map[string]struct {
		to   memory.State
		want []memory.Field
	}{
		"none":       {tea, nil},
		"times":      {with(tea, func(s *memory.State) { s.CreatedAt, s.UpdatedAt = at(7), at(7) }), nil},
		"content":    {with(tea, func(s *memory.State) { s.Content = "milk" }), []memory.Field{memory.Content}},
		"metadata":   {with(tea, func(s *memory.State) { s.Metadata = json.RawMessage(`{"a": 1}`) }), []memory.Field{memory.Metadata}},
		"categories": {with(tea, func(s *memory.State) { s.CategoryIDs = []uuid.UUID{work} }), []memory.Field{memory.Categories}},
		"several": {with(tea, func(s *memory.State) { s.AppID, s.Status, s.Content = &inApp, events.Deleted, "" }),
			[]memory.Field{memory.Content, memory.Status, memory.App}},
	} {
		if diff := cmp.Diff(c.want, memory.Differences(tea, c.to)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}
