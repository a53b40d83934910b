package mcpapi_test

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/refold-dev/refold/internal/auth"
	"github.com/refold-dev/refold/internal/mcpapi"
)

var everyTool = []string{
	"add_memories", "delete_all_memories", "delete_memories", "get_app", "get_memory", "get_memory_version", "get_stats", "list_apps", "list_categories", "list_memories",
	"memory_accesses", "memory_history", "memory_versions", "related_memories", "restore_memory", "search_memory", "undelete_memory", "update_memory", "whoami",
}

// The SDK's own client over each transport and revision: the whole life of a memory.
func TestAgents(t *testing.T) {
	s := newStack(t)
	agents := map[string]func(*testing.T, string) *agent{
		"http in the path": func(t *testing.T, user string) *agent {
			return join(t, "some client", "", nil, &mcp.StreamableClientTransport{
				Endpoint: s.url + "/mcp/claude-code/http/" + user, HTTPClient: bearer(s.token(t, "a", user)),
			})
		},
		"a stream": func(t *testing.T, user string) *agent {
			return s.stream(t, s.token(t, "a", user), user, "claude-code", nil)
		},
	}
	for _, revision := range []string{"2026-07-28", "2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05"} {
		agents[revision] = func(t *testing.T, user string) *agent {
			return s.connect(t, s.token(t, "a", user), "claude-code", revision, nil)
		}
	}
	for name, connect := range agents {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			life(t, connect(t, "user of "+strings.ReplaceAll(name, "/", "")))
		})
	}
}

func life(t *testing.T, a *agent) {
	if got := strings.Join(a.tools(), " "); got != strings.Join(everyTool, " ") {
		t.Errorf("tools %s, want %s", got, strings.Join(everyTool, " "))
	}
	if me := a.call("whoami", nil); me["tenant"] != "a" || me["app"] != "claude-code" {
		t.Errorf("whoami %v", me)
	}
	added := a.call("add_memories", map[string]any{"text": "Likes 100% tea <b>", "categories": []string{"taste"}, "metadata": map[string]any{"n": 1}, "idempotency_key": "k1"})
	if added["readable"] != true {
		t.Errorf("a memory that was added cannot be read: %v", added)
	}
	if again := a.call("add_memories", map[string]any{"text": "Likes 100% tea <b>", "categories": []string{"taste"}, "metadata": map[string]any{"n": 1}, "idempotency_key": "k1"}); again["id"] != added["id"] {
		t.Errorf("a repeated call stored twice: %v, %v", added, again)
	}
	if code := a.refused("add_memories", map[string]any{"text": "another", "idempotency_key": "k1"}); code != "key_reused" {
		t.Errorf("the key of another call: %s", code)
	}
	a.call("add_memories", map[string]any{"text": "Drinks coffee"})
	if found := items(a.call("list_memories", map[string]any{"contains": "100% TEA"})); len(found) != 1 {
		t.Errorf("the list has %v", found)
	}
	if found := items(a.call("search_memory", map[string]any{"query": "likes TEA", "recency_weight": 0.5, "categories": []string{"taste"}})); len(found) != 1 {
		t.Errorf("search found %v", found)
	} else if m := found[0].(map[string]any); m["content"] != "Likes 100% tea <b>" || m["app"] != "claude-code" {
		t.Errorf("memory %v", m)
	}
	if alike := a.call("search_memory", map[string]any{"query": "which cofee do they drink?"}); alike["match"] != "similar" || len(items(alike)) != 1 {
		t.Errorf("a question found %v by %v", alike["items"], alike["match"])
	}
	first := a.call("list_memories", map[string]any{"limit": 1})
	second := a.call("list_memories", map[string]any{"limit": 1, "cursor": first["next_cursor"]})
	if len(items(first)) != 1 || len(items(second)) != 1 || second["next_cursor"] != nil {
		t.Errorf("pages %v, %v", first, second)
	}
	if old := items(a.call("list_memories", map[string]any{"sort": "updated_at", "order": "asc", "limit": 1})); old[0].(map[string]any)["id"] != added["id"] {
		t.Errorf("the oldest: %v", old)
	}
	if stats := a.call("get_stats", nil); stats["memories"].(map[string]any)["active"] != 2.0 || stats["categories"] != 1.0 {
		t.Errorf("stats %v", stats)
	}
	if categories := items(a.call("list_categories", nil)); len(categories) != 1 || categories[0].(map[string]any)["name"] != "taste" {
		t.Errorf("categories %v", categories)
	}
	if others := items(a.call("related_memories", map[string]any{"memory_id": added["id"]})); len(others) != 0 {
		t.Errorf("related %v", others)
	}
	if code := a.refused("list_apps", map[string]any{"limit": 1, "cursor": first["next_cursor"]}); code != "sealed" {
		t.Errorf("the cursor of another tool: %s", code)
	}
	id := added["id"]
	a.call("update_memory", map[string]any{"memory_id": id, "text": "Likes green tea", "if_version": 1})
	if code := a.refused("update_memory", map[string]any{"memory_id": id, "text": "x", "if_version": 1}); code != "precondition_failed" {
		t.Errorf("an old version: %s", code)
	}
	if m := a.call("get_memory", map[string]any{"memory_id": id})["memory"].(map[string]any); m["content"] != "Likes green tea" || m["version"] != 2.0 {
		t.Errorf("memory %v", m)
	}
	a.call("memory_history", map[string]any{"memory_id": id})
	apps := items(a.call("list_apps", nil))
	if len(apps) != 1 || apps[0].(map[string]any)["name"] != "claude-code" {
		t.Errorf("apps %v", apps)
	} else if app := a.call("get_app", map[string]any{"app_id": apps[0].(map[string]any)["id"]})["app"].(map[string]any); app["memories"] != 2.0 {
		t.Errorf("app %v", app)
	}
	gone := a.call("delete_memories", map[string]any{"memory_ids": []any{id, "no id", "01935cae-bf00-8000-9000-00000000de10"}})
	if gone["deleted"] != 1.0 {
		t.Errorf("deleted %v", gone)
	}
	if code := a.refused("get_memory", map[string]any{"memory_id": id}); code != "not_found" {
		t.Errorf("a deleted memory: %s", code)
	}
	if code := a.refused("delete_all_memories", nil); code != "confirmation_required" {
		t.Errorf("without confirmation: %s", code)
	}
	if all := a.call("delete_all_memories", map[string]any{"confirm": true}); all["deleted"] != 1.0 {
		t.Errorf("deleted %v, want the one that was left", all)
	}
	if left := items(a.call("list_memories", nil)); len(left) != 0 {
		t.Errorf("left over: %v", left)
	}
}

