package plane_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/refold-dev/refold/events"
	"github.com/refold-dev/refold/events/envelope"
	"github.com/refold-dev/refold/internal/directory"
	"github.com/refold-dev/refold/internal/fold"
	"github.com/refold-dev/refold/internal/localstack"
	"github.com/refold-dev/refold/internal/plane"
	"github.com/refold-dev/refold/internal/postgres/db"
	"github.com/refold-dev/refold/internal/testenv"
	"github.com/refold-dev/refold/internal/verify"
)

func TestMain(m *testing.M) { testenv.Main(m, children) }

// open returns a running plane on a fresh database and a fresh embedded journal, with one live edition.
func open(t testing.TB, change ...func(*plane.Config)) *plane.Plane {
	t.Helper()
	p := openWith(t, fresh(t, change...))
	run(t, p)
	return p
}

// fresh is the configuration of a plane with nothing in it.
func fresh(t testing.TB, change ...func(*plane.Config)) plane.Config {
	t.Helper()
	server := testenv.NATSServer(t, localstack.NATSOptions{StoreDir: t.TempDir(), Durability: localstack.DurabilityRelaxed})
	config := plane.Config{DataDir: testenv.Dir(t), PostgresURL: testenv.Postgres(t), NATSURL: server.URL(), Logger: logger(), ScrubRate: -1}
	for _, c := range change {
		c(&config)
	}
	return config
}

