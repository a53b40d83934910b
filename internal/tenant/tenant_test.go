package tenant_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/refold-dev/refold/events"
	"github.com/refold-dev/refold/events/envelope"
	"github.com/refold-dev/refold/internal/command"
	"github.com/refold-dev/refold/internal/tenant"
)

func TestDecide(t *testing.T) {
	key := bytes.Repeat([]byte{7}, tenant.KeyBytes)
	for name, c := range map[string]struct {
		given   tenant.State
		when    tenant.Create
		then    events.Payload
		refused command.Code
	}{
		"create":         {tenant.State{}, tenant.Create{Name: "Acme", Key: key}, &events.TenantCreated{Private: events.TenantPrivate{Name: "Acme", Key: key}}, ""},
		"create twice":   {tenant.State{Exists: true}, tenant.Create{Name: "Acme", Key: key}, nil, command.Exists},
		"no name":        {tenant.State{}, tenant.Create{Key: key}, nil, command.Invalid},
		"no key":         {tenant.State{}, tenant.Create{Name: "Acme"}, nil, command.Invalid},
		"a weak key":     {tenant.State{}, tenant.Create{Name: "Acme", Key: key[1:]}, nil, command.Invalid},
		"a name of junk": {tenant.State{}, tenant.Create{Name: "\xff", Key: key}, nil, command.Invalid},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := tenant.Decide(c.given, c.when)
			var refusal *command.Refusal
			if c.refused == "" && err != nil || c.refused != "" && (!errors.As(err, &refusal) || refusal.Code != c.refused) {
				t.Errorf("got %v, want %q", err, c.refused)
			}
			if diff := cmp.Diff(c.then, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestEvolveKnowsEveryKind goes through all kinds there are: the tenant's evolves once, all others are refused.
func TestEvolveKnowsEveryKind(t *testing.T) {
	for _, kind := range events.Kinds() {
		data, err := os.ReadFile(filepath.Join("..", "..", "events", "testdata", kind+".json"))
		if err != nil {
			t.Fatal(err)
		}
		e := &envelope.Event{Kind: kind, Data: data}
		s, err := tenant.Evolve(tenant.State{}, e)
		if mine := kind == "tenant.created.v1"; mine != (err == nil) || mine != s.Exists {
			t.Errorf("%s: %v, %v", kind, s, err)
		}
		if _, err := tenant.Evolve(tenant.State{Exists: true}, e); err == nil {
			t.Errorf("%s on a tenant that is there: no error", kind)
		}
	}
}

func TestKey(t *testing.T) {
	if got, want := tenant.Key("acme"), (envelope.Key{Tenant: "_plane", Entity: "tenant", ID: "acme"}); got != want {
		t.Errorf("got %v, want %v", got, want)
	}
}
