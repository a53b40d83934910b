package natsapi_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"github.com/refold-dev/refold/events"
	"github.com/refold-dev/refold/events/commands"
	"github.com/refold-dev/refold/events/envelope"
	"github.com/refold-dev/refold/events/storable"
	"github.com/refold-dev/refold/internal/app"
	"github.com/refold-dev/refold/internal/auth"
	"github.com/refold-dev/refold/internal/journal"
	"github.com/refold-dev/refold/internal/natsapi"
	"github.com/refold-dev/refold/internal/quota"
	"github.com/refold-dev/refold/internal/reader"
	"github.com/refold-dev/refold/internal/writer"
)

func ref[T any](v T) *T { return &v }

func TestCommands(t *testing.T) {
	s := serving(t)
	ann := s.producer(t, "a", "ann")
	const trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	made := wantAccepted(t, ann.do("k1", commands.AddMemory{Content: "likes tea", App: ref("notes"), Categories: []string{"taste"}}, "TraceParent", trace, "Nats-Msg-Id", "mine", "Refold-Actor", "me"))
	if made.Version != 1 || !made.Changed {
		t.Errorf("made: %+v", made)
	}
	e := s.history(t, "a", made)[0]
	if e.TraceParent != trace || e.CommandID != "k1" || e.EventID == "mine" || e.Actor == "me" || e.Actor == "" {
		t.Errorf("event: %+v", e)
	}
	id := *made.ID
	again := wantAccepted(t, ann.do("k1", commands.AddMemory{Content: "likes tea", App: ref("notes"), Categories: []string{"taste"}}))
	if *again.ID != id || again.Version != 1 || len(s.history(t, "a", made)) != 1 {
		t.Errorf("repeated: %+v", again)
	}
	wantProblem(t, ann.do("k1", commands.AddMemory{Content: "likes coffee"}), "key_reused", 422)

	wantProblem(t, ann.do("k2", commands.ChangeMemory{ID: id, Content: ref("likes milk")}), "precondition_required", 428)
	wantProblem(t, ann.do("k2", commands.ChangeMemory{ID: id, Content: ref("likes milk")}, commands.HeaderVersion, "7"), "precondition_failed", 412)
	changed := wantAccepted(t, ann.do("k2", commands.ChangeMemory{ID: id, Content: ref("likes milk")}, commands.HeaderVersion, "1"))
	if changed.Version != 2 {
		t.Errorf("changed: %+v", changed)
	}
	wantAccepted(t, ann.do("k3", commands.ChangeMemory{ID: id, Content: ref("likes all")}, commands.HeaderVersion, "*"))
	for i, c := range []commands.Command{commands.PauseMemory{ID: id}, commands.ArchiveMemory{ID: id}, commands.ActivateMemory{ID: id}, commands.DeleteMemory{ID: id}} {
		if r := wantAccepted(t, ann.do(c.Name(), c)); r.Version != uint64(4+i) || !r.Changed {
			t.Errorf("%s: %+v", c.Name(), r)
		}
	}
	wantProblem(t, ann.do("k9", commands.PauseMemory{ID: id}), "not_found", 404)

	restore := commands.RestoreMemory{ID: id, Version: 1}
	wantProblem(t, ann.do("k10", restore, commands.HeaderVersion, "*"), "not_found", 404)
	wantProblem(t, s.producer(t, "a", "bob").do("k11", commands.UndeleteMemory{ID: id}), "not_found", 404)
	if r := wantAccepted(t, ann.do("k11", commands.UndeleteMemory{ID: id})); r.Version != 8 || !r.Changed {
		t.Errorf("undeleted: %+v", r)
	}
	wantProblem(t, ann.do("k12", restore), "precondition_required", 428)
	wantProblem(t, ann.do("k12", restore, commands.HeaderVersion, "7"), "precondition_failed", 412)
	if r := wantAccepted(t, ann.do("k12", restore, commands.HeaderVersion, "8")); r.Version != 9 || !r.Changed {
		t.Errorf("restored: %+v", r)
	}
	newest := s.history(t, "a", made)[8]
	if p, err := events.Decode(newest.Kind, newest.Data); err != nil || *p.(*events.MemoryChanged).Private.Content != "likes tea" {
		t.Errorf("restored by %s %s, %v", newest.Kind, newest.Data, err)
	}
}

