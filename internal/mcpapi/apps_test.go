package mcpapi_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/refold-dev/refold/events/commands"
	"github.com/refold-dev/refold/internal/auth"
	"github.com/refold-dev/refold/internal/quota"
	"github.com/refold-dev/refold/internal/writer"
)

// boundToken is a token of alice that is bound to an app.
func (s *stack) boundToken(t testing.TB, app string) string {
	t.Helper()
	token, err := s.key.Mint(auth.TokenRequest{Tenant: "a", Subject: "alice", Scopes: auth.AllScopes(), Audience: auth.LocalMCPAudience, App: app})
	check(t, err)
	return token
}

// restricted gives alice two memories, and her app of this name a rule that lets it read one of them, which is returned
// first.
func (s *stack) restricted(t testing.TB, name string) (open, closed string) {
	t.Helper()
	a := s.connect(t, s.token(t, "a", "alice"), name, "", nil)
	open, _ = a.call("add_memories", map[string]any{"text": "for all to see"})["id"].(string)
	closed, _ = a.call("add_memories", map[string]any{"text": "a secret"})["id"].(string)
	s.allow(t, name, open)
	a.await("the rule", func() bool { return len(items(a.call("list_memories", nil))) == 1 })
	return open, closed
}

// allow lets an app of alice read one memory, and nothing else.
func (s *stack) allow(t testing.TB, name, memory string) {
	t.Helper()
	caller, err := s.config.Writer.Caller(t.Context(), auth.Principal{Tenant: "a", Subject: "alice"})
	check(t, err)
	id, object := s.appID(t, name), uuid.MustParse(memory)
	_, err = s.config.Writer.RuleAccess(t.Context(), caller, writer.Wish{ID: "rule-" + name}, commands.RuleAccess{
		ID: id, Rule: uuid.NewSHA1(uuid.Nil, []byte(name)), ObjectType: "memory", ObjectID: &object, Effect: "allow",
	})
	check(t, err)
}

func (a *agent) await(what string, so func() bool) {
	a.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !so(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			a.t.Fatal("waited in vain for " + what)
		}
	}
}

// reads tells what an agent gets of alice's memories, by every tool that could tell.
func (a *agent) reads(open, closed string) (list int, one, other bool) {
	a.t.Helper()
	list = len(items(a.call("list_memories", nil)))
	one = !a.try("get_memory", map[string]any{"memory_id": open}).IsError
	other = !a.try("get_memory", map[string]any{"memory_id": closed}).IsError
	return list, one, other
}

// An app with access rules does not get around them by another spelling of its name, and with a token that is bound to it
// not by any other name.
func TestAnotherNameEvadesNoRules(t *testing.T) {
	s := newStack(t)
	open, closed := s.restricted(t, "restricted")
	want := func(a *agent, what string) {
		t.Helper()
		if list, one, other := a.reads(open, closed); list != 1 || !one || other {
			t.Errorf("%s: it lists %d memories, reads the open one: %v, the closed one: %v", what, list, one, other)
		}
		for tool, arguments := range map[string]map[string]any{
			"update_memory": {"memory_id": closed, "text": "changed"},
		} {
			if code := a.refused(tool, arguments); code != "not_found" {
				t.Errorf("%s: %s of the closed memory: %s", what, tool, code)
			}
		}
		if out := a.call("delete_memories", map[string]any{"memory_ids": []string{closed}}); out["deleted"] != 0.0 {
			t.Errorf("%s: it deletes the closed memory: %v", what, out)
		}
	}
	free := s.token(t, "a", "alice")
	for _, name := range []string{"Restricted", "restricted ", " RESTRICTED", "re\u200bstricted", "re\u017ftricted"} {
		for _, version := range []string{"", "2025-06-18"} {
			want(s.connect(t, free, name, version, nil), "as "+name+" "+version)
		}
	}
	// What it stores under another spelling is of the one app, which stays the only one.
	a := s.connect(t, free, "RESTRICTED", "", nil)
	added := a.call("add_memories", map[string]any{"text": "by another spelling"})
	whole := s.connect(t, free, "whole", "", nil)
	m, _ := whole.call("get_memory", map[string]any{"memory_id": added["id"]})["memory"].(map[string]any)
	if m["app"] != "restricted" {
		t.Errorf("it is of the app %v", m["app"])
	}
	// A name that nobody knows is another app, unless the token says which one it is.
	if list, _, other := s.connect(t, free, "restricted2", "", nil).reads(open, closed); list != 3 || !other {
		t.Errorf("an app without rules lists %d", list)
	}
	bound := s.boundToken(t, "Restricted")
	for _, name := range []string{"restricted2", "restricted", "whole"} {
		for _, version := range []string{"", "2025-06-18"} {
			agent := s.connect(t, bound, name, version, nil)
			want(agent, "bound, as "+name+" "+version)
			if who := agent.call("whoami", nil); who["app"] != "Restricted" {
				t.Errorf("whoami %v", who)
			}
		}
		want(s.stream(t, bound, "alice", name, nil), "bound, over a stream, as "+name)
	}
}

