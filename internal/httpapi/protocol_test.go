package httpapi_test

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/refold-dev/refold/events/envelope"
	"github.com/refold-dev/refold/internal/journal"
	"github.com/refold-dev/refold/internal/quota"
	"github.com/refold-dev/refold/internal/reader"

	"github.com/google/uuid"
)

// What replaces content must say what it replaces; what moves a state or deletes need not.
func TestPreconditionIsRequiredWhereContentIsReplaced(t *testing.T) {
	s := newStack(t)
	alice := s.client(t, "a", "alice")
	path := "/v1/memories/" + alice.add(`{"content":"likes tea"}`)
	before := s.lastSeq(t)
	if code := alice.do("PATCH", path, `{"content":"x"}`, "If-Match", "").want(t, http.StatusPreconditionRequired)["code"]; code != "precondition_required" {
		t.Errorf("code %v", code)
	}
	alice.do("PATCH", "/v1/memories/01935cae-bf00-8000-9000-00000000de10", `{"content":"x"}`, "If-Match", "").want(t, http.StatusPreconditionRequired)
	alice.do("PATCH", path, `{"content":"x"}`, "If-Match", `"2"`).want(t, http.StatusPreconditionFailed)
	if after := s.lastSeq(t); after != before {
		t.Errorf("refused commands made %d events", after-before)
	}
	read := alice.do("GET", path, "").header.Get("ETag")
	accepted := alice.do("PATCH", path, `{"content":"likes coffee"}`, "If-Match", read)
	accepted.want(t, http.StatusOK)
	alice.do("PATCH", path, `{"content":"likes milk"}`, "If-Match", read).want(t, http.StatusPreconditionFailed)
	alice.do("PATCH", path, `{"content":"likes milk"}`, "If-Match", accepted.header.Get("ETag")).want(t, http.StatusOK)
	alice.do("PATCH", path, `{"content":"likes beer"}`, "If-Match", "*").want(t, http.StatusOK)
	alice.do("POST", path+"/pause", "").want(t, http.StatusOK)
	alice.do("DELETE", path, "").want(t, http.StatusOK)
}

// An answer that the caller has is not sent again; one that differs is, even when the version of its entity is the same.
func TestNotModified(t *testing.T) {
	s := newStack(t)
	alice := s.client(t, "a", "alice")
	path := "/v1/memories/" + alice.add(`{"content":"likes tea","app":"notes"}`)
	app, _ := items(alice.do("GET", "/v1/apps", "").want(t, http.StatusOK))[0]["id"].(string)
	for _, path := range []string{path, path + "/history", "/v1/apps/" + app} {
		first := alice.do("GET", path, "")
		first.want(t, http.StatusOK)
		tag := first.header.Get("ETag")
		for _, known := range []string{tag, "*", `"1", ` + tag, "W/" + tag} {
			again := alice.do("GET", path, "", "If-None-Match", known)
			if again.status != http.StatusNotModified || again.body != "" || again.header.Get("ETag") != tag || again.header.Get("Content-Type") != "" {
				t.Errorf("GET %s with %s: %d %q %v", path, known, again.status, again.body, again.header)
			}
		}
		alice.do("GET", path, "", "If-None-Match", `"1"`).want(t, http.StatusOK)
	}
	before := alice.do("GET", "/v1/apps/"+app, "")
	alice.add(`{"content":"another","app":"notes"}`)
	after := alice.do("GET", "/v1/apps/"+app, "", "If-None-Match", before.header.Get("ETag"))
	if a, b := before.want(t, http.StatusOK), after.want(t, http.StatusOK); a["version"] != b["version"] || b["memories"] != 2.0 {
		t.Errorf("the app has a memory more and the same version: %v then %v", a, b)
	}
	// Nothing of this is an oracle: what is foreign stays absent.
	bob := s.client(t, "a", "bob")
	bob.do("GET", path, "", "If-None-Match", "*").want(t, http.StatusNotFound)
}

