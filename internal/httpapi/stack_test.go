package httpapi_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/refold-dev/refold/events/envelope"
	"github.com/refold-dev/refold/internal/auth"
	"github.com/refold-dev/refold/internal/changes"
	"github.com/refold-dev/refold/internal/directory"
	"github.com/refold-dev/refold/internal/edition"
	"github.com/refold-dev/refold/internal/fold"
	"github.com/refold-dev/refold/internal/httpapi"
	"github.com/refold-dev/refold/internal/journal"
	"github.com/refold-dev/refold/internal/journal/journaltest"
	"github.com/refold-dev/refold/internal/postgres"
	"github.com/refold-dev/refold/internal/projector"
	"github.com/refold-dev/refold/internal/reader"
	"github.com/refold-dev/refold/internal/readiness"
	"github.com/refold-dev/refold/internal/testenv"
	"github.com/refold-dev/refold/internal/versions"
	"github.com/refold-dev/refold/internal/writer"
)

func TestMain(m *testing.M) { testenv.Main(m) }

// tenants are the ones that exist in these tests.
type tenants map[string]directory.Tenant

func (t tenants) Tenant(_ context.Context, id string) (directory.Tenant, error) {
	tenant, ok := t[id]
	if !ok {
		return tenant, directory.ErrNoTenant
	}
	return tenant, nil
}

// health is what keeps the plane from being ready.
type health struct{ conditions []readiness.Condition }

func (h *health) Conditions(context.Context) []readiness.Condition { return h.conditions }
func (h *health) ShardCount() int                                  { return 4 }

// stack is the edge over real Postgres, real projectors and the in-memory journal.
type stack struct {
	config   httpapi.Config
	handler  http.Handler
	journal  *journaltest.Fake
	db       *postgres.DB
	live     *edition.Live
	edition  int64
	editions *edition.Editions
	key      *auth.Local
	health   *health
	// before and after are asked by the journal at each append, when they are set.
	before, after atomic.Pointer[func(*envelope.Event) error]
}

func hook(set *atomic.Pointer[func(*envelope.Event) error]) func(*envelope.Event) error {
	return func(e *envelope.Event) error {
		if fn := set.Load(); fn != nil {
			return (*fn)(e)
		}
		return nil
	}
}

// lastSeq is where the journal ends.
func (s *stack) lastSeq(t *testing.T) uint64 {
	t.Helper()
	facts, err := s.journal.Facts(t.Context())
	check(t, err)
	return facts.LastSeq
}

func newStack(t *testing.T) *stack {
	t.Helper()
	ctx := t.Context()
	s := &stack{journal: journaltest.NewFake(0, 1), health: &health{}}
	s.journal.BeforeAppend, s.journal.AfterAppend = hook(&s.before), hook(&s.after)
	var err error
	s.db, err = postgres.Open(ctx, testenv.Postgres(t))
	check(t, err)
	t.Cleanup(s.db.Close)
	check(t, s.db.Migrate(ctx))
	shape, err := fold.Shape()
	check(t, err)
	s.live = &edition.Live{Shape: shape}
	shards := []journal.Shard{s.journal}
	quiet := slog.New(slog.DiscardHandler)
	s.editions = &edition.Editions{DB: s.db, Shards: shards, Schema: fold.Tables, Fold: fold.Apply, Shape: shape, Logger: quiet, VerifyMigrations: true}
	s.edition, err = s.editions.Build(ctx, nil)
	check(t, err)
	check(t, s.editions.First(ctx, s.edition))
	check(t, s.live.Refresh(ctx, s.db))

	supervisor := &projector.Supervisor{DB: s.db, Shards: shards, Schema: fold.Tables, Fold: fold.Apply, Shape: shape, Logger: quiet}
	running, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- supervisor.Run(running) }()
	t.Cleanup(func() { stop(); <-done })

	s.key, err = auth.LocalKey(t.TempDir())
	check(t, err)
	verifier, err := auth.NewVerifier(auth.Config{Issuers: []auth.Issuer{s.key.Issuer()}})
	check(t, err)
	sealer, err := reader.NewSealer(bytes.Repeat([]byte{7}, 32))
	check(t, err)
	s.config = httpapi.Config{
		Verifier: verifier, Sealer: sealer, Health: s.health, Logger: slog.New(slog.NewTextHandler(testLog{t}, nil)),
	}
	s.answerFrom(reader.New(s.live, s.db))
	s.handler = httpapi.Handler(s.config)
	return s
}

