package app_test

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/refold-dev/refold/events"
	"github.com/refold-dev/refold/events/envelope"
	"github.com/refold-dev/refold/internal/app"
	"github.com/refold-dev/refold/internal/command"
)

var (
	tenantKey = []byte("0123456789abcdef0123456789abcdef")
	ada, bob  = id(1), id(2)
	ruleID    = id(0x40)
	object    = id(0x50)
)

func id(last byte) uuid.UUID { return uuid.UUID{15: last, 0: 0x0a, 6: 0x80, 8: 0x80} }

func at(second int) time.Time { return time.Date(2025, 1, 31, 8, 5, second, 0, time.UTC) }

func ref[T any](v T) *T { return &v }

// event is the n-th event of the app; its time is second n.
func event(t testing.TB, n int, p events.Payload) *envelope.Event {
	t.Helper()
	public, private, err := p.Halves()
	if err != nil {
		t.Fatalf("%s: %v", p.Kind(), err)
	}
	return &envelope.Event{Kind: p.Kind(), Version: uint64(n), Time: at(n), Data: envelope.Compose(public, private, "hash")}
}

func evolve(t testing.TB, given []events.Payload) (s app.State) {
	t.Helper()
	for i, p := range given {
		var err error
		if s, err = app.Evolve(s, event(t, i+1, p)); err != nil {
			t.Fatalf("given %s: %v", p.Kind(), err)
		}
	}
	return s
}

// outcome is what is expected of a decision: an event, a refusal, or nothing at all.
type outcome struct {
	event   events.Payload
	refused command.Code
	says    string // part of the refusal's text
}

var nothing outcome

func does(p events.Payload) outcome { return outcome{event: p} }

func refuses(code command.Code, says string) outcome { return outcome{refused: code, says: says} }

