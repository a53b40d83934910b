package httpapi_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/refold-dev/refold/events"
	"github.com/refold-dev/refold/events/envelope"
	"github.com/refold-dev/refold/internal/auth"
	"github.com/refold-dev/refold/internal/journal"
)

// outcomes lists what became of each memory.
func outcomes(t *testing.T, answer map[string]any) (out []string) {
	t.Helper()
	results, _ := answer["results"].([]any)
	for _, one := range results {
		r := one.(map[string]any)
		line := r["outcome"].(string)
		if code, has := r["code"].(string); has {
			line += " " + code
		}
		out = append(out, line)
	}
	return out
}

func idsBody(ids ...string) string {
	body, _ := json.Marshal(map[string][]string{"ids": ids})
	return string(body)
}

// Many memories are moved one by one: what is refused does not undo, or keep from happening, what is accepted.
func TestBulkHasAResultForEach(t *testing.T) {
	s := newStack(t)
	alice, bob, other := s.client(t, "a", "alice"), s.client(t, "a", "bob"), s.client(t, "b", "alice")
	one, two, three := alice.add(`{"content":"one"}`), alice.add(`{"content":"two"}`), alice.add(`{"content":"three"}`)
	bobs, others := bob.add(`{"content":"of bob"}`), other.add(`{"content":"of another tenant"}`)
	alice.do("POST", "/v1/memories/"+two+"/archive", "").want(t, http.StatusOK)
	alice.do("DELETE", "/v1/memories/"+three, "").want(t, http.StatusOK)
	before := s.lastSeq(t)
	body := idsBody(others, one, two, three, bobs, uuid.NewString())
	want := []string{"refused not_found", "changed", "nothing", "refused not_found", "refused not_found", "refused not_found"}
	first := alice.do("POST", "/v1/memories/bulk/archive", body, "Idempotency-Key", "k")
	if diff := cmp.Diff(want, outcomes(t, first.want(t, http.StatusOK))); diff != "" {
		t.Errorf("outcomes (-want +got):\n%s", diff)
	}
	again := alice.do("POST", "/v1/memories/bulk/archive", body, "Idempotency-Key", "k")
	if diff := cmp.Diff(first.body, again.body); diff != "" {
		t.Errorf("repeated with its key (-first +again):\n%s", diff)
	}
	if made := s.lastSeq(t) - before; made != 1 {
		t.Errorf("%d events, want 1", made)
	}
	if m := alice.do("GET", "/v1/memories/"+one, "").want(t, http.StatusOK); m["state"] != "archived" {
		t.Errorf("%v", m)
	}
	for c, id := range map[*client]string{bob: bobs, other: others} {
		if m := c.do("GET", "/v1/memories/"+id, "").want(t, http.StatusOK); m["version"] != 1.0 {
			t.Errorf("a foreign memory was touched: %v", m)
		}
	}
}

// To delete many takes the scope to delete; no other move deletes.
func TestBulkDeletionNeedsItsScope(t *testing.T) {
	s := newStack(t)
	alice := s.client(t, "a", "alice")
	id := alice.add(`{"content":"one"}`)
	writer := s.client(t, "a", "alice", auth.MemoriesWrite)
	writer.do("POST", "/v1/memories/bulk/delete", idsBody(id)).want(t, http.StatusForbidden)
	for _, body := range []string{`{"ids":["` + id + `"],"state":"deleted"}`, `{"all":true,"states":["deleted"]}`} {
		writer.do("POST", "/v1/memories/bulk/pause", body).want(t, http.StatusUnprocessableEntity)
	}
	alice.do("GET", "/v1/memories/"+id, "").want(t, http.StatusOK)
	deleter := s.client(t, "a", "alice", auth.MemoriesDelete)
	deleter.do("POST", "/v1/memories/bulk/pause", idsBody(id)).want(t, http.StatusForbidden)
	if got := outcomes(t, deleter.do("POST", "/v1/memories/bulk/delete", idsBody(id)).want(t, http.StatusOK)); !cmp.Equal(got, []string{"changed"}) {
		t.Errorf("%v", got)
	}
}

