package httpapi_test

import (
	"archive/zip"
	"bytes"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/refold-dev/refold/internal/auth"
	"github.com/refold-dev/refold/internal/changes"
	"github.com/refold-dev/refold/internal/httpapi"
	"github.com/refold-dev/refold/internal/journal"
	"github.com/refold-dev/refold/internal/reader"
	"github.com/refold-dev/refold/internal/versions"
	"github.com/refold-dev/refold/internal/writer"
)

// route is one of openapi.yaml, or one of the old paths.
type route struct{ method, path, operation string }

// example is that of the route. One operation has several of the old paths, so these have theirs by the pattern.
func (r route) example() string {
	if strings.HasPrefix(r.operation, "old:") {
		return r.method + " " + r.path
	}
	return r.operation
}

// allRoutes are the documented and the old ones.
func allRoutes(t *testing.T) []route {
	t.Helper()
	out, old := documentedRoutes(t), httpapi.OldRoutes()
	for _, pattern := range slices.Sorted(maps.Keys(old)) {
		method, path, _ := strings.Cut(pattern, " ")
		out = append(out, route{method, path, old[pattern]})
	}
	return out
}

func documentedRoutes(t *testing.T) []route {
	t.Helper()
	document, err := os.ReadFile("openapi.yaml")
	check(t, err)
	path := regexp.MustCompile(`^  (/\S*):$`)
	method := regexp.MustCompile(`^    (get|post|put|patch|delete):$`)
	operation := regexp.MustCompile(`^      operationId: (\w+)$`)
	var out []route
	var at route
	for line := range strings.SplitSeq(string(document), "\n") {
		if m := path.FindStringSubmatch(line); m != nil {
			at.path = m[1]
		}
		if m := method.FindStringSubmatch(line); m != nil {
			at.method = strings.ToUpper(m[1])
		}
		if m := operation.FindStringSubmatch(line); m != nil {
			at.operation = m[1]
			out = append(out, at)
		}
	}
	if len(out) < 25 {
		t.Fatalf("only %d routes in openapi.yaml", len(out))
	}
	return out
}

// matrix asks every route about everybody's belongings, over one set of fences.
type matrix struct {
	*stack
	t      *testing.T
	path   *queryPath
	routes []route
	who    map[string]belongings // own, another user's, another tenant's, nobody's
	faults []string
}

func (m *matrix) fault(format string, args ...any) {
	m.faults = append(m.faults, fmt.Sprintf(format, args...))
}

// over returns the matrix with a handler whose readers and writers stand on these connections.
func (m *matrix) over(rewrite func(string) string) *matrix {
	m.t.Helper()
	path := &queryPath{}
	rows := reader.New(m.live, watch(m.t, m.stack, path, rewrite))
	shard := func(int) journal.Shard { return readJournal{m.journal, path} }
	s := m.rebuilt(m.t)
	s.config.Reader, s.config.Writer, s.config.Changes, s.config.Versions = rows, writer.New(known, shard, rows), changes.New(shard, rows), versions.New(shard, rows)
	s.config.Logger = nil
	s.handler = httpapi.Handler(s.config)
	over := &matrix{stack: s, t: m.t, path: path, routes: m.routes, who: m.who}
	alice := s.client(m.t, "a", "alice") // makes the new writer know her
	over.settled(alice.do("POST", "/v1/memories", `{"content":"known"}`, "Idempotency-Key", "known"))
	over.settled(alice.do("POST", "/api/v1/memories", `{"text":"known"}`, "Idempotency-Key", "known-too"))
	return over
}