// Where apps need rules, one that nobody has given any reads nothing, whatever it calls itself, and stores all the same.
func TestAppsNeedRules(t *testing.T) {
	s := newStack(t)
	open, closed := s.restricted(t, "restricted")
	s.config.Writer.AppsNeedRules = true
	s.serve(t)
	for name, token := range map[string]string{"restricted2": s.token(t, "a", "alice"), "new": s.boundToken(t, "new")} {
		a := s.connect(t, token, name, "", nil)
		for range 2 { // it is known after the first time
			if list, one, other := a.reads(open, closed); list != 0 || one || other {
				t.Errorf("%s reads %d memories, %v, %v", name, list, one, other)
			}
			if stats := a.call("get_stats", nil)["memories"].(map[string]any); stats["active"] != 0.0 {
				t.Errorf("%s counts %v", name, stats)
			}
			a.call("add_memories", map[string]any{"text": "by " + name})
		}
	}
	if list, one, other := s.connect(t, s.token(t, "a", "alice"), "Restricted", "", nil).reads(open, closed); list != 1 || !one || other {
		t.Errorf("the app with a rule reads %d memories, %v, %v", list, one, other)
	}
}

// Of several apps whose names mean the same, rules cannot be chosen among but by the exact name that they were made for.
func TestAppsThatAreAlike(t *testing.T) {
	s := newStack(t)
	open, closed := s.restricted(t, "restricted")
	caller, err := s.config.Writer.Caller(t.Context(), auth.Principal{Tenant: "a", Subject: "alice"})
	check(t, err)
	for _, name := range []string{"Restricted", "RESTRICTED"} { // over HTTP an app is what it is called
		_, _, err := s.config.Writer.AddMemory(t.Context(), caller, writer.Wish{ID: name}, commands.AddMemory{Content: "x", App: &name})
		check(t, err)
	}
	token := s.token(t, "a", "alice")
	exact := s.connect(t, token, "RESTRICTED", "", nil)
	exact.await("the apps", func() bool { return len(items(exact.call("list_apps", nil))) == 3 })
	if list, _, other := exact.reads(open, closed); list != 1 || other {
		t.Errorf("an app without rules that is alike reads %d", list)
	}
	s.allow(t, "RESTRICTED", closed)
	exact.await("the second rule", func() bool { _, one, other := exact.reads(open, closed); return !one && other })
	if _, one, other := s.connect(t, token, "restricted", "", nil).reads(open, closed); !one || other {
		t.Errorf("the first app reads by the rules of the second: %v, %v", one, other)
	}
	if list, one, other := s.connect(t, token, "Restricted", "", nil).reads(open, closed); list != 0 || one || other {
		t.Errorf("a third spelling reads %d, %v, %v", list, one, other)
	}
}

// GET is counted as other requests are, and bad tokens are limited by address, whoever else is there.
func TestWhatIsNotAMessageIsLimited(t *testing.T) {
	s := newStack(t)
	s.config.Limits, s.config.Logins = quota.New(quota.Limits{PerSecond: 0.001, Burst: 5}), &quota.Logins{}
	s.serve(t)
	token, other := s.token(t, "a", "alice"), s.token(t, "b", "alice")
	counts := map[int]int{}
	for range 10 {
		counts[s.send(t, http.MethodGet, token, "/mcp", "").status]++
	}
	if counts[http.StatusMethodNotAllowed] != 5 || counts[http.StatusTooManyRequests] != 5 {
		t.Errorf("GET /mcp: %v", counts)
	}
	clear(counts)
	last := answer{}
	for range 100 {
		last = s.post(t, "a.b.c", "/mcp", listBody)
		counts[last.status]++
	}
	if counts[http.StatusUnauthorized] < 50 || counts[http.StatusTooManyRequests] < 20 || last.header.Get("Retry-After") == "" {
		t.Errorf("bad tokens: %v, Retry-After %q", counts, last.header.Get("Retry-After"))
	}
	if a := s.post(t, other, "/mcp", listBody); a.status != http.StatusOK {
		t.Errorf("a good token from the same address: %d %s", a.status, a.body)
	}
	if a := s.post(t, "", "/mcp", listBody); a.status != http.StatusUnauthorized || a.header.Get("WWW-Authenticate") == "" {
		t.Errorf("no token, so that the client learns where to get one: %d", a.status)
	}
}

// A stream ends soon after its token was revoked, or its tenant removed.
func TestStreamsEndWithWhatIsTakenBack(t *testing.T) {
	s := newStack(t)
	var err error
	s.config.Verifier, err = auth.NewVerifier(auth.Config{
		Issuers: []auth.Issuer{s.key.IssuerFor(auth.LocalMCPAudience)}, Revoked: &s.plane.Tokens.Revoked, Gone: s.plane.Directory.Gone,
	})
	check(t, err)
	s.serve(t)
	for name, take := range map[string]func(){
		"a": func() {
			_, err := s.plane.Tokens.Revoke(t.Context(), auth.Revocation{Tenant: "a", Subject: "alice"}, "test")
			check(t, err)
		},
		"b": func() {
			_, err := s.plane.RemoveTenant(t.Context(), "b", "test")
			check(t, err)
		},
	} {
		l := s.begun(t, s.token(t, name, "alice"), "/mcp/x/sse/alice")
		began := time.Now()
		take()
		if rest := l.next(); rest != "" {
			t.Errorf("unasked: %s", rest)
		}
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("the stream of tenant %s ends after %s", name, took)
		}
	}
}
