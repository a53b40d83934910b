package httpapi_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/refold-dev/refold/events/envelope"
	"github.com/refold-dev/refold/internal/fold"
	"github.com/refold-dev/refold/internal/journal"
	"github.com/refold-dev/refold/internal/problem"
	"github.com/refold-dev/refold/internal/reader"
	"github.com/refold-dev/refold/internal/verify"
	"github.com/refold-dev/refold/internal/versions"
)

// numbers are those of a page of versions.
func numbers(page map[string]any) (out []float64) {
	for _, v := range items(page) {
		n, _ := v["version"].(float64)
		out = append(out, n)
	}
	return out
}

// without leaves out what differs from run to run.
func without(v map[string]any, names ...string) map[string]any {
	for _, name := range names {
		delete(v, name)
	}
	return v
}

// TestVersions follows a memory through everything that changes it, and reads each version as it stood. Another edition, made
// from the journal, answers the same.
func TestVersions(t *testing.T) {
	s := newStack(t)
	alice := s.client(t, "a", "alice")
	path := "/v1/memories/" + alice.add(`{"content":"likes tea","app":"notes","categories":["drinks","taste"],"metadata":{"n":1}}`)
	alice.do("PATCH", path, `{"content":"likes coffee"}`).want(t, http.StatusOK)
	alice.do("PATCH", path, `{"categories":["drinks"],"metadata":{}}`).want(t, http.StatusOK)
	alice.do("POST", path+"/pause", "").want(t, http.StatusOK)
	alice.do("DELETE", path, "").want(t, http.StatusOK)
	for _, gone := range []string{path + "/versions", path + "/versions/1"} {
		alice.do("GET", gone, "").want(t, http.StatusNotFound)
	}
	alice.do("POST", path+"/restore", `{"version":1}`).want(t, http.StatusNotFound)
	if back := alice.do("POST", path+"/undelete", "").want(t, http.StatusOK); back["version"] != 6.0 || back["changed"] != true {
		t.Errorf("undelete: %v", back)
	}
	if again := alice.do("POST", path+"/undelete", "").want(t, http.StatusOK); again["version"] != 6.0 || again["changed"] != false {
		t.Errorf("undelete what is not deleted: %v", again)
	}
	live := alice.do("GET", path, "").want(t, http.StatusOK)
	if live["state"] != "active" || live["content"] != "likes coffee" || !cmp.Equal(live["categories"], []any{"drinks"}) {
		t.Errorf("after undelete: %v", live)
	}

	app, _ := live["app"].(map[string]any)
	me := alice.do("GET", "/v1/me", "").want(t, http.StatusOK)["id"]
	version := func(number float64, kind, content, state string, categories []any, metadata map[string]any, changed []any, before map[string]any) map[string]any {
		v := map[string]any{
			"version": number, "kind": kind, "changed_by": me, "content": content, "state": state, "categories": categories,
			"metadata": metadata, "app": app, "changed": changed,
		}
		if before != nil {
			v["before"] = before
		}
		return v
	}
	both, drinks, one, none := []any{"drinks", "taste"}, []any{"drinks"}, map[string]any{"n": 1.0}, map[string]any{}
	want := []map[string]any{
		version(6, "memory.activated.v1", "likes coffee", "active", drinks, none, []any{"state"}, map[string]any{"state": "deleted"}),
		version(5, "memory.deleted.v1", "likes coffee", "deleted", drinks, none, []any{"state"}, map[string]any{"state": "paused"}),
		version(4, "memory.paused.v1", "likes coffee", "paused", drinks, none, []any{"state"}, map[string]any{"state": "active"}),
		version(3, "memory.changed.v1", "likes coffee", "active", drinks, none, []any{"metadata", "categories"}, map[string]any{"metadata": one, "categories": both}),
		version(2, "memory.changed.v1", "likes coffee", "active", both, one, []any{"content"}, map[string]any{"content": "likes tea"}),
		version(1, "memory.added.v1", "likes tea", "active", both, one, []any{}, nil),
	}
	same := func(what string) {
		t.Helper()
		list := alice.do("GET", path+"/versions", "")
		got := items(list.want(t, http.StatusOK))
		for i, v := range got {
			alone := alice.do("GET", path+"/versions/"+fmt.Sprint(v["version"]), "")
			if diff := cmp.Diff(v, alone.want(t, http.StatusOK)); diff != "" {
				t.Errorf("%s: version %v (-in the list +alone):\n%s", what, v["version"], diff)
			}
			if at, _ := v["at"].(string); at == "" || !strings.HasPrefix(alone.header.Get("ETag"), `"6.`) || alone.header.Get("Refold-Edition") == "" {
				t.Errorf("%s: at %v, headers %v", what, v["at"], alone.header)
			}
			got[i] = without(v, "at")
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", what, diff)
		}
		for _, name := range []string{"Refold-Edition", "Refold-Position", "Refold-Age-Ms"} {
			if list.header.Get(name) == "" {
				t.Errorf("%s: no %s", what, name)
			}
		}
	}
	same("as it was written")
	for _, none := range []string{"0", "7", "-1", "x", "1.0", "99999999999999999999"} {
		if a := alice.do("GET", path+"/versions/"+none, ""); a.body != alice.do("GET", "/v1/memories/"+uuid.NewString()+"/versions/1", "").body {
			t.Errorf("version %s: %d %s", none, a.status, a.body)
		}
	}
	tag := alice.do("GET", path+"/versions/1", "").header.Get("ETag")
	if a := alice.do("GET", path+"/versions/1", "", "If-None-Match", tag); a.status != http.StatusNotModified {
		t.Errorf("If-None-Match: %d", a.status)
	}

	var paged []float64
	for cursor, pages := "", 0; pages < 4; pages++ {
		page := alice.do("GET", path+"/versions?limit=2"+cursor, "").want(t, http.StatusOK)
		paged = append(paged, numbers(page)...)
		next, more := page["next_cursor"].(string)
		if !more {
			break
		}
		cursor = "&cursor=" + next
		for what, a := range map[string]answer{
			"another memory": alice.do("GET", "/v1/memories/"+alice.add(`{"content":"x"}`)+"/versions?limit=2"+cursor, ""),
			"another user":   s.client(t, "a", "bob").do("GET", path+"/versions?limit=2"+cursor, ""),
		} {
			if a.status != http.StatusBadRequest {
				t.Errorf("the cursor is taken for %s: %d", what, a.status)
			}
		}
	}
	if diff := cmp.Diff([]float64{6, 5, 4, 3, 2, 1}, paged); diff != "" {
		t.Errorf("page by page (-want +got):\n%s", diff)
	}

	next, err := s.editions.Build(t.Context(), nil)
	check(t, err)
	check(t, s.editions.CatchUp(t.Context(), next, nil))
	_, err = verify.Run(t.Context(), verify.Config{DB: s.db, Shard: s.journal, Edition: next, Schema: fold.Tables, Fold: fold.Apply, Shape: s.editions.Shape})
	check(t, err)
	_, err = s.editions.Cutover(t.Context(), next)
	check(t, err)
	check(t, s.live.Refresh(t.Context(), s.db))
	same("from another edition")
	if diff := cmp.Diff(live, alice.do("GET", path, "").want(t, http.StatusOK)); diff != "" {
		t.Errorf("the memory in another edition (-before +after):\n%s", diff)
	}
}