// Every selector takes memories of the caller alone: others of the tenant, with the same categories, and other tenants
// stay as they are to the byte.
func TestBulkSelectorsTakeOnlyOwnMemories(t *testing.T) {
	s := newStack(t)
	w := newWorld(t, s, "alice")
	w.fill(40)
	bobs := newWorld(t, s, "bob")
	bobs.fill(20)
	alice, bob, other := s.client(t, "a", "alice"), s.client(t, "a", "bob"), s.client(t, "b", "alice")
	for range 3 {
		other.add(`{"content":"tea","app":"notes","categories":["cloth","drinks"]}`)
	}
	every := "/v1/memories?state=active&state=paused&state=archived&limit=100"
	bob.add(`{"content":"a mark"}`)
	bobBefore, otherBefore := bob.do("GET", every, "").body, other.do("GET", every, "").body
	for _, c := range []struct {
		move string
		body func() (string, question)
	}{
		{"pause", func() (string, question) {
			return `{"app_ids":["` + w.appIDs[0].String() + `","` + bobs.appIDs[0].String() + `"]}`, question{as: -1, apps: []int{0}}
		}},
		{"pause", func() (string, question) { return `{"categories":["drinks"]}`, question{as: -1, categories: []int{1}} }},
		{"archive", func() (string, question) {
			return `{"category_ids":["` + w.categoryIDs[0].String() + `"],"states":["paused"]}`, question{as: -1, categoryIDs: []int{0}, states: []string{"paused"}}
		}},
		{"activate", func() (string, question) {
			return `{"search":"TEA","states":["archived","paused"]}`, question{as: -1, search: "TEA", states: []string{"archived", "paused"}}
		}},
		{"archive", func() (string, question) {
			return `{"apps":["Shop","zebra","nobody's"],"not_metadata":{"vault":"WLT"}}`, question{as: -1, appNames: []int{1, 2}, without: `{"vault":"WLT"}`}
		}},
		{"activate", func() (string, question) {
			return `{"metadata":{"tags":["b"]},"states":["archived","paused"]}`, question{as: -1, with: `{"tags":["b"]}`, states: []string{"archived", "paused"}}
		}},
		{"pause", func() (string, question) { return `{"all":true}`, question{as: -1} }},
		{"delete", func() (string, question) {
			return `{"all":true}`, question{as: -1, states: []string{"active", "paused", "archived"}}
		}},
	} {
		body, q := c.body()
		target := map[string]events.State{"pause": events.Paused, "archive": events.Archived, "activate": events.Active, "delete": events.Deleted}[c.move]
		mark := alice.add(`{"content":"a mark"}`)
		alice.do("DELETE", "/v1/memories/"+mark, "").want(t, http.StatusOK)
		moved := map[string]string{}
		answer := alice.do("POST", "/v1/memories/bulk/"+c.move, body, "Refold-Min-Position", alice.position, "Prefer", "wait=20").want(t, http.StatusOK)
		results, _ := answer["results"].([]any)
		for _, one := range results {
			r := one.(map[string]any)
			moved[r["id"].(string)] = r["outcome"].(string)
		}
		want := map[string]string{}
		for i, m := range w.records {
			if w.selects(q, m) && m.state != target {
				want[m.id.String()] = "changed"
				w.records[i].state = target
			}
		}
		if diff := cmp.Diff(want, moved); diff != "" || answer["more"] != false {
			t.Errorf("%s %s: more %v (-model +got):\n%s", c.move, body, answer["more"], diff)
		}
	}
	if got := bob.do("GET", every, "").body; got != bobBefore {
		t.Errorf("what another user has was touched:\n%s", cmp.Diff(bobBefore, got))
	}
	if got := other.do("GET", every, "").body; got != otherBefore {
		t.Errorf("what another tenant has was touched:\n%s", cmp.Diff(otherBefore, got))
	}
}

// The history of moves says the state that each memory really had.
func TestHistoryOfBulkMovesIsTrue(t *testing.T) {
	s := newStack(t)
	alice := s.client(t, "a", "alice")
	id := alice.add(`{"content":"one"}`)
	for _, move := range []string{"pause", "archive", "pause", "activate"} {
		alice.do("POST", "/v1/memories/bulk/"+move, idsBody(id)).want(t, http.StatusOK)
	}
	var got []string
	for _, change := range items(alice.do("GET", "/v1/memories/"+id+"/history", "").want(t, http.StatusOK)) {
		got = append(got, fmt.Sprint(change["old_state"], ">", change["new_state"]))
	}
	if diff := cmp.Diff([]string{"active>paused", "paused>archived", "archived>paused", "paused>active"}, got); diff != "" {
		t.Errorf("history (-want +got):\n%s", diff)
	}
}

