package httpapi_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/refold-dev/refold/events"
	"github.com/refold-dev/refold/events/envelope"
	"github.com/refold-dev/refold/internal/app"
	"github.com/refold-dev/refold/internal/category"
	execution "github.com/refold-dev/refold/internal/command"
	"github.com/refold-dev/refold/internal/memory"
	"github.com/refold-dev/refold/internal/user"
)

// record is a memory as the model of a reader has it.
type record struct {
	id                   uuid.UUID
	content              string
	app                  int // index into the names; -1 = none
	state                events.State
	categories           []int
	metadata             string
	createdAt, updatedAt time.Time
}

// rule is an access rule as the model has it: of the type, and about the object, "" = all.
type rule struct {
	objectType, object string
	effect             events.Effect
}

// world is what one user has, in the model and in the rows alike.
type world struct {
	t             *testing.T
	s             *stack
	user          uuid.UUID
	apps          []string
	appIDs        []uuid.UUID
	paused        []bool
	rules         [][]rule // by app
	categories    []string
	categoryIDs   []uuid.UUID
	records       []record
	base          time.Time
	random        *rand.Rand
	commandNumber int
}

const modelTenant = "a"

func newWorld(t *testing.T, s *stack, subject string) *world {
	tenant := known[modelTenant]
	return &world{
		t: t, s: s, user: user.ID(tenant.Key, tenant.ID, subject), random: rand.New(rand.NewPCG(1, 2)),
		base: time.Date(2025, 3, 1, 12, 0, 0, 0, time.UTC),
	}
}

// execute puts a command to the rules of its entity, as importers do.
func execute[S, C any, E execution.Payload](w *world, entity string, id uuid.UUID, evolve execution.Evolve[S], decide execution.Decide[S, C, E], cmd C) {
	w.t.Helper()
	w.commandNumber++
	_, err := execution.Execute(w.t.Context(), w.s.journal, execution.Request{
		Key: envelope.Key{Tenant: modelTenant, Entity: entity, ID: id.String()}, TenantKey: known[modelTenant].Key,
		CommandID: fmt.Sprint("world-", w.user, w.commandNumber), RequestHash: fmt.Sprint(w.commandNumber), Actor: w.user.String(),
	}, evolve, decide, cmd)
	var refusal *execution.Refusal
	if errors.As(err, &refusal) && refusal.Code == execution.Exists {
		return // categories are the tenant's
	}
	check(w.t, err)
}

func (w *world) addApp(name string) {
	id := app.ID(known[modelTenant].Key, modelTenant, w.user, name)
	execute(w, app.Entity, id, app.Evolve, app.Decide, app.Command(app.Register{OwnerID: w.user, Name: name, Active: true}))
	w.apps, w.appIDs, w.paused, w.rules = append(w.apps, name), append(w.appIDs, id), append(w.paused, false), append(w.rules, nil)
}

func (w *world) pauseApp(i int) {
	execute(w, app.Entity, w.appIDs[i], app.Evolve, app.Decide, app.Command(app.Pause{By: w.user}))
	w.paused[i] = true
}

func (w *world) addRule(i int, r rule) {
	cmd := app.Rule{By: w.user, RuleID: uuid.New(), ObjectType: r.objectType, Effect: r.effect}
	if r.object != "" {
		id := uuid.MustParse(r.object)
		cmd.ObjectID = &id
	}
	execute(w, app.Entity, w.appIDs[i], app.Evolve, app.Decide, app.Command(cmd))
	w.rules[i] = append(w.rules[i], r)
}

func (w *world) addCategory(name string) {
	id := category.ID(known[modelTenant].Key, modelTenant, name)
	execute(w, category.Entity, id, category.Evolve, category.Decide, category.Command(category.Define{Name: name}))
	w.categories, w.categoryIDs = append(w.categories, name), append(w.categoryIDs, id)
}