// belong makes belongings of a user, each of which was handed out to him.
func belong(t *testing.T, s *stack, tenant, subject, marker string) belongings {
	t.Helper()
	c := s.client(t, tenant, subject)
	body := fmt.Sprintf(`{"content":%q,"app":%q,"categories":[%q],"metadata":{"marker":%q}}`, marker, marker, marker, marker)
	o := belongings{subject: subject, marker: marker, memory: c.add(body)}
	c.add(strings.Replace(body, `"app":"`+marker, `"app":"2-`+marker, 1)) // a second page
	if tenant == "b" {                                                    // it is the tenant's, so no user of the other one may see any of it
		mark := `{"of ` + subject + `":"` + marker + `"}`
		mem0 := `{"llm":` + mark + `,"embedder":` + mark + `,"vector_store":` + mark + `,"graph_store":` + mark + `}`
		c.do("PATCH", "/v1/config", `{"settings":{"of `+subject+`":"`+marker+`","openmemory":`+mark+`,"mem0":`+mem0+`}}`, "If-Match", "*").want(t, http.StatusOK)
	}
	c.do("POST", "/v1/memories/"+o.memory+"/pause", "").want(t, http.StatusOK)
	c.do("POST", "/v1/memories/"+o.memory+"/activate", "").want(t, http.StatusOK)
	o.position = c.position
	o.memories, _ = c.do("GET", "/v1/memories?limit=1", "").want(t, http.StatusOK)["next_cursor"].(string)
	o.versions, _ = c.do("GET", "/v1/memories/"+o.memory+"/versions?limit=1", "").want(t, http.StatusOK)["next_cursor"].(string)
	page := c.do("GET", "/v1/apps?limit=1", "").want(t, http.StatusOK)
	o.apps, _ = page["next_cursor"].(string)
	o.app, _ = c.do("GET", "/v1/memories/"+o.memory, "").want(t, http.StatusOK)["app"].(map[string]any)["id"].(string)
	o.rule = uuid.NewString()
	c.do("PUT", "/v1/apps/"+o.app+"/access-rules/"+o.rule, `{"object_type":"memory","effect":"allow"}`).want(t, http.StatusOK)
	o.policy, _ = c.do("POST", "/v1/archive-policies", `{"criteria":"global","days":36500}`).want(t, http.StatusCreated)["id"].(string)
	o.category = s.categoryOf(t, c, marker)
	o.changes, _ = c.do("GET", "/v1/changes?from=begin&limit=1", "").want(t, http.StatusOK)["next"].(string)
	o.all, _ = c.do("GET", "/v1/tenant/changes?from=begin&limit=1", "").want(t, http.StatusOK)["next"].(string)
	return o
}

// nobodys are of the form of somebody's, and nobody has them. A sealed value that was damaged is one that never was.
func nobodys(like belongings) belongings {
	damaged := func(sealed string) string {
		middle := len(sealed) / 2
		return sealed[:middle] + string(rune('A'+(sealed[middle]+7)%26)) + sealed[middle+1:]
	}
	return belongings{
		subject: "nobody", marker: "nobody-" + uuid.NewString()[:len(like.marker)-7], memory: uuid.NewString(), app: uuid.NewString(), category: uuid.NewString(),
		rule: uuid.NewString(), policy: uuid.NewString(), position: damaged(like.position),
		memories: damaged(like.memories), apps: damaged(like.apps), versions: damaged(like.versions), changes: damaged(like.changes), all: damaged(like.all),
	}
}

func newMatrix(t *testing.T) *matrix {
	t.Helper()
	s := newStack(t)
	who := map[string]belongings{
		"own":                belong(t, s, "a", "alice", "canary-alice"),
		"of another user":    belong(t, s, "a", "bobby", "canary-bobby"),
		"of another tenant":  belong(t, s, "b", "alice", "canary-other"),
		"of another's other": belong(t, s, "b", "bobby", "canary-oscar"),
	}
	who["of nobody"] = nobodys(who["of another tenant"])
	bobby := who["of another user"]
	bobby.position, bobby.all = who["of nobody"].position, who["of nobody"].all // these are the tenant's, and so alice's as well
	who["of another user"] = bobby
	other := who["of another tenant"]
	other.subject = bobby.subject // alice is what the caller is called himself
	who["of another tenant"] = other
	m := &matrix{stack: s, t: t, path: &queryPath{}, routes: allRoutes(t), who: who}
	m.changeConfig()
	return m
}

// changeConfig does what the old examples do to the tenant's config: from then on they repeat it, by its key.
func (m *matrix) changeConfig() {
	m.t.Helper()
	alice := m.client(m.t, "a", "alice")
	for _, r := range m.routes {
		if strings.HasPrefix(r.operation, "old:") && scopeOf(r) == auth.ConfigWrite {
			for _, q := range examples[r.example()].about(m.who["of nobody"]) {
				m.ask(alice, r, q)
			}
		}
	}
}

// asked is an answer, and what it took.
type asked struct {
	Status int
	Header http.Header
	Body   string
	Path   string
}

