package mcpapi_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/refold-dev/refold/internal/auth"
	"github.com/refold-dev/refold/internal/mcpapi"
)

// callBody is a call of a tool as one JSON-RPC message.
func callBody(tool string, arguments map[string]any) string {
	body, _ := json.Marshal(map[string]any{"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": map[string]any{"name": tool, "arguments": arguments}})
	return string(body)
}

// named is the address under which the app x of alice calls.
const named = "/mcp/x/http/alice"

const listBody = `{"jsonrpc":"2.0","id":1,"method":"tools/list"}`

func TestTokens(t *testing.T) {
	s := newStack(t)
	api, err := s.key.Mint(auth.TokenRequest{Tenant: "a", Subject: "alice", Scopes: auth.AllScopes()})
	check(t, err)
	own := s.token(t, "a", "alice")
	operator, err := s.key.Mint(auth.TokenRequest{Operator: true, Subject: "root", Scopes: auth.AllScopes(), Audience: auth.LocalMCPAudience})
	check(t, err)
	for name, c := range map[string]struct {
		token string
		code  string
	}{
		"no token":          {"", ""},
		"an operator":       {operator, "invalid_token"},
		"the REST audience": {api, "invalid_token"},
		"garbage":           {"x.y.z", "invalid_token"},
	} {
		for _, path := range []string{"/mcp", "/mcp/x/http/alice", "/mcp/x/sse/alice", "/mcp/x/sse/bob", "/mcp/messages/?session_id=x"} {
			for _, method := range []string{http.MethodPost, http.MethodGet} {
				if method == http.MethodGet && strings.Contains(path, "messages") {
					continue
				}
				a := s.send(t, method, c.token, path, listBody)
				challenge := a.header.Get("WWW-Authenticate")
				metadata := `resource_metadata="` + s.url + `/.well-known/oauth-protected-resource/mcp"`
				if a.status != http.StatusUnauthorized || !strings.Contains(challenge, metadata) || !strings.Contains(challenge, `scope="memories:read"`) {
					t.Errorf("%s, %s %s: %d %q", name, method, path, a.status, challenge)
				}
				if (c.code != "") != strings.Contains(challenge, "error=") {
					t.Errorf("%s: challenge %q", name, challenge)
				}
			}
		}
	}
	rest, err := auth.NewVerifier(auth.Config{Issuers: []auth.Issuer{s.key.Issuer()}})
	check(t, err)
	if _, err := rest.Verify(t.Context(), own); err == nil {
		t.Error("the REST edge takes a token of this audience")
	}
	if a := s.post(t, own, "/mcp", listBody); a.status != http.StatusOK {
		t.Errorf("an own token: %d %s", a.status, a.body)
	}
	// The token in any other place is none.
	if a := s.post(t, "", "/mcp?access_token="+own, listBody, "Cookie", "token="+own); a.status != http.StatusUnauthorized {
		t.Errorf("a token in the query: %d", a.status)
	}
}

func TestMetadata(t *testing.T) {
	s := newStack(t, func(c *mcpapi.Config) { c.AuthorizationServers = []string{"https://login.example"} })
	for _, path := range []string{"/.well-known/oauth-protected-resource", "/.well-known/oauth-protected-resource/mcp"} {
		a := s.send(t, http.MethodGet, "", path, "", "Origin", "https://anywhere.example")
		var m map[string]any
		check(t, json.Unmarshal([]byte(a.body), &m))
		want := map[string]any{
			"resource": s.url + "/mcp", "resource_name": "refold", "authorization_servers": []any{"https://login.example"},
			"scopes_supported": []any{"apps:read", "memories:delete", "memories:read", "memories:write", "stats:read"}, "bearer_methods_supported": []any{"header"},
		}
		if diff := cmp.Diff(want, m); diff != "" || a.header.Get("Access-Control-Allow-Origin") != "*" {
			t.Errorf("%s (-want +got):\n%s", path, diff)
		}
	}
	s.config.URL = "https://memories.example/mcp"
	s.serve(t)
	a := s.send(t, http.MethodGet, "", "/.well-known/oauth-protected-resource/mcp", "", "Host", "memories.example")
	if !strings.Contains(a.body, `"resource":"https://memories.example/mcp"`) {
		t.Errorf("behind a name: %s", a.body)
	}
	for _, url := range []string{"memories.example", "https://memories.example", "ftp://memories.example/mcp", "https:///mcp", "https://memories.example/mcp?x", "https://memories.example/other"} {
		c := s.config
		c.URL = url
		if _, err := mcpapi.New(c); err == nil {
			t.Errorf("URL %q is taken", url)
		}
	}
}