// TestPositions: the position of an answer is one that readers wait for.
func TestPositions(t *testing.T) {
	s := serving(t)
	made := wantAccepted(t, s.producer(t, "a", "ann").do("k", commands.AddMemory{Content: "c"}))
	position, err := s.config.Sealer.OpenPosition("a", made.Position)
	check(t, err)
	rows := reader.New(s.plane.Live, s.plane.DB)
	caller, err := s.config.Writer.Caller(t.Context(), auth.Principal{Tenant: "a", Subject: "ann"})
	check(t, err)
	memory, _, err := rows.Memory(t.Context(), caller.Reads(), reader.Freshness{Least: &position, Wait: patience}, *made.ID)
	check(t, err)
	if memory.Content != "c" {
		t.Errorf("read %+v", memory)
	}
	if _, err := s.config.Sealer.OpenPosition("b", made.Position); err == nil {
		t.Error("the position opens for another tenant")
	}
}

func TestRefusals(t *testing.T) {
	s := serving(t)
	ann := s.producer(t, "a", "ann")
	made := wantAccepted(t, ann.do("k", commands.AddMemory{Content: "c"}))
	before := s.lastSeq(t)
	add := func(body string, headers ...string) (commands.Result, *nats.Msg) {
		return ann.ask("cmd.a.memory.new", body, append([]string{commands.HeaderCommand, "memory.add", commands.HeaderKey, "x"}, headers...)...)
	}
	for _, c := range []struct {
		code    string
		status  int
		headers []string
	}{
		{"invalid_header", 400, []string{commands.HeaderKey, ""}},
		{"invalid_header", 400, []string{commands.HeaderKey, strings.Repeat("k", 201)}},
		{"invalid_header", 400, []string{commands.HeaderCommand, ""}},
		{"invalid_header", 400, []string{commands.HeaderCommand, "memory.forget"}},
		{"invalid_header", 400, []string{commands.HeaderCommand, "memory"}},
		{"invalid_header", 400, []string{commands.HeaderVersion, "01"}},
		{"invalid_header", 400, []string{"idempotency-key", "y"}},
		{"invalid", 422, []string{commands.HeaderCommand, "memory.archive"}},
		{"unauthorized", 401, []string{commands.HeaderAuthorization, ""}},
		{"invalid_request", 401, []string{commands.HeaderAuthorization, "Basic YTpi"}},
		{"invalid_token", 401, []string{commands.HeaderAuthorization, "Bearer a.b.c"}},
		{"invalid_token", 401, []string{commands.HeaderAuthorization, "Bearer " + ann.token + "x"}},
		{"not_found", 404, []string{commands.HeaderAuthorization, "Bearer " + s.token(t, "b", "ann")}},
		{"insufficient_scope", 403, []string{commands.HeaderAuthorization, "Bearer " + s.token(t, "a", "ann", auth.MemoriesRead)}},
	} {
		r, answer := add(`{"content":"x"}`, c.headers...)
		wantProblem(t, r, c.code, c.status)
		if got := answer.Header.Get(micro.ErrorCodeHeader); got != fmt.Sprint(c.status) || !strings.HasPrefix(answer.Header.Get(micro.ErrorHeader), c.code+": ") {
			t.Errorf("%v: headers %v", c.headers, answer.Header)
		}
	}
	for body, pointer := range map[string]string{``: "", `[]`: "", `{"content":""}`: "/content", `{"content":"x","app":""}`: "/app", `{"content":"x","tenant":"b"}`: "/tenant"} {
		r, _ := add(body)
		wantProblem(t, r, "invalid", 422)
		if r.Problem.Pointer != pointer {
			t.Errorf("%s: pointer %q, want %q", body, r.Problem.Pointer, pointer)
		}
	}
	for _, subject := range []string{"cmd.a.app.new", "cmd.a.memory.NEW", "cmd.a.memory." + strings.ToUpper(made.ID.String()), "cmd.a.memory." + uuid.Nil.String()} {
		r, _ := ann.ask(subject, `{"content":"x"}`, commands.HeaderCommand, "memory.add", commands.HeaderKey, "x")
		wantProblem(t, r, "not_found", 404)
	}
	// Another user's memory is as absent as none.
	bob := s.producer(t, "a", "bob")
	foreign := bob.do("k", commands.ArchiveMemory{ID: *made.ID})
	absent := bob.do("k", commands.ArchiveMemory{ID: uuid.New()})
	wantProblem(t, foreign, "not_found", 404)
	if *foreign.Problem != *absent.Problem {
		t.Errorf("foreign %+v, absent %+v", foreign.Problem, absent.Problem)
	}
	// A tenant that does not exist is told so only as everything is.
	ghost := s.producer(t, "ghost", "ann")
	wantProblem(t, ghost.do("k", commands.AddMemory{Content: "x"}), "not_found", 404)
	if after := s.lastSeq(t); after != before {
		t.Errorf("what was refused has made %d events", after-before)
	}
}