func TestRestoreOverHTTP(t *testing.T) {
	s := newStack(t)
	alice := s.client(t, "a", "alice")
	path := "/v1/memories/" + alice.add(`{"content":"one","categories":["drinks"],"metadata":{"n":1}}`)
	alice.do("PATCH", path, `{"content":"two","categories":[],"metadata":{}}`).want(t, http.StatusOK)
	alice.do("POST", path+"/archive", "").want(t, http.StatusOK)
	before := s.lastSeq(t)
	for what, c := range map[string]struct {
		body    string
		headers []string
		status  int
		code    string
	}{
		"without If-Match":   {`{"version":1}`, []string{"If-Match", ""}, http.StatusPreconditionRequired, "precondition_required"},
		"at another version": {`{"version":1}`, []string{"If-Match", `"2"`}, http.StatusPreconditionFailed, "precondition_failed"},
		"to come":            {`{"version":4}`, nil, http.StatusUnprocessableEntity, "invalid"},
		"version 0":          {`{"version":0}`, nil, http.StatusUnprocessableEntity, "invalid"},
		"no version":         {`{}`, nil, http.StatusUnprocessableEntity, "invalid"},
		"more":               {`{"version":1,"content":"x"}`, nil, http.StatusUnprocessableEntity, "invalid"},
	} {
		if a := alice.do("POST", path+"/restore", c.body, c.headers...); a.want(t, c.status)["code"] != c.code {
			t.Errorf("%s: %s", what, a.body)
		}
	}
	if after := s.lastSeq(t); after != before {
		t.Errorf("refused commands made %d events", after-before)
	}
	// The ETag of the version that was read is that of the memory.
	tag := alice.do("GET", path+"/versions/1", "").header.Get("ETag")
	done := alice.do("POST", path+"/restore", `{"version":1}`, "If-Match", tag, "Idempotency-Key", "r").want(t, http.StatusOK)
	if done["version"] != 4.0 || done["changed"] != true {
		t.Errorf("restored: %v", done)
	}
	alice.do("PATCH", path, `{"content":"three"}`).want(t, http.StatusOK)
	if again := alice.do("POST", path+"/restore", `{"version":1}`, "If-Match", tag, "Idempotency-Key", "r").want(t, http.StatusOK); again["version"] != 4.0 {
		t.Errorf("repeated: %v", again)
	}
	if other := alice.do("POST", path+"/restore", `{"version":2}`, "Idempotency-Key", "r").want(t, http.StatusUnprocessableEntity); other["code"] != "key_reused" {
		t.Errorf("another version under the same key: %v", other)
	}
	alice.do("POST", path+"/restore", `{"version":4}`).want(t, http.StatusOK)
	m := alice.do("GET", path, "").want(t, http.StatusOK)
	if m["content"] != "one" || m["state"] != "archived" || !cmp.Equal(m["categories"], []any{"drinks"}) || !cmp.Equal(m["metadata"], map[string]any{"n": 1.0}) {
		t.Errorf("after restore: %v", m)
	}
	if same := alice.do("POST", path+"/restore", `{"version":1}`).want(t, http.StatusOK); same["changed"] != false || same["version"] != 6.0 {
		t.Errorf("what is so already: %v", same)
	}
	v := alice.do("GET", path+"/versions/4", "").want(t, http.StatusOK)
	if v["kind"] != "memory.changed.v1" || !cmp.Equal(v["changed"], []any{"content", "metadata", "categories"}) {
		t.Errorf("the version that restored: %v", v)
	}
}