func (w *world) addMemory(r record) {
	r.id = uuid.New()
	if r.metadata == "" {
		r.metadata = "{}"
	}
	cmd := memory.Import{UserID: w.user, Content: r.content, Metadata: json.RawMessage(r.metadata), State: r.state, CreatedAt: r.createdAt, UpdatedAt: r.updatedAt}
	if r.app >= 0 {
		cmd.AppID = &w.appIDs[r.app]
	}
	for _, c := range r.categories {
		cmd.CategoryIDs = append(cmd.CategoryIDs, w.categoryIDs[c])
	}
	execute(w, memory.Entity, r.id, memory.Evolve, memory.Decide, memory.Command(cmd))
	w.records = append(w.records, r)
}

var words = []string{"tea", "Tea", "coffee", "100%", "1000", "a_b", "aXb", "milk", "über", "ÜBER", `back\slash`, "'quote'"}

// metadata are what memories have, and parts what is asked of it: members and elements that are there, are not there, and are
// there in other types, places and spellings.
var (
	metadata = []string{
		"", `{"vault":"WLT"}`, `{"vault":"WLT","tags":["a","b"],"n":1}`, `{"vault":"ABC","tags":["b"],"n":1.0}`,
		`{"vault":"wlt","tags":[["a"],{"k":"a"}],"deep":{"layer":{"x":null,"y":2}}}`, `{"tags":[],"n":"1","ä%_":true}`, `{"tags":"a","deep":{"layer":3}}`,
	}
	parts = []string{
		`{"vault":"WLT"}`, `{"vault":"ABC","n":1}`, `{"n":1.00}`, `{"n":"1"}`, `{"tags":["a"]}`, `{"tags":["b","b","a"]}`, `{"tags":[]}`, `{"tags":"a"}`,
		`{"tags":[["a"]]}`, `{"tags":[{"k":"a"}]}`, `{"deep":{"layer":{"x":null}}}`, `{"deep":{}}`, `{"deep":null}`, `{"layer":3}`, `{"ä%_":true}`, `{ "vault" : "\u0057LT" }`,
	}
)

func pick[T any](r *rand.Rand, from []T) T { return from[r.IntN(len(from))] }

// fill makes memories with many equal times, contents and apps, so that ties are the rule.
func (w *world) fill(memories int) {
	for _, name := range []string{"notes", "Shop", "zebra", "ärger"} {
		w.addApp(name)
	}
	for _, name := range []string{"cloth", "drinks", "Taste"} {
		w.addCategory(name)
	}
	states := []events.State{events.Active, events.Active, events.Active, events.Paused, events.Archived, events.Deleted}
	for range memories {
		r := record{
			app: w.random.IntN(len(w.apps)+1) - 1, state: pick(w.random, states), metadata: pick(w.random, metadata),
			createdAt: w.base.Add(time.Duration(w.random.IntN(8)) * time.Hour), updatedAt: w.base.Add(time.Duration(w.random.IntN(8)) * time.Minute),
			content: pick(w.random, words) + " " + pick(w.random, words) + strings.Repeat("é", w.random.IntN(2)*120),
		}
		for c := range w.categories {
			if w.random.IntN(3) == 0 {
				r.categories = append(r.categories, c)
			}
		}
		w.addMemory(r)
	}
}

// contains says of two JSON values what it means that one is a part of the other.
func contains(whole, part any) bool {
	switch part := part.(type) {
	case map[string]any:
		members, ok := whole.(map[string]any)
		for name, value := range part {
			member, has := members[name]
			ok = ok && has && contains(member, value)
		}
		return ok
	case []any:
		elements, ok := whole.([]any)
		for _, value := range part {
			ok = ok && slices.ContainsFunc(elements, func(element any) bool { return contains(element, value) })
		}
		return ok
	}
	return whole == part
}

// has says whether the record's metadata contains what a JSON text says.
func (w *world) has(m record, part string) bool {
	w.t.Helper()
	var whole, wanted any
	check(w.t, json.Unmarshal([]byte(m.metadata), &whole))
	check(w.t, json.Unmarshal([]byte(part), &wanted))
	return contains(whole, wanted)
}