func TestBatch(t *testing.T) {
	s := serving(t)
	ann := s.producer(t, "a", "ann")
	made := wantAccepted(t, ann.do("first", commands.AddMemory{Content: "c"}))
	wishes := []commands.Wish{
		{Key: "first", Command: commands.AddMemory{Content: "c"}}, // repeated
		{Key: "s1", Command: commands.PauseMemory{ID: *made.ID}},  // these in their order
		{Key: "s2", Command: commands.ArchiveMemory{ID: *made.ID}},
		{Key: "s3", Command: commands.ArchiveMemory{ID: *made.ID}},
		{Key: "s4", Command: commands.ArchiveMemory{ID: *made.ID}, Version: &commands.Version{Number: 1}},
		{Key: "s5", Command: commands.ChangeMemory{ID: *made.ID, Content: ref("d")}},
		{Key: "s6", Command: commands.ArchiveMemory{ID: uuid.New()}},
	}
	for i := range 200 {
		wishes = append(wishes, commands.Wish{Key: fmt.Sprint("n", i), Command: commands.AddMemory{Content: fmt.Sprint("content ", i), App: ref("notes")}})
	}
	got := ann.batch(wishes...)
	if got.Problem != nil || len(got.Results) != len(wishes) {
		t.Fatalf("got %d results, %v", len(got.Results), got.Problem)
	}
	for i, version := range []uint64{1, 2, 3, 3} {
		if r := wantAccepted(t, got.Results[i]); r.Version != version || *r.ID != *made.ID || r.Changed != (i != 3) {
			t.Errorf("command %d: %+v", i, r)
		}
	}
	wantProblem(t, got.Results[4], "precondition_failed", 412)
	wantProblem(t, got.Results[5], "precondition_required", 428)
	wantProblem(t, got.Results[6], "not_found", 404)
	ids := map[uuid.UUID]bool{}
	for _, r := range got.Results[7:] {
		ids[*wantAccepted(t, r).ID] = true
	}
	if len(ids) != 200 {
		t.Errorf("%d memories, want 200", len(ids))
	}
	before := s.lastSeq(t)
	for i, r := range ann.batch(wishes[7:]...).Results {
		if wantAccepted(t, r); *r.ID != *got.Results[7+i].ID {
			t.Fatalf("command %d repeated: %+v", i, r)
		}
	}
	if after := s.lastSeq(t); after != before {
		t.Errorf("repeating made %d events", after-before)
	}
}