func (m *matrix) ask(c *client, r route, q inquiry) asked {
	m.t.Helper()
	c.position = ""
	m.path.take()
	a := c.do(r.method, q.path, q.body, q.headers...)
	h := maps.Clone(a.header)
	h.Del("Date")
	h.Del("Refold-Age-Ms")
	answered := asked{a.status, h, a.body, m.path.take()}
	if r.method != "GET" {
		m.settled(a)
	}
	return answered
}

// settled waits until the rows have what was accepted: then no answer differs from the one before by its position.
func (m *matrix) settled(accepted answer) {
	m.t.Helper()
	if position := accepted.header.Get("Refold-Position"); position != "" {
		m.client(m.t, "a", "alice").do("GET", "/v1/memories?limit=1", "", "Refold-Min-Position", position, "Prefer", "wait=20").want(m.t, http.StatusOK)
	}
	m.path.take()
}

// foreign asks about what is others' and what is nobody's: there must be no telling them apart.
func (m *matrix) foreign(others ...string) {
	alice := m.client(m.t, "a", "alice")
	for _, r := range m.routes {
		e := examples[r.example()]
		absent := e.about(m.who["of nobody"])
		for _, whose := range others {
			for i, q := range e.about(m.who[whose]) {
				got, want := m.ask(alice, r, q), m.ask(alice, r, absent[i])
				m.canaries(r, q, got, others)
				got.Body, want.Body = m.who[whose].hidden(got.Body), m.who["of nobody"].hidden(want.Body)
				if e.varies {
					got, want = formOf(got), formOf(want)
				}
				if diff := cmp.Diff(want, got); diff != "" {
					m.fault("%s %s, %s (-of nobody +%s):\n%s", r.method, q.path, r.operation, whose, diff)
				}
			}
		}
	}
}

// hidden takes out of an answer what the inquiry named: it may be told back.
func (o belongings) hidden(body string) string {
	for _, value := range []string{o.memory, o.app, o.category, o.rule, o.policy, o.marker} {
		body = strings.ReplaceAll(body, value, "*")
	}
	return body
}

// formOf leaves out of an answer what two of the same form may differ in.
func formOf(h asked) asked {
	h.Body = ""
	h.Header = maps.Clone(h.Header)
	for _, name := range []string{"Etag", "Location", "Refold-Position", "Content-Length", "Content-Disposition"} {
		if h.Header.Get(name) != "" {
			h.Header.Set(name, "given")
		}
	}
	return h
}

// canaries searches an answer to alice for what these have.
func (m *matrix) canaries(r route, q inquiry, h asked, others []string) {
	text := h.Body + fmt.Sprint(h.Header)
	if archive, err := zip.NewReader(strings.NewReader(h.Body), int64(len(h.Body))); err == nil {
		for _, f := range archive.File {
			content, err := f.Open()
			check(m.t, err)
			unpacked, err := io.ReadAll(content)
			check(m.t, err)
			text += string(unpacked)
		}
	}
	for _, whose := range others {
		o := m.who[whose]
		if whose == "of another user" && examples[r.example()].ofTenant {
			continue
		}
		ids := []string{o.marker, o.memory, o.app, o.rule, o.policy}
		if whose != "of another user" { // categories are the tenant's
			ids = append(ids, o.category)
		}
		for _, canary := range ids {
			// What was asked may be told back.
			if whose != "own" && whose != "of nobody" && strings.Contains(text, canary) && !strings.Contains(q.path+q.body, canary) {
				m.fault("%s %s, %s: the answer holds %s, %s", r.method, q.path, r.operation, canary, whose)
			}
		}
	}
}

// own asks about the caller's own: what is compared above would be worth nothing if all of it were refused.
func (m *matrix) own() {
	alice := m.client(m.t, "a", "alice")
	for _, r := range m.routes {
		e := examples[r.example()]
		want := e.own
		if want == 0 {
			want = http.StatusOK
		}
		if auth.ForOperators(r.operation) {
			want = http.StatusForbidden
		}
		about := m.who["own"]
		changesOld := strings.HasPrefix(r.operation, "old:") && r.method != http.MethodGet
		if changesOld || r.method == http.MethodDelete || r.operation == "deleteMemories" { // the others are asked about it later
			about.memory = alice.add(`{"content":"to be deleted"}`)
			alice.do("GET", "/v1/memories/"+about.memory, "").want(m.t, http.StatusOK) // old paths wait for no position
		}
		for _, q := range e.about(about) {
			h := m.ask(alice, r, q)
			m.canaries(r, q, h, slices.Collect(maps.Keys(m.who)))
			if h.Status != want {
				m.fault("%s %s, %s, about one's own: %d, want %d: %s", r.method, q.path, r.operation, h.Status, want, h.Body)
			}
			if r.method == http.MethodGet && h.Status == http.StatusOK && auth.Open != scopeOf(r) && !strings.Contains(h.Path, "set_config('app.tenant'") {
				m.fault("%s: the path %q has no transaction: nothing is watched here", r.operation, h.Path)
			}
		}
	}
}