func check(t *testing.T, got events.Payload, err error, want outcome) {
	t.Helper()
	var refusal *command.Refusal
	switch {
	case want.refused != "":
		if got != nil || !errors.As(err, &refusal) || refusal.Code != want.refused || !strings.Contains(refusal.Message, want.says) {
			t.Errorf("got %v, %v, want the refusal %s %q", got, err, want.refused, want.says)
		}
	case err != nil:
		t.Errorf("got %v, want no error", err)
	default:
		if diff := cmp.Diff(want.event, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
}

func registered() *events.AppRegistered {
	return &events.AppRegistered{OwnerID: ada, Active: true, Private: events.AppPrivate{Name: "chat", Metadata: json.RawMessage(`{}`)}}
}

func ruled(effect events.Effect) *events.AppAccessRuled {
	return &events.AppAccessRuled{RuleID: ruleID, ObjectType: "memory", ObjectID: &object, Effect: effect}
}

func TestDecide(t *testing.T) {
	type given = []events.Payload
	there := given{registered()}
	withRule := given{registered(), ruled(events.Deny)}
	old := app.Import{OwnerID: ada, Name: "chat", Description: ref("old"), Metadata: json.RawMessage(`{"b":1,"a":2}`), CreatedAt: ref(at(5)), UpdatedAt: ref(at(6))}
	overwrite := old
	overwrite.Overwrite = true
	oldPrivate := events.AppPrivate{Name: "chat", Description: ref("old"), Metadata: json.RawMessage(`{"a": 2, "b": 1}`)}
	changed := &events.AppChanged{CreatedAt: ref(at(5)), UpdatedAt: ref(at(6)), Private: oldPrivate}
	for name, c := range map[string]struct {
		given given
		when  app.Command
		then  outcome
	}{
		"register":          {nil, app.Register{OwnerID: ada, Name: "chat", Active: true}, does(registered())},
		"register twice":    {there, app.Register{OwnerID: ada, Name: "chat", Active: true}, refuses(command.Exists, "exists")},
		"register no name":  {nil, app.Register{OwnerID: ada}, refuses(command.Invalid, "name is empty")},
		"register long":     {nil, app.Register{OwnerID: ada, Name: strings.Repeat("n", 1001)}, refuses(command.Invalid, "at most 1000")},
		"register no owner": {nil, app.Register{Name: "n"}, refuses(command.Invalid, "owner")},
		"register metadata": {nil, app.Register{OwnerID: ada, Name: "n", Metadata: json.RawMessage(`1`)}, refuses(command.Invalid, "metadata")},

		"change": {there, app.Change{By: ada, Description: ref("d"), Metadata: json.RawMessage(`{"a":1}`)},
			does(&events.AppChanged{Active: true, Private: events.AppPrivate{Name: "chat", Description: ref("d"), Metadata: json.RawMessage(`{"a": 1}`)}})},
		"change to the same": {there, app.Change{By: ada}, nothing},
		"change one of both": {given{registered(), &events.AppChanged{Active: true, Private: events.AppPrivate{Name: "chat", Description: ref("d"), Metadata: json.RawMessage(`{"a":1}`)}}},
			app.Change{By: ada, Metadata: json.RawMessage(`{}`)}, does(&events.AppChanged{Active: true, Private: events.AppPrivate{Name: "chat", Description: ref("d"), Metadata: json.RawMessage(`{}`)}})},
		"take a description away": {given{registered(), &events.AppChanged{Active: true, Private: events.AppPrivate{Name: "chat", Description: ref("d"), Metadata: json.RawMessage(`{"a":1}`)}}},
			app.Change{By: ada, Description: ref("")}, does(&events.AppChanged{Active: true, Private: events.AppPrivate{Name: "chat", Metadata: json.RawMessage(`{"a": 1}`)}})},
		"change another's":     {there, app.Change{By: bob, Description: ref("d")}, refuses(command.NotFound, "not found")},
		"change what is not":   {nil, app.Change{By: ada, Description: ref("d")}, refuses(command.NotFound, "not found")},
		"change to long":       {there, app.Change{By: ada, Description: ref(strings.Repeat("d", 65537))}, refuses(command.Invalid, "description")},
		"pause":                {there, app.Pause{By: ada}, does(&events.AppPaused{})},
		"pause twice":          {given{registered(), &events.AppPaused{}}, app.Pause{By: ada}, nothing},
		"pause another's":      {there, app.Pause{By: bob}, refuses(command.NotFound, "not found")},
		"resume":               {given{registered(), &events.AppPaused{}}, app.Resume{By: ada}, does(&events.AppResumed{})},
		"resume what runs":     {there, app.Resume{By: ada}, nothing},
		"resume what is not":   {nil, app.Resume{By: ada}, refuses(command.NotFound, "not found")},
		"change keeps a pause": {given{registered(), &events.AppPaused{}}, app.Change{By: ada, Description: ref("d")}, does(&events.AppChanged{Private: events.AppPrivate{Name: "chat", Description: ref("d"), Metadata: json.RawMessage(`{}`)}})},

		"rule":              {there, app.Rule{By: ada, RuleID: ruleID, ObjectType: "memory", ObjectID: &object, Effect: events.Deny}, does(ruled(events.Deny))},
		"rule twice":        {withRule, app.Rule{By: ada, RuleID: ruleID, ObjectType: "memory", ObjectID: ref(object), Effect: events.Deny}, nothing},
		"rule kept":         {withRule, app.Rule{By: ada, RuleID: ruleID, ObjectType: "memory", Effect: events.Allow, Keep: true}, nothing},
		"rule for another":  {there, app.Rule{By: bob, RuleID: ruleID, ObjectType: "memory", Effect: events.Deny}, refuses(command.NotFound, "not found")},
		"rule of no effect": {there, app.Rule{By: ada, RuleID: ruleID, ObjectType: "memory", Effect: "maybe"}, refuses(command.Invalid, `"maybe"`)},
		"rule of zeros":     {there, app.Rule{By: ada, ObjectType: "memory", Effect: events.Deny}, refuses(command.Invalid, "rule")},
		"rule of no type":   {there, app.Rule{By: ada, RuleID: ruleID, Effect: events.Deny}, refuses(command.Invalid, "object type")},
		"rule replaced": {withRule, app.Rule{By: ada, RuleID: ruleID, ObjectType: "memory", Effect: events.Allow},
			does(&events.AppAccessRuled{RuleID: ruleID, ObjectType: "memory", Effect: events.Allow, CreatedAt: ref(at(2))})},
		"withdraw":            {withRule, app.Withdraw{By: ada, RuleID: ruleID}, does(&events.AppAccessWithdrawn{RuleID: ruleID})},
		"withdraw what's not": {there, app.Withdraw{By: ada, RuleID: ruleID}, nothing},
		"withdraw another's":  {withRule, app.Withdraw{By: bob, RuleID: ruleID}, refuses(command.NotFound, "not found")},

		"import":                {nil, old, does(&events.AppRegistered{OwnerID: ada, CreatedAt: ref(at(5)), UpdatedAt: ref(at(6)), Private: oldPrivate})},
		"import, skip":          {there, old, nothing},
		"import, overwrite":     {there, overwrite, does(changed)},
		"import twice":          {given{registered(), changed}, overwrite, nothing},
		"import of wrong owner": {there, app.Import{OwnerID: bob, Name: "chat"}, refuses(command.Invalid, "another owner")},
		"import without times": {given{registered(), changed}, app.Import{OwnerID: ada, Name: "chat", Overwrite: true},
			does(&events.AppChanged{UpdatedAt: ref(at(6)), Private: events.AppPrivate{Name: "chat", Metadata: json.RawMessage(`{}`)}})},
	} {
		t.Run(name, func(t *testing.T) {
			s := evolve(t, c.given)
			got, err := app.Decide(s, c.when)
			check(t, got, err, c.then)
			if got == nil {
				return
			}
			if _, err := app.Evolve(s, event(t, len(c.given)+1, got)); err != nil {
				t.Errorf("the event does not evolve: %v", err)
			}
		})
	}
}

func TestDecideBounds(t *testing.T) {
	s := evolve(t, []events.Payload{registered()})
	s.Events = app.EventsMax
	got, err := app.Decide(s, app.Pause{By: ada})
	check(t, got, err, refuses(command.StateForbids, "10000"))

	s = evolve(t, []events.Payload{registered()})
	s.Rules = map[uuid.UUID]app.AccessRule{}
	for i := range app.RulesMax {
		s.Rules[uuid.UUID{0: 1, 14: byte(i >> 8), 15: byte(i)}] = app.AccessRule{}
	}
	got, err = app.Decide(s, app.Rule{By: ada, RuleID: ruleID, ObjectType: "memory", Effect: events.Deny})
	check(t, got, err, refuses(command.StateForbids, "withdraw one"))
}

// TestEvolveLeavesOlderStates: two futures of one state do not meet.
func TestEvolveLeavesOlderStates(t *testing.T) {
	s := evolve(t, []events.Payload{registered(), ruled(events.Deny)})
	without, err := app.Evolve(s, event(t, 3, &events.AppAccessWithdrawn{RuleID: ruleID}))
	if err != nil || len(without.Rules) != 0 || len(s.Rules) != 1 {
		t.Errorf("%d and %d rules, %v", len(without.Rules), len(s.Rules), err)
	}
}

// TestEvolveKnowsEveryKind goes through all kinds there are: those of an app evolve, all others are refused.
func TestEvolveKnowsEveryKind(t *testing.T) {
	for _, kind := range events.Kinds() {
		data, err := os.ReadFile(filepath.Join("..", "..", "events", "testdata", kind+".json"))
		if err != nil {
			t.Fatal(err)
		}
		var s app.State
		if kind != registered().Kind() {
			s = evolve(t, []events.Payload{registered()})
		}
		after, err := app.Evolve(s, &envelope.Event{Kind: kind, Time: at(2), Data: data})
		if mine := strings.HasPrefix(kind, "app."); mine != (err == nil) || mine && after.Events != s.Events+1 {
			t.Errorf("%s: %v", kind, err)
		}
	}
}

func TestEvolveRefusesContradictions(t *testing.T) {
	s := evolve(t, []events.Payload{registered()})
	if _, err := app.Evolve(s, event(t, 2, registered())); err == nil {
		t.Error("registered twice: no error")
	}
	if _, err := app.Evolve(app.State{}, event(t, 1, &events.AppPaused{})); err == nil {
		t.Error("paused while absent: no error")
	}
	if _, err := app.Evolve(s, &envelope.Event{Kind: "app.gone.v1"}); !errors.Is(err, events.ErrUnknownKind) {
		t.Errorf("an unknown kind: %v", err)
	}
}

func TestID(t *testing.T) {
	base := app.ID(tenantKey, "acme", ada, "chat")
	if base != app.ID(tenantKey, "acme", ada, "chat") {
		t.Error("two ids for the same app")
	}
	if base == app.ID(tenantKey, "acme", bob, "chat") || base == app.ID(tenantKey, "acme", ada, "Chat") || base == app.ID(tenantKey, "other", ada, "chat") {
		t.Error("one id for two apps")
	}
}
