package archivepolicy_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/refold-dev/refold/events"
	"github.com/refold-dev/refold/events/envelope"
	"github.com/refold-dev/refold/internal/archivepolicy"
	"github.com/refold-dev/refold/internal/command"
)

var ada, bob, app = uuid.UUID{15: 1}, uuid.UUID{15: 2}, uuid.UUID{15: 3}

func evolve(t *testing.T, s archivepolicy.State, p events.Payload) (archivepolicy.State, error) {
	t.Helper()
	public, private, err := p.Halves()
	if err != nil {
		t.Fatal(err)
	}
	return archivepolicy.Evolve(s, &envelope.Event{Kind: p.Kind(), Data: envelope.Compose(public, private, "hash")})
}

func TestDecide(t *testing.T) {
	global := archivepolicy.Rule{Criteria: events.Global, Days: 30}
	ofApp := archivepolicy.Rule{Criteria: events.OfApp, CriteriaID: app, Days: 1}
	there := []events.Payload{&events.ArchivePolicySet{OwnerID: ada, Criteria: events.Global, Days: 30}}
	gone := append(there, &events.ArchivePolicyWithdrawn{By: ada})
	for name, c := range map[string]struct {
		given   []events.Payload
		when    archivepolicy.Command
		then    events.Payload
		refused command.Code
	}{
		"make":             {nil, archivepolicy.Make{ada, global}, &events.ArchivePolicySet{OwnerID: ada, Criteria: events.Global, Days: 30}, ""},
		"make of an app":   {nil, archivepolicy.Make{ada, ofApp}, &events.ArchivePolicySet{OwnerID: ada, Criteria: events.OfApp, CriteriaID: &app, Days: 1}, ""},
		"make twice":       {there, archivepolicy.Make{ada, global}, nil, command.Exists},
		"make of no user":  {nil, archivepolicy.Make{uuid.Nil, global}, nil, command.Invalid},
		"make of no days":  {nil, archivepolicy.Make{ada, archivepolicy.Rule{Criteria: events.Global}}, nil, command.Invalid},
		"make of too many": {nil, archivepolicy.Make{ada, archivepolicy.Rule{Criteria: events.Global, Days: 36_501}}, nil, command.Invalid},
		"make of no app":   {nil, archivepolicy.Make{ada, archivepolicy.Rule{Criteria: events.OfApp, Days: 1}}, nil, command.Invalid},
		"make of vault":    {nil, archivepolicy.Make{ada, archivepolicy.Rule{Criteria: "vault", Days: 1}}, nil, command.Invalid},
		"change":           {there, archivepolicy.Change{ada, ofApp}, &events.ArchivePolicySet{OwnerID: ada, Criteria: events.OfApp, CriteriaID: &app, Days: 1}, ""},
		"change nothing":   {there, archivepolicy.Change{ada, global}, nil, ""},
		"change another's": {there, archivepolicy.Change{bob, ofApp}, nil, command.NotFound},
		"change none":      {nil, archivepolicy.Change{ada, ofApp}, nil, command.NotFound},
		"change gone":      {gone, archivepolicy.Change{ada, ofApp}, nil, command.NotFound},
		"withdraw":         {there, archivepolicy.Withdraw{ada}, &events.ArchivePolicyWithdrawn{By: ada}, ""},
		"withdraw twice":   {gone, archivepolicy.Withdraw{ada}, nil, command.NotFound},
		"withdraw for bob": {there, archivepolicy.Withdraw{bob}, nil, command.NotFound},
	} {
		t.Run(name, func(t *testing.T) {
			var s archivepolicy.State
			var err error
			for _, p := range c.given {
				if s, err = evolve(t, s, p); err != nil {
					t.Fatal(err)
				}
			}
			got, err := archivepolicy.Decide(s, c.when)
			var refusal *command.Refusal
			if c.refused == "" && err != nil || c.refused != "" && (!errors.As(err, &refusal) || refusal.Code != c.refused) {
				t.Errorf("got %v, want %q", err, c.refused)
			}
			if diff := cmp.Diff(c.then, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if got != nil {
				if _, err := evolve(t, s, got); err != nil {
					t.Errorf("the event does not evolve: %v", err)
				}
			}
		})
	}
}

// The last event is kept for a withdrawal.
func TestDecideBounds(t *testing.T) {
	s := archivepolicy.State{Exists: true, OwnerID: ada, Events: archivepolicy.EventsMax - 1}
	var refusal *command.Refusal
	if _, err := archivepolicy.Decide(s, archivepolicy.Change{ada, archivepolicy.Rule{Criteria: events.Global, Days: 1}}); !errors.As(err, &refusal) || refusal.Code != command.StateForbids {
		t.Errorf("change: %v", err)
	}
	if p, err := archivepolicy.Decide(s, archivepolicy.Withdraw{ada}); p == nil || err != nil {
		t.Errorf("withdraw: %v, %v", p, err)
	}
}

func TestEvolveKnowsEveryKind(t *testing.T) {
	for _, kind := range events.Kinds() {
		data, err := os.ReadFile(filepath.Join("..", "..", "events", "testdata", kind+".json"))
		if err != nil {
			t.Fatal(err)
		}
		var s archivepolicy.State
		if kind == "archive-policy.withdrawn.v1" {
			s.Exists = true
		}
		_, err = archivepolicy.Evolve(s, &envelope.Event{Kind: kind, Data: data})
		if mine := strings.HasPrefix(kind, "archive-policy."); mine != (err == nil) {
			t.Errorf("%s: %v", kind, err)
		}
	}
}
