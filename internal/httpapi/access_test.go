package httpapi_test

import (
	"context"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/refold-dev/refold/internal/activity"
	"github.com/refold-dev/refold/internal/testenv"
	"github.com/refold-dev/refold/internal/user"
)

// noted lets the stack keep an access log.
func (s *stack) noted(t *testing.T) {
	t.Helper()
	s.config.Reader.Activity = &activity.Recorder{}
	log := &activity.Log{NATS: testenv.NATS(t), JournalID: "01J9ZK3V6Q3X5W8Y2T4R6P8N0M", DB: s.db, Recorder: s.config.Reader.Activity}
	running, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- log.Run(running) }()
	t.Cleanup(func() { stop(); check(t, <-done) })
}

// accesses waits until the access log of a memory has so many entries, and returns them.
func (c *client) accesses(memory string, want int) []map[string]any {
	c.t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for {
		page := c.do("GET", "/v1/memories/"+memory+"/access-log?limit=100", "").want(c.t, http.StatusOK)
		if found := items(page); len(found) == want && page["total"] == float64(want) {
			return found
		} else if time.Now().After(deadline) {
			c.t.Fatalf("access log of %s: %v, want %d entries", memory, page, want)
		}
		time.Sleep(10 * time.Millisecond) // between two questions
	}
}

func TestAccessLog(t *testing.T) {
	s := newStack(t)
	s.noted(t)
	alice, bob, other := s.client(t, "a", "alice"), s.client(t, "a", "bob"), s.client(t, "b", "alice")
	id, untouched := alice.add(`{"content":"secret word"}`), bob.add(`{"content":"secret word"}`)
	alice.do("GET", "/v1/memories/"+id, "").want(t, http.StatusOK)
	alice.accesses(id, 1)
	alice.do("GET", "/v1/memories", "").want(t, http.StatusOK)
	alice.accesses(id, 2)
	alice.do("GET", "/v1/memories?search=secret", "").want(t, http.StatusOK)
	alice.accesses(id, 3)
	alice.do("POST", "/v1/memories/"+id+"/pause", "").want(t, http.StatusOK)
	alice.do("POST", "/v1/memories/"+id+"/pause", "").want(t, http.StatusOK) // nothing to do, and no access
	for _, c := range []*client{bob, other} {                                // nor are those of others
		c.do("GET", "/v1/memories/"+id, "").want(t, http.StatusNotFound)
		c.do("GET", "/v1/memories", "").want(t, http.StatusOK)
		c.do("GET", "/v1/memories/"+id+"/access-log", "").want(t, http.StatusNotFound)
	}
	var kinds []string
	for _, a := range alice.accesses(id, 4) {
		kinds = append(kinds, a["kind"].(string))
	}
	if want := []string{"pause", "search", "list", "read"}; !slices.Equal(kinds, want) {
		t.Errorf("accesses, newest first: %v, want %v", kinds, want)
	}
	if kind := bob.accesses(untouched, 1)[0]["kind"]; kind != "list" {
		t.Errorf("bob's memory was accessed by %v", kind)
	}
	first := alice.do("GET", "/v1/memories/"+id+"/access-log?limit=3", "").want(t, http.StatusOK)
	cursor, _ := first["next_cursor"].(string)
	second := alice.do("GET", "/v1/memories/"+id+"/access-log?limit=3&cursor="+cursor, "").want(t, http.StatusOK)
	if len(items(first)) != 3 || len(items(second)) != 1 || second["next_cursor"] != nil || items(second)[0]["kind"] != "read" {
		t.Errorf("pages: %v, %v", first, second)
	}
	bob.do("GET", "/v1/memories/"+untouched+"/access-log?cursor="+cursor, "").want(t, http.StatusBadRequest)
}