var known = tenants{
	"a": {ID: "a", Key: bytes.Repeat([]byte{1}, 32)},
	"b": {ID: "b", Key: bytes.Repeat([]byte{2}, 32)},
}

// answerFrom lets the next handler read, and look before it writes, through another reader.
func (s *stack) answerFrom(r *reader.Reader) {
	shard := func(int) journal.Shard { return s.journal }
	s.config.Reader, s.config.Writer, s.config.Changes, s.config.Versions = r, writer.New(known, shard, r), changes.New(shard, r), versions.New(shard, r)
}

// rebuilt returns the stack with a handler made from its configuration as it is now.
func (s *stack) rebuilt(t *testing.T) *stack {
	t.Helper()
	return &stack{
		config: s.config, handler: httpapi.Handler(s.config), journal: s.journal, db: s.db, live: s.live, edition: s.edition,
		key: s.key, health: s.health,
	}
}

// testLog writes the log of the edge into the test's.
type testLog struct{ t *testing.T }

func (l testLog) Write(b []byte) (int, error) {
	l.t.Logf("%s", bytes.TrimSpace(b))
	return len(b), nil
}

// bypassed answers from connections that row level security does not bind, so that only the queries protect.
type bypassed struct{ *postgres.DB }

func (b bypassed) Reader(ctx context.Context, edition int64) (*pgxpool.Pool, error) {
	return b.OwnerOf(ctx, edition)
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// client is one caller.
type client struct {
	t       *testing.T
	handler http.Handler
	token   string
	// position is that of the last answer; questions wait for it.
	position string
	ctx      context.Context // of its requests; nil = the test's
}

func (s *stack) client(t *testing.T, tenant, subject string, scopes ...string) *client {
	t.Helper()
	if len(scopes) == 0 {
		scopes = auth.AllScopes()
	}
	token, err := s.key.Mint(auth.TokenRequest{Tenant: tenant, Subject: subject, Scopes: scopes})
	check(t, err)
	return &client{t: t, handler: s.handler, token: token}
}

// answer is what came back.
type answer struct {
	status int
	header http.Header
	body   string
}

// do sends a request; headers are names and values in turn, an empty value leaves the header out. What replaces content
// takes whatever is there, unless the test says otherwise.
func (c *client) do(method, path, body string, headers ...string) answer {
	c.t.Helper()
	var content io.Reader
	if body != "" {
		content = bytes.NewReader([]byte(body))
	}
	ctx := c.ctx
	if ctx == nil {
		ctx = c.t.Context()
	}
	r := httptest.NewRequestWithContext(ctx, method, path, content)
	if c.token != "" {
		r.Header.Set("Authorization", "Bearer "+c.token)
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	if c.position != "" && method == http.MethodGet {
		r.Header.Set("Refold-Position", c.position)
		r.Header.Set("Prefer", "wait=20")
	}
	if method == http.MethodPatch || method == http.MethodPut || strings.HasSuffix(path, "/restore") {
		r.Header.Set("If-Match", "*")
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
		if headers[i+1] == "" {
			r.Header.Del(headers[i])
		}
	}
	w := httptest.NewRecorder()
	c.handler.ServeHTTP(w, r)
	if position := w.Header().Get("Refold-Position"); position != "" {
		c.position = position
	}
	agreed(c.t, method, path, w)
	return answer{w.Code, w.Header(), w.Body.String()}
}

// want fails unless the answer has this status, and decodes its body.
func (a answer) want(t *testing.T, status int) map[string]any {
	t.Helper()
	if a.status != status {
		t.Fatalf("status %d, want %d: %s", a.status, status, a.body)
	}
	var out map[string]any
	if err := json.Unmarshal([]byte(a.body), &out); err != nil {
		t.Fatalf("body %q: %v", a.body, err)
	}
	return out
}

// add makes a memory and returns its id.
func (c *client) add(body string) string {
	c.t.Helper()
	id, _ := c.do("POST", "/v1/memories", body).want(c.t, http.StatusCreated)["id"].(string)
	return id
}
