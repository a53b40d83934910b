package httpapi_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/google/uuid"
	"github.com/refold-dev/refold/events"
	"github.com/refold-dev/refold/internal/quota"
	"github.com/refold-dev/refold/internal/reader"
	"github.com/refold-dev/refold/internal/user"
)

// contents lists what was found, best first.
func contents(page map[string]any) []string {
	found := []string{}
	for _, item := range items(page) {
		m := item
		if inner, ok := item["memory"].(map[string]any); ok {
			m = inner
		}
		found = append(found, m["content"].(string))
	}
	return found
}

func TestSearch(t *testing.T) {
	s := newStack(t)
	alice := s.client(t, "a", "alice")
	for _, content := range []string{"tea", "green tea, and tea again", "coffee or tea", "the teapot", "Green apples", "a phrase of green tea leaves", "c++ <b>bold</b> 100%", "Über Ärger"} {
		alice.add(`{"content":"` + content + `","app":"notes","categories":["drinks"]}`)
	}
	s.client(t, "a", "bob").add(`{"content":"tea of bob"}`)
	hidden := alice.add(`{"content":"archived tea"}`)
	alice.do("POST", "/v1/memories/"+hidden+"/archive", "").want(t, http.StatusOK)
	for query, want := range map[string][]string{
		"q=coffee":             {"coffee or tea"},
		"q=TEA":                {"green tea, and tea again", "tea", "coffee or tea", "a phrase of green tea leaves"},
		"q=tea+green":          {"a phrase of green tea leaves", "green tea, and tea again"},
		`q="green+tea"`:        {"a phrase of green tea leaves", "green tea, and tea again"},
		"q=tea+-green":         {"tea", "coffee or tea"},
		"q=coffee+or+apples":   {"Green apples", "coffee or tea"},
		"q=tea&state=archived": {"archived tea"},
		"q=tea&search=phrase":  {"a phrase of green tea leaves"},
		"q=tea&category=none":  {},
		"q=%25":                {},
		"q=pot&match=words":    {}, // words are found whole
		"q=pot":                {"the teapot"},
		"q=über+ärger":         {"Über Ärger"},
		"q=" + url.QueryEscape(`'; DROP TABLE memory --`): {},
	} {
		page := alice.do("GET", "/v1/memories/search?"+strings.ReplaceAll(query, `"`, "%22"), "").want(t, http.StatusOK)
		got := contents(page)
		if diff := cmp.Diff(slices.Sorted(slices.Values(want)), slices.Sorted(slices.Values(got)), cmp.Transformer("", func(s []string) []string { return append([]string{}, s...) })); diff != "" {
			t.Errorf("%s (-want +got):\n%s", query, diff)
		}
		if page["total"] != float64(len(want)) {
			t.Errorf("%s: total %v, want %d", query, page["total"], len(want))
		}
		last := 2.0
		for _, item := range items(page) {
			score := item["score"].(float64)
			if score > last || score < 0 || score > 1 {
				t.Errorf("%s: score %v behind %v", query, score, last)
			}
			last = score
		}
	}
	best := alice.do("GET", "/v1/memories/search?q=tea&limit=1&highlight=true", "").want(t, http.StatusOK)
	if got := contents(best); len(got) != 1 || got[0] != "green tea, and tea again" || best["total"] != 4.0 {
		t.Errorf("the best one: %v of %v", got, best["total"])
	}
	if highlight := items(best)[0]["highlight"]; highlight != "green «tea», and «tea» again" {
		t.Errorf("highlight %v", highlight)
	}
	for _, query := range []string{"", "q=", "q=x&recency=2", "q=x&recency=NaN", "q=x&half_life_days=0", "q=x&limit=0", "q=x&match=exact", "q=%00", "q=" + strings.Repeat("x", 1001)} {
		alice.do("GET", "/v1/memories/search?"+query, "").want(t, http.StatusBadRequest)
	}
}