func openWith(t testing.TB, config plane.Config) *plane.Plane {
	t.Helper()
	p, err := plane.Open(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := p.EnsureLive(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	return p
}

// run keeps the plane going until the test ends, or stop is called.
func run(t testing.TB, p *plane.Plane) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(stop)
	return stop
}

func logger() *slog.Logger {
	if testing.Verbose() {
		return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	}
	return slog.New(slog.DiscardHandler)
}

func tenantFor(t testing.TB, p *plane.Plane, id string) directory.Tenant {
	t.Helper()
	tenant, _, err := p.CreateTenant(t.Context(), id, "Tenant "+id, "test")
	if err != nil {
		t.Fatal(err)
	}
	return tenant
}

// publish appends one event of an entity, version and expectation given.
func publish(t testing.TB, p *plane.Plane, tenant directory.Tenant, entity string, id uuid.UUID, version, last uint64, payload events.Payload) *envelope.Event {
	t.Helper()
	public, private, err := payload.Halves()
	if err != nil {
		t.Fatal(err)
	}
	return publishRaw(t, p, tenant, entity, id.String(), version, last, payload.Kind(), envelope.Compose(public, private, "hash"))
}

func publishRaw(t testing.TB, p *plane.Plane, tenant directory.Tenant, entity, id string, version, last uint64, kind string, data []byte) *envelope.Event {
	t.Helper()
	command := fmt.Sprintf("%s-%d", id, version)
	key := envelope.Key{Tenant: tenant.ID, Entity: entity, ID: id}
	e := &envelope.Event{
		Key: key, EventID: envelope.MessageID(tenant.Key, key, command), Kind: kind, Version: version,
		Time: time.Now().UTC().Truncate(time.Microsecond), Actor: "test", CommandID: command, Data: data,
	}
	if _, err := p.Journal.Shard(tenant.Shard).Append(t.Context(), e, last); err != nil {
		t.Fatal(err)
	}
	return e
}

// settle waits until an edition has folded everything that is in the journal now.
func settle(t testing.TB, p *plane.Plane, number int64) {
	t.Helper()
	for last := int64(-1); ; {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		err := p.Editions.CatchUp(ctx, number, nil)
		cancel()
		if err == nil {
			return
		}
		at := checkpoint(t, p, number).Seq
		if at <= last || !errors.Is(err, context.DeadlineExceeded) {
			t.Fatal(err)
		}
		last = at // it moves, on a machine that is short of time
	}
}

func verifyEdition(t testing.TB, p *plane.Plane, number int64) *verify.Report {
	t.Helper()
	report, err := verify.Run(t.Context(), verify.Config{
		DB: p.DB, Shard: p.Journal.Shard(0), Edition: number, Schema: fold.Tables, Fold: fold.Apply, Shape: p.Shape,
		Signer: p.Reports.Signer,
	})
	if err != nil {
		t.Fatal(err)
	}
	return report
}

func mustBeClean(t testing.TB, r *verify.Report) {
	t.Helper()
	if !r.Clean {
		t.Fatalf("edition %d is not clean at %d: %d differences, chain %+v, %d events: %+v, schema %+v", r.Edition, r.Seq, r.Total, r.Chain, r.Events, r.Differences, r.Schema)
	}
}

// rowsAreClean reports whether nothing but a schema that the test itself has damaged keeps a report from being clean.
func rowsAreClean(r *verify.Report) bool {
	return r.Clean || r.Schema != nil && !r.Schema.Safe && r.Total == 0 && r.Chain.Equal
}

// mend puts the schema right that a test has damaged.
func mend(t testing.TB, p *plane.Plane) {
	t.Helper()
	found, err := p.Editions.Audit(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if r, err := p.Mend(t.Context(), found); err != nil || !r.Remaining.Clean {
		t.Fatalf("%+v, %v", r, err)
	}
}

func TestAnEditionLives(t *testing.T) {
	p := open(t)
	a, b := tenantFor(t, p, "acme"), tenantFor(t, p, "blue")
	user, memory := uuid.New(), uuid.New()
	e := publish(t, p, a, "memory", memory, 1, 0, &events.MemoryAdded{UserID: user, CategoryIDs: []uuid.UUID{uuid.New(), uuid.New()}, Private: events.MemoryPrivate{Content: "hello", Metadata: []byte(`{"b":1,"a":[1.50]}`)}})
	e = publish(t, p, a, "memory", memory, 2, e.Seq, &events.MemoryArchived{By: user})
	publish(t, p, a, "memory", memory, 3, e.Seq, &events.MemoryChanged{CategoryIDs: &[]uuid.UUID{}})
	publish(t, p, b, "memory", memory, 1, 0, &events.MemoryAdded{UserID: user, Private: events.MemoryPrivate{Content: "other tenant, same id"}})
	settle(t, p, 1)
	first := verifyEdition(t, p, 1)
	mustBeClean(t, first)

	number, err := p.Editions.Build(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	settle(t, p, number)
	second := verifyEdition(t, p, number)
	mustBeClean(t, second)
	if fmt.Sprint(first.Digests) != fmt.Sprint(second.Digests) {
		t.Fatalf("digests differ:\n%v\n%v", first.Digests, second.Digests)
	}
	flips, err := p.Editions.Cutover(t.Context(), number)
	if err != nil || len(flips) != 1 {
		t.Fatal(flips, err)
	}
	for range 2 { // back, and forward again
		if _, err := p.Editions.Rollback(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Editions.Retire(t.Context(), 1, 0); err != nil {
		t.Fatal(err)
	}
	if err := p.Live.Refresh(t.Context(), p.DB); err != nil {
		t.Fatal(err)
	}
	if live, _ := p.Live.Edition(0, ""); live != number {
		t.Fatalf("live is %d, want %d", live, number)
	}
	pool, err := p.DB.Verifier(t.Context(), number)
	if err != nil {
		t.Fatal(err)
	}
	rows, err := db.New(pool).MemoryOfEntities(t.Context(), db.MemoryOfEntitiesParams{TenantIds: []string{"acme"}, Ids: []uuid.UUID{memory}})
	if err != nil || len(rows) != 1 || rows[0].State != "archived" || rows[0].Version != 3 || string(rows[0].Metadata) != `{"a": [1.50], "b": 1}` {
		t.Fatalf("%+v %v", rows, err)
	}
}
