package httpapi_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/refold-dev/refold/internal/reader"
)

// What the system that refold replaces did wrong, as far as no other test is about it. The whole list stands in package
// layering.

// oldOwns puts what somebody has into the path and the body of an old route.
func (o things) oldOwns(path, body string) (string, string) {
	id := o.memory
	if strings.HasPrefix(path, "apps") {
		id = o.app
	}
	return "/api/v1/" + at(path, id), strings.ReplaceAll(body, "857b6302-9179-531d-8c93-c1b379816563", o.memory)
}

// Old routes by id asked nobody whose it was (1, 2): what is foreign answers to the byte like what does not exist, and is
// in no list.
func TestOldForeignLooksAbsent(t *testing.T) {
	s := newStack(t)
	alice := s.client(t, "a", "alice")
	nobodys := things{uuid.NewString(), uuid.NewString()}
	all := map[string]things{
		"another user's":   s.client(t, "a", "bob").makeThings("canary-bob"),
		"another tenant's": s.client(t, "b", "alice").makeThings("canary-other"),
	}
	alice.makeThings("mine")
	before := s.lastSeq(t)
	for _, route := range oldRouteTable {
		if path, body := nobodys.oldOwns(route.path, route.body); route.lists {
			if a := alice.do(route.method, path, body); a.status != http.StatusOK || strings.Contains(a.body, "canary") {
				t.Errorf("%s %s: %d %s", route.method, path, a.status, a.body)
			}
			continue
		} else if !strings.Contains(route.path, "{id}") && !strings.Contains(route.body, "857b6302") {
			continue
		}
		path, body := nobodys.oldOwns(route.path, route.body)
		absent := alice.do(route.method, path, body)
		absent.want(t, http.StatusNotFound)
		for whose, owns := range all {
			path, body := owns.oldOwns(route.path, route.body)
			if a := alice.do(route.method, path, body); a.status != absent.status || a.body != absent.body {
				t.Errorf("%s %s, %s: %d %s, want %d %s", route.method, path, whose, a.status, a.body, absent.status, absent.body)
			}
		}
	}
	if after := s.lastSeq(t); after != before {
		t.Errorf("commands about foreign things made %d events", after-before)
	}
}

// A store that was away looked like one that is empty (22): without its rows a plane answers 503 to every question, and
// goes on when they are back.
func TestAStoreThatIsAwayIsNotEmpty(t *testing.T) {
	s := newStack(t)
	like, err := s.db.Reader(t.Context(), s.edition)
	check(t, err)
	config := like.Config()
	dial := config.ConnConfig.DialFunc
	var away atomic.Bool
	config.ConnConfig.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
		if away.Load() {
			return nil, errors.New("the way to Postgres is cut")
		}
		return dial(ctx, network, address)
	}
	pool, err := pgxpool.NewWithConfig(t.Context(), config)
	check(t, err)
	t.Cleanup(pool.Close)
	s.answerFrom(reader.New(s.live, watched{pool}))
	alice := s.rebuilt(t).client(t, "a", "alice")
	alice.makeThings("m")
	paths := []string{
		"/v1/memories", "/v1/memories/search?q=m", "/v1/apps", "/v1/categories", "/v1/stats", "/v1/archive-policies", "/v1/memories/" + uuid.NewString(),
		"/api/v1/memories/", "/api/v1/memories/categories", "/api/v1/apps/", "/api/v1/stats/", "/api/v1/memories/" + uuid.NewString(),
	}
	ask := func(want func(status int) bool) {
		t.Helper()
		for _, path := range paths {
			if a := alice.do("GET", path, "", "Prefer", "wait=1"); !want(a.status) || strings.Contains(a.body, "cut") {
				t.Errorf("GET %s: %d %s", path, a.status, a.body)
			}
		}
		if a := alice.do("POST", "/api/v1/memories/filter", `{}`, "Prefer", "wait=1"); !want(a.status) {
			t.Errorf("filter: %d %s", a.status, a.body)
		}
	}
	there := func(status int) bool { return status == http.StatusOK || status == http.StatusNotFound }
	ask(there)
	away.Store(true)
	pool.Reset()
	ask(func(status int) bool { return status == http.StatusServiceUnavailable })
	away.Store(false)
	ask(there)
}

// Feedback, experiments, sessions and erasure were served with totals, transitions and successes that were not true
// (23, 24, 25, and the routes of the GDPR). refold does not serve them, and says so: a client is told 404, never a success.
func TestWhatIsNotServedIsNotPretended(t *testing.T) {
	s := newStack(t)
	alice := s.client(t, "a", "alice")
	before := s.lastSeq(t)
	for _, path := range []string{
		"/api/v1/feedback", "/api/v1/feedback/metrics", "/api/v1/feedback/by-tool", "/api/v1/experiments", "/api/v1/experiments/x/assign",
		"/api/v1/experiments/x/status", "/api/v1/search", "/api/v1/search/semantic", "/api/v1/entities", "/api/v1/graph/stats", "/api/v1/code/search",
		"/v1/gdpr/export/alice", "/v1/gdpr/user/alice", "/v1/gdpr/audit/alice", "/v1/gdpr/pending-purges", "/v1/sessions",
	} {
		for _, method := range []string{"GET", "POST", "PUT", "DELETE"} {
			if a := alice.do(method, path, ""); a.status != http.StatusNotFound {
				t.Errorf("%s %s: %d %s; if it is served now, test what the old system did wrong there", method, path, a.status, a.body)
			}
		}
	}
	if after := s.lastSeq(t); after != before {
		t.Errorf("%d events", after-before)
	}
}

// A key means the same command for ever: after many others, in another process, which has nothing in its memory.
func TestIdempotencyKeysAreForEver(t *testing.T) {
	s := newStack(t)
	alice := s.client(t, "a", "alice")
	body := `{"content":"likes tea"}`
	id, _ := alice.do("POST", "/v1/memories", body, "Idempotency-Key", "made").want(t, http.StatusCreated)["id"].(string)
	path := "/v1/memories/" + id
	first := alice.do("PATCH", path, `{"content":"likes milk"}`, "Idempotency-Key", "changed")
	first.want(t, http.StatusOK)
	for range 20 {
		alice.do("POST", path+"/pause", "").want(t, http.StatusOK)
		alice.do("POST", path+"/activate", "").want(t, http.StatusOK)
	}
	alice.do("DELETE", path, "").want(t, http.StatusOK)
	before := s.lastSeq(t)
	s.answerFrom(reader.New(s.live, s.db))
	again := s.rebuilt(t).client(t, "a", "alice")
	if made := again.do("POST", "/v1/memories", body, "Idempotency-Key", "made").want(t, http.StatusCreated); made["id"] != id {
		t.Errorf("made again: %v, want %s", made, id)
	}
	changed := again.do("PATCH", path, `{"content":"likes milk"}`, "Idempotency-Key", "changed")
	if v := changed.want(t, http.StatusOK)["version"]; v != first.want(t, http.StatusOK)["version"] {
		t.Errorf("changed again: version %v", v)
	}
	for method, at := range map[string]string{"POST": "/v1/memories", "PATCH": path} {
		key := map[string]string{"POST": "made", "PATCH": "changed"}[method]
		if p := again.do(method, at, `{"content":"other"}`, "Idempotency-Key", key).want(t, http.StatusUnprocessableEntity); p["code"] != "key_reused" {
			t.Errorf("%s of something else with the key: %v", method, p)
		}
	}
	if after := s.lastSeq(t); after != before {
		t.Errorf("repetitions made %d events", after-before)
	}
}
