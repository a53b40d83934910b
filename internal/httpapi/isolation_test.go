package httpapi_test

import (
	"context"
	"maps"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/refold-dev/refold/internal/category"
	"github.com/refold-dev/refold/internal/postgres"
	"github.com/refold-dev/refold/internal/postgres/db"
	"github.com/refold-dev/refold/internal/reader"
	"github.com/refold-dev/refold/internal/user"
)

// things are what one user has: a memory and an app.
type things struct{ memory, app string }

func (c *client) makeThings(marker string) things {
	c.t.Helper()
	var out things
	out.memory = c.add(`{"content":"` + marker + `","app":"` + marker + `","categories":["` + marker + `"],"metadata":{"marker":"` + marker + `"}}`)
	page := c.do("GET", "/v1/apps", "").want(c.t, http.StatusOK)
	out.app, _ = items(page)[0]["id"].(string)
	c.do("PUT", "/v1/apps/"+out.app+"/access-rules/"+ruleID, `{"object_type":"memory","effect":"allow"}`).want(c.t, http.StatusOK)
	return out
}

func (o things) id(path string) string {
	if strings.HasPrefix(path, "/v1/apps") {
		return o.app
	}
	return o.memory
}

// comparable leaves out what differs between any two answers.
func comparable(a answer) (int, string, http.Header) {
	h := maps.Clone(a.header)
	h.Del("Date")
	h.Del("Refold-Age-Ms")
	return a.status, a.body, h
}

// What is foreign answers to the byte like what does not exist, on every route; once with both fences, once with
// row level security switched off, so that only the queries' own predicates protect.
func TestForeignLooksAbsent(t *testing.T) {
	s := newStack(t)
	alice, bob, other := s.client(t, "a", "alice"), s.client(t, "a", "bob"), s.client(t, "b", "alice")
	owns := map[string]things{
		"own": alice.makeThings("canary-alice"), "foreign user": bob.makeThings("canary-bob"), "foreign tenant": other.makeThings("canary-other"),
	}
	before := s.lastSeq(t)
	variants := map[string]*stack{"both fences": s}
	s.answerFrom(reader.New(s.live, bypassed{s.db}))
	variants["predicates alone"] = s.rebuilt(t)

	for variant, s := range variants {
		alice := s.client(t, "a", "alice")
		for _, route := range routes {
			if !strings.Contains(route.path, "{id}") {
				continue
			}
			ask := func(id string) answer {
				return alice.do(route.method, at(route.path, id), bodyOf(route.method, route.path), "Idempotency-Key", "same")
			}
			absent := ask(uuid.NewString())
			absent.want(t, http.StatusNotFound)
			status, body, header := comparable(absent)
			for _, who := range []string{"foreign user", "foreign tenant"} {
				gotStatus, gotBody, gotHeader := comparable(ask(owns[who].id(route.path)))
				if gotStatus != status || gotBody != body {
					t.Errorf("%s: %s %s of a %s: %d %q, want %d %q as for an absent one", variant, route.method, route.path, who, gotStatus, gotBody, status, body)
				}
				if diff := cmp.Diff(header, gotHeader); diff != "" {
					t.Errorf("%s: %s %s of a %s: headers (-absent +foreign):\n%s", variant, route.method, route.path, who, diff)
				}
			}
			if malformed := ask("not-an-id"); malformed.body != body {
				t.Errorf("%s: %s %s of no id: %q", variant, route.method, route.path, malformed.body)
			}
			if route.method == http.MethodGet {
				ask(owns["own"].id(route.path)).want(t, http.StatusOK)
			}
		}
		for _, path := range []string{"/v1/memories?search=canary", "/v1/apps?search=canary", "/v1/memories?app_id=" + owns["foreign tenant"].app,
			"/v1/memories?app_id=" + owns["foreign user"].app, "/v1/memories?category=canary-other", "/v1/memories?category=canary-bob"} {
			if a := alice.do("GET", path, ""); strings.Contains(a.body, "canary-bob") || strings.Contains(a.body, "canary-other") {
				t.Errorf("%s: %s leaks: %s", variant, path, a.body)
			}
		}
	}
	if after := s.lastSeq(t); after != before {
		t.Errorf("commands about foreign things made %d events", after-before)
	}
	for who, c := range map[string]*client{"own": alice, "foreign user": bob, "foreign tenant": other} {
		m := c.do("GET", "/v1/memories/"+owns[who].memory, "").want(t, http.StatusOK)
		if m["version"] != 1.0 || m["state"] != "active" {
			t.Errorf("the memory of %s was touched: %v", who, m)
		}
	}
}

