package httpapi_test

import (
	"net/http"
	"slices"
	"testing"

	"github.com/google/uuid"
)

// Commands about many, and exports, are in the access log like everything else: once each, with the app that asked.
func TestManyAreNoted(t *testing.T) {
	s := newStack(t)
	s.noted(t)
	alice, bob := s.client(t, "a", "alice"), s.client(t, "a", "bob")
	mine := alice.makeThings("m")
	id := mine.memory
	alice.do("POST", "/v1/memories/bulk/pause", `{"ids":["`+id+`"]}`).want(t, http.StatusOK)
	alice.accesses(id, 1)
	alice.do("POST", "/v1/memories/bulk/pause", `{"ids":["`+id+`"]}`).want(t, http.StatusOK) // nothing to do
	bob.do("POST", "/v1/memories/bulk/pause", `{"ids":["`+id+`"]}`).want(t, http.StatusOK)   // and nothing of his
	if a := alice.do("GET", "/v1/export", ""); a.status != http.StatusOK {
		t.Fatalf("export: %d %s", a.status, a.body)
	}
	var kinds []string
	for _, a := range alice.accesses(id, 2) {
		kinds = append(kinds, a["kind"].(string))
	}
	if want := []string{"export", "pause"}; !slices.Equal(kinds, want) {
		t.Errorf("accesses, newest first: %v, want %v", kinds, want)
	}
	alice.do("GET", "/v1/memories/"+id+"?as_app="+mine.app, "").want(t, http.StatusOK)
	if last := alice.accesses(id, 3)[0]; last["kind"] != "read" || last["app_id"] != mine.app {
		t.Errorf("read through an app: %v", last)
	}
}

// What the old commands do is in the access log, and nothing else: that they look first is no access.
func TestOldCommandsAreNoted(t *testing.T) {
	s := newStack(t)
	s.noted(t)
	c := s.client(t, "a", "alice")
	id := c.makeThings("m").memory
	c.do("POST", "/api/v1/memories/actions/pause", `{"memory_ids":["`+id+`"]}`).want(t, http.StatusOK)
	c.accesses(id, 1)
	c.do("POST", "/api/v1/memories/actions/archive", `["`+id+`"]`).want(t, http.StatusOK)
	var kinds []string
	for _, a := range c.accesses(id, 2) {
		kinds = append(kinds, a["kind"].(string))
	}
	if want := []string{"archive", "pause"}; !slices.Equal(kinds, want) {
		t.Errorf("accesses, newest first: %v, want %v", kinds, want)
	}
}

// The old paths of the access log answer in the old shapes; what is foreign is absent, and not an empty page.
func TestOldAccessLog(t *testing.T) {
	s := newStack(t)
	s.noted(t)
	alice := s.client(t, "a", "alice")
	mine := alice.makeThings("m")
	id := mine.memory
	for n := range 3 {
		alice.do("GET", "/v1/memories/"+id+"?as_app="+mine.app, "").want(t, http.StatusOK)
		alice.accesses(id, n+1)
	}
	log := alice.do("GET", "/api/v1/memories/"+id+"/access-log?page=2&page_size=2", "")
	log.like(t, http.StatusOK, "accesses")
	alice.do("GET", "/api/v1/apps/"+mine.app+"/accessed/?page_size=5", "").like(t, http.StatusOK, "accessed")
	app := alice.do("GET", "/api/v1/apps/"+mine.app, "").want(t, http.StatusOK)
	if app["total_memories_accessed"] != 1.0 || app["first_accessed"] == nil || app["last_accessed"] == nil {
		t.Errorf("the app: %v", app)
	}
	apps, _ := alice.do("GET", "/api/v1/apps/", "").want(t, http.StatusOK)["apps"].([]any)
	if len(apps) != 1 || apps[0].(map[string]any)["total_memories_accessed"] != 1.0 {
		t.Errorf("apps: %v", apps)
	}
	for _, c := range []*client{s.client(t, "a", "bob"), s.client(t, "b", "alice")} {
		c.do("GET", "/api/v1/memories/"+id+"/access-log", "").like(t, http.StatusNotFound, "memory_absent")
		c.do("GET", "/api/v1/apps/"+mine.app+"/accessed", "").like(t, http.StatusNotFound, "app_absent")
	}
	alice.do("GET", "/api/v1/memories/"+uuid.NewString()+"/access-log", "").like(t, http.StatusNotFound, "memory_absent")
	alice.do("GET", "/api/v1/memories/"+id+"/access-log?page_size=101", "").want(t, http.StatusUnprocessableEntity)
}