func TestBatchRefusals(t *testing.T) {
	s := serving(t)
	reads := s.producer(t, "a", "ann", auth.MemoriesWrite)
	before := s.lastSeq(t)
	got := reads.batchOf(`{"commands":[5,{"key":"k","command":"memory.forget"},{"key":"k","command":"memory.delete"},{"key":"k","command":"memory.add","body":{"content":""}}]}`)
	if got.Problem != nil || len(got.Results) != 4 {
		t.Fatalf("got %+v", got)
	}
	wantProblem(t, got.Results[0], "invalid", 422)
	wantProblem(t, got.Results[1], "invalid", 422)
	wantProblem(t, got.Results[2], "insufficient_scope", 403) // before it is looked at closer
	wantProblem(t, got.Results[3], "invalid", 422)
	if got.Results[3].Problem.Pointer != "/body/content" {
		t.Errorf("pointer %q", got.Results[3].Problem.Pointer)
	}
	for _, c := range []struct {
		body, code string
		headers    []string
	}{
		{`{}`, "invalid", nil},
		{`{"commands":[]}`, "invalid", nil},
		{`{"commands":[` + strings.TrimSuffix(strings.Repeat("{},", commands.BatchMax+1), ",") + `]}`, "invalid", nil},
		{`{"commands":[{}]}`, "unauthorized", []string{commands.HeaderAuthorization, ""}},
		{`{"commands":[{}]}`, "not_found", []string{commands.HeaderAuthorization, "Bearer " + s.token(t, "b", "ann")}},
	} {
		if got := reads.batchOf(c.body, c.headers...); got.Problem == nil || got.Problem.Code != c.code || got.Results != nil {
			t.Errorf("%.40s: %+v, want %s", c.body, got, c.code)
		}
	}
	if after := s.lastSeq(t); after != before {
		t.Errorf("what was refused has made %d events", after-before)
	}
}

// TestEscapes: a command is the same however its JSON is escaped, so that a producer of before may be asked again by one
// of now.
func TestEscapes(t *testing.T) {
	s := serving(t)
	ann := s.producer(t, "a", "ann")
	made := wantAccepted(t, ann.batchOf(`{"commands":[{"key":"k","command":"memory.add","body":{"content":"\u003cb\u003e \u0026","metadata":{"\u003c":"\u0026"}}}]}`).Results[0])
	command := commands.AddMemory{Content: "<b> &", Metadata: json.RawMessage(`{"<":"&"}`)}
	for _, r := range []commands.Result{ann.batch(commands.Wish{Key: "k", Command: command}).Results[0], ann.do("k", command)} {
		if wantAccepted(t, r); *r.ID != *made.ID || len(s.history(t, "a", made)) != 1 {
			t.Errorf("repeated: %+v", r)
		}
	}
	changed := wantAccepted(t, ann.batchOf(`{"commands":[{"key":"c","command":"memory.change","version":"1","id":"` + made.ID.String() + `","body":{"content":"\u003e","metadata":{"\u003e":1}}}]}`).Results[0])
	again := wantAccepted(t, ann.batch(commands.Wish{
		Key: "c", Version: &commands.Version{Number: 1}, Command: commands.ChangeMemory{ID: *made.ID, Content: ref(">"), Metadata: json.RawMessage(`{">":1}`)},
	}).Results[0])
	if again.Version != changed.Version || len(s.history(t, "a", made)) != 2 {
		t.Errorf("repeated: %+v", again)
	}
}

