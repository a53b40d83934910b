package httpapi_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/refold-dev/refold/events/envelope"
	"github.com/refold-dev/refold/internal/activity"
	"github.com/refold-dev/refold/internal/auth"
	"github.com/refold-dev/refold/internal/journal"
	"github.com/refold-dev/refold/internal/openmemory/sample"
	"github.com/refold-dev/refold/internal/user"
)

var (
	anID   = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`)
	aTime  = regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{6})?$`) // in UTC, and without saying so
	idText = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`)
)

// masked puts words in the place of what differs from run to run: ids and times. The seconds since 1970 are held against
// the clock on the way.
func masked(t *testing.T, v any) any {
	t.Helper()
	switch v := v.(type) {
	case map[string]any:
		for name, one := range v {
			if seconds, ok := one.(float64); ok && name == "created_at" {
				if at := time.Unix(int64(seconds), 0); time.Since(at).Abs() > time.Hour || seconds != float64(int64(seconds)) {
					t.Errorf("created_at %v is not now in whole seconds", seconds)
				}
				v[name] = "<seconds>"
				continue
			}
			v[name] = masked(t, one)
		}
	case []any:
		for i := range v {
			v[i] = masked(t, v[i])
		}
	case string:
		switch {
		case anID.MatchString(v):
			return "<id>"
		case aTime.MatchString(v):
			return "<time>"
		}
		return idText.ReplaceAllString(v, "<id>")
	}
	return v
}

// like holds an answer against the one that was written down.
func (a answer) like(t *testing.T, status int, name string) {
	t.Helper()
	if a.status != status {
		t.Errorf("%s: status %d, want %d: %s", name, a.status, status, a.body)
		return
	}
	file, err := os.ReadFile(filepath.Join("testdata", "old", name+".json"))
	check(t, err)
	var want, got any
	check(t, json.Unmarshal(file, &want))
	if err := json.Unmarshal([]byte(a.body), &got); err != nil {
		t.Errorf("%s: %v in %s", name, err, a.body)
		return
	}
	if diff := cmp.Diff(want, masked(t, got)); diff != "" {
		t.Errorf("%s (-written down +answered):\n%s", name, diff)
	}
}

// The old paths answer in the old shapes, and a client that reads what it has just written finds it, without a word of
// positions.
func TestOldShapes(t *testing.T) {
	s := newStack(t)
	c := s.client(t, "a", "alice")
	do := func(method, path, body string) answer {
		c.position = "" // old clients know of none
		return c.do(method, "/api/v1/"+path, body, "If-Match", "")
	}
	created := do("POST", "memories/", `{"user_id":"alice","text":"likes tea","metadata":{"k":1},"infer":true,"app":"notes"}`)
	created.like(t, 200, "created")
	id, _ := created.want(t, 200)["id"].(string)
	do("GET", "memories/", "").like(t, 200, "memories")
	do("GET", "memories", "").like(t, 200, "memories") // with and without the slash
	do("GET", "memories/?user_id=alice&page=2&size=1", "").like(t, 200, "memories_beyond")
	do("POST", "memories/filter", `{"user_id":"alice","page":1,"size":10,"sort_column":"memory","sort_direction":"asc"}`).like(t, 200, "filtered")
	do("POST", "memories/filter", `{"user_id":"alice","page":1,"size":10,"search_query":"","app_ids":[],"category_ids":[],"sort_column":"created_at",`+
		`"sort_direction":"desc","show_archived":false}`).like(t, 200, "filtered") // as its user interface asks
	do("GET", "memories/"+id, "").like(t, 200, "memory")
	do("PUT", "memories/"+id, `{"memory_content":"likes coffee","user_id":"alice"}`).like(t, 200, "changed")
	if m := do("GET", "memories/"+id+"/", "").want(t, 200); m["text"] != "likes coffee" {
		t.Errorf("after the change: %v", m)
	}
	do("GET", "apps/", "").like(t, 200, "apps")
	app, _ := do("GET", "memories/"+id, "").want(t, 200)["app_id"].(string)
	do("GET", "apps/"+app, "").like(t, 200, "app")
	do("GET", "apps/"+app+"/memories?page=1&page_size=5", "").like(t, 200, "app_memories")
	do("GET", "memories/categories", "").like(t, 200, "categories_none")
	do("GET", "memories/"+id+"/related", "").like(t, 200, "related_none")
	do("GET", "stats/", "").like(t, 200, "stats")
	do("PUT", "apps/"+app+"?is_active=false", "").like(t, 200, "app_set")
	if a := do("GET", "apps/"+app, "").want(t, 200); a["is_active"] != false {
		t.Errorf("a paused app: %v", a)
	}
	do("POST", "memories/", `{"text":"x","app":"notes"}`).like(t, 403, "app_paused")
	do("PUT", "apps/"+app+"?is_active=true", "").like(t, 200, "app_set")
	do("PUT", "apps/"+uuid.NewString()+"?is_active=true", "").like(t, 404, "app_absent")
	do("POST", "memories/actions/pause", `{"memory_ids":["`+id+`"],"user_id":"alice"}`).like(t, 200, "paused")
	do("POST", "memories/actions/archive", `["`+id+`"]`).like(t, 200, "archived")
	do("GET", "memories/", "").like(t, 200, "memories_none") // archived ones are not listed
	do("POST", "memories/filter", `{"show_archived":true}`).like(t, 200, "filtered_archived")
	do("DELETE", "memories/", `{"memory_ids":["`+id+`"],"user_id":"alice"}`).like(t, 200, "deleted")
	do("GET", "memories/"+id, "").like(t, 404, "memory_absent")
	do("GET", "memories/nonsense", "").like(t, 404, "memory_absent")
	do("GET", "apps/"+uuid.NewString(), "").like(t, 404, "app_absent")
	do("GET", "nowhere", "").like(t, 404, "path_absent")
	do("PATCH", "memories/", `{}`).like(t, 405, "method_wrong")
	do("GET", "memories/?user_id=bob", "").like(t, 404, "user_absent")
	do("POST", "memories/filter", `{"user_id":"bob"}`).like(t, 404, "user_absent")
	do("POST", "memories/", `{"text":""}`).like(t, 422, "text_empty")
	do("POST", "memories/filter", `{"sort_column":"memory","sort_direction":"up"}`).like(t, 400, "sort_wrong")
	do("POST", "memories/actions/pause", `{}`).like(t, 400, "pause_wrong")
	(&client{t: t, handler: s.handler}).do("GET", "/api/v1/memories/", "").like(t, 401, "unauthorized")
	s.client(t, "a", "alice", auth.AppsRead).do("GET", "/api/v1/memories/", "").like(t, 403, "scope_missing")
}

// What shares categories is related, and the categories are listed.
func TestOldCategories(t *testing.T) {
	s := newStack(t)
	c := s.client(t, "a", "alice")
	one := c.add(`{"content":"one","categories":["tea","taste"]}`)
	c.add(`{"content":"two","categories":["tea"]}`)
	c.add(`{"content":"three","categories":["taste","tea"]}`)
	c.do("GET", "/v1/memories", "").want(t, 200) // waits for the rows
	c.do("GET", "/api/v1/memories/categories", "").like(t, 200, "categories")
	related := c.do("GET", "/api/v1/memories/"+one+"/related", "")
	if got := items(related.want(t, 200)); len(got) != 2 || got[0]["content"] != "three" || got[1]["content"] != "two" {
		t.Errorf("related: %s", related.body)
	}
	if got := items(c.do("GET", "/api/v1/memories/?categories=taste,none", "").want(t, 200)); len(got) != 2 {
		t.Errorf("of a category: %v", got)
	}
	s.client(t, "a", "bob").do("GET", "/api/v1/memories/"+one+"/related", "").like(t, 404, "memory_absent")
}

// What apps accessed is told without what is deleted, with true totals, and apps are sorted by it (18).
func TestOldAccesses(t *testing.T) {
	s := newStack(t)
	s.noted(t)
	alice := s.client(t, "a", "alice")
	mine := alice.makeThings("m")
	often, gone := alice.add(`{"content":"often","app":"notes"}`), alice.add(`{"content":"gone"}`)
	app, caller := uuid.MustParse(mine.app), user.ID(known["a"].Key, "a", "alice")
	for memory, times := range map[string]int{often: 3, mine.memory: 1, gone: 2} {
		for range times {
			s.config.Reader.Activity.Record(activity.Access{Tenant: "a", User: caller, App: &app, Kind: activity.Search, Memories: []uuid.UUID{uuid.MustParse(memory)}})
		}
		alice.accesses(memory, times)
	}
	alice.do("DELETE", "/api/v1/memories/", `{"memory_ids":["`+gone+`"]}`).want(t, 200)
	do := func(path string) answer { return alice.do("GET", "/api/v1/"+path, "") }
	do("apps/"+mine.app+"/accessed").like(t, 200, "app_accessed")
	do("apps/"+mine.app+"/accessed?page=2&page_size=1").like(t, 200, "app_accessed_second")
	do("apps/"+mine.app).like(t, 200, "app_that_accessed")
	do("memories/"+often+"/access-log?page=9").like(t, 200, "access_log_beyond")
	for direction, want := range map[string][]float64{"asc": {0, 2}, "desc": {2, 0}} {
		found := do("apps/?sort_by=memories_accessed&sort_direction="+direction).want(t, 200)
		var got []float64
		for _, one := range list(found["apps"]) {
			got = append(got, one["total_memories_accessed"].(float64))
		}
		if !slices.Equal(got, want) || found["total"] != 2.0 {
			t.Errorf("apps by what they accessed, %s: %v", direction, found)
		}
	}
	second := do("apps/?sort_by=memories_accessed&page=2&page_size=1").want(t, 200)
	if found := list(second["apps"]); len(found) != 1 || found[0]["id"] != mine.app || second["total"] != 2.0 {
		t.Errorf("second page of apps by what they accessed: %v", second)
	}
}

// The list of an app's memories shows what the app may read, in items and in total: by its rules, active ones, and nothing
// while it is paused (5, 6, 18). The other list is the user's own, with the paused memories.
func TestOldListOfAnApp(t *testing.T) {
	s := newStack(t)
	c := s.client(t, "a", "alice")
	one, two := c.add(`{"content":"one","app":"notes"}`), c.add(`{"content":"two","app":"notes"}`)
	app, _ := c.do("GET", "/v1/memories/"+one, "").want(t, 200)["app"].(map[string]any)["id"].(string)
	rule := "/v1/apps/" + app + "/access-rules/" + uuid.NewString()
	for _, step := range []struct {
		method, path, body string
		all, ofApp, own    float64
	}{
		{"GET", "/v1/me", "", 2, 2, 2},
		{"PUT", rule, `{"object_type":"memory","object_id":"` + one + `","effect":"deny"}`, 2, 1, 2},
		{"PUT", rule, `{"object_type":"memory","effect":"deny"}`, 2, 0, 2},
		{"DELETE", rule, "", 2, 2, 2},
		{"POST", "/v1/memories/" + two + "/pause", "", 1, 1, 2},
		{"POST", "/v1/apps/" + app + "/pause", "", 1, 0, 2},
	} {
		c.do(step.method, step.path, step.body, "Prefer", "wait=20").want(t, 200)
		for path, want := range map[string]float64{"": step.all, "?app_id=" + app: step.ofApp, "?app_id=" + uuid.NewString(): 0} {
			if got := c.do("GET", "/api/v1/memories/"+path, "").want(t, 200); got["total"] != want || len(items(got)) != int(want) {
				t.Errorf("%s %s: memories/%s has %v, want %v", step.method, step.path, path, got["total"], want)
			}
		}
		if got := c.do("POST", "/api/v1/memories/filter", `{"app_ids":["`+app+`"]}`).want(t, 200); got["total"] != step.own {
			t.Errorf("%s %s: the filter has %v, want %v", step.method, step.path, got["total"], step.own)
		}
	}
}

// Whatever is read under the old paths says what it rests on, and waits for a position, as under the new ones; a feed has
// a position, too.
func TestOldAnswersSayWhatTheyRestOn(t *testing.T) {
	s := newStack(t)
	c := s.client(t, "a", "alice")
	mine := c.makeThings("m")
	foreign := s.client(t, "b", "alice")
	foreign.makeThings("theirs")
	reads := 0
	for _, route := range oldRouteTable {
		if route.method != "GET" && route.path != "memories/filter" && route.path != "backup/export" {
			continue
		}
		reads++
		path, body := mine.oldOwns(route.path, route.body)
		c.position = ""
		a := c.do(route.method, path, body, "Prefer", "respond-async")
		if a.status != 200 || a.header.Get("Refold-Edition") == "" || a.header.Get("Refold-Position") == "" || a.header.Get("Refold-Age-Ms") == "" {
			t.Errorf("%s %s: %d %v", route.method, path, a.status, a.header)
		}
		c.do(route.method, path, body, "Refold-Min-Position", foreign.position).want(t, 400)
	}
	if reads < 13 {
		t.Errorf("only %d routes were read", reads)
	}
	for _, path := range []string{"/v1/changes?from=begin", "/v1/tenant/changes?from=begin"} {
		a := c.do("GET", path, "")
		a.want(t, 200)
		position := a.header.Get("Refold-Position")
		if position == "" || a.header.Get("Refold-Edition") != "" {
			t.Errorf("%s: %v", path, a.header)
		}
		c.do("GET", "/v1/memories", "", "Refold-Min-Position", position).want(t, 200)
	}

	// While the rows stand still, a question that asks for more than they have is not answered from less.
	pool, err := s.db.Owner(t.Context())
	check(t, err)
	tx, err := pool.Begin(t.Context())
	check(t, err)
	_, err = tx.Exec(t.Context(), "SELECT FROM control.checkpoint FOR UPDATE")
	check(t, err)
	late := c.do("POST", "/v1/memories", `{"content":"late"}`).header.Get("Refold-Position")
	c.do("POST", "/api/v1/memories/filter", `{}`).want(t, 200)
	c.do("POST", "/api/v1/memories/filter", `{}`, "Refold-Min-Position", late).want(t, 503)
	check(t, tx.Rollback(t.Context()))
	if got := c.do("POST", "/api/v1/memories/filter", `{}`, "Refold-Min-Position", late, "Prefer", "wait=20").want(t, 200); got["total"] != 2.0 {
		t.Errorf("after the rows went on: %v", got)
	}
}

// What is given without pages has a bound, and what is beyond it is told by the total, or refused.
func TestOldListsAreNotCutSilently(t *testing.T) {
	s := newStack(t)
	c := s.client(t, "a", "alice")
	c.add(`{"content":"x","app":"notes","categories":["tea"]}`)
	c.do("GET", "/v1/memories", "").want(t, 200)
	pool, err := s.db.OwnerOf(t.Context(), s.edition)
	check(t, err)
	for _, more := range []string{
		`INSERT INTO app (tenant_id, id, version, owner_id, name, metadata, is_active, created_at, updated_at)
			SELECT tenant_id, gen_random_uuid(), version, owner_id, 'app ' || n, metadata, is_active, created_at, updated_at FROM app, generate_series(1, 10050) n`,
		`INSERT INTO category (tenant_id, id, version, name, created_at, updated_at)
			SELECT tenant_id, gen_random_uuid(), version, 'category ' || n, created_at, updated_at FROM category, generate_series(1, 10050) n`,
		`INSERT INTO memory_category (tenant_id, memory_id, category_id, version)
			SELECT c.tenant_id, m.id, c.id, 1 FROM category c, memory m WHERE c.name LIKE 'category %'`,
	} {
		_, err := pool.Exec(t.Context(), more)
		check(t, err)
	}
	for path, name := range map[string][2]string{"memories/categories": {"categories", "total"}, "stats": {"apps", "total_apps"}} {
		got := c.do("GET", "/api/v1/"+path, "").want(t, 200)
		if listed, total := len(list(got[name[0]])), got[name[1]]; listed != 10_000 || total != 10_051.0 {
			t.Errorf("%s: %d listed of %v", path, listed, total)
		}
	}
	if p := c.do("GET", "/api/v1/apps/?sort_by=memories_accessed", "").want(t, 422); gist(p) != "query/sort_by" {
		t.Errorf("%v", p)
	}
	if got := c.do("GET", "/api/v1/apps/", "").want(t, 200); got["total"] != 10_051.0 {
		t.Errorf("apps: %v", got["total"])
	}
}

// Who a request is said to be of may be told by login, as everywhere, or by id, and nothing is done for others. Who is of no
// tenant is nobody.
func TestOldUsers(t *testing.T) {
	s := newStack(t)
	c := s.client(t, "a", sample.Subject)
	id, _ := c.do("POST", "/api/v1/memories", `{"text":"x"}`).want(t, 200)["id"].(string)
	me, _ := c.do("GET", "/v1/me", "").want(t, 200)["id"].(string)
	c.do("POST", "/api/v1/memories/actions/archive?user_id="+uuid.NewString(), `["`+id+`"]`).like(t, 404, "user_absent")
	c.do("POST", "/api/v1/memories/actions/archive?user_id="+me, `["`+id+`"]`).like(t, 200, "archived")

	const named = "--x\r\nContent-Disposition: form-data; name=\"user_id\"\r\n\r\n%s\r\n"
	file := "--x\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.zip\"\r\n\r\n" + string(sampleZip(t)) + "\r\n"
	before := s.lastSeq(t)
	for _, body := range []string{file + fmt.Sprintf(named, "somebody"), fmt.Sprintf(named, "somebody") + file} {
		c.do("POST", "/api/v1/backup/import", body+"--x--\r\n", "Content-Type", "multipart/form-data; boundary=x").like(t, 404, "user_absent")
	}
	if after := s.lastSeq(t); after != before {
		t.Errorf("an import for somebody else made %d events", after-before)
	}
	c.do("POST", "/api/v1/backup/import", file+fmt.Sprintf(named, sample.Subject)+"--x--\r\n", "Content-Type", "multipart/form-data; boundary=x").like(t, 200, "imported")

	nobody := s.client(t, "nowhere", "x")
	nobody.do("POST", "/api/v1/memories", `{"text":"x"}`).like(t, 404, "user_absent")
	nobody.do("GET", "/api/v1/config", "").like(t, 200, "config_none")
	nobody.do("GET", "/api/v1/config/mem0/llm", "").like(t, 200, "config_part_none")
	nobody.do("PUT", "/api/v1/config/mem0/llm", `{}`).like(t, 404, "user_absent")
}

// gist is what an answer of the old paths says: its items by content or name, whether it is active, or where the fault is.
func gist(answer map[string]any) string {
	var words []string
	for _, member := range []string{"items", "apps", "detail"} {
		for _, one := range list(answer[member]) {
			for _, name := range []string{"content", "name"} {
				if text, ok := one[name].(string); ok {
					words = append(words, text)
				}
			}
			if place, ok := one["loc"].([]any); ok {
				words = append(words, strings.ReplaceAll(strings.Trim(fmt.Sprint(place), "[]"), " ", "/"))
			}
		}
	}
	if active, ok := answer["is_active"]; ok {
		words = append(words, fmt.Sprint(active))
	}
	return strings.Join(words, " ")
}

// Totals count what all pages together hold, whatever is filtered and sorted (4, 18).
func TestOldTotals(t *testing.T) {
	s := newStack(t)
	c := s.client(t, "a", "alice")
	var ids []string
	for i := range 7 {
		id, _ := c.do("POST", "/api/v1/memories/", fmt.Sprintf(`{"text":"memory %d","app":"app-%d"}`, i, i%2)).want(t, 200)["id"].(string)
		ids = append(ids, id)
	}
	c.do("DELETE", "/api/v1/memories/", `{"memory_ids":["`+ids[0]+`"]}`).want(t, 200)
	c.do("POST", "/api/v1/memories/actions/archive", `["`+ids[2]+`"]`).want(t, 200)
	for query, want := range map[string]int{"": 5, "&search_query=memory+3": 1, "&sort_column=app_name&sort_direction=desc": 5, "&search_query=%25": 0} {
		seen := map[any]bool{}
		for page := 1; ; page++ {
			got := c.do("GET", fmt.Sprintf("/api/v1/memories/?page=%d&size=2%s", page, query), "").want(t, 200)
			for _, item := range items(got) {
				seen[item["id"]] = true
			}
			if got["total"] != float64(want) || got["pages"] != float64((want+1)/2) {
				t.Errorf("%q page %d: total %v in %v pages, want %d", query, page, got["total"], got["pages"], want)
			}
			if float64(page) >= got["pages"].(float64) {
				break
			}
		}
		if len(seen) != want {
			t.Errorf("%q: %d memories over all pages, want %d", query, len(seen), want)
		}
	}
	app, _ := c.do("GET", "/api/v1/memories/"+ids[4], "").want(t, 200)["app_id"].(string)
	alone, listed := c.do("GET", "/api/v1/apps/"+app, "").want(t, 200), c.do("GET", "/api/v1/apps/"+app+"/memories", "").want(t, 200)
	if alone["total_memories_created"] != 3.0 || listed["total"] != 3.0 { // one of four is deleted, another archived
		t.Errorf("an app of three memories: %v alone, %v in its list", alone["total_memories_created"], listed["total"])
	}
}

// Every route asks for a token and its scope (7), and somebody without rows has empty lists (9).
func TestOldRoutesAreGuarded(t *testing.T) {
	s := newStack(t)
	nobody := &client{t: t, handler: s.handler}
	known := 0
	for _, operation := range auth.Operations() {
		if strings.HasPrefix(operation, "old:") {
			known++
		}
	}
	if known != len(oldRouteTable) {
		t.Errorf("%d old operations have a scope, %d are tried here", known, len(oldRouteTable))
	}
	for _, route := range oldRouteTable {
		path := at("/api/v1/"+route.path, uuid.NewString())
		nobody.do(route.method, path, route.body).want(t, 401)
		others := slices.DeleteFunc(auth.AllScopes(), func(scope string) bool { return scope == route.scope })
		s.client(t, "a", "alice", others...).do(route.method, path, `{"nonsense"`).want(t, 403)
		a := s.client(t, "a", "never-here").do(route.method, path, route.body)
		if route.lists && a.status != http.StatusOK || !route.lists && a.status == http.StatusOK && route.method == "GET" {
			t.Errorf("%s %s of somebody without rows: %d %s", route.method, path, a.status, a.body)
		}
		a = s.client(t, "nowhere", "x").do(route.method, path, route.body)
		if route.lists && a.status != http.StatusOK || !route.lists && a.status/100 != 4 {
			t.Errorf("%s %s of a tenant that does not exist: %d %s", route.method, path, a.status, a.body)
		}
	}
}

var oldRouteTable = []struct {
	method, path, scope, body string
	lists                     bool
}{
	{"GET", "memories/", auth.MemoriesRead, "", true},
	{"POST", "memories/", auth.MemoriesWrite, `{"text":"x"}`, false},
	{"DELETE", "memories/", auth.MemoriesDelete, `{"memory_ids":["857b6302-9179-531d-8c93-c1b379816563"]}`, false},
	{"POST", "memories/filter", auth.MemoriesRead, `{}`, true},
	{"POST", "memories/actions/archive", auth.MemoriesWrite, `["857b6302-9179-531d-8c93-c1b379816563"]`, false},
	{"POST", "memories/actions/pause", auth.MemoriesWrite, `{"memory_ids":["857b6302-9179-531d-8c93-c1b379816563"]}`, false},
	{"GET", "memories/{id}", auth.MemoriesRead, "", false},
	{"PUT", "memories/{id}", auth.MemoriesWrite, `{"memory_content":"x"}`, false},
	{"GET", "memories/categories", auth.MemoriesRead, "", true},
	{"GET", "memories/{id}/related", auth.MemoriesRead, "", false},
	{"PUT", "apps/{id}?is_active=true", auth.AppsWrite, "", false},
	{"GET", "stats/", auth.StatsRead, "", true},
	{"GET", "apps/", auth.AppsRead, "", true},
	{"GET", "apps/{id}", auth.AppsRead, "", false},
	{"GET", "apps/{id}/memories", auth.AppsRead, "", false},
	{"GET", "memories/{id}/access-log", auth.MemoriesRead, "", false},
	{"GET", "apps/{id}/accessed", auth.AppsRead, "", false},
	{"GET", "config/", auth.ConfigRead, "", true},
	{"PUT", "config/mem0/llm", auth.ConfigWrite, `{"provider":"p"}`, false},
	{"PATCH", "config/", auth.ConfigWrite, `{"mem0":{"llm":{}}}`, false},
	{"POST", "config/reset", auth.ConfigWrite, "", false},
	{"POST", "backup/export", auth.BackupRead, `{}`, false},
	{"POST", "backup/import", auth.BackupWrite, "", false},
}

// A failure is never told as a success (16), and what may be stored can be repeated.
func TestOldFailuresAreFailures(t *testing.T) {
	s := newStack(t)
	c := s.client(t, "a", "alice")
	c.do("POST", "/api/v1/memories/", `{"text":"first, so that user and app are there"}`).want(t, 200)
	before := s.lastSeq(t)
	hidden := func(*envelope.Event) error { return journal.ErrUnknown }
	s.after.Store(&hidden)
	a := c.do("POST", "/api/v1/memories/", `{"text":"in doubt"}`)
	s.after.Store(nil)
	key := a.header.Get("Idempotency-Key")
	if detail := a.want(t, 503)["detail"]; detail == nil || a.header.Get("Outcome") != "unknown" || key == "" {
		t.Fatalf("%v %s", a.header, a.body)
	}
	c.do("POST", "/api/v1/memories/", `{"text":"in doubt"}`, "Idempotency-Key", key).want(t, 200)
	if after := s.lastSeq(t); after != before+1 {
		t.Errorf("%d events, want one", after-before)
	}
}

// The old paths take exports in and out (11 to 14 by way of the same code as the new ones).
func TestOldBackup(t *testing.T) {
	s := newStack(t)
	c := s.client(t, "a", sample.Subject)
	body, kind := form(t, sampleZip(t))
	in := c.do("POST", "/api/v1/backup/import?mode=overwrite", body, "Content-Type", kind)
	in.like(t, 200, "imported")
	out := c.do("POST", "/api/v1/backup/export", `{"user_id":"`+sample.Subject+`","include_vectors":true}`)
	if out.status != 200 || out.header.Get("Content-Type") != "application/zip" ||
		out.header.Get("Content-Disposition") != "attachment; filename="+sample.FileName {
		t.Fatalf("%d %v", out.status, out.header)
	}
	if diff := cmp.Diff(document(t, sampleZip(t)), document(t, []byte(out.body))); diff != "" {
		t.Errorf("in and out (-in +out):\n%s", diff)
	}
	c.do("POST", "/api/v1/backup/import?mode=merge", body, "Content-Type", kind).like(t, 400, "mode_wrong")
	body, kind = form(t, []byte("junk"))
	c.do("POST", "/api/v1/backup/import", body, "Content-Type", kind).want(t, 400)
	s.client(t, "a", "never-here").do("POST", "/api/v1/backup/export", `{}`).like(t, 404, "user_absent")
	c.do("POST", "/api/v1/backup/export", `{"user_id":"somebody"}`).like(t, 404, "user_absent")
}
