package httpapi_test

import (
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/refold-dev/refold/internal/auth"
)

// Whatever a selector names, it reaches nobody else's; and a request with one foreign id changes nothing (2, 3, 15).
func TestOldSelectorsReachNobodyElse(t *testing.T) {
	s := newStack(t)
	alice := s.client(t, "a", "alice")
	others := map[string]*client{"a user": s.client(t, "a", "bob"), "a tenant": s.client(t, "b", "alice")}
	mine := alice.makeThings("mine")
	for who, other := range others {
		theirs := other.makeThings("theirs")
		category := s.categoryOf(t, other, "theirs")
		before := s.lastSeq(t)
		for _, body := range []string{
			`{"memory_ids":["` + theirs.memory + `"]}`, `{"memory_ids":["` + mine.memory + `","` + theirs.memory + `"]}`,
			`{"app_id":"` + theirs.app + `"}`, `{"category_ids":["` + category + `"]}`,
		} {
			for _, state := range []string{"paused", "deleted", "archived"} {
				alice.do("POST", "/api/v1/memories/actions/pause", strings.TrimSuffix(body, "}")+`,"state":"`+state+`"}`)
			}
		}
		for _, ids := range []string{`["` + theirs.memory + `"]`, `["` + mine.memory + `","` + theirs.memory + `"]`} {
			alice.do("POST", "/api/v1/memories/actions/archive", ids).want(t, 404)
			alice.do("DELETE", "/api/v1/memories/", `{"memory_ids":`+ids+`}`).want(t, 404)
		}
		if after := s.lastSeq(t); after != before {
			t.Errorf("selectors that name %s made %d events", who, after-before)
		}
	}
	alice.do("POST", "/api/v1/memories/actions/pause", `{"global_pause":true}`).want(t, 200)
	for who, other := range others {
		for _, item := range items(other.do("POST", "/api/v1/memories/filter", "{}").want(t, 200)) {
			if item["state"] != "active" {
				t.Errorf("a pause of everything reached %s: %v", who, item)
			}
		}
	}
	if m := alice.do("GET", "/api/v1/memories/"+mine.memory, "").want(t, 200); m["state"] != "paused" {
		t.Errorf("a pause of everything left %v", m)
	}
	alice.do("POST", "/api/v1/memories/actions/pause", `{"global_pause":true,"state":"active"}`).want(t, 200)
	if m := alice.do("GET", "/api/v1/memories/"+mine.memory, "").want(t, 200); m["state"] != "active" {
		t.Errorf("resumed: %v", m)
	}
}

// categoryOf finds the id of a category in the rows.
func (s *stack) categoryOf(t *testing.T, _ *client, name string) (id string) {
	t.Helper()
	pool, err := s.db.OwnerOf(t.Context(), s.edition)
	check(t, err)
	check(t, pool.QueryRow(t.Context(), "SELECT id::text FROM category WHERE name = $1 ORDER BY tenant_id DESC LIMIT 1", name).Scan(&id))
	return id
}

// Selectors mean active and paused memories, whatever is to become of them; a list of an app's memories may be stale.
func TestOldSelectorsSpareTheArchived(t *testing.T) {
	s := newStack(t)
	c := s.client(t, "a", "alice")
	pause := func(body string, status int) map[string]any {
		return c.do("POST", "/api/v1/memories/actions/pause", body).want(t, status)
	}
	for selector, body := range map[string]string{"global": `"global_pause":true`, "app": `"app_id":"APP"`, "category": `"category_ids":["CATEGORY"]`} {
		kept := c.add(`{"content":"kept","app":"notes","categories":["tea"]}`)
		gone := c.add(`{"content":"gone","app":"notes","categories":["tea"]}`)
		c.do("POST", "/v1/memories/"+kept+"/archive", "", "Prefer", "wait=20").want(t, 200)
		app, _ := c.do("GET", "/v1/memories/"+kept, "").want(t, 200)["app"].(map[string]any)["id"].(string)
		pause("{"+strings.NewReplacer("APP", app, "CATEGORY", s.categoryOf(t, c, "tea")).Replace(body)+`,"state":"deleted"}`, 200)
		c.do("GET", "/api/v1/memories/"+gone, "").want(t, 404)
		if m := c.do("GET", "/api/v1/memories/"+kept, "").want(t, 200); m["state"] != "archived" {
			t.Errorf("%s: %v", selector, m)
		}
		ids := `{"memory_ids":["` + kept + `","` + gone + `"]`
		pause(ids+`,"state":"active"}`, 404)
		if m := pause(ids+`,"state":"active","all_for_app":true}`, 200); m["message"] != "Successfully paused 1 memories" {
			t.Errorf("%s: %v", selector, m)
		}
		c.do("DELETE", "/api/v1/memories/", `{"memory_ids":["`+kept+`"]}`).want(t, 200)
	}
	many := strings.TrimSuffix(strings.Repeat(`"`+uuid.NewString()+`",`, 101), ",")
	pause(`{"category_ids":[`+many+`]}`, 422)
}

// While the rows stand still, what selects more than one call moves ends by itself, and may be repeated.
func TestOldSelectorsEndWhenTheRowsLag(t *testing.T) {
	s := newStack(t)
	c := s.client(t, "a", "alice")
	c.add(`{"content":"first"}`)
	c.do("GET", "/v1/memories", "").want(t, 200)
	pool, err := s.db.OwnerOf(t.Context(), s.edition)
	check(t, err)
	// Rows of which no command knows stand for memories that are gone.
	_, err = pool.Exec(t.Context(), `INSERT INTO memory (tenant_id, id, version, user_id, content, metadata, state, created_at, updated_at)
		SELECT tenant_id, gen_random_uuid(), version, user_id, content, metadata, state, created_at, updated_at FROM memory, generate_series(1, 1001)`)
	check(t, err)
	if p := c.do("POST", "/api/v1/memories/actions/pause", `{"global_pause":true}`).want(t, 503); p["detail"] != "the rows have not reached this position yet" {
		t.Errorf("%v", p)
	}
}

// To delete takes the scope to delete, whatever the path is called (4).
func TestOldPauseDoesNotDelete(t *testing.T) {
	s := newStack(t)
	writer := s.client(t, "a", "alice", auth.MemoriesRead, auth.MemoriesWrite)
	id, _ := writer.do("POST", "/api/v1/memories/", `{"text":"x"}`).want(t, 200)["id"].(string)
	for _, body := range []string{`{"memory_ids":["` + id + `"],"state":"deleted"}`, `{"global_pause":true,"state":"deleted"}`} {
		if p := writer.do("POST", "/api/v1/memories/actions/pause", body).want(t, 403); p["error"] != "INSUFFICIENT_SCOPE" {
			t.Errorf("%v", p)
		}
	}
	writer.do("GET", "/api/v1/memories/"+id, "").want(t, 200)
	s.client(t, "a", "alice").do("POST", "/api/v1/memories/actions/pause", `{"memory_ids":["`+id+`"],"state":"deleted"}`).want(t, 200)
	writer.do("GET", "/api/v1/memories/"+id, "").want(t, 404)
}