// TestVersionsThroughAnApp: rules bind old versions as they bind rows, whatever the memory is now; what they keep from the app
// is not shown by the version after it either.
func TestVersionsThroughAnApp(t *testing.T) {
	s := newStack(t)
	alice := s.client(t, "a", "alice")
	path := "/v1/memories/" + alice.add(`{"content":"a secret","app":"notes","categories":["secret"]}`)
	alice.do("PATCH", path, `{"content":"no secret","categories":["open"]}`).want(t, http.StatusOK)
	alice.do("PATCH", path, `{"content":"open to all"}`).want(t, http.StatusOK)
	app, _ := alice.do("GET", path, "").want(t, http.StatusOK)["app"].(map[string]any)["id"].(string)
	as := "?as_app=" + app
	secret, open := s.categoryOf(t, alice, "secret"), s.categoryOf(t, alice, "open")
	rule := "/v1/apps/" + app + "/access-rules/" + ruleID
	memory := strings.TrimPrefix(path, "/v1/memories/")
	for body, want := range map[string][]float64{
		`{"object_type":"category","object_id":"` + secret + `","effect":"deny"}`:       {3, 2},
		`{"object_type":"category","object_id":"` + open + `","effect":"allow"}`:        {3, 2},
		`{"object_type":"category","effect":"allow"}`:                                   {3, 2, 1},
		`{"object_type":"memory","object_id":"` + memory + `","effect":"allow"}`:        {3, 2, 1},
		`{"object_type":"app","object_id":"` + app + `","effect":"allow"}`:              {3, 2, 1},
		`{"object_type":"user","effect":"allow"}`:                                       {3, 2, 1},
		`{"object_type":"user","object_id":"` + uuid.NewString() + `","effect":"deny"}`: {3, 2, 1},
		`{"object_type":"memory","effect":"deny"}`:                                      nil,
		`{"object_type":"category","object_id":"` + secret + `","effect":"allow"}`:      nil,
	} {
		alice.do("PUT", rule, body).want(t, http.StatusOK)
		a := alice.do("GET", path+"/versions"+as, "")
		if want == nil {
			a.want(t, http.StatusNotFound)
			continue
		}
		if diff := cmp.Diff(want, numbers(a.want(t, http.StatusOK))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", body, diff)
		}
		if hidden := len(want) < 3; hidden != !strings.Contains(a.body, "a secret") {
			t.Errorf("%s: %s", body, a.body)
		} else if hidden {
			alice.do("GET", path+"/versions/1"+as, "").want(t, http.StatusNotFound)
			if v := alice.do("GET", path+"/versions/2"+as, "").want(t, http.StatusOK); v["before"] != nil || len(v["changed"].([]any)) != 2 {
				t.Errorf("%s: the version after it %v", body, v)
			}
		}
	}
	// For every version the rules say what they say of its row.
	rows := "/v1/memories/" + alice.add(`{"content":"a secret","app":"notes","categories":["secret"]}`)
	for _, body := range []string{
		`{"object_type":"category","object_id":"` + secret + `","effect":"deny"}`, `{"object_type":"category","object_id":"` + open + `","effect":"allow"}`,
		`{"object_type":"category","effect":"deny"}`, `{"object_type":"app","effect":"deny"}`, `{"object_type":"app","object_id":"` + uuid.NewString() + `","effect":"allow"}`,
		`{"object_type":"memory","object_id":"` + uuid.NewString() + `","effect":"allow"}`, `{"object_type":"user","effect":"deny"}`,
	} {
		alice.do("PUT", rule, body).want(t, http.StatusOK)
		if row, v := alice.do("GET", rows+as, ""), alice.do("GET", rows+"/versions/1"+as, ""); row.status != v.status {
			t.Errorf("%s: the memory %d, its version %d", body, row.status, v.status)
		}
	}
	alice.do("POST", "/v1/apps/"+app+"/pause", "").want(t, http.StatusOK)
	alice.do("GET", path+"/versions"+as, "").want(t, http.StatusNotFound)
}