// TestUnknownOutcome: what may be stored is never called refused, and the same key settles it.
func TestUnknownOutcome(t *testing.T) {
	s := serving(t)
	ann := s.producer(t, "a", "ann")
	wantAccepted(t, ann.do("first", commands.AddMemory{Content: "so that the user exists"}))
	before := s.lastSeq(t)
	s.before(func(ctx context.Context, e *envelope.Event) error {
		if _, err := s.plane.Journal.Shard(0).Append(ctx, e, 0); err != nil {
			return err
		}
		return journal.ErrUnknown
	})
	r := ann.do("k", commands.AddMemory{Content: "in doubt"})
	if r.Outcome != commands.Unknown || r.Problem == nil || r.Problem.Code != "outcome_unknown" || !r.Problem.Retryable || r.ID != nil {
		t.Fatalf("got %+v (%+v), want it unknown", r, r.Problem)
	}
	batch := ann.batch(commands.Wish{Key: "k2", Command: commands.AddMemory{Content: "in doubt"}})
	if batch.Problem != nil || batch.Results[0].Outcome != commands.Unknown {
		t.Fatalf("got %+v, want it unknown", batch)
	}
	s.shard.Store(nil)
	for _, key := range []string{"k", "k2"} {
		if r := wantAccepted(t, ann.do(key, commands.AddMemory{Content: "in doubt"})); r.Version != 1 {
			t.Errorf("settled: %+v", r)
		}
	}
	if after := s.lastSeq(t); after != before+2 {
		t.Errorf("%d events, want 2", after-before)
	}
}

// deaf is a shard whose histories cannot be read.
type deaf struct{ journal.Shard }

func (deaf) History(context.Context, envelope.Key) ([]envelope.Event, error) {
	return nil, errors.New("a text of a store")
}

// TestNotStored: what failed before anything was sent to the journal is refused for now, alone and in a batch, and what
// follows it about the same thing is left.
func TestNotStored(t *testing.T) {
	s := serving(t)
	ann := s.producer(t, "a", "ann")
	id := *wantAccepted(t, ann.do("first", commands.AddMemory{Content: "c"})).ID
	before := s.lastSeq(t)
	var shard journal.Shard = deaf{s.plane.Journal.Shard(0)}
	s.shard.Store(&shard)
	subject, err := commands.Subject("a", commands.PauseMemory{ID: id})
	check(t, err)
	alone, msg := ann.ask(subject, "", commands.HeaderCommand, commands.PauseMemory{}.Name(), commands.HeaderKey, "k")
	batch := ann.batch(
		commands.Wish{Key: "k2", Command: commands.PauseMemory{ID: id}}, commands.Wish{Key: "k3", Command: commands.ArchiveMemory{ID: id}},
		commands.Wish{Key: "k4", Command: commands.AddMemory{Content: "needs no history"}},
	)
	if batch.Problem != nil || msg.Header.Get("Retry-After") == "" {
		t.Fatalf("batch %+v, headers %v, want results and Retry-After", batch, msg.Header)
	}
	for i, r := range []commands.Result{alone, batch.Results[0], batch.Results[1]} {
		code := "not_stored"
		if i == 2 {
			code = "earlier_unsettled"
		}
		if wantProblem(t, r, code, 503); !r.Problem.Retryable || strings.Contains(r.Problem.Detail, "a text") {
			t.Errorf("%+v", r.Problem)
		}
	}
	wantAccepted(t, batch.Results[2])
	s.shard.Store(nil)
	wantAccepted(t, ann.do("k", commands.PauseMemory{ID: id}))
	if after := s.lastSeq(t); after != before+2 {
		t.Errorf("%d events, want 2", after-before)
	}
}

func TestJournalFull(t *testing.T) {
	s := serving(t)
	s.before(func(context.Context, *envelope.Event) error { return journal.ErrFull })
	r := s.producer(t, "a", "ann").do("k", commands.AddMemory{Content: "c"})
	wantProblem(t, r, "journal_full", 507)
	if !r.Problem.Retryable {
		t.Error("not retryable")
	}
}

func TestStoppedShard(t *testing.T) {
	s := newStack(t)
	pool, err := s.plane.DB.Owner(t.Context())
	check(t, err)
	_, err = pool.Exec(t.Context(), "UPDATE control.checkpoint SET stopped = 'DIVERGED'")
	check(t, err)
	s.serve(t)
	before := s.lastSeq(t)
	wantProblem(t, s.producer(t, "a", "ann").do("k", commands.AddMemory{Content: "c"}), "shard_stopped", 503)
	if after := s.lastSeq(t); after != before {
		t.Errorf("a stopped shard took %d events", after-before)
	}
}