// What no words find is found by likeness, and only then, unless it is asked for; what a query rules out is not.
func TestSimilar(t *testing.T) {
	s := newStack(t)
	alice := s.client(t, "a", "alice")
	for _, content := range []string{"Ann drinks coffee in the morning", "Deployments go to Kubernetes", "The teapot is blue", strings.Repeat("long ", 3000) + "kubernetes", "日本語のメモ"} {
		alice.add(fmt.Sprintf(`{"content":%q,"app":"notes"}`, content))
	}
	s.client(t, "a", "bob").add(`{"content":"Bob drinks cofee"}`)
	s.client(t, "b", "alice").add(`{"content":"another tenant's cofee"}`)
	for _, c := range []struct{ query, match, first string }{
		{"q=cofee", "similar", "Ann drinks coffee in the morning"},
		{"q=kubernets+deployment", "similar", "Deployments go to Kubernetes"},
		{"q=does+ann+drink+coffee%3F", "similar", "Ann drinks coffee in the morning"},
		{"q=what+does+ann+like+to+drink", "similar", "Ann drinks coffee in the morning"},
		{"q=BLEU+TEAPOT", "similar", "The teapot is blue"},
		{"q=日本語", "similar", "日本語のメモ"},
		{"q=coffee", "words", "Ann drinks coffee in the morning"},
		{"q=coffee&match=similar", "similar", "Ann drinks coffee in the morning"},
		{"q=cofee&match=words", "words", ""},
		{"q=xyzzy", "similar", ""},
		{"q=cofee&app_id=00000000-0000-4000-8000-000000000001", "similar", ""},
		{"q=%22cofee%22", "words", ""},
		{"q=cofee+-morning", "words", ""},
		{"q=cofee+or+xyzzy", "words", ""},
	} {
		page := alice.do("GET", "/v1/memories/search?highlight=true&"+c.query, "").want(t, http.StatusOK)
		got := contents(page)
		switch {
		case page["match"] != c.match || page["total"] != float64(len(got)) || (c.first == "") != (len(got) == 0):
			t.Errorf("%s: %v of %v found by %v: %q, want %q by %s", c.query, len(got), page["total"], page["match"], got, c.first, c.match)
		case c.first != "" && got[0] != c.first:
			t.Errorf("%s: %q first, want %q", c.query, got, c.first)
		}
		for _, item := range items(page) {
			if score := item["score"].(float64); score <= 0 || score > 1 || (item["highlight"] != nil) != (c.match == "words") {
				t.Errorf("%s: %v", c.query, item)
			}
		}
	}
}

// A search looks at so many memories, the newest, and says when there are more.
func TestSearchSaysWhatItLeavesOut(t *testing.T) {
	s := newStack(t)
	bounded := reader.New(s.live, s.db)
	bounded.LookedAtMax = 2 // and one more, to know that there are more
	s.answerFrom(bounded)
	alice := s.rebuilt(t).client(t, "a", "alice")
	for _, content := range []string{"the oldest tea", "old tea", "some coffee", "new tea", "newer tea"} {
		alice.add(`{"content":"` + content + `"}`)
	}
	for _, c := range []struct {
		query   string
		want    []string
		partial bool
	}{
		{"q=tea", []string{"old tea", "new tea", "newer tea"}, true},
		{"q=new", []string{"new tea"}, false},
		{"q=coffee", []string{"some coffee"}, false}, // the words tell the others off before they are looked at
		{"q=oldest+-coffee", nil, true},              // operators do not
		{"q=nothing", nil, true},                     // nor does likeness
		{"q=nothing&match=words", nil, false},        // but no memory has this word
		{"q=newest&match=similar", []string{"newer tea", "new tea"}, true},
		{"q=tea&search=old", []string{"old tea", "the oldest tea"}, false}, // a filter does
	} {
		page := alice.do("GET", "/v1/memories/search?"+c.query, "").want(t, http.StatusOK)
		got := contents(page)
		slices.Sort(got)
		if partial := page["partial"] == true; partial != c.partial || !slices.Equal(got, slices.Sorted(slices.Values(c.want))) {
			t.Errorf("%s: %q, partial %v, want %q, %v", c.query, got, partial, c.want, c.partial)
		}
	}
}

// Searches wait for their part of what the process searches for at a time.
func TestSearchesAreBounded(t *testing.T) {
	s := newStack(t)
	questions := quota.NewQuestions(16)
	s.config.Reader.Shares = questions
	ask := func(tenant string) int {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		r := httptest.NewRequestWithContext(ctx, http.MethodGet, "/v1/memories/search?q=tea", http.NoBody)
		r.Header.Set("Authorization", "Bearer "+s.client(t, tenant, "alice").token)
		answer := httptest.NewRecorder()
		s.handler.ServeHTTP(answer, r)
		return answer.Code
	}
	for done := false; !done; {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := questions.Take(ctx, reader.Caller{Tenant: "a", User: uuid.New()}, reader.Scan)
		done = err != nil
	}
	if mine, theirs := ask("a"), ask("b"); mine != http.StatusTooManyRequests || theirs != http.StatusOK {
		t.Errorf("a search of a tenant that has its part: %d; of another: %d", mine, theirs)
	}
}

