package httpapi_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/refold-dev/refold/events/envelope"
	"github.com/refold-dev/refold/internal/directory"
	"github.com/refold-dev/refold/internal/journal"
	"github.com/refold-dev/refold/internal/localstack"
	"github.com/refold-dev/refold/internal/postgres"
	"github.com/refold-dev/refold/internal/quota"
	"github.com/refold-dev/refold/internal/reader"
	"github.com/refold-dev/refold/internal/testenv"
	"github.com/refold-dev/refold/internal/writer"
)

// An outcome that is not known is said so, with the key to repeat it by; the repetition settles it, once.
func TestUnknownOutcome(t *testing.T) {
	s := newStack(t)
	alice := s.client(t, "a", "alice")
	alice.add(`{"content":"first, so that the user exists"}`)
	before := s.lastSeq(t)
	hidden := func(*envelope.Event) error { return journal.ErrUnknown }
	s.after.Store(&hidden)
	a := alice.do("POST", "/v1/memories", `{"content":"in doubt"}`)
	if code := a.want(t, http.StatusServiceUnavailable)["code"]; code != "outcome_unknown" {
		t.Errorf("code %v", code)
	}
	key := a.header.Get("Idempotency-Key")
	if a.header.Get("Outcome") != "unknown" || a.header.Get("Retry-After") == "" || key == "" {
		t.Fatalf("headers %v, want Outcome, Retry-After and the key", a.header)
	}
	s.after.Store(nil)
	m := alice.do("POST", "/v1/memories", `{"content":"in doubt"}`, "Idempotency-Key", key).want(t, http.StatusCreated)
	if m["version"] != 1.0 || s.lastSeq(t) != before+1 {
		t.Errorf("version %v, %d events, want one event", m["version"], s.lastSeq(t)-before)
	}
}

// unstored fails unless an answer says that the attempt stored nothing and may be repeated.
func (a answer) unstored(t *testing.T) {
	t.Helper()
	body := a.want(t, http.StatusServiceUnavailable)
	if body["code"] != "not_stored" || body["retryable"] != true || a.header.Get("Retry-After") == "" || a.header.Get("Outcome") != "" || a.header.Get("Idempotency-Key") != "" {
		t.Errorf("%v %s, want not_stored with Retry-After and without Outcome", a.header, a.body)
	}
}

// A journal that is away leaves in doubt only what was sent to it. Either is settled by the same key once it is back.
func TestJournalAway(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	server := testenv.StartNATSProcess(t, localstack.NATSOptions{})
	journals, err := journal.OpenOrCreate(t.Context(), server.Connect(t), journal.Config{})
	check(t, err)
	t.Cleanup(journals.Close)
	shard := journals.Shards[0]
	s.config.Writer = writer.New(known, func(int) journal.Shard { return shard }, s.config.Reader)
	alice := s.rebuilt(t).client(t, "a", "alice")
	alice.add(`{"content":"first, so that the user exists"}`)
	id := alice.add(`{"content":"x"}`)

	server.Kill()
	command := func(path, body, key string) answer {
		hurried := *alice
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		defer cancel()
		hurried.ctx = ctx
		return hurried.do("POST", path, body, "Idempotency-Key", key)
	}
	command("/v1/memories/"+id+"/pause", "", "pause").unstored(t) // its history is read first
	bulk := command("/v1/memories/bulk/archive", idsBody(id), "bulk")
	if got := outcomes(t, bulk.want(t, http.StatusOK)); got[0] != "refused not_stored" {
		t.Errorf("in bulk: %s", got)
	}
	sent := command("/v1/memories", `{"content":"sent"}`, "sent") // nothing is read before it is sent
	if sent.want(t, http.StatusServiceUnavailable)["code"] != "outcome_unknown" || sent.header.Get("Outcome") != "unknown" || sent.header.Get("Idempotency-Key") != "sent" {
		t.Errorf("%v %s, want it unknown", sent.header, sent.body)
	}

	server.Restart()
	facts, err := shard.Facts(t.Context())
	check(t, err)
	alice.do("POST", "/v1/memories/"+id+"/pause", "", "Idempotency-Key", "pause").want(t, http.StatusOK)
	if made := alice.do("POST", "/v1/memories", `{"content":"sent"}`, "Idempotency-Key", "sent").want(t, http.StatusCreated); made["version"] != 1.0 {
		t.Errorf("repeated: %v", made)
	}
	again, err := shard.Facts(t.Context())
	check(t, err)
	if got := again.LastSeq - facts.LastSeq; got < 1 || got > 2 {
		t.Errorf("%d events, want the pause, and the memory unless it was there", got)
	}
}