func scopeOf(r route) string {
	scope, _ := auth.ScopeOf(r.operation)
	return scope
}

// scopes asks with every set of scopes that matters, about what is nobody's: the answer depends on the needed one alone,
// and without it nothing is looked at.
func (m *matrix) scopes() {
	all := auth.AllScopes()
	for _, r := range m.routes {
		needed := scopeOf(r)
		if needed == auth.Open {
			continue
		}
		sets := [][]string{{"none"}, all, slices.DeleteFunc(slices.Clone(all), func(s string) bool { return s == needed })}
		for _, scope := range all {
			sets = append(sets, []string{scope}, []string{scope, needed})
		}
		q := examples[r.example()].about(m.who["of nobody"])[0]
		granted := formOf(m.ask(m.client(m.t, "a", "alice"), r, q))
		for _, set := range sets {
			h := m.ask(m.client(m.t, "a", "alice", set...), r, q)
			switch {
			case slices.Contains(set, needed) && !auth.ForOperators(r.operation):
				if diff := cmp.Diff(granted.Status, h.Status); diff != "" {
					m.fault("%s with %v (-all scopes +these):\n%s", r.operation, set, diff)
				}
			case h.Status != http.StatusForbidden || !strings.Contains(strings.ToLower(h.Body), `"insufficient_scope"`) || h.Path != "":
				m.fault("%s with %v: %d %s by %q, want 403 without a look at anything", r.operation, set, h.Status, h.Body, h.Path)
			}
		}
		for what, token := range map[string]string{"no token": "", "a forged one": "a.b.c"} {
			nobody := &client{t: m.t, handler: m.handler, token: token}
			if h := m.ask(nobody, r, q); h.Status != http.StatusUnauthorized || h.Path != "" {
				m.fault("%s with %s: %d by %q, want 401 without a look at anything", r.operation, what, h.Status, h.Path)
			}
		}
	}
}

func (m *matrix) mustHold(what string) {
	m.t.Helper()
	for _, fault := range m.faults {
		m.t.Errorf("%s: %s", what, fault)
	}
}

func (m *matrix) rowSecurity(on bool) {
	m.t.Helper()
	pool, err := m.db.OwnerOf(m.t.Context(), m.edition)
	check(m.t, err)
	tables, err := m.db.TableNames(m.t.Context(), m.edition)
	check(m.t, err)
	for _, table := range tables {
		how := "DISABLE ROW LEVEL SECURITY, NO FORCE"
		if on {
			how = "ENABLE ROW LEVEL SECURITY, FORCE"
		}
		_, err := pool.Exec(m.t.Context(), "ALTER TABLE "+table+" "+how+" ROW LEVEL SECURITY")
		check(m.t, err)
	}
}

// predicateOfFunction is what a function of an edition says of the tenant and the user whom rows are of.
var predicateOfFunction = regexp.MustCompile(`\w+\.(?:tenant_id|user_id|owner_id) = \w+\.of_(?:tenant|user)\b`)

// withoutFunctionPredicates takes out of the functions of the edition that rows are of the tenant and of the user who asks,
// and returns what puts it back.
func (m *matrix) withoutFunctionPredicates() (restore func()) {
	m.t.Helper()
	pool, err := m.db.OwnerOf(m.t.Context(), m.edition)
	check(m.t, err)
	rows, err := pool.Query(m.t.Context(), "SELECT pg_get_functiondef(oid) FROM pg_proc WHERE pronamespace = current_schema()::regnamespace AND prosecdef = false ORDER BY proname DESC")
	check(m.t, err)
	definitions, err := pgx.CollectRows(rows, pgx.RowTo[string])
	check(m.t, err)
	define := func(change func(string) string) {
		for _, definition := range definitions {
			_, err := pool.Exec(m.t.Context(), change(definition))
			check(m.t, err)
		}
	}
	changed := 0
	define(func(definition string) string {
		changed += len(predicateOfFunction.FindAllString(definition, -1))
		return predicateOfFunction.ReplaceAllString(definition, "true")
	})
	if changed == 0 {
		m.t.Fatal("no function of the edition has a predicate: nothing was taken out")
	}
	return func() { define(func(definition string) string { return definition }) }
}