// things are what a user has; arguments are those that a tool needs to touch them.
type things struct{ memory, app string }

func (s *stack) things(t *testing.T, tenant, user string) things {
	t.Helper()
	a := s.connect(t, s.token(t, tenant, user), "canary-"+tenant+"-"+user, "", nil)
	added := a.call("add_memories", map[string]any{"text": "canary-" + tenant + "-" + user, "categories": []string{"canary-" + tenant + "-" + user}})
	app, _ := items(a.call("list_apps", nil))[0].(map[string]any)
	return things{fmt.Sprint(added["id"]), fmt.Sprint(app["id"])}
}

func (o things) arguments(tool string) map[string]any {
	switch tool {
	case "add_memories":
		return map[string]any{"text": "canary-new"}
	case "search_memory":
		return map[string]any{"query": "canary or canary-a-bob or canary-b-alice"}
	case "get_memory", "memory_accesses", "memory_history", "memory_versions", "related_memories", "undelete_memory":
		return map[string]any{"memory_id": o.memory}
	case "get_memory_version", "restore_memory":
		return map[string]any{"memory_id": o.memory, "version": 1}
	case "update_memory":
		return map[string]any{"memory_id": o.memory, "text": "changed"}
	case "delete_memories":
		return map[string]any{"memory_ids": []string{o.memory}, "idempotency_key": "same"}
	case "get_app":
		return map[string]any{"app_id": o.app}
	case "delete_all_memories", "list_memories", "list_apps", "list_categories", "get_stats", "whoami":
		return map[string]any{}
	}
	panic("the table of examples lacks " + tool)
}