// A database that does not answer keeps commands from the journal, so they are surely not stored.
func TestNotSentForLackOfRows(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	alice := s.client(t, "a", "alice")
	id := alice.add(`{"content":"x"}`)
	before := s.lastSeq(t)
	empty, err := postgres.Open(t.Context(), testenv.Postgres(t)) // every question to it fails
	check(t, err)
	t.Cleanup(empty.Close)
	s.answerFrom(reader.New(s.live, empty))
	alice = s.rebuilt(t).client(t, "a", "alice")
	alice.do("POST", "/v1/memories", `{"content":"y"}`).unstored(t)
	alice.do("POST", "/v1/memories/"+id+"/pause", "").unstored(t)
	alice.do("POST", "/v1/memories/bulk/pause", idsBody(id)).unstored(t)

	lost := errors.New("the tenants are not known")
	s.config.Writer = writer.New(lostTenants{lost}, func(int) journal.Shard { return s.journal }, s.config.Reader)
	alice = s.rebuilt(t).client(t, "a", "alice")
	alice.do("POST", "/v1/memories", `{"content":"y"}`).unstored(t)
	alice.do("DELETE", "/v1/memories/"+id, "").unstored(t)
	if after := s.lastSeq(t); after != before {
		t.Errorf("%d events, want none", after-before)
	}
}

// lostTenants knows no tenant, nor that there is none.
type lostTenants struct{ err error }

func (l lostTenants) Tenant(context.Context, string) (directory.Tenant, error) {
	return directory.Tenant{}, l.err
}

// What a request does in several commands is in doubt as soon as one of them is, or is done.
func TestOldRequestsInParts(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	alice := s.client(t, "a", "alice")
	ids := []string{alice.add(`{"content":"x"}`), alice.add(`{"content":"y"}`)}
	alice.do("GET", "/v1/memories", "").want(t, http.StatusOK) // waits for the rows
	away := map[string]bool{}
	failing := func(e *envelope.Event) error {
		if away[e.ID] || e.Entity == "config" && e.Version == 2 {
			return journal.Unavailable(errors.New("away"))
		}
		return nil
	}
	s.before.Store(&failing)
	archive := func() answer {
		return alice.do("POST", "/api/v1/memories/actions/archive", `["`+strings.Join(ids, `","`)+`"]`)
	}
	away[ids[0]], away[ids[1]] = true, true
	if a := archive(); a.status != http.StatusServiceUnavailable || a.header.Get("Outcome") != "" || a.header.Get("Retry-After") == "" {
		t.Errorf("none was touched: %d %v", a.status, a.header)
	}
	away[ids[0]] = false
	if a := archive(); a.status != http.StatusServiceUnavailable || a.header.Get("Outcome") != "unknown" {
		t.Errorf("one was done: %d %v", a.status, a.header)
	}
	if a := alice.do("PUT", "/api/v1/config", `{"mem0":{"a":1},"openmemory":{"b":2}}`); a.status != http.StatusServiceUnavailable || a.header.Get("Outcome") != "unknown" {
		t.Errorf("one part of the config was replaced: %d %v %s", a.status, a.header, a.body)
	}
}

func TestFullJournalRefuses(t *testing.T) {
	s := newStack(t)
	full := func(*envelope.Event) error { return journal.ErrFull }
	s.before.Store(&full)
	a := s.client(t, "a", "alice").do("POST", "/v1/memories", `{"content":"x"}`)
	if body := a.want(t, http.StatusInsufficientStorage); body["code"] != "journal_full" || body["retryable"] != true || a.header.Get("Outcome") != "" {
		t.Errorf("%s", a.body)
	}
}