// covers says whether the rule is about the record.
func (w *world) covers(r rule, m record) bool {
	switch r.objectType {
	case "memory":
		return r.object == "" || r.object == m.id.String()
	case "app":
		return m.app >= 0 && (r.object == "" || r.object == w.appIDs[m.app].String())
	case "category":
		return slices.ContainsFunc(m.categories, func(c int) bool { return r.object == "" || r.object == w.categoryIDs[c].String() })
	case "user":
		return r.object == "" || r.object == w.user.String()
	}
	return false
}

// mayRead is the rule table in words other than those of the database.
func (w *world) mayRead(as int, m record) bool {
	if as < 0 {
		return true
	}
	if w.paused[as] {
		return false
	}
	restricted, allowed := false, false
	for _, r := range w.rules[as] {
		covers := w.covers(r, m)
		if r.effect == events.Deny && covers {
			return false
		}
		if r.effect == events.Allow {
			restricted, allowed = true, allowed || covers
		}
	}
	return !restricted || allowed
}

// question is a list that is asked for, with what the model needs to answer it.
type question struct {
	as               int // app to read as; -1 = none
	apps, categories []int
	appNames         []int
	categoryIDs      []int
	states           []string
	search           string
	from, to         *time.Time
	updatedFrom      *time.Time
	updatedTo        *time.Time
	with, without    string // metadata
	sort, order      string
	limit            int
	descending       bool
}

