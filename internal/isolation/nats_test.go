package isolation_test

import (
	"encoding/base64"
	"encoding/json"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"

	"github.com/refold-dev/refold/events/commands"
	"github.com/refold-dev/refold/internal/auth"
	"github.com/refold-dev/refold/internal/isolation"
	"github.com/refold-dev/refold/internal/localstack"
	"github.com/refold-dev/refold/internal/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m) }

// lax answers producers on a server that lets everybody say and hear everything.
type lax struct {
	t *testing.T
	// says is what a refusal holds beside itself.
	says func(tenant string) string

	mu      sync.Mutex
	content map[string]string // by tenant: a text of its
}

func (l *lax) serve(conn *nats.Conn) {
	l.t.Helper()
	l.content = map[string]string{}
	_, err := conn.Subscribe("cmd.>", func(m *nats.Msg) {
		parts := strings.Split(m.Subject, ".")
		results := []commands.Result{l.refusal()}
		if received, err := commands.DecodeBatch(m.Data); err == nil {
			results = nil
			for _, r := range received {
				results = append(results, l.result(parts[1], r))
			}
		}
		body, err := json.Marshal(commands.BatchResult{Results: results})
		if err != nil {
			l.t.Error(err)
		}
		answer := nats.NewMsg(m.Reply)
		answer.Data = body
		answer.Header.Set("X-Trace", l.says(parts[1]))
		if err := conn.PublishMsg(answer); err != nil {
			l.t.Error(err)
		}
	})
	if err != nil {
		l.t.Fatal(err)
	}
}

func (l *lax) refusal() commands.Result {
	return commands.Result{Outcome: commands.Refused, Problem: &commands.Problem{Status: 404, Code: "not_found"}}
}

func (l *lax) result(tenant string, r commands.Received) commands.Result {
	add, ok := r.Command.(commands.AddMemory)
	if !ok {
		return l.refusal()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.content[tenant] = add.Content
	id := uuid.New()
	return commands.Result{Outcome: commands.Accepted, ID: &id, Version: 1, Changed: true, Position: "position" + uuid.NewString()}
}

func attackOverNATS(t *testing.T, says func(l *lax, tenant string) string) *isolation.Report {
	t.Helper()
	server := testenv.NATSServer(t, localstack.NATSOptions{StoreDir: t.TempDir(), Durability: localstack.DurabilityRelaxed})
	conn, err := nats.Connect(server.URL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	l := &lax{t: t}
	l.says = func(tenant string) string { return says(l, tenant) }
	l.serve(conn)
	key, err := auth.LocalKey(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	var all []isolation.Identity
	for _, tenant := range []string{"tenant-one", "tenant-two", "tenant-six"} {
		for _, user := range []string{"owner", "attacker"} {
			token, err := key.Mint(auth.TokenRequest{Tenant: tenant, Subject: user, Scopes: auth.AllScopes(), TTL: time.Hour})
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, isolation.Identity{Tenant: tenant, User: user, Token: token, Attacks: user != "owner"})
		}
	}
	prober := &isolation.NATS{URL: server.URL(), Silence: 20 * time.Millisecond}
	t.Cleanup(prober.Close)
	r, err := isolation.Run(t.Context(), isolation.Config{Identities: all, Probers: []isolation.Prober{prober}, Probes: 3000, Seed: 7})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestALeakOverNATSIsFound: what a refusal gives away is found.
func TestALeakOverNATSIsFound(t *testing.T) {
	r := attackOverNATS(t, func(l *lax, tenant string) string {
		l.mu.Lock()
		defer l.mu.Unlock()
		for other, content := range l.content {
			if other != tenant {
				return base64.StdEncoding.EncodeToString([]byte("trace of " + content))
			}
		}
		return ""
	})
	if !slices.ContainsFunc(r.Leaks, func(f isolation.Finding) bool { return f.Protocol == "NATS" && f.What == "a text in base64" }) {
		t.Errorf("a text of somebody else's in a header was not found: %+v", r)
	}
}

// TestWhatCanBeOverheardIsFound: the server lets everybody say and hear everything, and the others speak of what a third
// one has.
func TestWhatCanBeOverheardIsFound(t *testing.T) {
	r := attackOverNATS(t, func(*lax, string) string { return "" })
	for _, what := range []string{"an id as it is", "allowed to listen ", "allowed to publish "} {
		if !slices.ContainsFunc(r.Leaks, func(f isolation.Finding) bool { return strings.HasPrefix(f.What, what) }) {
			t.Errorf("%q was not found: %+v", what, r.Leaks)
		}
	}
}