// More than a call moves is said, not cut off; a repetition goes on.
func TestBulkGoesOnWhereItStopped(t *testing.T) {
	s := newStack(t)
	w := newWorld(t, s, "alice")
	for range 1005 {
		w.addMemory(record{app: -1, state: events.Active, content: "x", createdAt: w.base, updatedAt: w.base})
	}
	alice := s.client(t, "a", "alice")
	alice.add(`{"content":"a mark"}`)
	var counts []int
	for more := true; more; {
		answer := alice.do("POST", "/v1/memories/bulk/archive", `{"all":true}`, "Refold-Min-Position", alice.position, "Prefer", "wait=20", "Idempotency-Key", "all").want(t, http.StatusOK)
		for _, outcome := range outcomes(t, answer) {
			if outcome != "changed" {
				t.Errorf("outcome %s", outcome)
			}
		}
		counts = append(counts, len(outcomes(t, answer)))
		more = answer["more"] == true
	}
	if diff := cmp.Diff([]int{1000, 6}, counts); diff != "" {
		t.Errorf("moved by call (-want +got):\n%s", diff)
	}
	if page := alice.do("GET", "/v1/memories?count=true", "").want(t, http.StatusOK); page["total"] != 0.0 {
		t.Errorf("%v are left", page["total"])
	}
}

// An unknown outcome of one memory is said of that one; repeating the call with its key settles it and doubles nothing.
func TestBulkWithUnknownOutcomes(t *testing.T) {
	s := newStack(t)
	alice := s.client(t, "a", "alice")
	var ids []string
	for i := range 6 {
		ids = append(ids, alice.add(fmt.Sprintf(`{"content":"%d"}`, i)))
	}
	before := s.lastSeq(t)
	var count atomic.Int64
	lose := func(*envelope.Event) error {
		if count.Add(1)%2 == 0 {
			return fmt.Errorf("%w: the answer is lost", journal.ErrUnknown)
		}
		return nil
	}
	s.after.Store(&lose)
	first := alice.do("POST", "/v1/memories/bulk/pause", idsBody(ids...))
	s.after.Store(nil)
	unknown := 0
	for _, outcome := range outcomes(t, first.want(t, http.StatusOK)) {
		switch outcome {
		case "unknown outcome_unknown":
			unknown++
		case "changed":
		default:
			t.Errorf("outcome %s", outcome)
		}
	}
	if unknown == 0 {
		t.Fatal("no outcome was lost: the test proves nothing")
	}
	again := outcomes(t, alice.do("POST", "/v1/memories/bulk/pause", idsBody(ids...), "Idempotency-Key", first.header.Get("Idempotency-Key")).want(t, http.StatusOK))
	if diff := cmp.Diff([]string{"changed", "changed", "changed", "changed", "changed", "changed"}, again); diff != "" {
		t.Errorf("repeated (-want +got):\n%s", diff)
	}
	if made := s.lastSeq(t) - before; made != 6 {
		t.Errorf("%d events, want 6", made)
	}
	never := func(*envelope.Event) error { return errors.Join(journal.ErrFull) }
	s.before.Store(&never)
	defer s.before.Store(nil)
	if got := outcomes(t, alice.do("POST", "/v1/memories/bulk/activate", idsBody(ids[0])).want(t, http.StatusOK)); !cmp.Equal(got, []string{"refused journal_full"}) {
		t.Errorf("a full journal: %v", got)
	}
}

func TestBulkRefusesWhatIsNotClear(t *testing.T) {
	s := newStack(t)
	alice := s.client(t, "a", "alice")
	id := alice.add(`{"content":"one"}`)
	tooMany := make([]string, 1001)
	for i := range tooMany {
		tooMany[i] = uuid.NewString()
	}
	before := s.lastSeq(t)
	for _, body := range []string{
		`{}`, `{"all":false}`, `{"ids":[]}`, idsBody(id, id), idsBody(tooMany...), `{"ids":["` + id + `"],"all":true}`, `{"ids":["x"]}`,
		`{"app_ids":[]}`, `{"categories":[]}`, `{"category_ids":[]}`, `{"states":[]}`, `{"states":["deleted"]}`, `{"search":""}`, `{"apps":[]}`, `{"apps":["a\u0000"]}`,
		`{"metadata":{}}`, `{"not_metadata":{}}`, `{"metadata":[1]}`, `{"metadata":null}`, `{"metadata":{"a":1e400}}`, `{"ids":["` + id + `"],"metadata":{"a":1}}`,
		`{"metadata":{"a":"` + strings.Repeat("x", 4096) + `"}}`, `{"updated_from":"yesterday"}`,
		`{"all":true,"user_id":"bob"}`, `{"all":true,"all":true}`, `{"ids":null}`, `[]`,
		`{"search":"` + strings.Repeat("x", 1001) + `"}`,
	} {
		alice.do("POST", "/v1/memories/bulk/delete", body).want(t, http.StatusUnprocessableEntity)
	}
	if s.lastSeq(t) != before {
		t.Error("something was done all the same")
	}
}