// TestLimitsAreTheTenants: what one takes too much of, another still gets; a batch is one request.
func TestLimitsAreTheTenants(t *testing.T) {
	s := newStack(t)
	s.serve(t, limited(quota.Limits{PerSecond: 0.001, Burst: 2}))
	noisy := s.producer(t, "a", "ann")
	wantAccepted(t, noisy.do("k1", commands.AddMemory{Content: "c"}))
	if got := noisy.batch(commands.Wish{Key: "k2", Command: commands.AddMemory{Content: "c"}}, commands.Wish{Key: "k3", Command: commands.AddMemory{Content: "c"}}); got.Problem != nil {
		t.Fatalf("batch: %v", got.Problem)
	}
	wantProblem(t, s.producer(t, "a", "bob").do("k", commands.AddMemory{Content: "c"}), "too_many_requests", 429)
	subject, err := commands.BatchSubject("a")
	check(t, err)
	answer, err := noisy.conn.RequestMsg(noisy.request(subject, `{"commands":[{}]}`), patience)
	check(t, err)
	if answer.Header.Get(micro.ErrorCodeHeader) != "429" || answer.Header.Get("Retry-After") == "" {
		t.Errorf("headers %v", answer.Header)
	}
	wantAccepted(t, s.producer(t, "b", "ann").do("k", commands.AddMemory{Content: "c"}))
}

// TestDrain: a process that ends takes no new requests and answers those it has.
func TestDrain(t *testing.T) {
	s := newStack(t)
	end := s.serve(t)
	ann := s.producer(t, "a", "ann")
	wantAccepted(t, ann.do("first", commands.AddMemory{Content: "c"}))
	arrived, release := make(chan struct{}, 1), make(chan struct{})
	s.before(func(context.Context, *envelope.Event) error {
		arrived <- struct{}{}
		<-release
		return nil
	})
	result := make(chan commands.Result, 1)
	go func() { result <- ann.do("k", commands.AddMemory{Content: "under way"}) }()
	<-arrived
	ended := make(chan struct{})
	go func() { end(); close(ended) }()
	// New requests find nobody, while the old one is still worked on.
	subject, err := commands.BatchSubject("a")
	check(t, err)
	for deadline := time.Now().Add(patience); ; {
		_, err := ann.conn.RequestMsg(ann.request(subject, `{}`), patience)
		if errors.Is(err, nats.ErrNoResponders) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("requests are still taken: %v", err)
		}
	}
	select {
	case <-ended:
		t.Fatal("it ended before it had answered")
	default:
	}
	close(release)
	wantAccepted(t, <-result)
	<-ended
}

// TestProcessesShare: two processes answer, none of a hundred requests twice; when one ends nothing is lost.
func TestProcessesShare(t *testing.T) {
	s := newStack(t)
	var worked [2]sync.Map
	var ends []func()
	for i := range worked {
		counted := func(c *natsapi.Config) {
			c.Writer = writer.New(s.plane.Directory, func(number int) journal.Shard {
				return &hooked{s.plane.Journal.Shard(number), func(_ context.Context, e *envelope.Event) error {
					worked[i].Store(e.CommandID+e.Entity, true)
					return nil
				}}
			}, reader.New(s.plane.Live, s.plane.DB))
		}
		ends = append(ends, s.serve(t, counted))
	}
	ann := s.producer(t, "a", "ann")
	size := func(m *sync.Map) (n int) {
		m.Range(func(key, _ any) bool {
			if strings.HasSuffix(fmt.Sprint(key), "memory") {
				n++
			}
			return true
		})
		return n
	}
	ask := func(from, to int) {
		var all sync.WaitGroup
		for i := from; i < to; i++ {
			all.Go(func() {
				if r := ann.do(fmt.Sprint("k", i), commands.AddMemory{Content: "c"}); r.Outcome != commands.Accepted {
					t.Errorf("command %d: %+v", i, r.Problem)
				}
			})
		}
		all.Wait()
	}
	ask(0, 100)
	first, second := size(&worked[0]), size(&worked[1])
	if first == 0 || second == 0 || first+second != 100 {
		t.Errorf("the processes worked on %d and %d of 100", first, second)
	}
	ends[0]()
	ask(100, 150)
	if got := size(&worked[1]); got != second+50 {
		t.Errorf("the process that was left worked on %d of 50", got-second)
	}
}