func (w *world) randomQuestion() question {
	some := func(n int) (out []int) {
		for i := range n {
			if w.random.IntN(2) == 0 {
				out = append(out, i)
			}
		}
		return out
	}
	q := question{as: -1, limit: 1 + w.random.IntN(20)}
	if w.random.IntN(2) == 0 {
		q.as = w.random.IntN(len(w.apps))
	}
	if w.random.IntN(3) == 0 {
		q.apps = some(len(w.apps))
	}
	if w.random.IntN(4) == 0 {
		q.appNames = some(len(w.apps))
	}
	if w.random.IntN(4) == 0 {
		q.categories = some(len(w.categories))
	}
	if w.random.IntN(4) == 0 {
		q.categoryIDs = some(len(w.categories))
	}
	if w.random.IntN(3) == 0 {
		for _, i := range some(3) {
			q.states = append(q.states, []string{"active", "paused", "archived"}[i])
		}
	}
	if w.random.IntN(3) == 0 {
		q.search = pick(w.random, []string{"tea", "TEA", "%", "_", "a_b", `\`, "'", "über", "nothing", "a milk"})
	}
	at := func(oneIn int, unit time.Duration) *time.Time {
		if w.random.IntN(oneIn) != 0 {
			return nil
		}
		t := w.base.Add(time.Duration(w.random.IntN(8)) * unit)
		return &t
	}
	q.from, q.to = at(3, time.Hour), at(3, time.Hour)
	q.updatedFrom, q.updatedTo = at(4, time.Minute), at(4, time.Minute)
	if w.random.IntN(3) == 0 {
		q.with = pick(w.random, parts)
	}
	if w.random.IntN(4) == 0 {
		q.without = pick(w.random, parts)
	}
	q.sort = pick(w.random, []string{"", "created_at", "updated_at", "content", "app"})
	q.order = pick(w.random, []string{"", "asc", "desc"})
	q.descending = q.order == "desc" || q.order == "" && (q.sort == "" || q.sort == "created_at" || q.sort == "updated_at")
	return q
}

// path is the question on the wire.
func (w *world) path(q question) string {
	v := w.selection(q)
	v.Set("count", "true")
	v.Set("limit", fmt.Sprint(q.limit))
	for name, value := range map[string]string{"sort": q.sort, "order": q.order} {
		if value != "" {
			v.Set(name, value)
		}
	}
	return "/v1/memories?" + v.Encode()
}

// selection is what selects, of the question.
func (w *world) selection(q question) url.Values {
	v := url.Values{}
	if q.as >= 0 {
		v.Set("as_app", w.appIDs[q.as].String())
	}
	for _, i := range q.apps {
		v.Add("app_id", w.appIDs[i].String())
	}
	for _, i := range q.appNames {
		v.Add("app", w.apps[i])
	}
	for _, i := range q.categories {
		v.Add("category", w.categories[i])
	}
	for _, i := range q.categoryIDs {
		v.Add("category_id", w.categoryIDs[i].String())
	}
	for _, state := range q.states {
		v.Add("state", state)
	}
	for name, value := range map[string]string{"search": q.search, "metadata": q.with, "not_metadata": q.without} {
		if value != "" {
			v.Set(name, value)
		}
	}
	for name, at := range map[string]*time.Time{"from": q.from, "to": q.to, "updated_from": q.updatedFrom, "updated_to": q.updatedTo} {
		if at != nil {
			v.Set(name, at.Format(time.RFC3339))
		}
	}
	return v
}

func (w *world) selects(q question, m record) bool {
	states := q.states
	if states == nil {
		states = []string{"active", "paused"}
	}
	inCategories := len(q.categories)+len(q.categoryIDs) == 0 || slices.ContainsFunc(m.categories, func(c int) bool {
		return slices.Contains(q.categories, c) || slices.Contains(q.categoryIDs, c)
	})
	ofApps := len(q.apps)+len(q.appNames) == 0 || m.app >= 0 && (slices.Contains(q.apps, m.app) || slices.Contains(q.appNames, m.app))
	return w.mayRead(q.as, m) && slices.Contains(states, string(m.state)) && inCategories && ofApps &&
		strings.Contains(strings.ToLower(m.content), strings.ToLower(q.search)) &&
		(q.from == nil || !m.createdAt.Before(*q.from)) && (q.to == nil || !m.createdAt.After(*q.to)) &&
		(q.updatedFrom == nil || !m.updatedAt.Before(*q.updatedFrom)) && (q.updatedTo == nil || !m.updatedAt.After(*q.updatedTo)) &&
		(q.with == "" || w.has(m, q.with)) && (q.without == "" || !w.has(m, q.without))
}

func (w *world) key(sort string, m record) string {
	switch sort {
	case "updated_at":
		return m.updatedAt.Format(time.RFC3339)
	case "content":
		return string([]rune(m.content)[:min(100, len([]rune(m.content)))])
	case "app":
		if m.app < 0 {
			return ""
		}
		return w.apps[m.app]
	}
	return m.createdAt.Format(time.RFC3339)
}

// answer is what the model says.
func (w *world) answer(q question) []string {
	var found []record
	for _, m := range w.records {
		if w.selects(q, m) {
			found = append(found, m)
		}
	}
	slices.SortFunc(found, func(a, b record) int {
		order := strings.Compare(w.key(q.sort, a), w.key(q.sort, b))
		if order == 0 {
			order = bytes.Compare(a.id[:], b.id[:])
		}
		if q.descending {
			return -order
		}
		return order
	})
	ids := []string{}
	for _, m := range found {
		ids = append(ids, m.id.String())
	}
	return ids
}

// pages follows the cursors to the end.
func (c *client) pages(path string) (ids []string, total float64) {
	c.t.Helper()
	ids = []string{}
	for cursor := ""; ; {
		page := c.do("GET", path+cursor, "").want(c.t, http.StatusOK)
		total, _ = page["total"].(float64)
		for _, item := range items(page) {
			ids = append(ids, item["id"].(string))
		}
		next, more := page["next_cursor"].(string)
		if !more {
			return ids, total
		}
		cursor = "&cursor=" + url.QueryEscape(next)
	}
}

// Lists with every filter, sort and access rule answer what an independent model says, page by page; each total is the
// number of items over all pages; nothing comes twice while others are added.
func TestListsAreThoseOfAModel(t *testing.T) {
	s := newStack(t)
	w := newWorld(t, s, "alice")
	w.fill(120)
	bob := newWorld(t, s, "bob")
	bob.fill(10)
	w.pauseApp(3)
	types := []string{"memory", "memory", "app", "category", "user", "workspace"}
	alice := s.client(t, modelTenant, "alice")
	for round := range 6 {
		if round > 0 { // the first round has no rules
			r := rule{objectType: pick(w.random, types), effect: pick(w.random, []events.Effect{events.Allow, events.Deny})}
			switch object := w.random.IntN(4); {
			case object == 0:
			case r.objectType == "app":
				r.object = pick(w.random, w.appIDs).String()
			case r.objectType == "category":
				r.object = pick(w.random, w.categoryIDs).String()
			case r.objectType == "user":
				r.object = pick(w.random, []uuid.UUID{w.user, bob.user}).String()
			default:
				r.object = pick(w.random, w.records).id.String()
			}
			w.addRule(w.random.IntN(3), r)
		}
		w.addMemory(record{app: -1, state: events.Deleted, createdAt: w.base, updatedAt: w.base})
		waiting := alice.add(`{"content":"a mark, behind which all of the above is in the rows"}`)
		alice.do("DELETE", "/v1/memories/"+waiting, "").want(t, http.StatusOK)
		for range 25 {
			q := w.randomQuestion()
			want := w.answer(q)
			got, total := alice.pages(w.path(q))
			if diff := cmp.Diff(want, got); diff != "" || int(total) != len(want) {
				t.Fatalf("round %d, %s: total %v, want %d (-model +got):\n%s", round, w.path(q), total, len(want), diff)
			}
		}
	}
}

// A search selects by the same filters as a list does, whichever way it finds; of what it finds without any, the model says
// which are left.
func TestSearchesSelectAsListsDo(t *testing.T) {
	s := newStack(t)
	w := newWorld(t, s, "alice")
	w.fill(100)
	newWorld(t, s, "bob").fill(10)
	alice := s.client(t, modelTenant, "alice")
	alice.do("DELETE", "/v1/memories/"+alice.add(`{"content":"a mark"}`), "").want(t, http.StatusOK)
	found := func(asked string, v url.Values) (ids []string) {
		t.Helper()
		page := alice.do("GET", "/v1/memories/search?limit=100&"+asked+"&"+v.Encode(), "").want(t, http.StatusOK)
		for _, item := range items(page) {
			ids = append(ids, item["memory"].(map[string]any)["id"].(string))
		}
		if page["total"] != float64(len(ids)) {
			t.Fatalf("%s: total %v of %d", asked, page["total"], len(ids))
		}
		slices.Sort(ids)
		return ids
	}
	for _, asked := range []string{"match=words&q=-nothing", "match=words&q=tea", "match=similar&q=tea"} {
		all := found(asked, url.Values{"state": {"active", "paused", "archived"}})
		for range 60 {
			q := w.randomQuestion()
			var want []string
			for _, m := range w.records {
				if w.selects(q, m) && slices.Contains(all, m.id.String()) {
					want = append(want, m.id.String())
				}
			}
			slices.Sort(want)
			if diff := cmp.Diff(want, found(asked, w.selection(q))); diff != "" {
				t.Fatalf("%s&%s (-model +got):\n%s", asked, w.selection(q).Encode(), diff)
			}
		}
	}
}

// A filter that could not be compared with is refused; the largest and deepest that is taken can be.
func TestFiltersThatAreRefused(t *testing.T) {
	s := newStack(t)
	alice := s.client(t, modelTenant, "alice")
	alice.add(`{"content":"tea","metadata":{"a":1}}`)
	deep := func(levels int) string { return strings.Repeat(`{"a":`, levels) + "1" + strings.Repeat("}", levels) }
	long := func(bytes int) string { return `{"a":"` + strings.Repeat("x", bytes-len(`{"a":""}`)) + `"}` }
	for _, text := range []string{
		"", " ", "{}", "1", "null", `"{}"`, `[{"a":1}]`, `{"a":1`, `{"a":1}{}`, `{"a":1},"b":{}`, `{"a":"\u0000"}`, `{"a":"\ud800"}`, "{\"a\":\"\xff\"}", "{\"a\":\"\x00\"}",
		`{"a":1e400}`, `{"a":-1e999999999}`, `{"a":NaN}`, `{"a":1,"a":2}`, `{'a':1}`, deep(64), deep(1000), long(4097),
	} {
		for _, name := range []string{"metadata", "not_metadata"} {
			for _, path := range []string{"/v1/memories?", "/v1/memories/search?q=tea&"} {
				answer := alice.do("GET", path+url.Values{name: {text}}.Encode(), "")
				if problem := answer.want(t, http.StatusBadRequest); problem["type"] != "/problems/invalid_parameter" {
					t.Errorf("%s %.40q: %s", name, text, answer.body)
				}
			}
		}
	}
	for _, text := range []string{`{"a":1}`, ` {"a": 1.0}`, `{"a":1e299}`, `{"a":null}`, deep(63), long(4096), `{"a":[` + strings.Repeat("1e299,", 600) + `1]}`} {
		for path, total := range map[string]float64{"/v1/memories?count=true&": 1, "/v1/memories/search?q=tea&": 1, "/v1/memories/search?q=tea&match=similar&": 1} {
			both := 0.0
			for _, name := range []string{"metadata", "not_metadata"} {
				page := alice.do("GET", path+url.Values{name: {text}}.Encode(), "").want(t, http.StatusOK)
				both += page["total"].(float64)
			}
			if both != total {
				t.Errorf("%.40q: %v memories have it or have it not, want %v", text, both, total)
			}
		}
	}
	for _, query := range []string{"updated_from=yesterday", "updated_to=1", "app=%00", "app=" + strings.Repeat("x", 201), strings.Repeat("app=x&", 101)} {
		alice.do("GET", "/v1/memories?"+query, "").want(t, http.StatusBadRequest)
	}
}

// Filters that mean the same, spelt otherwise, go on with the same cursor; another does not.
func TestCursorsAreOfAFilterHoweverItIsSpelt(t *testing.T) {
	s := newStack(t)
	alice := s.client(t, modelTenant, "alice")
	for range 2 {
		alice.add(`{"content":"tea","metadata":{"b":"x","aa":[1]}}`)
	}
	page := func(metadata string, cursor any) answer {
		v := url.Values{"limit": {"1"}, "metadata": {metadata}}
		if cursor != nil {
			v.Set("cursor", cursor.(string))
		}
		return alice.do("GET", "/v1/memories?"+v.Encode(), "")
	}
	next := page(`{"aa":[1],"b":"x"}`, nil).want(t, http.StatusOK)["next_cursor"]
	page(` { "b" : "\u0078", "aa" : [1e0] }`, next).want(t, http.StatusOK)
	page(`{"aa":[1]}`, next).want(t, http.StatusBadRequest)
}

// While others add, no page by page list shows anything twice or leaves out what was there from the beginning.
func TestPagesAreStableWhileOthersAdd(t *testing.T) {
	s := newStack(t)
	w := newWorld(t, s, "alice")
	w.fill(60)
	alice := s.client(t, modelTenant, "alice")
	alice.add(`{"content":"a mark"}`)
	adding := s.client(t, modelTenant, "alice")
	stop, done := make(chan struct{}), sync.WaitGroup{}
	done.Add(1)
	go func() {
		defer done.Done()
		for {
			select {
			case <-stop:
				return
			default:
				if a := adding.do("POST", "/v1/memories", `{"content":"tea of another","app":"notes"}`); a.status != http.StatusCreated {
					t.Errorf("add: %d %s", a.status, a.body)
					return
				}
			}
		}
	}()
	for _, sort := range []string{"created_at", "updated_at", "content", "app"} {
		for _, order := range []string{"asc", "desc"} {
			q := question{as: -1, sort: sort, order: order, limit: 7, descending: order == "desc", to: &w.base}
			later := w.base.Add(24 * time.Hour)
			q.to = &later // what is added now is newer
			got, _ := alice.pages(w.path(q))
			if diff := cmp.Diff(w.answer(q), got); diff != "" {
				t.Errorf("%s %s (-model +got):\n%s", sort, order, diff)
			}
			seen := map[string]bool{}
			q.to, q.limit = nil, 100
			if order == "asc" && sort == "created_at" {
				continue // new ones come at the end, for as long as they come
			}
			all, _ := alice.pages(w.path(q))
			for _, id := range all {
				if seen[id] {
					t.Errorf("%s %s: %s twice", sort, order, id)
				}
				seen[id] = true
			}
		}
	}
	close(stop)
	done.Wait()
}
