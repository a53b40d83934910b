package httpapi_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/refold-dev/refold/internal/auth"
	"github.com/refold-dev/refold/internal/quota"
)

// bound is alice with a token that is bound to an app.
func (s *stack) bound(t *testing.T, app string) *client {
	t.Helper()
	token, err := s.key.Mint(auth.TokenRequest{Tenant: "a", Subject: "alice", Scopes: auth.AllScopes(), App: app})
	check(t, err)
	return &client{t: t, handler: s.handler, token: token}
}

// A token that is bound to an app reads, touches and stores as that app, over both families of paths.
func TestATokenOfAnApp(t *testing.T) {
	s := newStack(t)
	alice := s.client(t, "a", "alice")
	open := alice.add(`{"content":"for all to see","app":"claude"}`)
	closed := alice.add(`{"content":"a secret","app":"cursor"}`)
	apps := map[string]string{}
	for _, a := range items(alice.do("GET", "/v1/apps", "").want(t, http.StatusOK)) {
		apps[a["name"].(string)] = a["id"].(string)
	}
	alice.do("PUT", "/v1/apps/"+apps["claude"]+"/access-rules/01935cae-bf00-8000-9000-00000000de10",
		`{"object_type":"memory","object_id":"`+open+`","effect":"allow"}`).want(t, http.StatusOK)
	alice.add(`{"content":"a mark"}`) // the rows have the rule when they have this

	claude := s.bound(t, " Claude")
	claude.position = alice.position
	list := claude.do("GET", "/v1/memories?count=true", "").want(t, http.StatusOK)
	if got := items(list); len(got) != 1 || got[0]["id"] != open || list["total"] != 1.0 {
		t.Errorf("it lists %v", list)
	}
	for path, want := range map[string]int{
		"/v1/memories/" + open: 200, "/v1/memories/" + closed: 404, "/v1/memories/" + closed + "/history": 404, "/v1/memories/" + closed + "/accesses": 404,
		"/v1/memories/" + closed + "?as_app=" + apps["cursor"]: 404, "/v1/memories/" + open + "?as_app=" + apps["cursor"]: 404, "/v1/memories/" + open + "?as_app=" + apps["claude"]: 200,
		"/api/v1/memories/" + open: 200, "/api/v1/memories/" + closed: 404, "/v1/apps/" + apps["cursor"] + "/accessed": 403, "/api/v1/apps/" + apps["cursor"] + "/accessed": 403,
		"/v1/export": 403, "/v1/changes": 403, "/v1/tenant/changes": 403,
	} {
		if got := claude.do("GET", path, ""); got.status != want {
			t.Errorf("GET %s: %d, want %d: %s", path, got.status, want, got.body)
		}
	}
	for _, path := range []string{"/v1/memories", "/v1/memories/search?q=secret", "/v1/memories/search?q=secret&as_app=" + apps["cursor"], "/v1/stats", "/v1/categories", "/api/v1/memories/", "/v1/apps/" + apps["cursor"] + "/memories"} {
		if got := claude.do("GET", path, ""); got.status != http.StatusOK || strings.Contains(got.body, "a secret") || strings.Contains(got.body, closed) {
			t.Errorf("GET %s: %d %s", path, got.status, got.body)
		}
	}
	if stats := claude.do("GET", "/v1/stats", "").want(t, http.StatusOK); stats["memories"] != 1.0 {
		t.Errorf("it counts %v", stats)
	}
	// What it may not read is not there for its commands, alone or among others.
	for _, c := range []struct{ method, path, body string }{
		{"PATCH", "/v1/memories/" + closed, `{"content":"changed"}`}, {"DELETE", "/v1/memories/" + closed, ""}, {"POST", "/v1/memories/" + closed + "/archive", ""},
	} {
		claude.do(c.method, c.path, c.body, "If-Match", "*").want(t, http.StatusNotFound)
	}
	claude.do("POST", "/v1/memories/bulk/delete", `{"ids":["`+closed+`"]}`)
	claude.do("POST", "/v1/memories/bulk/delete", `{"apps":["cursor"]}`)
	claude.do("DELETE", "/api/v1/memories/", `{"memory_ids":["`+closed+`"]}`)
	alice.do("GET", "/v1/memories/"+closed, "").want(t, http.StatusOK)
	// Nor does it change its rules.
	claude.do("DELETE", "/v1/apps/"+apps["claude"]+"/access-rules/01935cae-bf00-8000-9000-00000000de10", "").want(t, http.StatusForbidden)

	// What it stores is of its app, whichever spelling it gives, and of no other.
	for _, body := range []string{`{"content":"x"}`, `{"content":"x","app":"CLAUDE"}`} {
		if m := claude.do("POST", "/v1/memories", body).want(t, http.StatusCreated); m["app"].(map[string]any)["name"] != "claude" {
			t.Errorf("%s: %v", body, m)
		}
	}
	if p := claude.do("POST", "/v1/memories", `{"content":"x","app":"cursor"}`).want(t, http.StatusForbidden); p["code"] != "forbidden" {
		t.Errorf("another app: %v", p)
	}
	claude.do("POST", "/api/v1/memories/", `{"user_id":"alice","text":"x"}`).want(t, http.StatusOK)
	claude.do("POST", "/api/v1/memories/", `{"user_id":"alice","text":"x","app":"openmemory"}`).want(t, http.StatusForbidden)

	// A paused app does nothing at all.
	alice.do("POST", "/v1/apps/"+apps["claude"]+"/pause", "").want(t, http.StatusOK)
	for deadline := time.Now().Add(20 * time.Second); claude.do("GET", "/v1/memories", "").status != http.StatusForbidden; {
		if time.Now().After(deadline) {
			t.Fatal("the app is not paused")
		}
	}
	for _, c := range []struct{ method, path, body string }{{"GET", "/v1/memories", ""}, {"POST", "/v1/memories", `{"content":"y"}`}} {
		if p := claude.do(c.method, c.path, c.body).want(t, http.StatusForbidden); p["code"] != "app_paused" {
			t.Errorf("%s %s of a paused app: %v", c.method, c.path, p)
		}
	}
}

// Bad tokens are limited by the address that they come from, and nobody else pays for them.
func TestBadTokensAreLimited(t *testing.T) {
	s := newStack(t)
	s.config.Logins = &quota.Logins{}
	s = s.rebuilt(t)
	good, bad := s.client(t, "a", "alice"), &client{t: t, handler: s.handler, token: "a.b.c"}
	counts := map[int]int{}
	for range 100 {
		a := bad.do("GET", "/v1/memories", "")
		if counts[a.status]++; a.status == http.StatusTooManyRequests && a.header.Get("Retry-After") == "" {
			t.Fatalf("no Retry-After: %v", a.header)
		}
	}
	if counts[http.StatusUnauthorized] < 50 || counts[http.StatusTooManyRequests] < 20 {
		t.Errorf("bad tokens: %v", counts)
	}
	good.do("GET", "/v1/memories", "").want(t, http.StatusOK)
	s.client(t, "a", "alice", auth.AppsRead).do("GET", "/v1/memories", "").want(t, http.StatusForbidden)
	(&client{t: t, handler: s.handler}).do("GET", "/v1/memories", "").want(t, http.StatusUnauthorized)
}