// All tools, with all subsets of the scopes that tools ask for, about what is one's own, another user's, another tenant's
// and not there at all.
func TestToolsByScopesByOwners(t *testing.T) {
	s := newStack(t)
	owners := map[string]things{
		"own": s.things(t, "a", "alice"), "of another user": s.things(t, "a", "bob"), "of another tenant": s.things(t, "b", "alice"),
		"absent": {"01935cae-bf00-8000-9000-00000000de10", "01935cae-bf00-8000-9000-00000000de11"},
	}
	scopes := []string{}
	for _, tool := range auth.Tools() {
		if !slices.Contains(scopes, tool.Scope()) {
			scopes = append(scopes, tool.Scope())
		}
	}
	calls := 0
	for mask := range 1 << len(scopes) {
		granted := []string{"other:scope"}
		for i, scope := range scopes {
			if mask&(1<<i) != 0 {
				granted = append(granted, scope)
			}
		}
		token := s.token(t, "a", "alice", granted...)
		listed := s.post(t, token, "/mcp", listBody).body
		for _, tool := range auth.Tools() {
			may := slices.Contains(granted, tool.Scope())
			if strings.Contains(listed, `"name":"`+tool.Name+`"`) != may {
				t.Fatalf("with %v, the list has %s: %v, want %v", granted, tool.Name, !may, may)
			}
			if may {
				a := s.post(t, token, named, callBody(tool.Name, owners["absent"].arguments(tool.Name)))
				if tool.ReadOnly && (a.status != http.StatusOK || strings.Contains(a.body, "insufficient_scope")) {
					t.Fatalf("%s with %v: %d %s", tool.Name, granted, a.status, a.body)
				}
				continue
			}
			denied := ""
			for who, owner := range owners {
				calls++
				a := s.post(t, token, named, callBody(tool.Name, owner.arguments(tool.Name)))
				challenge := a.header.Get("WWW-Authenticate")
				if a.status != http.StatusForbidden || !strings.Contains(challenge, `error="insufficient_scope"`) ||
					!strings.Contains(challenge, `scope="`+tool.Scope()+`"`) || !strings.Contains(challenge, "resource_metadata=") {
					t.Fatalf("%s %s with %v: %d %q", tool.Name, who, granted, a.status, challenge)
				}
				if denied != "" && a.body != denied {
					t.Fatalf("%s %s: %q, want %q as for others", tool.Name, who, a.body, denied)
				}
				denied = a.body
			}
		}
	}
	t.Logf("%d calls without the scope", calls)
	for _, tool := range auth.Tools() {
		if tool.Name == "delete_all_memories" || tool.Name == "delete_memories" || strings.HasPrefix(tool.Name, "add") {
			continue
		}
		ask := func(who string) answer {
			return s.post(t, s.token(t, "a", "alice", tool.Scope()), named, callBody(tool.Name, owners[who].arguments(tool.Name)))
		}
		if own := ask("own"); own.status != http.StatusOK || strings.Contains(own.body, `"isError":true`) || strings.Contains(own.body, "canary-a-bob") || strings.Contains(own.body, "canary-b") {
			t.Errorf("%s about what is one's own: %d %s", tool.Name, own.status, own.body)
		}
		absent := ask("absent")
		for _, who := range []string{"of another user", "of another tenant"} {
			if got := ask(who); !slices.Contains(namesNothing, tool.Name) && (got.body != absent.body || got.status != absent.status) {
				t.Errorf("%s about what is %s: %s, want %s as for what is not there", tool.Name, who, got.body, absent.body)
			}
		}
	}
	// Deleting tells no more, and touches nothing.
	token := s.token(t, "a", "alice", auth.MemoriesDelete)
	bodies := map[string]string{}
	for _, who := range []string{"absent", "of another user", "of another tenant"} {
		a := s.post(t, token, named, callBody("delete_memories", owners[who].arguments("delete_memories")))
		bodies[who] = strings.ReplaceAll(a.body, owners[who].memory, "ID")
	}
	if bodies["absent"] != bodies["of another user"] || bodies["absent"] != bodies["of another tenant"] || !strings.Contains(bodies["absent"], "not_found") {
		t.Errorf("deleting: %v", bodies)
	}
	for _, owner := range []struct{ tenant, user string }{{"a", "bob"}, {"b", "alice"}} {
		theirs := s.connect(t, s.token(t, owner.tenant, owner.user), "x", "", nil)
		if all := items(theirs.call("list_memories", nil)); len(all) != 1 || all[0].(map[string]any)["version"] != 1.0 {
			t.Errorf("the memory of %v was touched: %v", owner, all)
		}
	}
}

// namesNothing are the tools whose arguments name nobody's things.
var namesNothing = []string{"whoami", "list_apps", "list_categories", "get_stats", "list_memories", "search_memory"}

// An argument, a header or a path that names another tenant or user changes nothing.
func TestIdentityComesFromTheTokenAlone(t *testing.T) {
	s := newStack(t)
	mine, theirs := s.things(t, "a", "alice"), s.things(t, "b", "alice")
	token := s.token(t, "a", "alice")
	for _, headers := range [][]string{{"X-Tenant", "b"}, {"X-Org-Id", "b"}, {"Baggage", "tenant=b"}, {"Mcp-Tenant", "b"}, {"Cookie", "tenant=b"}} {
		for id, want := range map[string]bool{mine.memory: true, theirs.memory: false} {
			a := s.post(t, token, named+"?tenant=b&user_id=bob", callBody("get_memory", map[string]any{"memory_id": id}), headers...)
			if got := !strings.Contains(a.body, "not_found"); got != want {
				t.Errorf("%v %s: %s", headers, id, a.body)
			}
		}
	}
	for _, name := range []string{"tenant", "tenant_id", "org_id", "user_id", "user"} {
		a := s.post(t, token, named, callBody("list_memories", map[string]any{name: "b"}))
		if !strings.Contains(a.body, `"isError":true`) || !strings.Contains(a.body, "invalid") {
			t.Errorf("argument %s: %s", name, a.body)
		}
	}
	unknown := s.post(t, token, "/mcp/none", listBody)
	for _, path := range []string{"/mcp/x/http/bob", "/mcp/x/sse/bob", "/mcp/x/http/", "/mcp/x/http/ALICE", "/mcp/x/http/alice/..%2fbob"} {
		if a := s.post(t, token, path, listBody); a.status != http.StatusNotFound || a.body != unknown.body {
			t.Errorf("%s: %d %s, want %s as for an unknown path", path, a.status, a.body, unknown.body)
		}
	}
	if a := s.send(t, http.MethodGet, token, "/mcp/x/sse/bob", ""); a.status != http.StatusNotFound || a.body != unknown.body {
		t.Errorf("a stream of somebody else: %d %s", a.status, a.body)
	}
	// A tenant that does not exist has empty lists, and nothing else.
	nobody := s.token(t, "nowhere", "alice")
	for _, tool := range auth.Tools() {
		a := s.post(t, nobody, named, callBody(tool.Name, mine.arguments(tool.Name)))
		list := strings.HasPrefix(tool.Name, "list") || strings.HasPrefix(tool.Name, "search")
		if tool.Name == "get_stats" {
			if !strings.Contains(a.body, `"apps":0`) {
				t.Errorf("numbers of nobody: %s", a.body)
			}
			continue
		}
		if list != strings.Contains(a.body, `"items":[]`) || list == strings.Contains(a.body, "not_found") {
			t.Errorf("%s as nobody: %s", tool.Name, a.body)
		}
	}
}