// What lists and searches select by, beyond what life does; an argument that is empty is none.
func TestFilters(t *testing.T) {
	s := newStack(t)
	token := s.token(t, "a", "alice")
	notes, chat := s.connect(t, token, "notes", "", nil), s.connect(t, token, "chat", "", nil)
	notes.call("add_memories", map[string]any{"text": "old tea", "metadata": map[string]any{"vault": "WLT", "tags": []string{"a", "b"}}})
	added := notes.call("add_memories", map[string]any{"text": "green tea", "metadata": map[string]any{"vault": "WLT", "tags": []string{"b"}, "deep": map[string]any{"layer": 2}}})
	chat.call("add_memories", map[string]any{"text": "tea of a chat"})
	updated := chat.call("get_memory", map[string]any{"memory_id": added["id"]})["memory"].(map[string]any)["updated_at"]
	s.connect(t, s.token(t, "a", "bob"), "notes", "", nil).call("add_memories", map[string]any{"text": "tea of bob", "metadata": map[string]any{"vault": "WLT"}})
	for _, c := range []struct {
		filter map[string]any
		want   string
	}{
		{map[string]any{"metadata": map[string]any{"vault": "WLT"}}, "green tea, old tea"},
		{map[string]any{"metadata": map[string]any{"tags": []string{"a"}}}, "old tea"},
		{map[string]any{"metadata": map[string]any{"deep": map[string]any{"layer": 2.0}}}, "green tea"},
		{map[string]any{"metadata": map[string]any{"layer": 2}}, ""},
		{map[string]any{"metadata": map[string]any{"vault": "WLT"}, "not_metadata": map[string]any{"tags": []string{"a"}}}, "green tea"},
		{map[string]any{"not_metadata": map[string]any{"vault": "WLT"}}, "tea of a chat"},
		{map[string]any{"apps": []string{"chat", "nobody's"}}, "tea of a chat"},
		{map[string]any{"apps": []string{"notes"}, "not_metadata": map[string]any{"deep": map[string]any{}}}, "old tea"},
		{map[string]any{"updated_after": updated, "apps": []string{"notes"}}, "green tea"},
		{map[string]any{"updated_before": updated}, "green tea, old tea"},
		{map[string]any{"metadata": map[string]any{}, "not_metadata": map[string]any{}, "apps": []string{}, "categories": []string{}}, "green tea, old tea, tea of a chat"},
	} {
		for tool, more := range map[string]map[string]any{"list_memories": nil, "search_memory": {"query": "tea"}} {
			arguments := maps.Clone(c.filter)
			maps.Copy(arguments, more)
			var got []string
			for _, item := range items(chat.call(tool, arguments)) {
				got = append(got, item.(map[string]any)["content"].(string))
			}
			slices.Sort(got)
			if strings.Join(got, ", ") != c.want {
				t.Errorf("%s %v: %q, want %q", tool, arguments, got, c.want)
			}
		}
	}
	first := chat.call("list_memories", map[string]any{"limit": 1, "metadata": map[string]any{"vault": "WLT"}})
	rest := chat.call("list_memories", map[string]any{"limit": 1, "metadata": map[string]any{"vault": "WLT"}, "cursor": first["next_cursor"]})
	if len(items(rest)) != 1 || rest["next_cursor"] != nil {
		t.Errorf("the second page: %v", rest)
	}
	if code := chat.refused("list_memories", map[string]any{"limit": 1, "metadata": map[string]any{"vault": "ABC"}, "cursor": first["next_cursor"]}); code != "sealed" {
		t.Errorf("the cursor of another filter: %s", code)
	}
}

