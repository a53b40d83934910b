package user_test

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/refold-dev/refold/events"
	"github.com/refold-dev/refold/events/envelope"
	"github.com/refold-dev/refold/internal/command"
	"github.com/refold-dev/refold/internal/user"
)

func at(second int) time.Time { return time.Date(2025, 1, 31, 8, 5, second, 0, time.UTC) }

func ref[T any](v T) *T { return &v }

func evolve(t testing.TB, given ...events.Payload) (s user.State) {
	t.Helper()
	for i, p := range given {
		public, private, err := p.Halves()
		if err != nil {
			t.Fatal(err)
		}
		s, err = user.Evolve(s, &envelope.Event{Kind: p.Kind(), Time: at(i + 1), Data: envelope.Compose(public, private, "hash")})
		if err != nil {
			t.Fatalf("%s: %v", p.Kind(), err)
		}
	}
	return s
}

func TestDecide(t *testing.T) {
	registered := &events.UserRegistered{Private: events.UserPrivate{Subject: "ada", Metadata: json.RawMessage(`{}`)}}
	private := events.UserPrivate{Subject: "ada", Name: ref("Ada"), Email: ref("ada@example.org"), Metadata: json.RawMessage(`{"a": 1}`)}
	old := user.Import{Subject: "ada", Name: ref("Ada"), Email: ref("ada@example.org"), Metadata: json.RawMessage(`{"a":1}`), CreatedAt: ref(at(5)), UpdatedAt: ref(at(6))}
	overwrite := old
	overwrite.Overwrite = true
	untimed := overwrite
	untimed.CreatedAt, untimed.UpdatedAt = nil, nil
	changed := &events.UserChanged{CreatedAt: ref(at(5)), UpdatedAt: ref(at(6)), Private: private}
	ada := &events.UserRegistered{Private: private}
	type given = []events.Payload
	for name, c := range map[string]struct {
		given   given
		when    user.Command
		then    events.Payload
		refused command.Code
	}{
		"register":                  {nil, user.Register{Subject: "ada"}, registered, ""},
		"register twice":            {given{registered}, user.Register{Subject: "ada"}, nil, command.Exists},
		"register nobody":           {nil, user.Register{}, nil, command.Invalid},
		"change, and so register":   {nil, user.Change{Subject: "ada", Name: ref("Ada")}, &events.UserRegistered{Private: events.UserPrivate{Subject: "ada", Name: ref("Ada")}}, ""},
		"change":                    {given{ada}, user.Change{Subject: "ada", Email: ref("a@b"), Metadata: json.RawMessage(`{}`)}, &events.UserChanged{Private: events.UserPrivate{Subject: "ada", Name: ref("Ada"), Email: ref("a@b"), Metadata: json.RawMessage(`{}`)}}, ""},
		"take a name away":          {given{ada}, user.Change{Subject: "ada", Name: ref("")}, &events.UserChanged{Private: events.UserPrivate{Subject: "ada", Email: ref("ada@example.org"), Metadata: json.RawMessage(`{"a": 1}`)}}, ""},
		"change to the same":        {given{ada}, user.Change{Subject: "ada", Name: ref("Ada")}, nil, ""},
		"change to what is no text": {given{ada}, user.Change{Subject: "ada", Name: ref("\xff")}, nil, command.Invalid},
		"change another":            {given{ada}, user.Change{Subject: "bob"}, nil, command.Invalid},
		"register long":             {nil, user.Register{Subject: strings.Repeat("s", 1001)}, nil, command.Invalid},
		"register not UTF-8":        {nil, user.Register{Subject: "s", Name: ref("\xff")}, nil, command.Invalid},
		"register with zero":        {nil, user.Register{Subject: "s", Email: ref("\x00")}, nil, command.Invalid},
		"register metadata":         {nil, user.Register{Subject: "s", Metadata: json.RawMessage(`[]`)}, nil, command.Invalid},
		"import":                    {nil, old, &events.UserRegistered{CreatedAt: ref(at(5)), UpdatedAt: ref(at(6)), Private: private}, ""},
		"import, skip":              {given{registered}, old, nil, ""},
		"import, overwrite":         {given{registered}, overwrite, changed, ""},
		"import twice":              {given{registered, changed}, overwrite, nil, ""},
		"import of another":         {given{registered}, user.Import{Subject: "bob"}, nil, command.Invalid},
		"import of year 10000":      {nil, user.Import{Subject: "s", CreatedAt: ref(at(1).AddDate(8000, 0, 0))}, nil, command.Invalid},
		"import without times":      {given{registered}, untimed, &events.UserChanged{UpdatedAt: ref(at(1)), Private: private}, ""},
		"import untimed, no news":   {given{registered, changed}, untimed, nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := user.Decide(evolve(t, c.given...), c.when)
			var refusal *command.Refusal
			if c.refused == "" && err != nil || c.refused != "" && (!errors.As(err, &refusal) || refusal.Code != c.refused) {
				t.Errorf("got %v, want %q", err, c.refused)
			}
			if c.refused == command.Invalid && c.given == nil && user.Validate(c.when) == nil {
				t.Error("Validate takes it")
			}
			if diff := cmp.Diff(c.then, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if got != nil {
				evolve(t, append(c.given, got)...)
			}
		})
	}
}

func TestDecideBoundsEvents(t *testing.T) {
	s := user.State{Exists: true, Subject: "ada", Events: user.EventsMax}
	var refusal *command.Refusal
	if _, err := user.Decide(s, user.Import{Subject: "ada", Overwrite: true}); !errors.As(err, &refusal) || refusal.Code != command.StateForbids {
		t.Errorf("got %v", err)
	}
}

// TestEvolveKnowsEveryKind goes through all kinds there are: those of a user evolve, all others are refused.
func TestEvolveKnowsEveryKind(t *testing.T) {
	for _, kind := range events.Kinds() {
		data, err := os.ReadFile(filepath.Join("..", "..", "events", "testdata", kind+".json"))
		if err != nil {
			t.Fatal(err)
		}
		e := &envelope.Event{Kind: kind, Time: at(1), Data: data}
		_, errNew := user.Evolve(user.State{}, e)
		_, errThere := user.Evolve(user.State{Exists: true}, e)
		if (errNew == nil) != (kind == "user.registered.v1") || (errThere == nil) != (kind == "user.changed.v1") {
			t.Errorf("%s: %v when absent, %v when there", kind, errNew, errThere)
		}
	}
}

func TestID(t *testing.T) {
	key := []byte("key")
	base := user.ID(key, "acme", "ada")
	if base != user.ID(key, "acme", "ada") || base == user.ID(key, "acme", "bob") || base == user.ID(key, "other", "ada") {
		t.Error("not one id per user")
	}
}
