package plane_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/refold-dev/refold/internal/directory"
	"github.com/refold-dev/refold/internal/localstack"
	"github.com/refold-dev/refold/internal/plane"
	"github.com/refold-dev/refold/internal/projector"
	"github.com/refold-dev/refold/internal/reader"
	"github.com/refold-dev/refold/internal/readiness"
	"github.com/refold-dev/refold/internal/reconcile"
	"github.com/refold-dev/refold/internal/testenv"
	"github.com/refold-dev/refold/internal/witness"
)

// serving runs a plane as `refold serve` does, so that other processes know of it.
func serving(t *testing.T, p *plane.Plane) {
	t.Helper()
	run(t, p)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- p.Deploy(ctx, plane.Deployment{}) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	eventually(t, "serving", func() bool { return p.Ready(t.Context()) == nil })
}

// inEachShard creates tenants until every shard has one.
func inEachShard(t *testing.T, p *plane.Plane, seed uint64) map[int]*generator {
	t.Helper()
	all := map[int]*generator{}
	for i := 0; len(all) < len(p.Journal.Shards); i++ {
		id := fmt.Sprintf("tenant-%d", i)
		if all[directory.Place(id, len(p.Journal.Shards))] == nil {
			tenant := tenantFor(t, p, id)
			all[tenant.Shard] = newGenerator(seed, i, tenant)
		}
	}
	return all
}

// takesCommands reports whether the shard of a tenant does.
func takesCommands(t *testing.T, p *plane.Plane, tenant directory.Tenant) bool {
	t.Helper()
	_, err := reader.New(p.Live, p.DB).Open(t.Context(), tenant.ID, tenant.Shard)
	var stopped *reader.StoppedError
	if err != nil && !errors.As(err, &stopped) {
		t.Fatal(err)
	}
	return err == nil
}

func effects(r readiness.Requests) (out []string) {
	for _, reason := range r.Reasons {
		shard := readiness.Every
		if reason.Shard != nil {
			shard = *reason.Shard
		}
		out = append(out, fmt.Sprint(shard, " ", reason.Code, " ", reason.Effect))
	}
	return out
}

