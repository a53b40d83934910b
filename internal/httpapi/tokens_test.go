package httpapi_test

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/refold-dev/refold/internal/auth"
	"github.com/refold-dev/refold/internal/readiness"
)

// routes are all routes with the scope that each asks for.
var routes = []struct{ method, path, scope string }{
	{"GET", "/v1/memories", auth.MemoriesRead},
	{"POST", "/v1/memories", auth.MemoriesWrite},
	{"GET", "/v1/memories/{id}", auth.MemoriesRead},
	{"PATCH", "/v1/memories/{id}", auth.MemoriesWrite},
	{"DELETE", "/v1/memories/{id}", auth.MemoriesDelete},
	{"POST", "/v1/memories/{id}/archive", auth.MemoriesWrite},
	{"POST", "/v1/memories/{id}/pause", auth.MemoriesWrite},
	{"POST", "/v1/memories/{id}/activate", auth.MemoriesWrite},
	{"GET", "/v1/memories/{id}/history", auth.MemoriesRead},
	{"GET", "/v1/memories/{id}/versions", auth.MemoriesRead},
	{"GET", "/v1/memories/{id}/versions/1", auth.MemoriesRead},
	{"POST", "/v1/memories/{id}/restore", auth.MemoriesWrite},
	{"POST", "/v1/memories/{id}/undelete", auth.MemoriesDelete},
	{"GET", "/v1/apps", auth.AppsRead},
	{"GET", "/v1/apps/{id}", auth.AppsRead},
	{"GET", "/v1/memories/search?q=x", auth.MemoriesRead},
	{"POST", "/v1/memories/bulk/archive", auth.MemoriesWrite},
	{"POST", "/v1/memories/bulk/pause", auth.MemoriesWrite},
	{"POST", "/v1/memories/bulk/activate", auth.MemoriesWrite},
	{"POST", "/v1/memories/bulk/delete", auth.MemoriesDelete},
	{"GET", "/v1/memories/{id}/related", auth.MemoriesRead},
	{"GET", "/v1/categories", auth.MemoriesRead},
	{"GET", "/v1/apps/{id}/memories", auth.AppsRead},
	{"PATCH", "/v1/apps/{id}", auth.AppsWrite},
	{"POST", "/v1/apps/{id}/pause", auth.AppsWrite},
	{"POST", "/v1/apps/{id}/activate", auth.AppsWrite},
	{"GET", "/v1/stats", auth.StatsRead},
	{"GET", "/v1/me", auth.MeRead},
	{"PATCH", "/v1/me", auth.MeWrite},
	{"GET", "/v1/memories/{id}/access-log", auth.MemoriesRead},
	{"GET", "/v1/apps/{id}/accessed", auth.AppsRead},
	{"GET", "/v1/apps/{id}/access-rules", auth.AppsRead},
	{"GET", "/v1/apps/{id}/access-rules/" + ruleID, auth.AppsRead},
	{"PUT", "/v1/apps/{id}/access-rules/" + ruleID, auth.AppsWrite},
	{"DELETE", "/v1/apps/{id}/access-rules/" + ruleID, auth.AppsWrite},
	{"GET", "/v1/changes", auth.ChangesRead},
	{"GET", "/v1/tenant/changes", auth.TenantRead},
	{"GET", "/v1/export", auth.BackupRead},
	{"POST", "/v1/import", auth.BackupWrite},
}

// ruleID is an access rule of every app of makeThings.
const ruleID = "01935cae-bf00-8000-9000-00000000de40"

func bodyOf(method, path string) string {
	switch method + " " + path {
	case "POST /v1/memories", "PATCH /v1/memories/{id}":
		return `{"content":"x"}`
	case "POST /v1/memories/{id}/restore":
		return `{"version":1}`
	case "PATCH /v1/apps/{id}":
		return `{"description":"x"}`
	case "PATCH /v1/me":
		return `{"name":"x"}`
	case "PUT /v1/apps/{id}/access-rules/" + ruleID:
		return `{"object_type":"memory","effect":"allow"}`
	}
	if strings.Contains(path, "/bulk/") {
		return `{"all":true}`
	}
	return ""
}

func at(path string, id string) string { return strings.ReplaceAll(path, "{id}", id) }