func TestEveryRouteHasAnExample(t *testing.T) {
	seen := map[string]bool{}
	for _, r := range allRoutes(t) {
		seen[r.example()] = true
		if examples[r.example()].about == nil {
			t.Errorf("%s %s, %s, has no example in examples_test.go: the isolation matrix cannot ask it", r.method, r.path, r.operation)
		}
	}
	for operation := range examples {
		if !seen[operation] {
			t.Errorf("there is an example of %s, and no such route", operation)
		}
	}
}

// TestIsolationMatrix: what is foreign and what is absent cannot be told apart, on any route, by status, headers, body, or
// by what is asked of the stores, with both fences and with either one alone. With none of them the matrix must notice.
func TestIsolationMatrix(t *testing.T) {
	base := newMatrix(t)
	everybody := []string{"of another user", "of another tenant", "of another's other"}
	both := base.over(nil)
	before := base.lastSeq(t)
	both.foreign(everybody...)
	both.mustHold("with both fences")
	// Three operations create, for each of them and for nobody.
	if after, want := base.lastSeq(t)-before, uint64(3*(len(everybody)+1)); after != want {
		t.Errorf("commands about what is foreign or absent made %d events, want %d of creations", after, want)
	}
	scopes := base.over(nil)
	scopes.scopes()
	scopes.mustHold("scopes")

	// The fence between users of one tenant is the predicate alone, so this is about tenants.
	security := base.over(withoutPredicates)
	restore := base.withoutFunctionPredicates()
	security.foreign("of another tenant", "of another's other")
	security.mustHold("with row level security alone")
	restore()

	base.rowSecurity(false)
	predicates := base.over(nil)
	predicates.foreign(everybody...)
	predicates.mustHold("with predicates alone")

	none := base.over(withoutPredicates)
	restore = base.withoutFunctionPredicates()
	none.foreign("of another tenant")
	found := strings.Join(none.faults, "\n")
	for _, operation := range []string{
		"getMemory", "getMemoryHistory", "listMemoryVersions", "getMemoryVersion", "listMemories", "getApp", "listApps",
		"old:getMemory", "old:listMemories", "old:filterMemories", "old:getApp", "old:listAppMemories", "old:listApps", "old:export",
	} {
		if !strings.Contains(found, ", "+operation+" (-of nobody +of another tenant)") {
			t.Errorf("without any fence the matrix does not notice that %s leaks: it proves nothing", operation)
		}
	}
	for _, operation := range []string{"getMemory", "old:getMemory"} {
		if !strings.Contains(found, ", "+operation+": the answer holds canary-other, of another tenant") {
			t.Errorf("the search for canaries does not notice that %s shows what is foreign", operation)
		}
	}
	restore()
	base.rowSecurity(true)

	own := base.over(nil)
	own.own()
	own.mustHold("about one's own")
}

// The connection that changes statements does change them, and nothing else.
func TestStatementsAreRewrittenOnTheWire(t *testing.T) {
	got := withoutPredicates("SELECT 1 FROM memory m WHERE m.tenant_id = $1 AND l.tenant_id = m.tenant_id AND m.user_id = $12 AND tenant_id = $3")
	want := "SELECT 1 FROM memory m WHERE $1::text IS NOT NULL AND l.tenant_id = m.tenant_id AND $12::uuid IS NOT NULL AND $3::text IS NOT NULL"
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	r := &rewritten{rewrite: strings.ToUpper}
	parse := append([]byte("name\x00select 1\x00"), 0, 1, 0, 0, 0, 25)
	if got := r.message('P', parse)[5:]; !bytes.Equal(got, append([]byte("name\x00SELECT 1\x00"), 0, 1, 0, 0, 0, 25)) {
		t.Errorf("Parse became %q", got)
	}
	if got := r.message('B', []byte("select"))[5:]; string(got) != "select" {
		t.Errorf("Bind became %q", got)
	}
}