// TestAStopStateDoesNotOutliveItsReason restores the files of the journal from an older copy, and then from the right one:
// one shard of four is stopped, and goes on again beside the process that serves.
func TestAStopStateDoesNotOutliveItsReason(t *testing.T) {
	t.Parallel()
	const victim = 2
	store := t.TempDir()
	server := testenv.StartNATSProcess(t, localstack.NATSOptions{StoreDir: store, Durability: localstack.DurabilityRelaxed})
	config := fresh(t, func(c *plane.Config) { c.NATSURL, c.Shards, c.StableFor = server.URL(), 4, 300*time.Millisecond })
	p := openWith(t, config)
	serving(t, p)
	all := inEachShard(t, p, seed(t))
	for _, g := range all {
		write(t, p, 10, g)
	}
	settleAll(t, p, 1)
	exchange := func(from, to string) {
		t.Helper()
		server.Stop()
		if to != "" {
			if err := os.CopyFS(to, os.DirFS(store)); err != nil {
				t.Fatal(err)
			}
		}
		if from != "" {
			if err := errors.Join(os.RemoveAll(store), os.CopyFS(store, os.DirFS(from))); err != nil {
				t.Fatal(err)
			}
		}
		server.Restart()
	}
	older, right := filepath.Join(t.TempDir(), "older"), filepath.Join(t.TempDir(), "right")
	exchange("", older)
	write(t, p, 5, all[victim])
	settleAll(t, p, 1)
	exchange(older, right)
	eventually(t, "stopped", func() bool { return checkpointIn(t, p, 1, victim).Stopped != nil })

	// One shard is stopped: reads go on everywhere, commands everywhere else.
	wantReads, wantCommands := []string{"2 PROJECTION_AHEAD degraded"}, []string{"2 PROJECTION_AHEAD unavailable"}
	eventually(t, "readiness of one stopped shard", func() bool {
		r := p.Readiness(t.Context())
		return r.Status == readiness.Degraded && r.Reads.Ready && !r.Commands.Ready && slices.Equal(effects(r.Reads), wantReads) && slices.Equal(effects(r.Commands), wantCommands)
	})
	for shard, g := range all {
		if takesCommands(t, p, g.tenant) != (shard != victim) {
			t.Errorf("shard %d: takes commands: %v", shard, shard == victim)
		}
	}
	still := p.Status(t.Context()).Shards[victim]
	if still.Stopped != string(projector.Ahead) || still.Since == nil || !strings.Contains(still.Now, "it is so still") {
		t.Fatalf("status of what is stopped: %+v", still)
	}

	// The reason goes, the state stays, and says so.
	exchange(right, "")
	eventually(t, "the status knows that the reason is gone", func() bool {
		one := p.Status(t.Context()).Shards[victim]
		return strings.Contains(one.Now, "it is so no longer") && strings.Contains(one.Now, "reconcile --apply") && one.Since.Equal(*still.Since)
	})

	// An operator takes it off, beside the process and beside writers.
	config.DataDir = testenv.Dir(t)
	examined, err := plane.Examine(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { mustClose(t, examined) }()
	look := func(o plane.ReconcileOptions) *reconcile.Finding {
		t.Helper()
		f, err := examined.Reconcile(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	found := look(plane.ReconcileOptions{})
	if found.Verdict != reconcile.Needed || !found.Beside || found.Target != found.Incarnation {
		t.Fatalf("finding: %+v", found)
	}
	raise := plane.ReconcileOptions{Raise: true}
	if f := look(raise); f.Beside {
		t.Fatalf("a raise is not one for beside processes: %+v", f)
	}
	host, _ := os.Hostname()
	_, err = examined.ApplyReconciliation(t.Context(), raise, look(raise).Hash)
	if !errors.Is(err, reconcile.ErrServing) || !strings.Contains(err.Error(), fmt.Sprintf("process %s/%d/", host, os.Getpid())) {
		t.Fatalf("a raise beside a process: %v", err)
	}
	for shard, g := range all {
		if shard != victim {
			write(t, p, 3, g)
		}
	}
	tenantFor(t, p, "another")
	if _, err := examined.ApplyReconciliation(t.Context(), plane.ReconcileOptions{}, "another"); !errors.Is(err, reconcile.ErrChanged) {
		t.Fatalf("applied for another finding: %v", err)
	}
	began := time.Now()
	applied, err := examined.ApplyReconciliation(t.Context(), plane.ReconcileOptions{}, found.Hash)
	if err != nil || applied.Adopted != 1 || applied.GivenUp != 0 {
		t.Fatalf("applied: %+v, %v", applied, err)
	}
	t.Logf("applied in %s", time.Since(began))
	write(t, p, 3, all[victim])
	settleAll(t, p, 1)
	eventually(t, "ready again", func() bool { return p.Ready(t.Context()) == nil })
	t.Logf("level and ready %s after the apply began", time.Since(began))
	for shard := range all {
		mustBeClean(t, verifyShard(t, p, 1, shard))
	}
	if f := look(plane.ReconcileOptions{}); f.Verdict != reconcile.Fine {
		t.Fatalf("afterwards: %+v", f)
	}
}

// TestReadinessReadsAndMoves takes rights away that every check of the process misses, and makes readers and projectors busy.
func TestReadinessReadsAndMoves(t *testing.T) {
	t.Parallel()
	config := fresh(t)
	separator := "?"
	if strings.Contains(config.PostgresURL, "?") {
		separator = "&"
	}
	config.PostgresURL += separator + "target_session_attrs=read-write"
	p := openWith(t, config)
	if err := p.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	owner, err := p.DB.Owner(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	codes := func() (out []string) {
		for _, c := range p.Conditions(t.Context()) {
			out = append(out, fmt.Sprint(c.Code, " ", c.Reads, " ", c.Commands))
		}
		return out
	}
	for _, c := range []struct{ take, give, want string }{
		{"REVOKE SELECT ON edition_1.category FROM refold_reader", "GRANT SELECT ON edition_1.category TO refold_reader", "CANNOT_READ unavailable unavailable"},
		{"REVOKE SELECT ON control.checkpoint FROM refold_reader", "GRANT SELECT ON control.checkpoint TO refold_reader", "CANNOT_READ unavailable unavailable"},
		{"REVOKE INSERT ON edition_1.memory FROM refold_projector", "GRANT INSERT ON edition_1.memory TO refold_projector", "CANNOT_PROJECT degraded degraded"},
		{"REVOKE UPDATE ON control.checkpoint FROM refold_projector", "GRANT UPDATE ON control.checkpoint TO refold_projector", "CANNOT_PROJECT degraded degraded"},
	} {
		if err := execAll(t, owner, c.take); err != nil {
			t.Fatal(err)
		}
		eventually(t, c.take, func() bool { return slices.Equal(codes(), []string{c.want}) })
		if err := p.Ready(t.Context()); !errors.Is(err, plane.ErrNotReady) {
			t.Fatalf("%s: %v", c.take, err)
		}
		if err := execAll(t, owner, c.give); err != nil {
			t.Fatal(err)
		}
		eventually(t, c.give, func() bool { return len(codes()) == 0 })
	}
	// Busy is not broken: readers have every connection of theirs, and a projector is in the middle of a batch.
	readers, err := p.DB.Reader(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	for range readers.Config().MaxConns {
		conn, err := readers.Acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Release()
	}
	batch, err := owner.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = batch.Rollback(context.WithoutCancel(t.Context())) }()
	if _, err := batch.Exec(t.Context(), "SELECT FROM control.checkpoint FOR UPDATE"); err != nil {
		t.Fatal(err)
	}
	if err := p.Ready(t.Context()); err != nil {
		t.Fatalf("beside busy readers and a busy projector: %v", err)
	}
	// And asking holds nothing.
	var waiting int
	err = owner.QueryRow(t.Context(), "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state = 'idle in transaction' AND pid <> $1",
		batch.Conn().PgConn().PID()).Scan(&waiting)
	if err != nil || waiting != 0 {
		t.Fatalf("%d transactions are left open, %v", waiting, err)
	}
}

// TestReadinessWithoutAStore: reads go on without the journal, nothing does without the database, and an answer comes within
// the time that a load balancer gives.
func TestReadinessWithoutAStore(t *testing.T) {
	t.Parallel()
	server := testenv.StartNATSProcess(t, localstack.NATSOptions{StoreDir: t.TempDir(), Durability: localstack.DurabilityRelaxed})
	database := testenv.PostgresServer(t, localstack.PostgresOptions{Fast: true})
	p := openWith(t, fresh(t, func(c *plane.Config) { c.NATSURL, c.PostgresURL = server.URL(), database.URL() }))
	if r := p.Readiness(t.Context()); r.Status != readiness.Ready {
		t.Fatalf("before: %+v", r)
	}
	server.Stop()
	eventually(t, "reads without the journal", func() bool {
		began := time.Now()
		r := p.Readiness(t.Context())
		if took := time.Since(began); took > 4*time.Second {
			t.Fatalf("the answer took %s", took)
		}
		return r.Reads.Ready && !r.Commands.Ready && r.Status == readiness.Degraded
	})
	server.Restart()
	eventually(t, "the journal is back", func() bool { return p.Readiness(t.Context()).Status == readiness.Ready })
	if err := database.Kill(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "nothing without the database", func() bool {
		r := p.Readiness(t.Context())
		return !r.Reads.Ready && !r.Commands.Ready && r.Status == readiness.NotReady
	})
}

// TestStatusOfWhatDoesNotOpen asks planes of which a part is gone, which Open refuses.
func TestStatusOfWhatDoesNotOpen(t *testing.T) {
	t.Parallel()
	store := t.TempDir()
	server := testenv.StartNATSProcess(t, localstack.NATSOptions{StoreDir: store, Durability: localstack.DurabilityRelaxed})
	database := testenv.PostgresServer(t, localstack.PostgresOptions{Fast: true})
	config := fresh(t, func(c *plane.Config) { c.NATSURL, c.PostgresURL, c.Shards = server.URL(), database.URL(), 2 })
	var first string // the stream of shard 0
	func() {
		p, err := plane.Open(t.Context(), config)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { mustClose(t, p) }()
		if err := p.EnsureLive(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		if err := p.Witness.Advance(t.Context()); err != nil { // so that there is something to check the journal by
			t.Fatal(err)
		}
		facts, err := p.Journal.Shard(0).Facts(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		first = facts.Stream
	}()
	status := func() *plane.Status {
		t.Helper()
		if p, err := plane.Open(t.Context(), config); err == nil {
			mustClose(t, p)
			t.Fatal("it opens")
		}
		p, err := plane.Inspect(t.Context(), config)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { mustClose(t, p) }()
		return p.Status(t.Context())
	}
	must := func(what string, s *plane.Status, editions, shards int, fault string) {
		t.Helper()
		if s.Ready || s.Readiness.Commands.Ready || len(s.Editions) != editions || len(s.Shards) != shards ||
			!slices.ContainsFunc(s.Faults, func(f string) bool { return strings.Contains(f, fault) }) {
			t.Errorf("%s: want %d editions, %d shards and a fault with %q: %+v", what, editions, shards, fault, s)
		}
	}

	server.Stop()
	s := status()
	must("without NATS", s, 1, 0, "NATS: ")
	if !s.Readiness.Reads.Ready {
		t.Errorf("rows are there without NATS: %+v", s.Readiness)
	}
	server.Restart()

	if err := database.Stop(); err != nil {
		t.Fatal(err)
	}
	s = status()
	must("without Postgres", s, 0, 2, "PostgreSQL: ")
	if s.Shards[1].Events == 0 || s.Readiness.Reads.Ready {
		t.Errorf("without Postgres: %+v", s)
	}
	if err := database.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}

	// The first event of one shard cannot be read: the other one is told of as always.
	server.Stop()
	blocks, err := filepath.Glob(filepath.Join(store, "jetstream", "*", "streams", first, "msgs", "*.blk"))
	if err != nil || len(blocks) != 1 {
		t.Fatalf("blocks of %s: %v, %v", first, blocks, err)
	}
	block, err := os.ReadFile(blocks[0])
	if err != nil {
		t.Fatal(err)
	}
	for i := range block[:min(len(block), 200)] {
		block[i] = 0
	}
	if err := os.WriteFile(blocks[0], block, 0o600); err != nil {
		t.Fatal(err)
	}
	server.Restart()
	s = status()
	must("without a first event", s, 1, 2, "shard 0: ")
	if s.Shards[1].Events == 0 || slices.ContainsFunc(s.Faults, func(f string) bool { return strings.HasPrefix(f, "shard 1: ") }) {
		t.Errorf("of the other shard: %+v", s)
	}
	inspected, err := plane.Inspect(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	results, err := inspected.CheckJournal(t.Context(), plane.CheckOptions{})
	mustClose(t, inspected) // it has the data directory to itself
	if !slices.ContainsFunc(results, func(r *witness.Result) bool { return r.Shard == 1 }) {
		t.Errorf("the check of the journal says nothing of shard 1: %+v, %v", results, err)
	}
	if slices.ContainsFunc(results, func(r *witness.Result) bool { return r.Shard == 0 && r.Clean }) {
		t.Errorf("shard 0 is clean: %+v", results)
	}
	examined, err := plane.Examine(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { mustClose(t, examined) }()
	f, err := examined.Reconcile(t.Context(), plane.ReconcileOptions{})
	if said := fmt.Sprint(f, err); !strings.Contains(said, "shard 0: ") || strings.Contains(said, "shard 1: ") {
		t.Errorf("reconcile says %s", said)
	}
}