// A command that prefers to wait is answered when its rows are there; one that does not is 202 if it prefers so.
func TestCommandsThatWait(t *testing.T) {
	s := newStack(t)
	alice := s.client(t, "a", "alice")
	a := alice.do("POST", "/v1/memories", `{"content":"likes tea"}`, "Prefer", "wait=20")
	path := a.header.Get("Location")
	a.want(t, http.StatusCreated)
	if applied := a.header.Get("Preference-Applied"); applied != "wait=20" {
		t.Errorf("Preference-Applied %q", applied)
	}
	alice.position = "" // no question waits from here on
	alice.do("GET", path, "").want(t, http.StatusOK)
	alice.position = ""
	alice.do("POST", path+"/pause", "", "Prefer", "respond-async, wait=20").want(t, http.StatusOK)
	alice.position = ""
	if m := alice.do("GET", path, "").want(t, http.StatusOK); m["state"] != "paused" {
		t.Errorf("after a command that waited: %v", m)
	}
	a = alice.do("POST", path+"/activate", "", "Prefer", "respond-async")
	if body := a.want(t, http.StatusAccepted); body["changed"] != true || a.header.Get("Preference-Applied") != "respond-async" {
		t.Errorf("%v %s", a.header, a.body)
	}
	if a = alice.do("POST", path+"/pause", "", "Prefer", "handling=lenient"); a.header.Get("Preference-Applied") != "" {
		t.Errorf("an unknown preference was applied: %v", a.header)
	}
	a.want(t, http.StatusOK)

	// While the rows stand still, a command is accepted all the same.
	pool, err := s.db.Owner(t.Context())
	check(t, err)
	tx, err := pool.Begin(t.Context())
	check(t, err)
	_, err = tx.Exec(t.Context(), "SELECT FROM control.checkpoint FOR UPDATE")
	check(t, err)
	a = alice.do("POST", path+"/archive", "", "Prefer", "wait=1")
	a.want(t, http.StatusOK)
	if applied := a.header.Get("Preference-Applied"); applied != "" {
		t.Errorf("the rows do not have it, but %q is applied", applied)
	}
	alice.do("POST", path+"/activate", "", "Prefer", "wait=1, respond-async").want(t, http.StatusAccepted)
	check(t, tx.Rollback(t.Context()))
	if m := alice.do("GET", path, "").want(t, http.StatusOK); m["state"] != "active" {
		t.Errorf("after the rows went on: %v", m)
	}
}

// The header that asks for a position has two names.
func TestPositionIsAskedForByEitherName(t *testing.T) {
	s := newStack(t)
	alice := s.client(t, "a", "alice")
	path := "/v1/memories/" + alice.add(`{"content":"x"}`)
	position := alice.position
	for _, name := range []string{"Refold-Position", "Refold-Min-Position"} {
		alice.position = ""
		alice.do("GET", path, "", name, position, "Prefer", "wait=20").want(t, http.StatusOK)
		alice.do("GET", path, "", name, "garbage").want(t, http.StatusBadRequest)
	}
}

// A position that one process has handed out is good at any other that has the same key.
func TestPositionsAreGoodOnAnyReplica(t *testing.T) {
	s := newStack(t)
	other := s.rebuilt(t)
	sealer, err := reader.NewSealer(bytes.Repeat([]byte{7}, 32))
	check(t, err)
	other.config.Sealer = sealer
	other.answerFrom(reader.New(s.live, s.db))
	other = other.rebuilt(t)
	here, there := s.client(t, "a", "alice"), other.client(t, "a", "alice")
	for range 20 {
		path := "/v1/memories/" + here.add(`{"content":"x"}`)
		there.do("GET", path, "", "Refold-Min-Position", here.position, "Prefer", "wait=20").want(t, http.StatusOK)
		here, there = there, here
	}
	stranger, err := reader.NewSealer(bytes.Repeat([]byte{8}, 32))
	check(t, err)
	other.config.Sealer = stranger
	if code := other.rebuilt(t).client(t, "a", "alice").do("GET", "/v1/memories", "", "Refold-Min-Position", here.position).want(t, http.StatusBadRequest)["code"]; code != "sealed" {
		t.Errorf("under another key: %v", code)
	}
}

// Any answer that leaves the outcome of a command open says so and hands out the key.
func TestFailuresOfCommandsAreUnknown(t *testing.T) {
	s := newStack(t)
	alice := s.client(t, "a", "alice")
	alice.add(`{"content":"first, so that the user exists"}`)
	for name, failure := range map[string]error{"outcome_unknown": journal.ErrUnknown, "unavailable": errors.New("a text of a store")} {
		hidden := func(*envelope.Event) error { return failure }
		s.after.Store(&hidden)
		for _, key := range []string{"", "key of " + name} {
			key = strings.ReplaceAll(key, " ", "-")
			a := alice.do("POST", "/v1/memories", `{"content":"in doubt"}`, "Idempotency-Key", key)
			if code := a.want(t, http.StatusServiceUnavailable)["code"]; code != name {
				t.Errorf("code %v, want %s", code, name)
			}
			given := a.header.Get("Idempotency-Key")
			if a.header.Get("Outcome") != "unknown" || given == "" || key != "" && given != key || strings.Contains(a.body, "store") && name == "unavailable" {
				t.Errorf("%s: %v %s", name, a.header, a.body)
			}
		}
	}
	s.after.Store(nil)
}

// What 429 says is when there is room again.
func TestLimitsSayWhenToComeAgain(t *testing.T) {
	s := newStack(t)
	s.config.Limits = quota.New(quota.Limits{PerSecond: 0.1, Burst: 1, InFlight: 10})
	alice := s.rebuilt(t).client(t, "a", "alice")
	alice.do("GET", "/v1/memories", "").want(t, http.StatusOK)
	a := alice.do("GET", "/v1/memories", "")
	a.want(t, http.StatusTooManyRequests)
	want := map[string]string{"Retry-After": "10", "Ratelimit-Policy": `"requests";q=1;w=10`, "Ratelimit": `"requests";r=0;t=10`}
	for name, value := range want {
		if got := a.header.Get(name); got != value {
			t.Errorf("%s: %s, want %s", name, got, value)
		}
	}
}

