package httpapi_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The life of a memory, as a client sees it that waits for its own writes.
func TestLifeOfAMemory(t *testing.T) {
	s := newStack(t)
	alice := s.client(t, "a", "alice")
	created := alice.do("POST", "/v1/memories", `{"content":"likes tea","app":"notes","categories":["drinks","taste"],"metadata":{"n":1.0}}`, "Idempotency-Key", "k1")
	first := created.want(t, http.StatusCreated)
	id, _ := first["id"].(string)
	path := "/v1/memories/" + id
	if created.header.Get("ETag") != `"1"` || created.header.Get("Location") != path {
		t.Errorf("headers %v", created.header)
	}

	got := alice.do("GET", path, "")
	if diff := cmp.Diff(first, got.want(t, http.StatusOK), cmp.FilterPath(func(p cmp.Path) bool { return strings.Contains(p.String(), "time") }, cmp.Ignore())); diff != "" {
		t.Errorf("what was accepted differs from what is read (-accepted +read):\n%s", diff)
	}
	for _, name := range []string{"Refold-Edition", "Refold-Position", "Refold-Age-Ms"} {
		if got.header.Get(name) == "" {
			t.Errorf("answer carries no %s", name)
		}
	}

	again := alice.do("POST", "/v1/memories", `{"content":"likes tea","app":"notes","categories":["drinks","taste"],"metadata":{"n":1.0}}`, "Idempotency-Key", "k1")
	if diff := cmp.Diff(created.body, again.body); diff != "" {
		t.Errorf("a repeated command answers otherwise:\n%s", diff)
	}
	if code := alice.do("POST", "/v1/memories", `{"content":"another"}`, "Idempotency-Key", "k1").want(t, 422)["code"]; code != "key_reused" {
		t.Errorf("code %v, want key_reused", code)
	}

	alice.do("PATCH", path, `{"content":"likes coffee","categories":["drinks"]}`, "If-Match", `"7"`).want(t, http.StatusPreconditionFailed)
	alice.do("PATCH", path, `{"content":"likes coffee","categories":["drinks"]}`, "If-Match", `"1"`).want(t, http.StatusOK)
	changed := alice.do("GET", path, "").want(t, http.StatusOK)
	if changed["content"] != "likes coffee" || !cmp.Equal(changed["categories"], []any{"drinks"}) || changed["version"] != 2.0 {
		t.Errorf("after the change: %v", changed)
	}

	for i, step := range []struct{ action, state string }{{"pause", "paused"}, {"archive", "archived"}, {"activate", "active"}} {
		alice.do("POST", path+"/"+step.action, "").want(t, http.StatusOK)
		if m := alice.do("GET", path, "").want(t, http.StatusOK); m["state"] != step.state || m["version"] != float64(3+i) {
			t.Errorf("after %s: %v", step.action, m)
		}
	}
	if same := alice.do("POST", path+"/activate", "").want(t, http.StatusOK); same["changed"] != false || same["version"] != 5.0 {
		t.Errorf("activating what is active: %v, want no change", same)
	}
	history, _ := alice.do("GET", path+"/history", "").want(t, http.StatusOK)["items"].([]any)
	if len(history) != 3 {
		t.Errorf("history %v, want three changes of state", history)
	}

	alice.do("DELETE", path, "").want(t, http.StatusOK)
	for _, gone := range []answer{
		alice.do("GET", path, ""), alice.do("GET", path+"/history", ""), alice.do("POST", path+"/archive", ""),
		alice.do("PATCH", path, `{"content":"x"}`), alice.do("DELETE", path, ""),
	} {
		gone.want(t, http.StatusNotFound)
	}
}

func TestListsFilterAndPage(t *testing.T) {
	s := newStack(t)
	alice := s.client(t, "a", "alice")
	var ids []string
	for _, body := range []string{
		`{"content":"100% cotton","app":"notes","categories":["cloth"]}`,
		`{"content":"1000 cottons","app":"notes"}`,
		`{"content":"SILK","app":"shop","categories":["cloth"]}`,
		`{"content":"paused"}`,
		`{"content":"archived"}`,
	} {
		ids = append(ids, alice.add(body))
	}
	alice.do("POST", "/v1/memories/"+ids[3]+"/pause", "").want(t, 200)
	alice.do("POST", "/v1/memories/"+ids[4]+"/archive", "").want(t, 200)
	apps, _ := alice.do("GET", "/v1/apps", "").want(t, 200)["items"].([]any)
	if len(apps) != 2 {
		t.Fatalf("apps %v, want notes and shop", apps)
	}
	notes, _ := apps[0].(map[string]any)
	if notes["name"] != "notes" || notes["memories"] != 2.0 {
		t.Errorf("app %v, want notes with 2 memories", notes)
	}
	notesID, _ := notes["id"].(string)
	alice.do("GET", "/v1/apps/"+notesID, "").want(t, 200)

	for query, want := range map[string][]int{
		"":                             {3, 2, 1, 0},
		"?state=archived":              {4},
		"?state=active&state=archived": {4, 2, 1, 0},
		"?search=100%25":               {0},
		"?search=_":                    {},
		"?search=silk":                 {2},
		"?category=cloth":              {2, 0},
		"?app_id=" + notesID:           {1, 0},
		"?from=2100-01-01T00:00:00Z":   {},
		"?to=2100-01-01T00:00:00%2B02:00&limit=2": {3, 2},
	} {
		var contents, wanted []string
		for _, item := range items(alice.do("GET", "/v1/memories"+query, "").want(t, 200)) {
			contents = append(contents, item["id"].(string))
		}
		for _, i := range want {
			wanted = append(wanted, ids[i])
		}
		if diff := cmp.Diff(wanted, contents); diff != "" {
			t.Errorf("list %q (-want +got):\n%s", query, diff)
		}
	}

	var paged []string
	cursor := ""
	for range 5 {
		page := alice.do("GET", "/v1/memories?limit=1"+cursor, "").want(t, 200)
		for _, item := range items(page) {
			paged = append(paged, item["id"].(string))
		}
		next, more := page["next_cursor"].(string)
		if !more {
			break
		}
		cursor = "&cursor=" + next
	}
	if diff := cmp.Diff([]string{ids[3], ids[2], ids[1], ids[0]}, paged); diff != "" {
		t.Errorf("page by page (-want +got):\n%s", diff)
	}
	// A cursor is of use for its own list only.
	for _, other := range []struct {
		caller *client
		path   string
	}{
		{alice, "/v1/memories?search=x" + cursor}, {alice, "/v1/apps?limit=1" + cursor},
		{s.client(t, "a", "bob"), "/v1/memories?limit=1" + cursor}, {s.client(t, "b", "alice"), "/v1/memories?limit=1" + cursor},
		{alice, "/v1/memories?cursor=garbage"},
	} {
		if code := other.caller.do("GET", other.path, "").want(t, 400)["code"]; code != "sealed" {
			t.Errorf("%s: code %v, want sealed", other.path, code)
		}
	}
}

func items(page map[string]any) []map[string]any {
	list, _ := page["items"].([]any)
	var out []map[string]any
	for _, item := range list {
		m, _ := item.(map[string]any)
		out = append(out, m)
	}
	return out
}
