package mcpapi_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/refold-dev/refold/internal/app"
	"github.com/refold-dev/refold/internal/user"
)

// noted returns, of what stands in control.access about a memory, the kinds that a user accessed it in through an app.
func (s *stack) noted(t *testing.T, tenant, subject, appName, memory string) (kinds []string) {
	t.Helper()
	known, err := s.plane.Directory.Tenant(t.Context(), tenant)
	check(t, err)
	owner := user.ID(known.Key, tenant, subject)
	pool, err := s.plane.DB.Operator(t.Context())
	check(t, err)
	rows, err := pool.Query(t.Context(), `SELECT DISTINCT kind FROM control.access WHERE tenant_id = $1 AND user_id = $2 AND app_id = $3 AND memory_id = $4 ORDER BY kind`,
		tenant, owner, app.ID(known.Key, tenant, owner, appName), memory)
	check(t, err)
	kinds, err = pgx.CollectRows(rows, pgx.RowTo[string])
	check(t, err)
	return kinds
}

// Every call of a tool that shows or changes a memory is in the access log, under the app that the client says it is;
// calls that were refused, and those about nothing, are not.
func TestCallsAreInTheAccessLog(t *testing.T) {
	s := newStack(t)
	a := s.connect(t, s.token(t, "a", "alice"), "claude-code", "", nil)
	memory, _ := a.call("add_memories", map[string]any{"text": "likes tea", "categories": []string{"taste"}})["id"].(string)
	other, _ := a.call("add_memories", map[string]any{"text": "likes cake", "categories": []string{"taste"}})["id"].(string)
	for _, c := range []struct {
		tool      string
		arguments map[string]any
	}{
		{"search_memory", map[string]any{"query": "tea"}},
		{"list_memories", nil},
		{"get_memory", map[string]any{"memory_id": memory}},
		{"related_memories", map[string]any{"memory_id": other}},
		{"update_memory", map[string]any{"memory_id": memory, "text": "likes green tea"}},
	} {
		a.call(c.tool, c.arguments)
	}
	theirs := s.connect(t, s.token(t, "a", "bob"), "claude-code", "", nil)
	theirs.refused("get_memory", map[string]any{"memory_id": memory})
	want := []string{"list", "read", "related", "search", "update"}
	waitFor(t, "the access log", func() bool { return slices.Equal(s.noted(t, "a", "alice", "claude-code", memory), want) })

	page := a.call("memory_accesses", map[string]any{"memory_id": memory, "limit": 2})
	if page["total"] != 5.0 || len(items(page)) != 2 || page["next_cursor"] == nil {
		t.Errorf("the first page: %v", page)
	}
	rest := a.call("memory_accesses", map[string]any{"memory_id": memory, "limit": 50, "cursor": page["next_cursor"]})
	var got []string
	for _, item := range append(items(page), items(rest)...) {
		entry, _ := item.(map[string]any)
		if kind, _ := entry["kind"].(string); entry["app"] == "claude-code" {
			got = append(got, kind)
		}
		if at, err := time.Parse(time.RFC3339, entry["at"].(string)); err != nil || time.Since(at) > time.Minute {
			t.Errorf("at %v", entry["at"])
		}
	}
	if diff := cmp.Diff([]string{"update", "related", "read", "list", "search"}, got); diff != "" {
		t.Errorf("all pages, newest first (-want +got):\n%s", diff)
	}
	theirs.refused("memory_accesses", map[string]any{"memory_id": memory})
	if code := a.refused("memory_accesses", map[string]any{"memory_id": other, "cursor": page["next_cursor"]}); code == "not_found" {
		t.Errorf("a cursor of another memory: %s", code)
	}
	a.call("delete_memories", map[string]any{"memory_ids": []string{memory}})
	a.call("delete_all_memories", map[string]any{"confirm": true})
	waitFor(t, "deletions in the access log", func() bool {
		return slices.Contains(s.noted(t, "a", "alice", "claude-code", memory), "delete") && slices.Contains(s.noted(t, "a", "alice", "claude-code", other), "delete")
	})
	if kinds := s.noted(t, "a", "bob", "claude-code", memory); len(kinds) != 0 {
		t.Errorf("what was refused is noted: %v", kinds)
	}
}

// A page that ends early, because an answer holds no more, is one access of each memory that it was made of.
func TestAPageThatIsCutIsOneAccess(t *testing.T) {
	s := newStack(t)
	a := s.connect(t, s.token(t, "a", "alice"), "claude-code", "", nil)
	var newest any
	for range 40 {
		newest = a.call("add_memories", map[string]any{"text": strings.Repeat("long ", 1000), "categories": []string{"one"}})["id"]
	}
	if page := a.call("list_memories", map[string]any{"limit": 50}); len(items(page)) >= 40 || page["next_cursor"] == nil {
		t.Fatalf("%d memories on a page, want it cut", len(items(page)))
	}
	a.call("get_memory", map[string]any{"memory_id": newest})
	var kinds []string
	waitFor(t, "the access log", func() bool {
		kinds = nil
		for _, item := range items(a.call("memory_accesses", map[string]any{"memory_id": newest})) {
			kinds = append(kinds, item.(map[string]any)["kind"].(string))
		}
		return slices.Contains(kinds, "read")
	})
	if !slices.Equal(kinds, []string{"read", "list"}) {
		t.Errorf("accesses %v, want one of each", kinds)
	}
}