func TestBodiesOutOfBounds(t *testing.T) {
	s := newStack(t)
	alice := s.client(t, "a", "alice")
	before := s.lastSeq(t)
	alice.do("POST", "/v1/memories", `{"content":"`+strings.Repeat("x", 1<<20)+`"}`).want(t, http.StatusRequestEntityTooLarge)
	alice.do("POST", "/v1/memories", `{"content":"x"}`, "Content-Type", "text/plain").want(t, http.StatusUnsupportedMediaType)
	alice.do("POST", "/v1/memories", `{"content":"x"}`, "Content-Encoding", "gzip").want(t, http.StatusUnsupportedMediaType)
	for body, pointer := range map[string]string{
		`{}`:             "/content",
		`{"content":""}`: "/content",
		`{"content":1}`:  "/content",
		`{"content":"` + strings.Repeat("x", 256<<10+1) + `"}`:                 "/content",
		`{"content":"x","app":""}`:                                             "/app",
		`{"content":"x","metadata":[]}`:                                        "/metadata",
		`{"content":"x","categories":[""]}`:                                    "/categories/0",
		`{"content":"x","app":"` + strings.Repeat("y", 201) + `"}`:             "/app",
		`{"content":"x","categories":["a"` + strings.Repeat(`,"a"`, 50) + `]}`: "/categories",
		`{"content":"x","metadata":{"a":"\u0000"}}`:                            "/metadata/a",
	} {
		got, _ := alice.do("POST", "/v1/memories", body).want(t, http.StatusUnprocessableEntity)["pointer"].(string)
		if got != pointer {
			t.Errorf("%.60s: pointer %q, want %q", body, got, pointer)
		}
	}
	for _, header := range [][]string{{"Idempotency-Key", strings.Repeat("k", 201)}, {"Idempotency-Key", "a b"}, {"Idempotency-Key", "ключ"}} {
		alice.do("POST", "/v1/memories", `{"content":"x"}`, header...).want(t, http.StatusBadRequest)
	}
	if after := s.lastSeq(t); after != before {
		t.Errorf("refused commands made %d events", after-before)
	}
	id := alice.add(`{"content":"x"}`)
	for _, match := range []string{"1", `W/"1"`, `"1", "2"`, `"01"`, `"x"`, `"-1"`} {
		alice.do("POST", "/v1/memories/"+id+"/pause", "", "If-Match", match).want(t, http.StatusBadRequest)
	}
	for _, query := range []string{"limit=0", "limit=101", "limit=x", "state=deleted", "state=ACTIVE", "app_id=x", "from=yesterday", "limit=1&limit=2",
		"search=%00", "search=%ff", "search=" + strings.Repeat("x", 1001)} {
		alice.do("GET", "/v1/memories?"+query, "").want(t, http.StatusBadRequest)
	}
}

// What one tenant takes too much of, another still gets.
func TestLimitsAreTheTenants(t *testing.T) {
	s := newStack(t)
	s.config.Limits = quota.New(quota.Limits{PerSecond: 0.001, Burst: 3, InFlight: 10})
	s = s.rebuilt(t)
	noisy, quiet := s.client(t, "a", "alice"), s.client(t, "b", "alice")
	for range 3 {
		noisy.do("GET", "/v1/memories", "").want(t, http.StatusOK)
	}
	a := s.client(t, "a", "bob").do("GET", "/v1/memories", "")
	if body := a.want(t, http.StatusTooManyRequests); body["retryable"] != true || a.header.Get("Retry-After") == "" {
		t.Errorf("%s", a.body)
	}
	quiet.do("GET", "/v1/memories", "").want(t, http.StatusOK)
	(&client{t: t, handler: s.handler}).do("GET", "/healthz", "").want(t, http.StatusOK)
}

// A stopped shard takes no commands and answers questions all the same.
func TestStoppedShard(t *testing.T) {
	s := newStack(t)
	alice := s.client(t, "a", "alice")
	id := alice.add(`{"content":"x"}`)
	alice.do("GET", "/v1/memories/"+id, "").want(t, http.StatusOK)
	pool, err := s.db.Owner(t.Context())
	check(t, err)
	_, err = pool.Exec(t.Context(), "UPDATE control.checkpoint SET stopped = 'DIVERGED'")
	check(t, err)
	s.answerFrom(reader.New(s.live, s.db)) // knows nothing of before
	alice = s.rebuilt(t).client(t, "a", "alice")
	before := s.lastSeq(t)
	if code := alice.do("POST", "/v1/memories/"+id+"/pause", "").want(t, http.StatusServiceUnavailable)["code"]; code != "shard_stopped" {
		t.Errorf("code %v", code)
	}
	alice.do("POST", "/v1/memories", `{"content":"y"}`).want(t, http.StatusServiceUnavailable)
	if after := s.lastSeq(t); after != before {
		t.Errorf("a stopped shard took %d events", after-before)
	}
	alice.do("GET", "/v1/memories/"+id, "").want(t, http.StatusOK)
}

