package reader

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/refold-dev/refold/internal/postgres"
	"github.com/refold-dev/refold/internal/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m) }

// fixed is one live edition, 0 = none.
type fixed struct{ edition int64 }

func (f fixed) Edition(int, string) (int64, bool) { return f.edition, f.edition != 0 }

// Serves knows the one edition more that stands by.
func (f fixed) Serves(_ int, number int64) bool { return number == f.edition || number == f.edition-1 }

// bench is an edition with a checkpoint that a test moves by hand.
type bench struct {
	db    *postgres.DB
	owner *pgxpool.Pool
}

func newBench(t *testing.T) *bench {
	t.Helper()
	ctx := t.Context()
	var b bench
	var err error
	if b.db, err = postgres.Open(ctx, testenv.Postgres(t)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.db.Close)
	if err := b.db.Migrate(ctx); err != nil {
		t.Fatal(err)
	}
	if b.owner, err = b.db.Owner(ctx); err != nil {
		t.Fatal(err)
	}
	for _, edition := range []int64{1, 2} {
		if err := errors.Join(b.db.CreateEdition(ctx, edition), b.db.FinishEdition(ctx, edition, false)); err != nil {
			t.Fatal(err)
		}
		b.exec(t, `INSERT INTO control.edition VALUES ($1, $2, 'shape', 'serving', 1, clock_timestamp(), NULL)`, edition, postgres.SchemaName(edition))
		b.exec(t, `INSERT INTO control.checkpoint VALUES ($1, 0, 'j', 1, 'stream', 10, '', '', 1, '', 0, NULL, NULL, clock_timestamp())`, edition)
	}
	return &b
}

func (b *bench) exec(t *testing.T, sql string, args ...any) {
	t.Helper()
	if _, err := b.owner.Exec(context.WithoutCancel(t.Context()), sql, args...); err != nil {
		t.Fatal(err)
	}
}

func (b *bench) move(t *testing.T, edition, seq int64) {
	b.exec(t, "UPDATE control.checkpoint SET seq = $2 WHERE edition = $1", edition, seq)
}

func TestWaitingForAPosition(t *testing.T) {
	b := newBench(t)
	r := New(fixed{1}, b.db)
	caller := Caller{Tenant: "a"}
	least := Freshness{Least: &Position{JournalID: "j", Incarnation: 1, Seq: 11}, Wait: 20 * time.Second}

	_, _, err := r.Memories(t.Context(), caller, Freshness{Least: least.Least}, MemoryList{})
	if !errors.Is(err, ErrNotYet) {
		t.Errorf("without patience: %v, want ErrNotYet", err)
	}
	short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, _, err := r.Memories(short, caller, least, MemoryList{}); err == nil {
		t.Error("a caller that has gone still got an answer")
	}

	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			_, stamp, err := r.Memories(t.Context(), caller, least, MemoryList{})
			if err != nil || stamp.Position.Seq != 11 || stamp.Edition != 1 {
				t.Errorf("stamp %+v, %v", stamp, err)
			}
		})
	}
	b.move(t, 1, 11)
	all.Wait()
	r.waits.mu.Lock()
	defer r.waits.mu.Unlock()
	if len(r.waits.watches) != 0 {
		t.Error("a checkpoint is polled though nobody waits")
	}
}

// A flip to an edition that stands further back never ends in an answer that is older than asked for.
func TestNoAnswerIsOlderThanAskedFor(t *testing.T) {
	b := newBench(t)
	b.move(t, 1, 50) // edition 2 stands at 10
	least := Freshness{Least: &Position{JournalID: "j", Incarnation: 1, Seq: 50}}
	for _, patience := range []time.Duration{0, 100 * time.Millisecond} {
		least.Wait = patience
		if _, _, err := New(fixed{1}, b.db).Memories(t.Context(), Caller{Tenant: "a"}, least, MemoryList{}); err != nil {
			t.Errorf("before the flip: %v", err)
		}
		if _, stamp, err := New(fixed{2}, b.db).Memories(t.Context(), Caller{Tenant: "a"}, least, MemoryList{}); !errors.Is(err, ErrNotYet) {
			t.Errorf("after the flip, waiting %s: stamp %+v, %v, want ErrNotYet", patience, stamp, err)
		}
	}
}

func TestNoEditionIsLive(t *testing.T) {
	b := newBench(t)
	r := New(fixed{}, b.db)
	if _, _, err := r.Memories(t.Context(), Caller{Tenant: "a"}, Freshness{}, MemoryList{}); !errors.Is(err, ErrNoEdition) {
		t.Errorf("question: %v, want ErrNoEdition", err)
	}
	if _, err := r.Open(t.Context(), "a", 0); !errors.Is(err, ErrNoEdition) {
		t.Errorf("command: %v, want ErrNoEdition", err)
	}
}

func TestGateFollowsTheCheckpoint(t *testing.T) {
	b := newBench(t)
	r := New(fixed{1}, b.db)
	position, err := r.Open(t.Context(), "a", 0)
	if err != nil || position != (Position{"j", 1, 0, 10}) {
		t.Fatalf("open: %+v, %v", position, err)
	}
	b.exec(t, "UPDATE control.checkpoint SET stopped = 'LOG_TRUNCATED'")
	var stopped *StoppedError
	deadline := time.Now().Add(20 * time.Second)
	for !errors.As(err, &stopped) && time.Now().Before(deadline) {
		_, err = r.Open(t.Context(), "a", 0)
	}
	if stopped == nil || stopped.Reason != "LOG_TRUNCATED" {
		t.Errorf("gate of a stopped shard: %v", err)
	}
}

// TestWaitingCostsNoConnections lets many wait for a position that is reached at once. A question that is cut off when
// the last waiter leaves would cost its connection each time.
func TestWaitingCostsNoConnections(t *testing.T) {
	b := newBench(t)
	r := New(fixed{1}, b.db)
	pool, err := b.db.Reader(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	reached := Freshness{Least: &Position{JournalID: "j", Incarnation: 1, Seq: 10}, Wait: 20 * time.Second}
	var readers sync.WaitGroup
	for range 8 {
		readers.Go(func() {
			for range 100 {
				if _, _, err := r.Memories(t.Context(), Caller{Tenant: "a"}, reached, MemoryList{}); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	readers.Wait()
	if made := pool.Stat().NewConnsCount(); made > 16 {
		t.Errorf("800 questions that waited made %d connections", made)
	}
}