// The tenant comes from the token: naming another one anywhere else changes nothing.
func TestTenantComesFromTheTokenAlone(t *testing.T) {
	s := newStack(t)
	alice, other := s.client(t, "a", "alice"), s.client(t, "b", "alice")
	mine, theirs := alice.makeThings("canary-alice"), other.makeThings("canary-other")
	for _, headers := range [][]string{
		{"X-Tenant", "b"}, {"X-Org-Id", "b"}, {"Refold-Tenant", "b"}, {"Cookie", "tenant=b; org_id=b"}, {"Baggage", "tenant=b"},
		{"Host", "b.example"}, {"X-Forwarded-Host", "b.example"}, {"X-Http-Method-Override", "DELETE"},
	} {
		alice.do("GET", "/v1/memories/"+mine.memory, "", headers...).want(t, http.StatusOK)
		alice.do("GET", "/v1/memories/"+theirs.memory, "", headers...).want(t, http.StatusNotFound)
		for _, query := range []string{"?tenant=b", "?tenant_id=b", "?org_id=b&user_id=alice"} {
			for _, id := range []string{mine.memory, theirs.memory} {
				alice.do("GET", "/v1/memories/"+id+query, "", headers...).want(t, http.StatusBadRequest)
			}
		}
	}
	for _, body := range []string{`{"content":"x","tenant":"b"}`, `{"content":"x","org_id":"b"}`, `{"content":"x","user_id":"x"}`, `{"content":"x","id":"x"}`} {
		alice.do("POST", "/v1/memories", body).want(t, http.StatusUnprocessableEntity)
	}
	// Positions and idempotency keys of one tenant mean nothing in another.
	if code := alice.do("GET", "/v1/memories", "", "Refold-Position", other.position).want(t, http.StatusBadRequest)["code"]; code != "sealed" {
		t.Errorf("a foreign position: %v", code)
	}
	one := alice.do("POST", "/v1/memories", `{"content":"same"}`, "Idempotency-Key", "shared").want(t, http.StatusCreated)
	two := other.do("POST", "/v1/memories", `{"content":"same"}`, "Idempotency-Key", "shared").want(t, http.StatusCreated)
	if one["id"] == two["id"] {
		t.Error("one idempotency key gives two tenants one id")
	}
}

// A tenant that does not exist has empty lists, and nothing else.
func TestUnknownTenant(t *testing.T) {
	s := newStack(t)
	nobody := s.client(t, "nowhere", "alice")
	for _, route := range routes {
		a := nobody.do(route.method, at(route.path, uuid.NewString()), bodyOf(route.method, route.path))
		want := http.StatusNotFound
		if route.path == "/v1/import" {
			continue // takes a form, see there
		}
		if route.method == http.MethodGet && !strings.Contains(route.path, "{id}") && route.path != "/v1/export" && route.path != "/v1/me" {
			want = http.StatusOK
		}
		if page := a.want(t, want); want == http.StatusOK && len(items(page)) != 0 {
			t.Errorf("%s %s: %s", route.method, route.path, a.body)
		}
	}
}

// Each of the two fences holds alone, query by query.
func TestEachFenceHoldsAlone(t *testing.T) {
	s := newStack(t)
	other := s.client(t, "b", "alice")
	theirs := other.makeThings("canary-other")
	other.add(`{"content":"canary-other, too","categories":["canary-other"]}`)
	other.do("POST", "/v1/memories/"+theirs.memory+"/pause", "").want(t, http.StatusOK)
	other.do("GET", "/v1/memories/"+theirs.memory, "").want(t, http.StatusOK) // waits for the rows
	tenant, err := known.Tenant(t.Context(), "b")
	check(t, err)
	owner := user.ID(tenant.Key, "b", "alice")
	pool, err := s.db.Reader(t.Context(), s.edition)
	check(t, err)

	count := func(q *db.Queries) map[string]int {
		return countAll(t, q, "b", owner, uuid.MustParse(theirs.memory), uuid.MustParse(theirs.app))
	}
	_, err = postgres.WithTenant(t.Context(), pool, postgres.Entry{Tenant: "b"}, func(q *db.Queries) error {
		for query, rows := range count(q) {
			if rows == 0 {
				t.Errorf("%s finds nothing for its own tenant: the test proves nothing", query)
			}
		}
		return nil
	})
	check(t, err)
	_, err = postgres.WithTenant(t.Context(), pool, postgres.Entry{Tenant: "a"}, func(q *db.Queries) error {
		for query, rows := range count(q) {
			if rows != 0 {
				t.Errorf("%s finds %d rows of tenant b as tenant a", query, rows)
			}
		}
		return nil
	})
	check(t, err)
	for query, rows := range count(db.New(pool)) {
		if rows != 0 {
			t.Errorf("%s finds %d rows without any tenant", query, rows)
		}
	}
	// And the predicates alone, query by query: where row level security does not bind, naming tenant a with the ids
	// of tenant b finds nothing.
	unbound, err := s.db.OwnerOf(t.Context(), s.edition)
	check(t, err)
	for query, rows := range countAll(t, db.New(unbound), "a", owner, uuid.MustParse(theirs.memory), uuid.MustParse(theirs.app)) {
		if rows != 0 {
			t.Errorf("%s has no predicate on the tenant: it finds %d rows of another", query, rows)
		}
	}
	if _, err := postgres.WithTenant(t.Context(), pool, postgres.Entry{}, func(*db.Queries) error { return nil }); err == nil {
		t.Error("the door opens without a tenant")
	}
}

