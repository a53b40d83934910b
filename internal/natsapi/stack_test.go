package natsapi_test

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/refold-dev/refold/events/commands"
	"github.com/refold-dev/refold/events/envelope"
	"github.com/refold-dev/refold/internal/auth"
	"github.com/refold-dev/refold/internal/journal"
	"github.com/refold-dev/refold/internal/localstack"
	"github.com/refold-dev/refold/internal/natsapi"
	"github.com/refold-dev/refold/internal/plane"
	"github.com/refold-dev/refold/internal/quota"
	"github.com/refold-dev/refold/internal/reader"
	"github.com/refold-dev/refold/internal/testenv"
	"github.com/refold-dev/refold/internal/writer"
)

func TestMain(m *testing.M) { testenv.Main(m) }

const patience = 20 * time.Second

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// testLog writes the log of the edge into the test's, as long as that runs.
type testLog struct{ t testing.TB }

func (l testLog) Write(b []byte) (int, error) {
	if l.t.Context().Err() == nil {
		l.t.Logf("%s", bytes.TrimSpace(b))
	}
	return len(b), nil
}

// stack is a plane whose embedded server lets producers in, with two tenants.
type stack struct {
	plane  *plane.Plane
	config natsapi.Config
	key    *auth.Local
	url    string
	// shard, when set, stands before the journal.
	shard atomic.Pointer[journal.Shard]
}

// newStack starts a plane; nothing answers producers yet.
func newStack(t testing.TB) *stack {
	t.Helper()
	s := &stack{}
	var err error
	s.plane, err = plane.Open(t.Context(), plane.Config{
		DataDir: testenv.Dir(t), PostgresURL: testenv.Postgres(t), NATSListen: "127.0.0.1:0", Durability: localstack.DurabilityRelaxed, ScrubRate: -1,
	})
	check(t, err)
	t.Cleanup(func() { check(t, s.plane.Close()) })
	check(t, s.plane.EnsureLive(t.Context(), nil))
	for _, tenant := range []string{"a", "b"} {
		_, _, err := s.plane.CreateTenant(t.Context(), tenant, "", "test")
		check(t, err)
	}
	running, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.plane.Run(running) }()
	t.Cleanup(func() { stop(); check(t, <-done) })

	s.key, err = auth.LocalKey(s.plane.DataDir)
	check(t, err)
	verifier, err := auth.NewVerifier(auth.Config{Issuers: []auth.Issuer{s.key.Issuer()}})
	check(t, err)
	sealer, err := reader.NewSealer(bytes.Repeat([]byte{7}, 32))
	check(t, err)
	login := s.plane.Stack.Producers()
	admission, err := natsapi.NewAdmission(login.IssuerSeed, localstack.ProducersAccount)
	check(t, err)
	s.config = natsapi.Config{
		Connect: s.plane.Stack.ConnectProducers, Verifier: verifier, Sealer: sealer, Admission: admission, Logger: slog.New(slog.NewTextHandler(testLog{t}, nil)),
		Writer: writer.New(s.plane.Directory, s.journal, reader.New(s.plane.Live, s.plane.DB)),
	}
	s.url = s.plane.Stack.NATSURL()
	return s
}

func (s *stack) journal(number int) journal.Shard {
	if before := s.shard.Load(); before != nil {
		return *before
	}
	return s.plane.Shard(number)
}

// serve lets one process answer, until the function it returns is called.
func (s *stack) serve(t testing.TB, change ...func(*natsapi.Config)) (end func()) {
	t.Helper()
	config := s.config
	for _, c := range change {
		c(&config)
	}
	ctx, stop := context.WithCancel(context.Background())
	ready, done := make(chan struct{}), make(chan error, 1)
	go func() { done <- natsapi.Serve(ctx, config, func() { close(ready) }) }()
	select {
	case <-ready:
	case err := <-done:
		t.Fatalf("ended before it answered: %v", err)
	}
	ended := false
	end = func() {
		if !ended {
			ended = true
			stop()
			if err := <-done; err != nil {
				t.Errorf("serve: %v", err)
			}
		}
	}
	t.Cleanup(end)
	return end
}

func serving(t testing.TB) *stack {
	s := newStack(t)
	s.serve(t)
	return s
}

func limited(l quota.Limits) func(*natsapi.Config) {
	return func(c *natsapi.Config) { c.Limits = quota.New(l) }
}

func (s *stack) token(t testing.TB, tenant, subject string, scopes ...string) string {
	t.Helper()
	if len(scopes) == 0 {
		scopes = auth.AllScopes()
	}
	token, err := s.key.Mint(auth.TokenRequest{Tenant: tenant, Subject: subject, Scopes: scopes})
	check(t, err)
	return token
}