// A paused app takes no new memories, but one that was accepted before stays accepted when it is repeated.
func TestPausedApp(t *testing.T) {
	s := newStack(t)
	alice := s.client(t, "a", "alice")
	first := alice.do("POST", "/v1/memories", `{"content":"x","app":"notes"}`, "Idempotency-Key", "k").want(t, http.StatusCreated)
	alice.do("GET", "/v1/apps", "").want(t, http.StatusOK) // waits for the rows
	pool, err := s.db.OwnerOf(t.Context(), s.edition)
	check(t, err)
	_, err = pool.Exec(t.Context(), "UPDATE app SET is_active = false")
	check(t, err)
	if code := alice.do("POST", "/v1/memories", `{"content":"y","app":"notes"}`).want(t, http.StatusForbidden)["code"]; code != "app_paused" {
		t.Errorf("code %v", code)
	}
	again := alice.do("POST", "/v1/memories", `{"content":"x","app":"notes"}`, "Idempotency-Key", "k").want(t, http.StatusCreated)
	if again["id"] != first["id"] {
		t.Errorf("repeated: %v, want %v", again["id"], first["id"])
	}
	alice.add(`{"content":"y","app":"shop"}`)
}

func TestPositions(t *testing.T) {
	s := newStack(t)
	alice := s.client(t, "a", "alice")
	id := alice.add(`{"content":"x"}`)
	facts, err := s.journal.Facts(t.Context())
	check(t, err)
	ahead := func(incarnation uint64, by uint64) string {
		return s.config.Sealer.SealPosition("a", reader.Position{JournalID: facts.JournalID, Incarnation: incarnation, Seq: facts.LastSeq + by})
	}
	ask := func(position, prefer string) answer {
		return alice.do("GET", "/v1/memories/"+id, "", "Refold-Position", position, "Prefer", prefer)
	}
	a := ask(ahead(1, 1000), "wait=0")
	if code := a.want(t, http.StatusServiceUnavailable)["code"]; code != "not_yet" || a.header.Get("Retry-After") == "" {
		t.Errorf("ahead of the rows: %s", a.body)
	}
	// What is not there yet is not said to be absent.
	a = alice.do("GET", "/v1/memories/"+uuid.NewString(), "", "Refold-Position", ahead(1, 1000), "Prefer", "wait=1")
	if code := a.want(t, http.StatusServiceUnavailable)["code"]; code != "not_yet" {
		t.Errorf("absent, ahead of the rows: %s", a.body)
	}
	start := time.Now()
	ask(ahead(1, 1000), "respond-async, wait=1").want(t, http.StatusServiceUnavailable)
	if took := time.Since(start); took < 900*time.Millisecond || took > 5*time.Second {
		t.Errorf("waited %s, want a second", took)
	}
	if code := ask(ahead(0, 0), "").want(t, http.StatusConflict)["code"]; code != "position_lost" {
		t.Errorf("of an older incarnation: %v", code)
	}
	lost := s.config.Sealer.SealPosition("a", reader.Position{JournalID: "another", Incarnation: 1, Seq: 1})
	ask(lost, "").want(t, http.StatusConflict)
	ask("garbage", "").want(t, http.StatusBadRequest)

	// Many wait for what comes next, and all get it.
	next := ahead(1, 1)
	var waiting sync.WaitGroup
	statuses := make([]int, 50)
	for i := range statuses {
		waiting.Go(func() {
			statuses[i] = s.client(t, "a", "alice").do("GET", "/v1/memories/"+id, "", "Refold-Position", next, "Prefer", "wait=20").status
		})
	}
	alice.do("POST", "/v1/memories/"+id+"/pause", "").want(t, http.StatusOK)
	waiting.Wait()
	if got := fmt.Sprint(statuses); strings.Contains(got, "503") {
		t.Errorf("statuses %s, want 200 each", got)
	}
}