// The age counts for as much as is asked.
func TestSearchWeighsTheAge(t *testing.T) {
	s := newStack(t)
	w := newWorld(t, s, "alice")
	w.addMemory(record{app: -1, state: events.Active, content: "tea tea tea, long ago", createdAt: time.Now().AddDate(-1, 0, 0), updatedAt: time.Now()})
	w.addMemory(record{app: -1, state: events.Active, content: "some tea of today", createdAt: time.Now().Add(-time.Minute), updatedAt: time.Now()})
	alice := s.client(t, "a", "alice")
	alice.add(`{"content":"a mark"}`)
	for query, first := range map[string]string{"": "tea tea tea, long ago", "&recency=1": "some tea of today", "&recency=1&half_life_days=1": "some tea of today"} {
		if got := contents(alice.do("GET", "/v1/memories/search?q=tea"+query, "").want(t, http.StatusOK)); got[0] != first {
			t.Errorf("search %q: %q first, want %q", query, got, first)
		}
	}
	old := items(alice.do("GET", "/v1/memories/search?q=tea&recency=1&half_life_days=365.25", "").want(t, http.StatusOK))[1]["score"].(float64)
	if old < 0.49 || old > 0.51 {
		t.Errorf("a memory that is one half-life old scores %v", old)
	}
}

// What a search finds is what the access rules of the app allow, like every list.
func TestEveryReaderFollowsTheAccessRules(t *testing.T) {
	s := newStack(t)
	w := newWorld(t, s, "alice")
	w.addApp("reading")
	w.addApp("writing")
	w.addCategory("drinks")
	for i := range 6 {
		w.addMemory(record{app: i%2 - 1 + i%2, state: events.Active, content: fmt.Sprint("tea ", i), categories: []int{0}, createdAt: w.base, updatedAt: w.base})
	}
	alice := s.client(t, "a", "alice")
	catch := func() {
		id := alice.add(`{"content":"a mark"}`)
		alice.do("DELETE", "/v1/memories/"+id, "").want(t, http.StatusOK)
	}
	as := "as_app=" + w.appIDs[0].String()
	look := func(want int, why string) {
		t.Helper()
		catch()
		stats := alice.do("GET", "/v1/stats?"+as, "").want(t, http.StatusOK)
		search := alice.do("GET", "/v1/memories/search?q=tea&"+as, "").want(t, http.StatusOK)
		similar := alice.do("GET", "/v1/memories/search?q=teas&match=similar&"+as, "").want(t, http.StatusOK)
		list := alice.do("GET", "/v1/memories?count=true&"+as, "").want(t, http.StatusOK)
		inApps := 0.0
		for _, one := range items(alice.do("GET", "/v1/apps?"+as, "").want(t, http.StatusOK)) {
			inApps += one["memories"].(float64)
		}
		inCategories := 0.0
		for _, one := range items(alice.do("GET", "/v1/categories?"+as, "").want(t, http.StatusOK)) {
			inCategories += one["memories"].(float64)
		}
		wantInApps := 0
		readable := 0
		for _, m := range w.records {
			reads := w.mayRead(0, m)
			path := "/v1/memories/" + m.id.String()
			status := map[bool]int{true: http.StatusOK, false: http.StatusNotFound}[reads]
			for _, part := range []string{"", "/history", "/related"} {
				if got := alice.do("GET", path+part+"?"+as, "").status; got != status {
					t.Errorf("%s: %s of memory %q: %d, want %d", why, part, m.content, got, status)
				}
			}
			if reads {
				readable++
				if m.app >= 0 {
					wantInApps++
				}
			}
		}
		got := []any{stats["memories"], search["total"], similar["total"], list["total"], float64(len(items(list))), inCategories, inApps}
		n := float64(want)
		if diff := cmp.Diff([]any{n, n, n, n, n, n, float64(wantInApps)}, got); diff != "" || readable != want {
			t.Errorf("%s: the model reads %d (-want +got):\n%s", why, readable, diff)
		}
	}
	look(6, "no rules")
	w.addRule(0, rule{"memory", w.records[0].id.String(), events.Deny})
	look(5, "only deny")
	w.addRule(0, rule{"memory", "", events.Allow})
	look(5, "an allow-all beside a deny")
	w.addRule(0, rule{"app", w.appIDs[1].String(), events.Deny})
	look(2, "a denied app")
	w.addApp("narrow")
	as = "as_app=" + w.appIDs[2].String()
	w.rules[0], w.rules[2] = nil, nil
	absent := rule{"memory", "00000000-0000-4000-8000-000000000001", events.Allow}
	w.addRule(2, absent)
	w.rules[0] = []rule{absent}
	look(0, "an allow that matches nothing")
	for _, users := range []struct {
		rule rule
		want int
	}{
		{rule{"user", user.ID(known["a"].Key, "a", "bob").String(), events.Allow}, 0},
		{rule{"user", w.user.String(), events.Allow}, 6},
		{rule{"user", user.ID(known["a"].Key, "a", "bob").String(), events.Deny}, 6},
		{rule{"user", "", events.Deny}, 0},
	} {
		w.addRule(2, users.rule)
		w.rules[0] = w.rules[2]
		look(users.want, fmt.Sprint("then ", users.rule))
	}
	as = "as_app=" + w.appIDs[1].String()
	w.pauseApp(1)
	w.paused[0] = true
	look(0, "a paused app")
	as = "as_app=00000000-0000-4000-8000-000000000002"
	look(0, "an app that is not there")
}