// What takes nothing is handed nothing: a member that nobody reads would be a wish that nobody hears.
func TestWhatTakesNoBodyRefusesOne(t *testing.T) {
	s := newStack(t)
	alice := s.client(t, "a", "alice")
	path := "/v1/memories/" + alice.add(`{"content":"x"}`)
	for _, method := range []string{"POST " + path + "/pause", "DELETE " + path} {
		method, path, _ := strings.Cut(method, " ")
		before := s.lastSeq(t)
		for body, pointer := range map[string]any{`{"x":1}`: "/x", `[]`: nil, `x`: nil, `null`: nil, `{} {}`: nil} {
			if p := alice.do(method, path, body).want(t, http.StatusUnprocessableEntity); p["code"] != "invalid" || p["pointer"] != pointer {
				t.Errorf("%s %s %s: %v, want %v", method, path, body, p, pointer)
			}
		}
		if after := s.lastSeq(t); after != before {
			t.Errorf("refused commands made %d events", after-before)
		}
	}
	alice.do("POST", path+"/pause", " ").want(t, http.StatusOK)
	alice.do("POST", path+"/activate", "{}", "Content-Type", "").want(t, http.StatusOK)
	alice.do("DELETE", path, "").want(t, http.StatusOK)
}

// A path that is not clean is absent, in the form of the others: the standard library would send elsewhere in HTML.
func TestUncleanPathsAreAbsent(t *testing.T) {
	s := newStack(t)
	alice := s.client(t, "a", "alice")
	for _, path := range []string{"/api/v1//memories", "/api/v1/memories//", "/api/v1/x/../memories", "/v1//memories", "/v1/./memories", "/v1/memories/..", "//"} {
		p := alice.do("GET", path, "").want(t, http.StatusNotFound)
		if old := strings.HasPrefix(path, "/api/v1/"); old && p["detail"] == nil || !old && p["code"] != "not_found" {
			t.Errorf("%s: %v", path, p)
		}
	}
}

// The type of a problem leads to a document that explains it.
func TestProblemsExplainThemselves(t *testing.T) {
	s := newStack(t)
	anybody := &client{t: t, handler: s.handler}
	for _, a := range []answer{
		anybody.do("GET", "/v1/memories", ""), s.client(t, "a", "alice").do("GET", "/v1/memories/x", ""),
		s.client(t, "a", "alice").do("POST", "/v1/memories", `{}`), anybody.do("GET", "/nowhere", ""),
	} {
		var p = a.want(t, a.status)
		at, _ := p["type"].(string)
		explained := anybody.do("GET", at, "").want(t, http.StatusOK)
		if explained["code"] != p["code"] || explained["type"] != at || explained["status"] != p["status"] {
			t.Errorf("problem %v is explained as %v", p, explained)
		}
	}
	anybody.do("GET", "/problems/nonsense", "").want(t, http.StatusNotFound)
	if all := items(anybody.do("GET", "/problems", "").want(t, http.StatusOK)); len(all) < 20 {
		t.Errorf("%d problems, want all", len(all))
	}
}

// TestVersionsTellNothingOfWhatIsForeign: whatever version is expected of it, what somebody else has looks like nothing.
func TestVersionsTellNothingOfWhatIsForeign(t *testing.T) {
	s := newStack(t)
	alice, bob := s.client(t, "a", "alice"), s.client(t, "a", "bob")
	theirs := bob.add(`{"content":"of bob","app":"theirs"}`)
	app, _ := bob.do("GET", "/v1/memories/"+theirs, "").want(t, http.StatusOK)["app"].(map[string]any)
	appID, _ := app["id"].(string)
	for _, c := range []struct{ method, path, id, body string }{
		{"PATCH", "/v1/memories/%s", theirs, `{"content":"x"}`},
		{"POST", "/v1/memories/%s/pause", theirs, ""},
		{"POST", "/v1/memories/%s/archive", theirs, ""},
		{"DELETE", "/v1/memories/%s", theirs, ""},
		{"PATCH", "/v1/apps/%s", appID, `{"description":"x"}`},
		{"POST", "/v1/apps/%s/pause", appID, ""},
	} {
		for _, version := range []string{`"1"`, `"9"`, "*"} {
			absent := alice.do(c.method, fmt.Sprintf(c.path, uuid.NewString()), c.body, "If-Match", version)
			foreign := alice.do(c.method, fmt.Sprintf(c.path, c.id), c.body, "If-Match", version)
			if absent.status != http.StatusNotFound || foreign.status != absent.status || foreign.body != absent.body {
				t.Errorf("%s %s, If-Match: %s: %d %s, want %d %s", c.method, c.path, version, foreign.status, foreign.body, absent.status, absent.body)
			}
		}
	}
}