// countAll runs every query of readers as a tenant and counts what they find.
func countAll(t *testing.T, q *db.Queries, tenant string, owner, memory, app uuid.UUID) map[string]int {
	t.Helper()
	ctx := context.Background()
	out := map[string]int{"MemoryByID": 1, "OwnMemoryByID": 1, "AppByID": 1}
	if _, err := q.MemoryByID(ctx, db.MemoryByIDParams{TenantID: tenant, ID: memory, UserID: owner}); err != nil {
		out["MemoryByID"] = 0
	}
	if _, err := q.OwnMemoryByID(ctx, db.OwnMemoryByIDParams{TenantID: tenant, ID: memory, UserID: owner}); err != nil {
		out["OwnMemoryByID"] = 0
	}
	if _, err := q.AppByID(ctx, db.AppByIDParams{TenantID: tenant, ID: app, OwnerID: owner}); err != nil {
		out["AppByID"] = 0
	}
	page, err := q.MemoryPage(ctx, db.MemoryPageParams{TenantID: tenant, UserID: owner, States: []string{"active", "paused"}, CountMax: 10})
	check(t, err)
	history, err := q.MemoryStatusOf(ctx, db.MemoryStatusOfParams{TenantID: tenant, MemoryID: memory, CountMax: 10})
	check(t, err)
	visible, err := q.EntitiesVisible(ctx, db.EntitiesVisibleParams{
		TenantID: tenant, UserID: owner, Entities: []string{"memory", "app", "user"}, Ids: []uuid.UUID{memory, app, owner},
	})
	check(t, err)
	out["EntitiesVisible"] = len(visible)
	countVersions(t, q, tenant, owner, memory, app, out)
	counted, err := q.MemoryCount(ctx, db.MemoryCountParams{TenantID: tenant, UserID: owner, States: []string{"active", "paused"}})
	check(t, err)
	appsCounted, err := q.AppCount(ctx, db.AppCountParams{TenantID: tenant, OwnerID: owner})
	check(t, err)
	out["MemoryCount"], out["AppCount"], out["AppIsActive"] = int(counted), int(appsCounted), 1
	if _, err := q.AppIsActive(ctx, db.AppIsActiveParams{TenantID: tenant, ID: app, OwnerID: owner}); err != nil {
		out["AppIsActive"] = 0
	}
	countExport(t, q, tenant, owner, memory, out)
	countViews(t, q, tenant, owner, memory, out)
	apps, err := q.AppPage(ctx, db.AppPageParams{TenantID: tenant, OwnerID: owner, CountMax: 10})
	check(t, err)
	out["MemoryPage"], out["MemoryStatusOf"], out["AppPage"] = len(page), len(history), len(apps)
	return out
}

// countVersions runs the queries for versions.
func countVersions(t *testing.T, q *db.Queries, tenant string, owner, memory, app uuid.UUID, out map[string]int) {
	t.Helper()
	ctx := t.Context()
	other, err := known.Tenant(ctx, "b")
	check(t, err)
	categories, err := q.CategoryNames(ctx, db.CategoryNamesParams{TenantID: tenant, Ids: []uuid.UUID{category.ID(other.Key, "b", "canary-other")}})
	check(t, err)
	apps, err := q.AppNames(ctx, db.AppNamesParams{TenantID: tenant, OwnerID: owner, Ids: []uuid.UUID{app}})
	check(t, err)
	out["CategoryNames"], out["AppNames"], out["MemoryRuled"] = len(categories), len(apps), 1
	if _, err := q.MemoryRuled(ctx, db.MemoryRuledParams{TenantID: tenant, ID: memory, UserID: owner}); err != nil {
		out["MemoryRuled"] = 0
	}
}