// TestVersionsThatAreLarge: pages end early, and a history is never read at once.
func TestVersionsThatAreLarge(t *testing.T) {
	s := newStack(t)
	alice := s.client(t, "a", "alice")
	id := alice.add(`{"content":"first"}`)
	const last = 25
	for i := 2; i <= last; i++ {
		content := fmt.Sprintf("%03d", i) + strings.Repeat("x", 250_000)
		alice.do("PATCH", "/v1/memories/"+id, `{"content":"`+content+`"}`).want(t, http.StatusOK)
	}
	var met []float64
	for cursor, pages := "", 1; ; pages++ {
		a := alice.do("GET", "/v1/memories/"+id+"/versions?limit=100"+cursor, "")
		page := a.want(t, http.StatusOK)
		if met = append(met, numbers(page)...); len(a.body) > 5<<20 {
			t.Errorf("page %d has %d bytes", pages, len(a.body))
		}
		next, more := page["next_cursor"].(string)
		if !more {
			break
		}
		if cursor = "&cursor=" + next; pages > last {
			t.Fatal("the pages do not end")
		}
	}
	if len(met) != last || met[0] != last || met[last-1] != 1 {
		t.Errorf("versions %v", met)
	}
}

// unread is a journal whose histories cannot be visited.
type unread struct {
	journal.Shard
	err error
}

func (u unread) Visit(context.Context, envelope.Key, uint64, func(*envelope.Event) error) error {
	return u.err
}

// TestVersionsTakeTurns: whoever reads versions takes a place among those who read the journal, and gives it back.
func TestVersionsTakeTurns(t *testing.T) {
	s := newStack(t)
	alice := s.client(t, "a", "alice")
	path := "/v1/memories/" + alice.add(`{"content":"x"}`)
	taken, given := 0, 0
	refuse := false
	s.config.Versions.Reading = func(_ context.Context, c reader.Caller) (func(), error) {
		if c.Tenant != "a" || c.User == uuid.Nil {
			t.Errorf("asked for %+v", c)
		}
		if refuse {
			return nil, &problem.Problem{Status: http.StatusTooManyRequests, Code: "too_many_requests"}
		}
		taken++
		return func() { given++ }, nil
	}
	for _, question := range []string{path + "/versions", path + "/versions/1"} {
		alice.do("GET", question, "").want(t, http.StatusOK)
	}
	alice.do("GET", "/v1/memories/"+uuid.NewString()+"/versions", "").want(t, http.StatusNotFound)
	if taken != 2 || given != 2 {
		t.Errorf("%d places were taken, %d given back, want 2: what is absent takes none", taken, given)
	}
	refuse = true
	alice.do("GET", path+"/versions", "").want(t, http.StatusTooManyRequests)

	rows := s.config.Reader
	for what, fault := range map[string]error{"an event that is not there": journal.ErrNoEvent, "a journal that is away": errors.New("away")} {
		s.config.Versions = versions.New(func(int) journal.Shard { return unread{s.journal, fault} }, rows)
		broken := s.rebuilt(t).client(t, "a", "alice")
		broken.position = alice.position
		if p := broken.do("GET", path+"/versions", "").want(t, http.StatusServiceUnavailable); p["retryable"] != true {
			t.Errorf("%s: %v", what, p)
		}
	}
}