// producer is one connection, with the token of its requests.
type producer struct {
	t               testing.TB
	conn            *nats.Conn
	tenant, subject string
	token           string
	faults          chan error // what the server has complained about
}

func (s *stack) producer(t testing.TB, tenant, subject string, scopes ...string) *producer {
	t.Helper()
	p := &producer{t: t, tenant: tenant, subject: subject, token: s.token(t, tenant, subject, scopes...), faults: make(chan error, 100)}
	conn, err := nats.Connect(s.url, nats.Token(p.token), nats.CustomInboxPrefix(commands.InboxPrefix(tenant, subject)),
		nats.NoReconnect(), nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { p.faults <- err }))
	check(t, err)
	t.Cleanup(conn.Close)
	p.conn = conn
	return p
}

// request is one message; headers are names and values in turn.
func (p *producer) request(subject, body string, headers ...string) *nats.Msg {
	m := nats.NewMsg(subject)
	m.Data = []byte(body)
	m.Header[commands.HeaderAuthorization] = []string{"Bearer " + p.token}
	for i := 0; i < len(headers); i += 2 {
		if headers[i+1] == "" {
			delete(m.Header, headers[i])
			continue
		}
		m.Header[headers[i]] = []string{headers[i+1]}
	}
	return m
}

func (p *producer) ask(subject, body string, headers ...string) (commands.Result, *nats.Msg) {
	p.t.Helper()
	answer, err := p.conn.RequestMsg(p.request(subject, body, headers...), patience)
	check(p.t, err)
	var r commands.Result
	check(p.t, json.Unmarshal(answer.Data, &r))
	return r, answer
}

// do sends one command.
func (p *producer) do(key string, c commands.Command, headers ...string) commands.Result {
	p.t.Helper()
	subject, err := commands.Subject(p.tenant, c)
	check(p.t, err)
	body, err := commands.Body(c)
	check(p.t, err)
	r, _ := p.ask(subject, string(body), append([]string{commands.HeaderCommand, c.Name(), commands.HeaderKey, key}, headers...)...)
	return r
}

func (p *producer) batch(wishes ...commands.Wish) commands.BatchResult {
	p.t.Helper()
	body, err := commands.EncodeBatch(wishes)
	check(p.t, err)
	return p.batchOf(string(body))
}

func (p *producer) batchOf(body string, headers ...string) commands.BatchResult {
	p.t.Helper()
	subject, err := commands.BatchSubject(p.tenant)
	check(p.t, err)
	answer, err := p.conn.RequestMsg(p.request(subject, body, headers...), patience)
	check(p.t, err)
	var r commands.BatchResult
	check(p.t, json.Unmarshal(answer.Data, &r))
	return r
}

func wantAccepted(t testing.TB, r commands.Result) commands.Result {
	t.Helper()
	if r.Outcome != commands.Accepted || r.ID == nil || r.Version == 0 || r.Position == "" || r.Problem != nil {
		t.Fatalf("got %+v (%v), want it accepted", r, r.Problem)
	}
	return r
}

func wantProblem(t testing.TB, r commands.Result, code string, status int) {
	t.Helper()
	if r.Outcome != commands.Refused || r.Problem == nil || r.Problem.Code != code || r.Problem.Status != status {
		t.Fatalf("got %+v (%+v), want it refused with %s, %d", r, r.Problem, code, status)
	}
}

// history is what the journal holds of a memory.
func (s *stack) history(t testing.TB, tenant string, r commands.Result) []envelope.Event {
	t.Helper()
	got, err := s.plane.Directory.Tenant(t.Context(), tenant)
	check(t, err)
	events, err := s.plane.Journal.Shard(got.Shard).History(t.Context(), envelope.Key{Tenant: tenant, Entity: "memory", ID: r.ID.String()})
	check(t, err)
	return events
}

func (s *stack) lastSeq(t testing.TB) uint64 {
	t.Helper()
	facts, err := s.plane.Journal.Shard(0).Facts(t.Context())
	check(t, err)
	return facts.LastSeq
}

// before puts something before the appends of the journal.
func (s *stack) before(fn func(ctx context.Context, e *envelope.Event) error) {
	var shard journal.Shard = &hooked{s.plane.Journal.Shard(0), fn}
	s.shard.Store(&shard)
}

type hooked struct {
	journal.Shard
	before func(context.Context, *envelope.Event) error
}

func (h *hooked) Append(ctx context.Context, e *envelope.Event, expected uint64) (journal.Receipt, error) {
	if err := h.before(ctx, e); err != nil {
		return journal.Receipt{}, err
	}
	return h.Shard.Append(ctx, e, expected)
}