// The id of a session is worth nothing to anybody but the one it was handed out to.
func TestStolenSession(t *testing.T) {
	s := newStack(t)
	alice := s.token(t, "a", "alice")
	begin := `{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"notes","version":"1"}}}`
	id := s.post(t, alice, "/mcp", begin).header.Get("Mcp-Session-Id")
	whoami := callBody("whoami", nil)
	if a := s.post(t, alice, "/mcp", whoami, "Mcp-Session-Id", id); a.status != http.StatusOK || !strings.Contains(a.body, `"app":"notes"`) {
		t.Fatalf("an own session: %d %s", a.status, a.body)
	}
	garbage := s.post(t, alice, "/mcp", whoami, "Mcp-Session-Id", "garbage")
	for who, token := range map[string]string{"another user": s.token(t, "a", "bob"), "another tenant": s.token(t, "b", "alice")} {
		a := s.post(t, token, "/mcp", whoami, "Mcp-Session-Id", id)
		if a.status != http.StatusNotFound || a.body != garbage.body {
			t.Errorf("%s: %d %s, want %s as for garbage", who, a.status, a.body, garbage.body)
		}
	}
	for _, method := range []string{http.MethodGet, http.MethodDelete} {
		if a := s.send(t, method, alice, "/mcp", "", "Mcp-Session-Id", id, "Last-Event-ID", "x_0"); a.status != http.StatusMethodNotAllowed {
			t.Errorf("%s: %d, want no stream to resume", method, a.status)
		}
	}
}

// A paused app reads nothing and stores nothing.
func TestPausedApp(t *testing.T) {
	s := newStack(t)
	mine := s.things(t, "a", "alice")
	a := s.connect(t, s.token(t, "a", "alice"), "canary-a-alice", "", nil)
	s.pause(t, "a", "alice", "canary-a-alice")
	deadline := time.Now().Add(10 * time.Second)
	for code := ""; code != "app_paused"; {
		if time.Now().After(deadline) {
			t.Fatal("the app is not paused")
		}
		if result := a.try("list_memories", nil); result.IsError {
			code = a.refused("list_memories", nil)
		}
	}
	for _, tool := range auth.Tools() {
		if tool.Name == "whoami" {
			continue
		}
		if code := a.refused(tool.Name, mine.arguments(tool.Name)); code != "app_paused" {
			t.Errorf("%s: %s", tool.Name, code)
		}
	}
	for _, name := range []string{"CANARY-a-Alice", " canary-a-alice "} { // no other app, so that it is paused as well
		spelt := s.connect(t, s.token(t, "a", "alice"), name, "", nil)
		for _, tool := range []string{"list_memories", "add_memories"} {
			if code := spelt.refused(tool, mine.arguments(tool)); code != "app_paused" {
				t.Errorf("%s as %q: %s", tool, name, code)
			}
		}
	}
	other := s.connect(t, s.token(t, "a", "alice"), "other", "", nil)
	if all := items(other.call("list_memories", nil)); len(all) != 1 {
		t.Errorf("another app sees %v", all)
	}
}