func TestNoRouteWithoutTokenOrScope(t *testing.T) {
	s := newStack(t)
	nobody := &client{t: t, handler: s.handler}
	forged := &client{t: t, handler: s.handler, token: "a.b.c"}
	for _, route := range routes {
		path := at(route.path, uuid.NewString())
		// The token is looked at before anything else: even before parameters and bodies that make no sense.
		for _, body := range []string{bodyOf(route.method, route.path), `{"nonsense"`} {
			a := nobody.do(route.method, path+"?limit=x", body)
			a.want(t, http.StatusUnauthorized)
			if challenge := a.header.Get("WWW-Authenticate"); !strings.HasPrefix(challenge, "Bearer ") || strings.Contains(challenge, "error=") {
				t.Errorf("%s %s: challenge %q", route.method, path, challenge)
			}
			a = forged.do(route.method, path+"?limit=x", body)
			a.want(t, http.StatusUnauthorized)
			if challenge := a.header.Get("WWW-Authenticate"); !strings.Contains(challenge, `error="invalid_token"`) {
				t.Errorf("%s %s: challenge %q", route.method, path, challenge)
			}
		}
		others := slices.DeleteFunc(auth.AllScopes(), func(scope string) bool { return scope == route.scope })
		a := s.client(t, "nowhere", "x", others...).do(route.method, path, `{"nonsense"`)
		if code := a.want(t, http.StatusForbidden)["code"]; code != "insufficient_scope" {
			t.Errorf("%s %s: code %v", route.method, path, code)
		}
		if challenge := a.header.Get("WWW-Authenticate"); !strings.Contains(challenge, `scope="`+route.scope+`"`) {
			t.Errorf("%s %s: challenge %q does not name %s", route.method, path, challenge, route.scope)
		}
	}
}

func TestExpiredToken(t *testing.T) {
	s := newStack(t)
	verifier, err := auth.NewVerifier(auth.Config{
		Issuers: []auth.Issuer{s.key.Issuer()}, Now: func() time.Time { return time.Now().Add(2 * time.Hour) },
	})
	check(t, err)
	s.config.Verifier = verifier
	s.client(t, "a", "alice").do("GET", "/v1/memories", "").want(t, http.StatusOK)
	late := s.rebuilt(t).client(t, "a", "alice")
	late.do("GET", "/v1/memories", "").want(t, http.StatusUnauthorized)
}

// While the keys of an issuer cannot be had, its tokens are not refused for good.
func TestKeysUnavailable(t *testing.T) {
	s := newStack(t)
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	here := s.key.Issuer()
	verifier, err := auth.NewVerifier(auth.Config{Issuers: []auth.Issuer{{Issuer: here.Issuer, Audience: here.Audience, KeySet: gone.URL, Tenants: here.Tenants}}})
	check(t, err)
	s.config.Verifier = verifier
	alice := s.rebuilt(t).client(t, "a", "alice")
	a := alice.do("POST", "/v1/memories", `{"content":"x"}`)
	if p := a.want(t, http.StatusServiceUnavailable); p["code"] != "keys_unavailable" || p["retryable"] != true || a.header.Get("Retry-After") == "" || a.header.Get("Www-Authenticate") != "" {
		t.Errorf("%v %s", a.header, a.body)
	}
	alice.do("GET", "/api/v1/memories/", "").want(t, http.StatusServiceUnavailable)
}

func TestOpenRoutes(t *testing.T) {
	s := newStack(t)
	nobody := &client{t: t, handler: s.handler}
	nobody.do("GET", "/healthz", "").want(t, http.StatusOK)
	nobody.do("GET", "/readyz", "").want(t, http.StatusOK)
	s.health.conditions = []readiness.Condition{{Shard: readiness.Every, Code: "DRAINING", Reads: readiness.Prevent, Commands: readiness.Prevent}}
	if code := nobody.do("GET", "/readyz", "").want(t, http.StatusServiceUnavailable)["code"]; code != "not_ready" {
		t.Errorf("code %v", code)
	}
	nobody.do("GET", "/healthz", "").want(t, http.StatusOK)
	if a := nobody.do("GET", "/openapi.yaml", ""); a.status != 200 || !strings.HasPrefix(a.body, "openapi: 3.1") {
		t.Errorf("document: %d, %.40s", a.status, a.body)
	}
	document := nobody.do("GET", "/asyncapi.json", "").want(t, http.StatusOK)
	if channels, ok := document["channels"].(map[string]any); !ok || document["asyncapi"] != "3.0.0" || channels["command"] == nil {
		t.Errorf("document for producers: %v", document["asyncapi"])
	}
	nobody.do("GET", "/unknown", "").want(t, http.StatusNotFound)
	if a := nobody.do("PUT", "/v1/memories", ""); a.status != http.StatusMethodNotAllowed || !strings.Contains(a.header.Get("Allow"), "POST") {
		t.Errorf("another method: %d, Allow %q", a.status, a.header.Get("Allow"))
	}
}
