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
	active, suspended, removed := tenant.State{Standing: tenant.Active}, tenant.State{Standing: tenant.Suspended}, tenant.State{Standing: tenant.Removed}
	limited := tenant.State{Standing: tenant.Active, Limits: tenant.Limits{PerSecond: 5, Burst: 6, InFlight: 7}}
	for name, c := range map[string]struct {
		given   tenant.State
		when    tenant.Command
		then    events.Payload
		refused command.Code
	}{
		"create":              {tenant.State{}, tenant.Create{Name: "Acme", Key: key}, &events.TenantCreated{Private: events.TenantPrivate{Name: "Acme", Key: key}}, ""},
		"create twice":        {active, tenant.Create{Name: "Acme", Key: key}, nil, command.Exists},
		"create a suspended":  {suspended, tenant.Create{Name: "Acme", Key: key}, nil, command.Exists},
		"create a removed":    {removed, tenant.Create{Name: "Acme", Key: key}, nil, command.StateForbids},
		"no name":             {tenant.State{}, tenant.Create{Key: key}, nil, command.Invalid},
		"no key":              {tenant.State{}, tenant.Create{Name: "Acme"}, nil, command.Invalid},
		"a weak key":          {tenant.State{}, tenant.Create{Name: "Acme", Key: key[1:]}, nil, command.Invalid},
		"a name of junk":      {tenant.State{}, tenant.Create{Name: "\xff", Key: key}, nil, command.Invalid},
		"suspend":             {active, tenant.Suspend{}, &events.TenantSuspended{}, ""},
		"suspend twice":       {suspended, tenant.Suspend{}, nil, ""},
		"suspend none":        {tenant.State{}, tenant.Suspend{}, nil, command.NotFound},
		"suspend a removed":   {removed, tenant.Suspend{}, nil, command.StateForbids},
		"resume":              {suspended, tenant.Resume{}, &events.TenantResumed{}, ""},
		"resume an active":    {active, tenant.Resume{}, nil, ""},
		"resume a removed":    {removed, tenant.Resume{}, nil, command.StateForbids},
		"remove":              {active, tenant.Remove{}, &events.TenantRemoved{}, ""},
		"remove a suspended":  {suspended, tenant.Remove{}, &events.TenantRemoved{}, ""},
		"remove twice":        {removed, tenant.Remove{}, nil, ""},
		"remove none":         {tenant.State{}, tenant.Remove{}, nil, command.NotFound},
		"limit":               {active, tenant.Limit{Limits: limited.Limits}, &events.TenantLimited{PerSecond: 5, Burst: 6, InFlight: 7}, ""},
		"limit a suspended":   {suspended, tenant.Limit{Limits: limited.Limits}, &events.TenantLimited{PerSecond: 5, Burst: 6, InFlight: 7}, ""},
		"the same limits":     {limited, tenant.Limit{Limits: limited.Limits}, nil, ""},
		"back to the plane's": {limited, tenant.Limit{}, &events.TenantLimited{}, ""},
		"limit a removed":     {removed, tenant.Limit{Limits: limited.Limits}, nil, command.StateForbids},
		"a negative limit":    {active, tenant.Limit{Limits: tenant.Limits{PerSecond: -1}}, nil, command.Invalid},
		"a boundless limit":   {active, tenant.Limit{Limits: tenant.Limits{InFlight: tenant.LimitMax + 1}}, nil, command.Invalid},
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

// TestEvolveKnowsEveryKind goes through all kinds there are, in every standing: those of a tenant evolve where they may
// follow, all others are refused.
func TestEvolveKnowsEveryKind(t *testing.T) {
	may := map[tenant.Standing]map[string]tenant.Standing{
		"":               {"tenant.created.v1": tenant.Active},
		tenant.Removed:   {},
		tenant.Active:    {"tenant.suspended.v1": tenant.Suspended, "tenant.resumed.v1": tenant.Active, "tenant.removed.v1": tenant.Removed, "tenant.limited.v1": tenant.Active},
		tenant.Suspended: {"tenant.suspended.v1": tenant.Suspended, "tenant.resumed.v1": tenant.Active, "tenant.removed.v1": tenant.Removed, "tenant.limited.v1": tenant.Suspended},
	}
	for _, kind := range events.Kinds() {
		data, err := os.ReadFile(filepath.Join("..", "..", "events", "testdata", kind+".json"))
		if err != nil {
			t.Fatal(err)
		}
		for given, then := range may {
			s, err := tenant.Evolve(tenant.State{Standing: given}, &envelope.Event{Kind: kind, Data: data})
			want, takes := then[kind]
			if takes != (err == nil) || takes && s.Standing != want {
				t.Errorf("%s on a tenant that is %q: %q, %v, want %q", kind, given, s.Standing, err, want)
			}
			if takes && kind == "tenant.limited.v1" && s.Limits != (tenant.Limits{PerSecond: 250, Burst: 500, InFlight: 16}) {
				t.Errorf("limits %v", s.Limits)
			}
		}
	}
}

func TestKey(t *testing.T) {
	if got, want := tenant.Key("acme"), (envelope.Key{Tenant: "_plane", Entity: "tenant", ID: "acme"}); got != want {
		t.Errorf("got %v, want %v", got, want)
	}
}