func TestRelatedMemoriesAndCategories(t *testing.T) {
	s := newStack(t)
	alice := s.client(t, "a", "alice")
	ids := map[string]string{}
	for _, m := range []struct{ content, categories string }{
		{"one", `["a","b","c"]`}, {"two", `["a"]`}, {"three", `["b","c"]`}, {"four", `["d"]`}, {"five", `["c"]`}, {"six", `["a","b","c","d"]`}, {"seven", `["a"]`},
	} {
		ids[m.content] = alice.add(`{"content":"` + m.content + `","categories":` + m.categories + `}`)
	}
	s.client(t, "a", "bob").add(`{"content":"of bob","categories":["a","b","c"]}`)
	s.client(t, "b", "alice").add(`{"content":"of another tenant","categories":["a","b","c"]}`)
	alice.do("DELETE", "/v1/memories/"+ids["seven"], "").want(t, http.StatusOK)
	alice.do("POST", "/v1/memories/"+ids["five"]+"/archive", "").want(t, http.StatusOK)
	path := "/v1/memories/" + ids["one"] + "/related?count=true"
	all := alice.do("GET", path, "").want(t, http.StatusOK)
	if diff := cmp.Diff([]string{"six", "three", "five", "two"}, contents(all)); diff != "" || all["total"] != 4.0 {
		t.Errorf("related, total %v (-want +got):\n%s", all["total"], diff)
	}
	if shared := items(all)[0]["shared"]; shared != 3.0 {
		t.Errorf("the first shares %v categories, want 3", shared)
	}
	var paged []string
	for cursor, more := "", true; more; {
		page := alice.do("GET", path+"&limit=1"+cursor, "").want(t, http.StatusOK)
		paged = append(paged, contents(page)...)
		var next string
		if next, more = page["next_cursor"].(string); more {
			cursor = "&cursor=" + next
		}
	}
	if diff := cmp.Diff(contents(all), paged); diff != "" {
		t.Errorf("related page by page (-want +got):\n%s", diff)
	}
	categories := alice.do("GET", "/v1/categories?count=true&limit=2", "").want(t, http.StatusOK)
	numbers := map[string]float64{}
	for page := categories; ; {
		for _, c := range items(page) {
			numbers[c["name"].(string)] = c["memories"].(float64)
		}
		next, more := page["next_cursor"].(string)
		if !more {
			break
		}
		page = alice.do("GET", "/v1/categories?count=true&limit=2&cursor="+next, "").want(t, http.StatusOK)
	}
	if diff := cmp.Diff(map[string]float64{"a": 3, "b": 3, "c": 3, "d": 2}, numbers); diff != "" || categories["total"] != 4.0 {
		t.Errorf("categories, total %v (-want +got):\n%s", categories["total"], diff)
	}
}