// Where the client can ask its user, the user is asked, whatever the model says.
func TestTheUserIsAsked(t *testing.T) {
	s := newStack(t)
	for name, connect := range map[string]func(*mcp.ClientOptions, string) *agent{
		"2026-07-28": func(o *mcp.ClientOptions, user string) *agent {
			return s.connect(t, s.token(t, "a", user), "x", "2026-07-28", o)
		},
		"a stream": func(o *mcp.ClientOptions, user string) *agent {
			return s.stream(t, s.token(t, "a", user), user, "x", o)
		},
	} {
		answer := &mcp.ElicitResult{Action: "decline"}
		asked := 0
		a := connect(&mcp.ClientOptions{ElicitationHandler: func(_ context.Context, r *mcp.ElicitRequest) (*mcp.ElicitResult, error) {
			asked++
			return answer, nil
		}}, name)
		a.call("add_memories", map[string]any{"text": "keep me"})
		if out := a.call("delete_all_memories", map[string]any{"confirm": true}); out["cancelled"] != true || out["deleted"] != 0.0 || asked != 1 {
			t.Errorf("%s: %v after %d questions, want the user's no to count", name, out, asked)
		}
		answer = &mcp.ElicitResult{Action: "accept", Content: map[string]any{"confirm": false}}
		if out := a.call("delete_all_memories", nil); out["cancelled"] != true {
			t.Errorf("%s: %v, want the unticked box to count", name, out)
		}
		answer = &mcp.ElicitResult{Action: "accept", Content: map[string]any{"confirm": true}}
		if out := a.call("delete_all_memories", nil); out["deleted"] != 1.0 || asked != 3 {
			t.Errorf("%s: %v after %d questions", name, out, asked)
		}
	}
}

// The user may take longer to answer than a tool may take; one who never does has not said yes.
func TestTheUserMayTakeTime(t *testing.T) {
	s := newStack(t, func(c *mcpapi.Config) { c.CallMax = 2 * time.Second })
	answer := &mcp.ElicitResult{Action: "accept", Content: map[string]any{"confirm": true}}
	var fault error
	a := s.stream(t, s.token(t, "a", "alice"), "alice", "x", &mcp.ClientOptions{ElicitationHandler: func(ctx context.Context, _ *mcp.ElicitRequest) (*mcp.ElicitResult, error) {
		if fault == nil {
			<-time.After(s.config.CallMax + 500*time.Millisecond)
		}
		return answer, fault
	}})
	a.call("add_memories", map[string]any{"text": "keep me"})
	fault = errors.New("the window was closed")
	if code := a.refused("delete_all_memories", map[string]any{"confirm": true}); code != "confirmation_required" {
		t.Errorf("no answer: %s", code)
	}
	fault = nil
	if out := a.call("delete_all_memories", nil); out["deleted"] != 1.0 {
		t.Errorf("a late yes: %v", out)
	}
}

// A token that lacks a scope sees fewer tools.
func TestToolsOfAToken(t *testing.T) {
	s := newStack(t)
	for _, c := range []struct{ scopes, tools string }{
		{auth.MemoriesRead, "get_memory get_memory_version list_categories list_memories memory_accesses memory_history memory_versions related_memories search_memory whoami"},
		{auth.MemoriesWrite, "add_memories restore_memory update_memory"},
		{auth.AppsRead, "get_app list_apps"},
		{auth.StatsRead, "get_stats"},
		{"none", ""},
	} {
		a := s.connect(t, s.token(t, "a", "alice", c.scopes), "x", "", nil)
		list, err := a.ListTools(t.Context(), nil)
		check(t, err)
		if got := strings.Join(a.tools(), " "); got != c.tools {
			t.Errorf("%s: tools %q, want %q", c.scopes, got, c.tools)
		}
		if list.CacheScope != "private" || list.TTLMs != 0 {
			t.Errorf("%s: the list may be cached: %+v", c.scopes, list.Cacheable)
		}
	}
}
