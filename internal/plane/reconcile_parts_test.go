package plane_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/refold-dev/refold/events/envelope"
	"github.com/refold-dev/refold/internal/command"
	"github.com/refold-dev/refold/internal/edition"
	"github.com/refold-dev/refold/internal/journal"
	"github.com/refold-dev/refold/internal/localstack"
	"github.com/refold-dev/refold/internal/memory"
	"github.com/refold-dev/refold/internal/plane"
	"github.com/refold-dev/refold/internal/postgres/db"
	"github.com/refold-dev/refold/internal/projector"
	"github.com/refold-dev/refold/internal/reader"
	"github.com/refold-dev/refold/internal/reconcile"
	"github.com/refold-dev/refold/internal/testenv"
)

// aged is a plane whose journal's files can be copied and put back. Its database stays.
type aged struct {
	*testing.T
	server *testenv.NATSProcess
	store  string
	config plane.Config
}

func newAged(t *testing.T, change ...func(*plane.Config)) *aged {
	t.Helper()
	a := &aged{T: t, store: filepath.Join(t.TempDir(), "nats")}
	a.server = testenv.StartNATSProcess(t, localstack.NATSOptions{StoreDir: a.store, Durability: localstack.DurabilityRelaxed})
	a.config = plane.Config{DataDir: testenv.Dir(t), PostgresURL: testenv.Postgres(t), NATSURL: a.server.URL(), Logger: logger(), StableFor: 100 * time.Millisecond}
	for _, c := range change {
		c(&a.config)
	}
	return a
}

// with runs fn on the plane while its projectors go on, and brings its live edition level at the end.
func (a *aged) with(fn func(*plane.Plane)) {
	a.Helper()
	p, err := plane.Open(a.Context(), a.config)
	if err != nil {
		a.Fatal(err)
	}
	defer func() { mustClose(a.T, p) }()
	if err := p.EnsureLive(a.Context(), nil); err != nil {
		a.Fatal(err)
	}
	stop := run(a.T, p)
	defer stop()
	fn(p)
	number, _ := p.Live.Edition(0, "")
	settleAll(a.T, p, number)
}

// copied stops the server for a copy of its files.
func (a *aged) copied() string {
	a.Helper()
	to := filepath.Join(a.TempDir(), "copy")
	a.server.Stop()
	testenv.CopyDir(a.T, a.store, to)
	a.server.Restart()
	return to
}

func (a *aged) putBack(from string) {
	a.Helper()
	a.server.Stop()
	if err := os.RemoveAll(a.store); err != nil {
		a.Fatal(err)
	}
	testenv.CopyDir(a.T, from, a.store)
	a.server.Restart()
}

func (a *aged) examine(fn func(*plane.Plane)) {
	a.Helper()
	p, err := plane.Examine(a.Context(), a.config)
	if err != nil {
		a.Fatal(err)
	}
	defer func() { mustClose(a.T, p) }()
	fn(p)
}

func (a *aged) look(o plane.ReconcileOptions) (f *reconcile.Finding) {
	a.Helper()
	a.examine(func(p *plane.Plane) {
		var err error
		if f, err = p.Reconcile(a.Context(), o); err != nil {
			a.Fatal(err)
		}
	})
	return f
}

func (a *aged) apply(o plane.ReconcileOptions, hash string) (applied *reconcile.Applied) {
	a.Helper()
	a.examine(func(p *plane.Plane) {
		var err error
		if applied, err = p.ApplyReconciliation(a.Context(), o, hash); err != nil {
			a.Fatal(err)
		}
	})
	return applied
}

// rebuilt opens the plane, brings a new edition to life and proves it.
func (a *aged) rebuilt(fn func(p *plane.Plane, number int64)) {
	a.Helper()
	a.with(func(p *plane.Plane) {
		number, err := p.Rebuild(a.Context(), nil)
		if err != nil || number == 0 {
			a.Fatalf("rebuild: edition %d, %v", number, err)
		}
		for _, shard := range p.Journal.Shards {
			mustBeClean(a.T, verifyShard(a.T, p, number, shard.Number()))
		}
		fn(p, number)
	})
}