// An app can be paused and takes no new memories then; what is said about it is changed under its version.
func TestLifeOfAnApp(t *testing.T) {
	s := newStack(t)
	alice := s.client(t, "a", "alice")
	alice.add(`{"content":"one","app":"notes"}`)
	deleted := alice.add(`{"content":"two","app":"notes"}`)
	alice.do("DELETE", "/v1/memories/"+deleted, "").want(t, http.StatusOK)
	alice.add(`{"content":"three","app":"shop"}`)
	alice.add(`{"content":"four","app":"shop"}`)
	apps := items(alice.do("GET", "/v1/apps?sort=memories&count=true", "").want(t, http.StatusOK))
	if len(apps) != 2 || apps[0]["name"] != "shop" || apps[0]["memories"] != 2.0 || apps[1]["memories"] != 1.0 {
		t.Fatalf("apps by memories: %v", apps)
	}
	path := "/v1/apps/" + apps[1]["id"].(string)
	inApp := alice.do("GET", path+"/memories?count=true", "").want(t, http.StatusOK)
	if diff := cmp.Diff([]string{"one"}, contents(inApp)); diff != "" || inApp["total"] != 1.0 {
		t.Errorf("memories of the app, total %v:\n%s", inApp["total"], diff)
	}
	alice.do("POST", path+"/pause", "").want(t, http.StatusOK)
	if a := alice.do("GET", path, "").want(t, http.StatusOK); a["active"] != false || a["version"] != 2.0 {
		t.Errorf("after the pause: %v", a)
	}
	if code := alice.do("POST", "/v1/memories", `{"content":"x","app":"notes"}`).want(t, http.StatusForbidden)["code"]; code != "app_paused" {
		t.Errorf("code %v", code)
	}
	if nothing := alice.do("POST", path+"/pause", "").want(t, http.StatusOK); nothing["changed"] != false {
		t.Errorf("paused twice: %v", nothing)
	}
	alice.do("POST", path+"/activate", "").want(t, http.StatusOK)
	alice.do("GET", path, "").want(t, http.StatusOK)
	alice.add(`{"content":"five","app":"notes"}`)
	alice.do("PATCH", path, `{"description":"d","metadata":{"a":1}}`, "If-Match", "").want(t, http.StatusPreconditionRequired)
	alice.do("PATCH", path, `{"description":"d","metadata":{"a":1}}`, "If-Match", `"2"`).want(t, http.StatusPreconditionFailed)
	alice.do("PATCH", path, `{"description":"d","metadata":{"a":1}}`, "If-Match", `"3"`).want(t, http.StatusOK)
	alice.do("PATCH", path, `{"description":""}`).want(t, http.StatusOK)
	a := alice.do("GET", path, "").want(t, http.StatusOK)
	if _, has := a["description"]; has || !cmp.Equal(a["metadata"], map[string]any{"a": 1.0}) {
		t.Errorf("after the changes: %v", a)
	}
	alice.do("PATCH", path, `{}`).want(t, http.StatusUnprocessableEntity)
}

// One login in two tenants is two users, with the same e-mail and the same categories, and nobody hears of the other.
func TestOneLoginInTwoTenants(t *testing.T) {
	s := newStack(t)
	alice, other := s.client(t, "a", "alice"), s.client(t, "b", "alice")
	nothing := alice.do("GET", "/v1/me", "").want(t, http.StatusOK)
	if nothing["version"] != 0.0 || nothing["subject"] != "alice" {
		t.Errorf("before anything is stored: %v", nothing)
	}
	for _, path := range []string{"/v1/memories", "/v1/apps", "/v1/categories", "/v1/memories/search?q=x"} {
		if page := alice.do("GET", path, "").want(t, http.StatusOK); len(items(page)) != 0 {
			t.Errorf("%s of an unknown user: %v", path, page)
		}
	}
	for _, c := range []*client{alice, other} {
		c.do("PATCH", "/v1/me", `{"name":"Alice","email":"alice@example.org"}`, "If-Match", `"0"`).want(t, http.StatusOK)
		c.do("PATCH", "/v1/me", `{"name":"Alice"}`, "If-Match", `"0"`).want(t, http.StatusPreconditionFailed)
		c.add(`{"content":"x","categories":["same"]}`)
	}
	alice.do("PATCH", "/v1/me", `{"email":"","metadata":{"a":1}}`).want(t, http.StatusOK)
	me, they := alice.do("GET", "/v1/me", "").want(t, http.StatusOK), other.do("GET", "/v1/me", "").want(t, http.StatusOK)
	if _, has := me["email"]; has || me["name"] != "Alice" || me["version"] != 2.0 {
		t.Errorf("after the change: %v", me)
	}
	if they["email"] != "alice@example.org" || they["version"] != 1.0 || they["id"] == me["id"] {
		t.Errorf("in the other tenant: %v", they)
	}
	mine := items(alice.do("GET", "/v1/categories", "").want(t, http.StatusOK))
	theirs := items(other.do("GET", "/v1/categories", "").want(t, http.StatusOK))
	if len(mine) != 1 || len(theirs) != 1 || mine[0]["id"] == theirs[0]["id"] || mine[0]["memories"] != 1.0 {
		t.Errorf("categories %v and %v", mine, theirs)
	}
	for _, body := range []string{`{}`, `{"name":"` + strings.Repeat("x", 2000) + `"}`, `{"metadata":[]}`, `{"subject":"bob"}`} {
		alice.do("PATCH", "/v1/me", body).want(t, http.StatusUnprocessableEntity)
	}
}
