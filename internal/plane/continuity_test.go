package plane_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/refold-dev/refold/internal/journal"
	"github.com/refold-dev/refold/internal/localstack"
	"github.com/refold-dev/refold/internal/plane"
	"github.com/refold-dev/refold/internal/postgres"
	"github.com/refold-dev/refold/internal/postgres/db"
	"github.com/refold-dev/refold/internal/projector"
	"github.com/refold-dev/refold/internal/testenv"
)

func checkpoint(t testing.TB, p *plane.Plane, edition int64) db.ControlCheckpoint {
	t.Helper()
	return checkpointIn(t, p, edition, 0)
}

func checkpointIn(t testing.TB, p *plane.Plane, edition int64, shard int) db.ControlCheckpoint {
	t.Helper()
	pool, err := p.DB.Operator(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	cp, err := db.New(pool).CheckpointGet(t.Context(), db.CheckpointGetParams{Edition: edition, Shard: int32(shard)})
	if err != nil {
		t.Fatal(err)
	}
	return cp
}

// eventually polls until a condition holds.
func eventually(t testing.TB, what string, condition func() bool) {
	t.Helper()
	deadline := time.NewTimer(time.Minute)
	defer deadline.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !condition() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("%s: not within a minute", what)
		}
	}
}

// stoppedBy waits for the latch of edition 1 and checks everything that is promised of it: it is reported, rows can
// be read, and rows and position stay as they were.
func stoppedBy(t testing.TB, p *plane.Plane, want projector.Stop, change func()) {
	t.Helper()
	pool, err := p.DB.OwnerOf(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	before, at := readTables(t, pool), checkpoint(t, p, 1).Seq
	change()
	eventually(t, "latch "+string(want), func() bool { return checkpoint(t, p, 1).Stopped != nil })
	cp := checkpoint(t, p, 1)
	if *cp.Stopped != string(want) || cp.Seq != at || cp.StoppedDetail == nil || *cp.StoppedDetail == "" {
		t.Fatalf("stopped: %s at %d, want %s at %d", *cp.Stopped, cp.Seq, want, at)
	}
	if err := p.Ready(t.Context()); !errors.Is(err, plane.ErrNotReady) || !strings.Contains(err.Error(), string(want)) {
		t.Fatalf("readiness: %v, want %s", err, want)
	}
	if diff := cmp.Diff(before, readTables(t, pool)); diff != "" {
		t.Fatalf("rows changed:\n%s", diff)
	}
	reader, err := p.DB.Reader(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	_, err = postgres.WithTenant(t.Context(), reader, postgres.Entry{Tenant: "tenant-0"}, func(q *db.Queries) error {
		_, err := q.MemoryOfEntities(t.Context(), db.MemoryOfEntitiesParams{TenantIds: []string{"tenant-0"}})
		return err
	})
	if err != nil {
		t.Fatalf("rows cannot be read: %v", err)
	}
}

// resume is the operator's command.
func resume(t testing.TB, p *plane.Plane, from projector.Stop) {
	t.Helper()
	pool, err := p.DB.Operator(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	n, err := db.New(pool).CheckpointResume(t.Context(), db.CheckpointResumeParams{Edition: 1, Stopped: string(from)})
	if err != nil || n != 1 {
		t.Fatalf("resume: %d, %v", n, err)
	}
}

// TestNoNewJournalForOldEditions starts against another NATS server, or after the streams were lost.
func TestNoNewJournalForOldEditions(t *testing.T) {
	t.Parallel()
	config := fresh(t)
	openWith(t, config)
	config.NATSURL, config.DataDir = fresh(t).NATSURL, testenv.Dir(t)
	for range 2 { // the refusal leaves nothing behind
		if p, err := plane.Open(t.Context(), config); !errors.Is(err, plane.ErrJournalLost) {
			t.Fatalf("got %v, %v; want %v", p, err, plane.ErrJournalLost)
		}
	}
}

func TestJournalReplacedUnderTheProjector(t *testing.T) {
	t.Parallel()
	config := fresh(t)
	p := openWith(t, config)
	run(t, p)
	write(t, p, 30, generators(t, p, seed(t), 2)...)
	settle(t, p, 1)
	js, err := jetstream.New(p.Stack.NATS())
	if err != nil {
		t.Fatal(err)
	}
	stoppedBy(t, p, projector.Replaced, func() {
		facts, err := p.Journal.Shard(0).Facts(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := js.DeleteStream(t.Context(), facts.Stream); err != nil {
			t.Fatal(err)
		}
		other, err := journal.Create(t.Context(), p.Stack.NATS(), journal.Config{})
		if err != nil {
			t.Fatal(err)
		}
		other.Close()
	})
	// Another process finds the new journal there, and must not take it for the old one.
	resume(t, p, projector.Replaced)
	config.DataDir = testenv.Dir(t)
	again := openWith(t, config)
	stoppedBy(t, again, projector.Replaced, func() { run(t, again) })
}

func TestJournalRestoredFromAnOlderCopy(t *testing.T) {
	t.Parallel()
	store := t.TempDir()
	server := testenv.StartNATSProcess(t, localstack.NATSOptions{StoreDir: store, Durability: localstack.DurabilityRelaxed})
	p := openWith(t, fresh(t, func(c *plane.Config) { c.NATSURL, c.StableFor = server.URL(), 300*time.Millisecond }))
	stop := run(t, p)
	number := seed(t)
	all := generators(t, p, number, 2)
	write(t, p, 20, all...)
	settle(t, p, 1)
	restored := filepath.Join(t.TempDir(), "copy")
	server.Stop()
	if err := os.CopyFS(restored, os.DirFS(store)); err != nil {
		t.Fatal(err)
	}
	server.Restart()
	write(t, p, 5, all...)
	settle(t, p, 1)
	stoppedBy(t, p, projector.Ahead, func() {
		server.Stop()
		if err := os.RemoveAll(store); err != nil {
			t.Fatal(err)
		}
		if err := os.CopyFS(store, os.DirFS(restored)); err != nil {
			t.Fatal(err)
		}
		server.Restart()
	})
	// New events are given the numbers of those that are lost.
	stop()
	stoppedBy(t, p, projector.Diverged, func() {
		write(t, p, 30, newGenerator(number, 99, all[0].tenant))
		resume(t, p, projector.Ahead)
		run(t, p)
	})
}

func TestCheckpointTamperedWith(t *testing.T) {
	t.Parallel()
	p := openWith(t, fresh(t, func(c *plane.Config) { c.StableFor = 100 * time.Millisecond }))
	all := generators(t, p, seed(t), 2)
	write(t, p, 30, all...)
	pool, err := p.DB.Owner(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		set  string
		want projector.Stop
	}{
		{"seq = seq - 1", projector.Diverged},
		{"seq = seq + 100000", projector.Ahead},
		{"event_digest = sha256(event_digest)", projector.Diverged},
		{"journal_id = 'another'", projector.Replaced},
		{"incarnation = incarnation + 1", projector.Replaced},
	} {
		stop := run(t, p)
		settle(t, p, 1)
		mustBeClean(t, verifyEdition(t, p, 1))
		cp := checkpoint(t, p, 1)
		if _, err := pool.Exec(t.Context(), "UPDATE control.checkpoint SET "+c.set); err != nil {
			t.Fatal(err)
		}
		stoppedBy(t, p, c.want, func() { write(t, p, 1, all...) })
		stop()
		_, err := pool.Exec(t.Context(), "UPDATE control.checkpoint SET seq = $1, event_digest = $2, journal_id = $3, incarnation = $4",
			cp.Seq, cp.EventDigest, cp.JournalID, cp.Incarnation)
		if err != nil {
			t.Fatal(err)
		}
		resume(t, p, c.want)
	}
	run(t, p)
	settle(t, p, 1)
	mustBeClean(t, verifyEdition(t, p, 1))
}