// TestSuspendedTenant: whose tenant is suspended is told so, and whose is removed finds nothing.
func TestSuspendedTenant(t *testing.T) {
	s := serving(t)
	ann := s.producer(t, "a", "ann")
	wantAccepted(t, ann.do("first", commands.AddMemory{Content: "c"}))
	_, err := s.plane.SuspendTenant(t.Context(), "a", "test")
	check(t, err)
	wantProblem(t, ann.do("k", commands.AddMemory{Content: "c"}), "tenant_suspended", 403)
	wantProblem(t, ann.batch(commands.Wish{Key: "k", Command: commands.AddMemory{Content: "c"}}).Results[0], "tenant_suspended", 403)
	wantAccepted(t, s.producer(t, "b", "ann").do("k", commands.AddMemory{Content: "c"}))
	_, err = s.plane.ResumeTenant(t.Context(), "a", "test")
	check(t, err)
	wantAccepted(t, ann.do("k", commands.AddMemory{Content: "c"}))
	_, err = s.plane.RemoveTenant(t.Context(), "a", "test")
	check(t, err)
	wantProblem(t, ann.do("k2", commands.AddMemory{Content: "c"}), "not_found", 404)
}

// TestTokenOfTheRequest: what the connection was opened with does not matter, only the token of each request, and only as
// long as it is valid.
func TestTokenOfTheRequest(t *testing.T) {
	s := newStack(t)
	var ahead atomic.Int64
	verifier, err := auth.NewVerifier(auth.Config{
		Issuers: []auth.Issuer{s.key.Issuer()}, Now: func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) },
	})
	check(t, err)
	s.config.Verifier = verifier
	s.serve(t)
	ann := s.producer(t, "a", "ann")
	brief, err := s.key.Mint(auth.TokenRequest{Tenant: "a", Subject: "ann", Scopes: auth.AllScopes(), TTL: time.Minute})
	check(t, err)
	ask := func() commands.Result {
		return ann.do("k", commands.AddMemory{Content: "c"}, commands.HeaderAuthorization, "Bearer "+brief)
	}
	wantAccepted(t, ask())
	ahead.Store(int64(5 * time.Minute))
	wantProblem(t, ask(), "invalid_token", 401)
	wantAccepted(t, ann.do("k", commands.AddMemory{Content: "c"}))
}

// TestWithoutAdmission: on a server that lets everybody publish everywhere, the service itself keeps tenants apart.
func TestWithoutAdmission(t *testing.T) {
	s := serving(t)
	token := s.token(t, "a", "ann")
	before := s.lastSeq(t)
	for _, inbox := range []string{commands.InboxPrefix("b", "ann"), commands.InboxPrefix("b", "bob")} {
		conn, err := s.plane.Stack.ConnectProducers(nats.CustomInboxPrefix(inbox))
		check(t, err)
		defer conn.Close()
		p := &producer{t: t, conn: conn, tenant: "b", subject: "ann", token: token}
		wantProblem(t, p.do("k", commands.AddMemory{Content: "c"}), "not_found", 404)
		if got := p.batch(commands.Wish{Key: "k", Command: commands.AddMemory{Content: "c"}}); got.Problem == nil || got.Problem.Code != "not_found" || got.Results != nil {
			t.Errorf("batch: %+v, want not_found", got)
		}
	}
	if after := s.lastSeq(t); after != before {
		t.Errorf("%d events", after-before)
	}
	// On its own tenant's subjects the same token is believed.
	conn, err := s.plane.Stack.ConnectProducers(nats.CustomInboxPrefix(commands.InboxPrefix("a", "ann")))
	check(t, err)
	defer conn.Close()
	wantAccepted(t, (&producer{t: t, conn: conn, tenant: "a", subject: "ann", token: token}).do("k", commands.AddMemory{Content: "c"}))
}