// countExport runs the queries of an export.
func countExport(t *testing.T, q *db.Queries, tenant string, owner, memory uuid.UUID, out map[string]int) {
	t.Helper()
	ctx := t.Context()
	out["ExportUser"] = 1
	if _, err := q.ExportUser(ctx, db.ExportUserParams{TenantID: tenant, UserID: owner}); err != nil {
		out["ExportUser"] = 0
	}
	memories, err := q.ExportMemoryPage(ctx, db.ExportMemoryPageParams{TenantID: tenant, UserID: owner, CountMax: 10})
	check(t, err)
	apps, err := q.ExportAppPage(ctx, db.ExportAppPageParams{TenantID: tenant, UserID: owner, CountMax: 10})
	check(t, err)
	categories, err := q.ExportCategoryPage(ctx, db.ExportCategoryPageParams{TenantID: tenant, UserID: owner, CountMax: 10})
	check(t, err)
	links, err := q.ExportLinks(ctx, db.ExportLinksParams{TenantID: tenant, MemoryIds: []uuid.UUID{memory}})
	check(t, err)
	statuses, err := q.ExportStatuses(ctx, db.ExportStatusesParams{TenantID: tenant, MemoryIds: []uuid.UUID{memory}})
	check(t, err)
	out["ExportMemoryPage"], out["ExportAppPage"], out["ExportCategoryPage"] = len(memories), len(apps), len(categories)
	out["ExportLinks"], out["ExportStatuses"] = len(links), len(statuses)
}

// countViews does so for what is asked beside lists.
func countViews(t *testing.T, q *db.Queries, tenant string, owner, memory uuid.UUID, out map[string]int) {
	t.Helper()
	ctx := context.Background()
	states := []string{"active", "paused"}
	found, err := q.MemorySearch(ctx, db.MemorySearchParams{
		TenantID: tenant, UserID: owner, States: states, Query: "canary", Words: []string{"canary"}, HalfLifeDays: 1, LookedAtMax: 10, CountMax: 10,
	})
	check(t, err)
	similar, err := q.MemorySimilar(ctx, db.MemorySimilarParams{
		TenantID: tenant, UserID: owner, States: states, Query: "canari", Least: 0.4, HalfLifeDays: 1, LookedAtMax: 10, CountMax: 10,
	})
	check(t, err)
	newest, err := q.OwnMemoryPage(ctx, db.OwnMemoryPageParams{TenantID: tenant, UserID: owner, States: states, CountMax: 10})
	check(t, err)
	lookedAt, err := q.MemoryLookedAt(ctx, db.MemoryLookedAtParams{TenantID: tenant, UserID: owner, States: states, LookedAtMax: 10})
	check(t, err)
	related, err := q.MemoryRelatedPage(ctx, db.MemoryRelatedPageParams{TenantID: tenant, UserID: owner, ID: memory, CountMax: 10})
	check(t, err)
	relatedCount, err := q.MemoryRelatedCount(ctx, db.MemoryRelatedCountParams{TenantID: tenant, UserID: owner, ID: memory})
	check(t, err)
	categories, err := q.CategoryPage(ctx, db.CategoryPageParams{TenantID: tenant, UserID: owner, CountMax: 10})
	check(t, err)
	categoryCount, err := q.CategoryCount(ctx, db.CategoryCountParams{TenantID: tenant, UserID: owner})
	check(t, err)
	stats, err := q.MemoryStats(ctx, db.MemoryStatsParams{TenantID: tenant, UserID: owner})
	check(t, err)
	ids, err := q.MemoryIDs(ctx, db.MemoryIDsParams{TenantID: tenant, UserID: owner, States: states, CountMax: 10})
	check(t, err)
	out["MemorySearch"], out["MemorySimilar"], out["MemoryLookedAt"], out["OwnMemoryPage"] = len(found), len(similar), int(lookedAt), len(newest)
	out["MemoryRelatedPage"], out["MemoryRelatedCount"] = len(related), int(relatedCount)
	out["CategoryPage"], out["CategoryCount"], out["MemoryIDs"] = len(categories), int(categoryCount), len(ids)
	out["MemoryStats"], out["UserAccountByID"] = int(stats.Active+stats.Paused), 1
	if _, err := q.UserAccountByID(ctx, db.UserAccountByIDParams{TenantID: tenant, ID: owner}); err != nil {
		out["UserAccountByID"] = 0
	}
}