func TestAppAccessed(t *testing.T) {
	s := newStack(t)
	s.noted(t)
	alice := s.client(t, "a", "alice")
	mine := alice.makeThings("m")
	often, gone := alice.add(`{"content":"often"}`), alice.add(`{"content":"gone"}`)
	app, caller := uuid.MustParse(mine.app), user.ID(known["a"].Key, "a", "alice")
	record := func(times int, memory string) {
		for range times {
			s.config.Reader.Activity.Record(activity.Access{Tenant: "a", User: caller, App: &app, Kind: activity.Read, Memories: []uuid.UUID{uuid.MustParse(memory)}})
		}
	}
	record(3, often)
	record(1, mine.memory)
	record(5, gone)
	alice.accesses(gone, 5)
	alice.do("DELETE", "/v1/memories/"+gone, "").want(t, http.StatusOK)
	page := alice.do("GET", "/v1/apps/"+mine.app+"/accessed", "").want(t, http.StatusOK)
	found := items(page)
	if len(found) != 2 || found[0]["access_count"] != 3.0 || found[1]["access_count"] != 1.0 || found[0]["memory"].(map[string]any)["id"] != often {
		t.Errorf("accessed: %v", page)
	}
	first := alice.do("GET", "/v1/apps/"+mine.app+"/accessed?limit=1", "").want(t, http.StatusOK)
	cursor, _ := first["next_cursor"].(string)
	second := alice.do("GET", "/v1/apps/"+mine.app+"/accessed?limit=1&cursor="+cursor, "").want(t, http.StatusOK)
	if len(items(first)) != 1 || len(items(second)) != 1 || items(second)[0]["memory"].(map[string]any)["id"] != mine.memory || second["next_cursor"] != nil {
		t.Errorf("pages: %v, %v", first, second)
	}
	s.client(t, "a", "bob").do("GET", "/v1/apps/"+mine.app+"/accessed", "").want(t, http.StatusNotFound)
}

// Without a store for accesses, and with a recorder that is full, reading goes on as before.
func TestReadingDoesNotWaitForTheAccessLog(t *testing.T) {
	s := newStack(t)
	s.config.Reader.Activity = &activity.Recorder{WaitingMax: 1}
	alice := s.client(t, "a", "alice")
	id := alice.add(`{"content":"x"}`)
	for range 3 {
		alice.do("GET", "/v1/memories/"+id, "").want(t, http.StatusOK)
	}
	if c := s.config.Reader.Activity.Counts(); c != (activity.Counts{Recorded: 1, Dropped: 2, Waiting: 1}) {
		t.Errorf("counts: %+v", c)
	}
}

func TestAccessRules(t *testing.T) {
	s := newStack(t)
	alice, bob := s.client(t, "a", "alice"), s.client(t, "a", "bob")
	mine, theirs := alice.makeThings("m"), bob.makeThings("t")
	base := "/v1/apps/" + mine.app + "/access-rules"
	other := base + "/" + uuid.NewString()

	done := alice.do("PUT", other, `{"object_type":"category","object_id":"`+theirs.memory+`","effect":"deny"}`).want(t, http.StatusOK)
	if done["changed"] != true || done["version"] != 3.0 || done["id"] != mine.app {
		t.Errorf("put: %v", done)
	}
	if again := alice.do("PUT", other, `{"object_type":"category","object_id":"`+theirs.memory+`","effect":"deny"}`).want(t, http.StatusOK); again["changed"] != false {
		t.Errorf("put again: %v", again)
	}
	list := items(alice.do("GET", base, "").want(t, http.StatusOK))
	if len(list) != 2 || list[0]["id"] != ruleID || list[0]["object_id"] != nil || list[1]["effect"] != "deny" || list[1]["object_id"] != theirs.memory {
		t.Errorf("rules: %v", list)
	}
	if one := alice.do("GET", other, "").want(t, http.StatusOK); one["object_type"] != "category" {
		t.Errorf("rule: %v", one)
	}
	// What a rule is about is not looked up: absent, foreign and own ids are answered alike.
	for _, object := range []string{uuid.NewString(), theirs.memory, mine.memory} {
		alice.do("PUT", other, `{"object_type":"memory","object_id":"`+object+`","effect":"deny"}`).want(t, http.StatusOK)
	}
	alice.do("PUT", other, `{"object_type":"memory","effect":"allow"}`, "If-Match", `"1"`).want(t, http.StatusPreconditionFailed)
	for body, pointer := range map[string]string{
		`{"object_type":"workspace","effect":"deny"}`: "/object_type", `{"object_type":"memory","effect":"x"}`: "/effect",
		`{"object_type":"memory"}`: "/effect", `{"object_type":"memory","effect":"deny","app":"x"}`: "/app",
	} {
		if p := alice.do("PUT", other, body).want(t, http.StatusUnprocessableEntity); p["pointer"] != pointer {
			t.Errorf("%s: %v, want pointer %s", body, p, pointer)
		}
	}
	alice.do("PUT", base+"/nonsense", `{"object_type":"memory","effect":"deny"}`).want(t, http.StatusNotFound)
	if gone := alice.do("DELETE", other, "").want(t, http.StatusOK); gone["changed"] != true {
		t.Errorf("withdrawn: %v", gone)
	}
	if gone := alice.do("DELETE", other, "").want(t, http.StatusOK); gone["changed"] != false {
		t.Errorf("withdrawn again: %v", gone)
	}
	alice.do("GET", other, "").want(t, http.StatusNotFound)
	if list := items(alice.do("GET", base, "").want(t, http.StatusOK)); len(list) != 1 {
		t.Errorf("rules: %v", list)
	}
}