func TestLargeBodies(t *testing.T) {
	s := serving(t)
	ann := s.producer(t, "a", "ann")
	largest := strings.Repeat("x", storable.ContentBytesMax)
	wantAccepted(t, ann.do("k1", commands.AddMemory{Content: largest}))
	r := ann.do("k2", commands.AddMemory{Content: largest + "x"})
	wantProblem(t, r, "invalid", 422)
	if r.Problem.Pointer != "/content" {
		t.Errorf("pointer %q", r.Problem.Pointer)
	}
	got := ann.batch(commands.Wish{Key: "k3", Command: commands.AddMemory{Content: largest}}, commands.Wish{Key: "k4", Command: commands.AddMemory{Content: largest + "x"}},
		commands.Wish{Key: "k5", Command: commands.AddMemory{Content: largest}})
	if got.Problem != nil || len(got.Results) != 3 {
		t.Fatalf("batch: %+v", got.Problem)
	}
	wantAccepted(t, got.Results[0])
	wantProblem(t, got.Results[1], "invalid", 422)
	wantAccepted(t, got.Results[2])
	// More than a message of the server takes never leaves the client, and the connection goes on.
	m := ann.request("cmd.a.batch", strings.Repeat(" ", commands.BatchBytesMax+1))
	if _, err := ann.conn.RequestMsg(m, patience); !errors.Is(err, nats.ErrMaxPayload) {
		t.Errorf("too large a message: %v", err)
	}
	wantAccepted(t, ann.do("k6", commands.AddMemory{Content: "c"}))
}

// TestAppsAndUsers: commands about the caller's apps and the caller; other people's are absent.
func TestAppsAndUsers(t *testing.T) {
	s := serving(t)
	ann, bob := s.producer(t, "a", "ann"), s.producer(t, "a", "bob")
	wantAccepted(t, ann.do("k1", commands.AddMemory{Content: "likes tea", App: ref("notes")}))
	caller, err := s.config.Writer.Caller(t.Context(), auth.Principal{Tenant: "a", Subject: "ann"})
	check(t, err)
	notes := app.ID(caller.Tenant.Key, "a", caller.User, "notes")

	wantProblem(t, ann.do("k2", commands.ChangeApp{ID: notes, Description: ref("d")}), "precondition_required", 428)
	wantAccepted(t, ann.do("k2", commands.ChangeApp{ID: notes, Description: ref("d")}, commands.HeaderVersion, commands.AnyVersion))
	paused := wantAccepted(t, ann.do("k3", commands.PauseApp{ID: notes}))
	position, err := s.config.Sealer.OpenPosition("a", paused.Position)
	check(t, err)
	shown, _, err := reader.New(s.plane.Live, s.plane.DB).App(t.Context(), caller.Reads(), reader.Freshness{Least: &position, Wait: patience}, notes)
	check(t, err)
	if shown.IsActive || shown.Description == nil || *shown.Description != "d" {
		t.Errorf("the app: %+v", shown)
	}
	wantProblem(t, ann.do("k4", commands.AddMemory{Content: "c", App: ref("notes")}), "app_paused", 403)
	if r := wantAccepted(t, ann.do("k5", commands.ActivateApp{ID: notes})); !r.Changed {
		t.Errorf("activated: %+v", r)
	}
	wantAccepted(t, ann.do("k6", commands.ChangeUser{ID: caller.User, UserName: ref("Ann")}, commands.HeaderVersion, "1"))
	for _, c := range []commands.Command{commands.ChangeApp{ID: notes, Description: ref("mine")}, commands.PauseApp{ID: notes}, commands.ChangeUser{ID: caller.User, UserName: ref("Bob")}} {
		wantProblem(t, bob.do("k", c, commands.HeaderVersion, commands.AnyVersion), "not_found", 404)
	}
}