func reconcileChild() int {
	ctx := context.Background()
	p, err := plane.Examine(ctx, childConfig())
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = p.Close() }()
	f, err := p.Reconcile(ctx, plane.ReconcileOptions{})
	if err == nil {
		_, err = p.ApplyReconciliation(ctx, plane.ReconcileOptions{}, f.Hash)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// TestReconciliationSurvivesKillsAtEveryStep ends the process by SIGKILL at each step, and goes on from there to the next.
func TestReconciliationSurvivesKillsAtEveryStep(t *testing.T) {
	t.Parallel()
	a := newAged(t, func(c *plane.Config) { c.Shards = 2 })
	var all []*generator
	a.with(func(p *plane.Plane) {
		all = generators(t, p, seed(t), 3)
		write(t, p, 10, all...)
	})
	copied := a.copied()
	a.with(func(p *plane.Plane) {
		write(t, p, 10, all...)
		all = append(all, newGenerator(1, 9, tenantFor(t, p, "later")))
		if _, err := p.Editions.Build(t.Context(), nil); err != nil { // a second edition
			t.Fatal(err)
		}
	})
	a.putBack(copied)
	f := a.look(plane.ReconcileOptions{})
	if f.Verdict != reconcile.Needed || len(f.Lost()) != 31 {
		t.Fatalf("verdict %s, %d lost, want 31: %+v", f.Verdict, len(f.Lost()), f)
	}
	for _, point := range []string{
		"reconcile.begun=kill", "journal.incarnation-appended=kill", "journal.incarnation-raised=kill", "reconcile.checkpoint=kill",
		"reconcile.checkpoint=kill@3", "reconcile.tenant=kill", "reconcile.before-finish=kill", "reconcile.finished=kill",
	} {
		child := testenv.Spawn(t, "reconcile", testenv.ProcessOptions{Env: append(planeEnv(a.config, a.config.DataDir), "REFOLD_FAILPOINTS="+point)})
		var exit *exec.ExitError
		if err := child.Wait(); !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
			t.Fatalf("%s was not reached: %v\n%s", point, err, child.Output())
		}
		if point == "reconcile.finished=kill" {
			break
		}
		if again := a.look(plane.ReconcileOptions{}); !again.Resumes || again.Hash != f.Hash || again.Target != f.Target || len(again.Lost()) > len(f.Lost()) {
			t.Fatalf("%s: looked again: resumes %v, hash %s, target %d; want %s and %d", point, again.Resumes, again.Hash, again.Target, f.Hash, f.Target)
		}
		// Half raised it cannot be opened; before and behind that nothing is served that is not so.
		if p, err := plane.Open(t.Context(), a.config); err == nil {
			mustClose(t, p)
		} else if !errors.Is(err, journal.ErrHalfRaised) {
			t.Fatalf("%s: open: %v", point, err)
		}
	}
	done := a.look(plane.ReconcileOptions{})
	if done.Verdict != reconcile.Rebuild || done.Resumes || done.Incarnation != 2 {
		t.Fatalf("at the end: %+v", done)
	}
	if applied := a.apply(plane.ReconcileOptions{}, done.Hash); applied.Adopted+applied.GivenUp != 0 {
		t.Fatalf("applied once more: %+v", applied)
	}
	a.rebuilt(func(p *plane.Plane, _ int64) {
		for _, shard := range p.Journal.Shards {
			e, err := shard.Last(t.Context(), envelope.Key{Tenant: envelope.PlaneTenant, Entity: "journal", ID: fmt.Sprint(shard.Number())})
			if err != nil || e == nil || e.Kind != "journal.reconciled.v1" || e.Version != 2 || !strings.Contains(string(e.Data), f.Hash) {
				t.Fatalf("shard %d: the record is %+v, %v: want one, with finding %s", shard.Number(), e, err, f.Hash)
			}
		}
	})
}

// TestLostCommandIsRepeated goes the whole way of a command: accepted, lost, named, repeated with its id.
func TestLostCommandIsRepeated(t *testing.T) {
	t.Parallel()
	a := newAged(t)
	id, user := uuid.New(), uuid.New()
	do := func(p *plane.Plane, commandID string, cmd memory.Command) (command.Outcome, error) {
		tenant := tenantFor(t, p, "acme")
		hash, err := command.Hash("memory", commandID)
		if err != nil {
			t.Fatal(err)
		}
		return command.Execute(t.Context(), p.Journal.Shard(0), command.Request{
			Key: envelope.Key{Tenant: "acme", Entity: "memory", ID: id.String()}, TenantKey: tenant.Key, CommandID: commandID, RequestHash: hash, Actor: "ann",
		}, memory.Evolve, memory.Decide, cmd)
	}
	var before reader.Position
	must := func(out command.Outcome, err error) command.Outcome {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	a.with(func(p *plane.Plane) { must(do(p, "add", memory.Add{UserID: user, Content: "tea"})) })
	copied := a.copied()
	a.with(func(p *plane.Plane) {
		out := must(do(p, "archive", memory.Archive{By: user}))
		before = reader.Position{JournalID: p.Journal.ID, Incarnation: p.Journal.Incarnation, Seq: out.Seq}
	})
	a.putBack(copied)
	f := a.look(plane.ReconcileOptions{})
	if lost := f.Lost(); len(lost) != 1 || lost[0].CommandID != "archive" || lost[0].ID != id.String() || lost[0].Version != 2 || lost[0].Seq != before.Seq {
		t.Fatalf("lost: %+v", lost)
	}
	a.apply(plane.ReconcileOptions{}, f.Hash)
	a.rebuilt(func(p *plane.Plane, number int64) {
		out := must(do(p, "archive", memory.Archive{By: user}))
		if out.Repeated || out.Version != 2 {
			t.Fatalf("repeated: %+v, want a new event of version 2", out)
		}
		if again := must(do(p, "archive", memory.Archive{By: user})); !again.Repeated || again.Seq != out.Seq {
			t.Fatalf("repeated once more: %+v, want the event at %d", again, out.Seq)
		}
		settleAll(t, p, number)
		questions := reader.New(p.Live, p.DB)
		caller := reader.Caller{Tenant: "acme", User: user}
		now := reader.Position{JournalID: p.Journal.ID, Incarnation: p.Journal.Incarnation, Seq: out.Seq}
		for _, c := range []struct {
			least reader.Position
			want  error
		}{{now, nil}, {before, reader.ErrPositionLost}} {
			_, _, err := questions.Memories(t.Context(), caller, reader.Freshness{Least: &c.least, Wait: time.Second}, reader.MemoryList{})
			if !errors.Is(err, c.want) {
				t.Errorf("read at least %+v: %v, want %v", c.least, err, c.want)
			}
		}
	})
}

// TestWhatNoLedgerNames: without a ledger the lost sequences are said, and which of them are surely lost.
func TestWhatNoLedgerNames(t *testing.T) {
	t.Parallel()
	a := newAged(t, func(c *plane.Config) { c.LedgerEvents = -1 })
	var all []*generator
	a.with(func(p *plane.Plane) { all = generators(t, p, seed(t), 1); write(t, p, 5, all...) })
	copied := a.copied()
	a.with(func(p *plane.Plane) { write(t, p, 4, all...) })
	a.putBack(copied)
	f := a.look(plane.ReconcileOptions{})
	want := []reconcile.Range{{From: 1, To: 7}, {From: 8, To: 11, Sure: true}}
	if got := f.Shards[0].Unnamed; f.Verdict != reconcile.Needed || len(f.Lost()) != 0 || fmt.Sprint(got) != fmt.Sprint(want) {
		t.Fatalf("verdict %s, lost %v, unnamed %+v, want %+v", f.Verdict, f.Lost(), got, want)
	}
}

// TestLedgerKeepsTheNewest: it is bounded, and says from where on it names events.
func TestLedgerKeepsTheNewest(t *testing.T) {
	t.Parallel()
	a := newAged(t, func(c *plane.Config) { c.LedgerEvents = 64 })
	var all []*generator
	a.with(func(p *plane.Plane) {
		all = generators(t, p, seed(t), 1)
		for range 300 {
			write(t, p, 1, all...)
		}
	})
	e := a.look(plane.ReconcileOptions{}).Shards[0].Editions[0]
	if e.LedgerFrom < 2 || e.Seq-e.LedgerFrom < 63 {
		t.Fatalf("the ledger names events from %d to %d, want the newest 64 and not all", e.LedgerFrom, e.Seq)
	}
	a.with(func(p *plane.Plane) {
		number, err := p.Editions.Build(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		pool, err := p.DB.Operator(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		rows, err := db.New(pool).AppliedAfter(t.Context(), db.AppliedAfterParams{Edition: number, Rows: 100})
		if err != nil || len(rows) == 0 || rows[0].FirstSeq != int64(e.Seq)-63 {
			t.Fatalf("the ledger of a build: %d rows, %v; want it from %d", len(rows), err, e.Seq-63)
		}
		if err := p.Editions.Abort(t.Context(), number); err != nil {
			t.Fatal(err)
		}
		if rows, err := db.New(pool).AppliedAfter(t.Context(), db.AppliedAfterParams{Edition: number, Rows: 100}); err != nil || len(rows) != 0 {
			t.Fatalf("an aborted edition has left %d rows, %v", len(rows), err)
		}
	})
}

// TestHeadsKeptElsewhere: with both stores at one older point nothing contradicts, but for a head that was kept.
func TestHeadsKeptElsewhere(t *testing.T) {
	t.Parallel()
	a := newAged(t)
	var all []*generator
	var head []byte
	a.with(func(p *plane.Plane) { all = generators(t, p, seed(t), 1); write(t, p, 5, all...) })
	copied := a.copied()
	// The database does not fold what comes now: as if it had been restored to the same point.
	p, err := plane.Open(t.Context(), a.config)
	if err != nil {
		t.Fatal(err)
	}
	write(t, p, 3, all...)
	if err := p.Witness.Advance(t.Context()); err != nil {
		t.Fatal(err)
	}
	recorded, err := p.Witness.SignHead(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	head = recorded.Document
	mustClose(t, p)
	a.putBack(copied)
	o := plane.ReconcileOptions{Heads: [][]byte{head}}
	f := a.look(o)
	if f.Verdict != reconcile.Needed || f.Shards[0].Heads[0].State != "beyond" || f.Shards[0].Editions[0].State != reconcile.Continues || f.Target != 2 {
		t.Fatalf("finding: %+v", f)
	}
	if applied := a.apply(o, f.Hash); applied.Adopted != 1 || applied.GivenUp != 0 {
		t.Fatalf("applied: %+v", applied)
	}
	a.with(func(p *plane.Plane) {
		if p.Journal.Incarnation != 2 {
			t.Fatalf("incarnation %d, want 2", p.Journal.Incarnation)
		}
		settleAll(t, p, 1)
		mustBeClean(t, verifyEdition(t, p, 1))
	})
	if f := a.look(o); f.Verdict != reconcile.Fine {
		t.Fatalf("the head was accounted for: %+v", f)
	}
	// Numbers are given again: the same head then differs, for a plane that was not told of it.
	f = a.look(plane.ReconcileOptions{Raise: true})
	if f.Verdict != reconcile.Needed || f.Target != 3 {
		t.Fatalf("raised by the operator: %+v", f)
	}
	a.apply(plane.ReconcileOptions{Raise: true}, f.Hash)
	if f := a.look(plane.ReconcileOptions{}); f.Verdict != reconcile.Fine || f.Incarnation != 3 {
		t.Fatalf("afterwards: %+v", f)
	}
	// The database is restored to before that: nothing is lost, and no incarnation is needed that is not there.
	a.with(func(*plane.Plane) {})
	p, err = plane.Open(t.Context(), a.config)
	if err != nil {
		t.Fatal(err)
	}
	pool, err := p.DB.Owner(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, sql := range []string{"UPDATE control.checkpoint SET incarnation = 2", "DELETE FROM control.reconciliation WHERE incarnation = 3"} {
		if _, err := pool.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	mustClose(t, p)
	if got := a.continuity(); got != projector.Replaced {
		t.Fatalf("a projector finds %q, want %s", got, projector.Replaced)
	}
	f = a.look(plane.ReconcileOptions{})
	if f.Verdict != reconcile.Needed || f.Target != 3 || len(f.Reasons) != 0 {
		t.Fatalf("an older database: %+v", f)
	}
	if applied := a.apply(plane.ReconcileOptions{}, f.Hash); applied.Adopted != 1 {
		t.Fatalf("applied: %+v", applied)
	}
	if got := a.continuity(); got != "" {
		t.Fatalf("a projector finds %q", got)
	}
}

// TestAnotherJournal is never gone on with, nor made.
func TestAnotherJournal(t *testing.T) {
	t.Parallel()
	a := newAged(t)
	a.with(func(p *plane.Plane) { write(t, p, 10, generators(t, p, seed(t), 1)...) })
	nc := a.server.Connect(t)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	if err := js.DeleteStream(t.Context(), <-js.StreamNames(t.Context()).Name()); err != nil {
		t.Fatal(err)
	}
	refusedToGoOn := func(what string) {
		t.Helper()
		f := a.look(plane.ReconcileOptions{})
		if f.Verdict != reconcile.Restore || len(f.Lost()) != 0 {
			t.Fatalf("%s: %+v", what, f)
		}
		a.examine(func(p *plane.Plane) {
			if _, err := p.ApplyReconciliation(t.Context(), plane.ReconcileOptions{}, f.Hash); !errors.Is(err, reconcile.ErrRestore) {
				t.Fatalf("%s: apply: %v, want %v", what, err, reconcile.ErrRestore)
			}
		})
	}
	refusedToGoOn("no journal")
	if _, err := journal.Examine(t.Context(), nc); !errors.Is(err, journal.ErrNoJournal) {
		t.Fatalf("a journal was made: %v", err)
	}
	other, err := journal.Create(t.Context(), nc, journal.Config{})
	if err != nil {
		t.Fatal(err)
	}
	other.Close()
	refusedToGoOn("another journal")
}

// TestRestoredToBeforeAReconciliation: incarnations that were handed out are never handed out again.
func TestRestoredToBeforeAReconciliation(t *testing.T) {
	t.Parallel()
	a := newAged(t)
	var all []*generator
	a.with(func(p *plane.Plane) { all = generators(t, p, seed(t), 2); write(t, p, 5, all...) })
	copied := a.copied()
	a.with(func(p *plane.Plane) { write(t, p, 5, all...) })
	for _, want := range []uint64{2, 3} {
		a.putBack(copied)
		f := a.look(plane.ReconcileOptions{})
		if f.Verdict != reconcile.Needed || f.Incarnation != 1 || f.Target != want {
			t.Fatalf("verdict %s, incarnation %d, target %d; want 1 and %d: %+v", f.Verdict, f.Incarnation, f.Target, want, f.Reasons)
		}
		a.apply(plane.ReconcileOptions{}, f.Hash)
		a.rebuilt(func(p *plane.Plane, number int64) {
			if p.Journal.Incarnation != want {
				t.Fatalf("incarnation %d, want %d", p.Journal.Incarnation, want)
			}
			again := newGenerator(want, 0, all[0].tenant)
			write(t, p, 5, again)
			settleAll(t, p, number)
		})
	}
}

// TestABuildOfAnotherPast is refused, not waited for; an apply gives it up.
func TestABuildOfAnotherPast(t *testing.T) {
	t.Parallel()
	a := newAged(t)
	var all []*generator
	a.with(func(p *plane.Plane) { all = generators(t, p, seed(t), 2); write(t, p, 10, all...) })
	copied := a.copied()
	a.with(func(p *plane.Plane) { write(t, p, 10, all...) })
	child := testenv.Spawn(t, "build", testenv.ProcessOptions{Env: append(planeEnv(a.config, testenv.Dir(t)), "REFOLD_FAILPOINTS=edition.loaded=exit")})
	if err := child.Wait(); err == nil {
		t.Fatalf("the build was not ended:\n%s", child.Output())
	}
	a.putBack(copied)
	p, err := plane.Open(t.Context(), a.config)
	if err != nil {
		t.Fatal(err)
	}
	_, err = p.Editions.Build(t.Context(), nil)
	mustClose(t, p)
	if !errors.Is(err, edition.ErrPast) {
		t.Fatalf("build: %v, want %v", err, edition.ErrPast)
	}
	f := a.look(plane.ReconcileOptions{})
	if len(f.Builds) != 1 || f.Builds[0].Action != "abort" {
		t.Fatalf("builds: %+v", f.Builds)
	}
	if applied := a.apply(plane.ReconcileOptions{}, f.Hash); len(applied.Aborted) != 1 {
		t.Fatalf("applied: %+v", applied)
	}
	a.rebuilt(func(*plane.Plane, int64) {})
}

// TestFlipsFromAPastThatWasGivenUp: the live edition is no yardstick any more, and every other rule holds as before.
func TestFlipsFromAPastThatWasGivenUp(t *testing.T) {
	t.Parallel()
	a := newAged(t)
	var all []*generator
	a.with(func(p *plane.Plane) { all = generators(t, p, seed(t), 2); write(t, p, 10, all...) })
	copied := a.copied()
	a.with(func(p *plane.Plane) { write(t, p, 10, all...) })
	a.putBack(copied)
	a.apply(plane.ReconcileOptions{}, a.look(plane.ReconcileOptions{}).Hash)
	p, err := plane.Open(t.Context(), a.config)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { mustClose(t, p) }()
	number, err := p.Editions.Build(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Editions.Cutover(t.Context(), number); !errors.Is(err, edition.ErrNotVerified) {
		t.Fatalf("cutover to rows that were not verified: %v", err)
	}
	stop := run(t, p)
	settleAll(t, p, number)
	mustBeClean(t, verifyEdition(t, p, number))
	stop()
	// It is verified; but the end of the journal has moved on, far beyond the old edition, and nobody projects.
	write(t, p, 600, newGenerator(2, 7, all[0].tenant))
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	_, err = p.Editions.Cutover(ctx, number)
	cancel()
	if !errors.Is(err, edition.ErrBehind) {
		t.Fatalf("cutover to an edition that is behind the journal: %v", err)
	}
	stop = run(t, p)
	defer stop()
	if flips, err := p.Editions.Cutover(t.Context(), number); err != nil || len(flips) != 1 || flips[0].Previous != 1 {
		t.Fatalf("cutover: %+v, %v", flips, err)
	}
	if _, err := p.Editions.Rollback(t.Context()); err == nil {
		t.Fatal("rolled back to an edition that was given up")
	}
	// Not even when its stop state is taken off behind refold's back.
	pool, err := p.DB.Owner(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	stop()
	if _, err := pool.Exec(t.Context(), "UPDATE control.checkpoint SET stopped = NULL WHERE edition = 1"); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Editions.Rollback(t.Context()); !errors.Is(err, edition.ErrPast) {
		t.Fatalf("rollback: %v, want %v", err, edition.ErrPast)
	}
}

// TestJournalThatLostEventsInItsMiddle: a stream without the deny flags, as somebody else's tools make one.
func TestJournalThatLostEventsInItsMiddle(t *testing.T) {
	t.Parallel()
	for name, lose := range map[string]func(context.Context, jetstream.Stream) error{
		"interior gap": func(ctx context.Context, s jetstream.Stream) error { return s.DeleteMsg(ctx, 7) },
		"beginning gone": func(ctx context.Context, s jetstream.Stream) error {
			return s.Purge(ctx, jetstream.WithPurgeSequence(4))
		},
	} {
		t.Run(name, func(t *testing.T) {
			a := newAged(t)
			a.with(func(p *plane.Plane) { write(t, p, 10, generators(t, p, seed(t), 2)...) })
			js, err := jetstream.New(a.server.Connect(t))
			if err != nil {
				t.Fatal(err)
			}
			swapWithoutFlags(t, js, func(*jetstream.RawStreamMsg) {}, lose)
			f := a.look(plane.ReconcileOptions{})
			if f.Verdict != reconcile.Restore || len(f.Notes) == 0 {
				t.Fatalf("finding: %+v", f)
			}
			a.examine(func(p *plane.Plane) {
				if _, err := p.ApplyReconciliation(t.Context(), plane.ReconcileOptions{}, f.Hash); !errors.Is(err, reconcile.ErrRestore) {
					t.Fatalf("apply: %v, want %v", err, reconcile.ErrRestore)
				}
				if p.Journal == nil {
					return // without its genesis event it is none
				}
				pool, err := p.DB.Operator(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				cp, err := db.New(pool).CheckpointGet(t.Context(), db.CheckpointGetParams{Edition: 1})
				if err != nil {
					t.Fatal(err)
				}
				var stopped *projector.StoppedError
				if err := projector.Continuity(t.Context(), p.Journal.Shard(0), cp); !errors.As(err, &stopped) || stopped.State != projector.Truncated {
					t.Fatalf("continuity: %v, want %s", err, projector.Truncated)
				}
			})
		})
	}
}

// swapWithoutFlags makes the journal's stream anew under its own name and with its metadata, fills in its messages, which
// may be altered, loses some, and ends with the configuration it had.
func swapWithoutFlags(t *testing.T, js jetstream.JetStream, alter func(*jetstream.RawStreamMsg), lose func(context.Context, jetstream.Stream) error) {
	t.Helper()
	names := js.StreamNames(t.Context())
	name := <-names.Name()
	old, err := js.Stream(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	config := old.CachedInfo().Config
	var messages []*jetstream.RawStreamMsg
	for seq := uint64(1); seq <= old.CachedInfo().State.LastSeq; seq++ {
		m, err := old.GetMsg(t.Context(), seq)
		if err != nil {
			t.Fatal(err)
		}
		messages = append(messages, m)
	}
	if err := js.DeleteStream(t.Context(), name); err != nil {
		t.Fatal(err)
	}
	config.DenyDelete, config.DenyPurge = false, false
	made, err := js.CreateStream(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range messages {
		alter(m)
		if _, err := js.PublishMsg(t.Context(), &nats.Msg{Subject: m.Subject, Header: plain(m.Header), Data: m.Data}); err != nil {
			t.Fatal(err)
		}
	}
	if err := lose(t.Context(), made); err != nil {
		t.Fatal(err)
	}
	config.DenyDelete, config.DenyPurge = true, true
	if _, err := js.UpdateStream(t.Context(), config); err != nil {
		t.Fatal(err)
	}
}

// plain leaves out what the server and its clients have added.
func plain(h nats.Header) nats.Header {
	out := nats.Header{}
	for name, values := range h {
		if !strings.HasPrefix(name, "Nats-") {
			out[name] = values
		}
	}
	return out
}

// TestNothingIsReconciledBesideOthers: neither beside a projector, which holds its lock, nor beside a process that answers.
func TestNothingIsReconciledBesideOthers(t *testing.T) {
	t.Parallel()
	a := newAged(t)
	a.with(func(p *plane.Plane) { write(t, p, 3, generators(t, p, seed(t), 1)...) })
	a.examine(func(p *plane.Plane) {
		o := plane.ReconcileOptions{Raise: true}
		f, err := p.Reconcile(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		refused := func(what string) {
			t.Helper()
			if _, err := p.ApplyReconciliation(t.Context(), o, f.Hash); !errors.Is(err, reconcile.ErrServing) {
				t.Fatalf("beside %s: %v, want %v", what, err, reconcile.ErrServing)
			}
		}
		release, mine, err := p.DB.TryLock(t.Context(), projector.LockName(1, 0))
		if err != nil || !mine {
			t.Fatal(mine, err)
		}
		refused("a projector")
		release()
		if err := p.Editions.Beat(t.Context(), edition.Replica{ID: "another", Shape: p.Shape, Editions: []int64{1}}); err != nil {
			t.Fatal(err)
		}
		refused("a process that answers readers")
		if err := p.Editions.Gone(t.Context(), "another"); err != nil {
			t.Fatal(err)
		}
		if _, err := p.ApplyReconciliation(t.Context(), o, f.Hash); err != nil {
			t.Fatalf("alone: %v", err)
		}
		if p.Journal.Incarnation != 2 {
			t.Fatalf("incarnation %d, want 2", p.Journal.Incarnation)
		}
	})
}
