package activity_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/refold-dev/refold/internal/activity"
	"github.com/refold-dev/refold/internal/localstack"
	"github.com/refold-dev/refold/internal/postgres"
	"github.com/refold-dev/refold/internal/postgres/db"
	"github.com/refold-dev/refold/internal/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m) }

const journalID = "01J9ZK3V6Q3X5W8Y2T4R6P8N0M"

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func database(t testing.TB) *postgres.DB {
	t.Helper()
	d, err := postgres.Open(t.Context(), testenv.Postgres(t))
	check(t, err)
	t.Cleanup(d.Close)
	check(t, d.Migrate(t.Context()))
	return d
}

// run runs a log until the test ends or stop is called.
func run(t testing.TB, l *activity.Log) (stop func()) {
	t.Helper()
	l.JournalID = journalID
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- l.Run(ctx) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		check(t, <-done)
	}
	t.Cleanup(stop)
	return stop
}

func count(t testing.TB, d *postgres.DB, sql string, args ...any) (n int64) {
	t.Helper()
	pool, err := d.Operator(t.Context())
	check(t, err)
	check(t, pool.QueryRow(t.Context(), sql, args...).Scan(&n))
	return n
}

const all = "SELECT count(*) FROM control.access"

// await waits until a question has this answer.
func await(t testing.TB, what string, want int64, ask func() int64) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	got := ask()
	for ; got != want; got = ask() {
		if time.Now().After(deadline) {
			t.Fatalf("%s: %d, want %d", what, got, want)
		}
		time.Sleep(10 * time.Millisecond) // between two questions
	}
}

func ids(n int) []uuid.UUID {
	out := make([]uuid.UUID, n)
	for i := range out {
		out[i] = uuid.New()
	}
	return out
}

func access(tenant string, memories ...uuid.UUID) activity.Access {
	return activity.Access{Tenant: tenant, User: uuid.New(), Kind: activity.Read, Memories: memories}
}

func TestAccessesAreWritten(t *testing.T) {
	d, nc := database(t), testenv.NATS(t)
	recorder := &activity.Recorder{}
	app, user, memory := uuid.New(), uuid.New(), ids(2)
	stop := run(t, &activity.Log{NATS: nc, DB: d, Recorder: recorder})
	recorder.Record(activity.Access{Tenant: "a", User: user, App: &app, Kind: activity.List, Memories: memory})
	recorder.Record(activity.Access{Tenant: "a", User: user, Kind: activity.Read, Memories: memory[:1]})
	recorder.Record(access("b", memory[0]))
	await(t, "accesses", 4, func() int64 { return count(t, d, all) })
	if n := count(t, d, all+" WHERE tenant_id = 'a' AND memory_id = $1 AND user_id = $2 AND app_id = $3 AND kind = 'list'", memory[1], user, app); n != 1 {
		t.Errorf("%d accesses through the app, want 1", n)
	}
	if n := count(t, d, all+" WHERE tenant_id = 'a' AND app_id IS NULL AND kind = 'read'"); n != 1 {
		t.Errorf("%d accesses without an app, want 1", n)
	}
	stop()
	if c := recorder.Counts(); c != (activity.Counts{Recorded: 4}) {
		t.Errorf("counts: %+v", c)
	}
	s, err := activity.Stand(t.Context(), nc, journalID, d)
	check(t, err)
	if s.Lost != 0 || s.Batches != 0 || s.LostAt != nil || s.OldestAt == nil {
		t.Errorf("standing: %+v", s)
	}
}

// A reader sees the accesses of its own tenant alone, and without a tenant none; it can change none.
func TestReadersAreFenced(t *testing.T) {
	d, nc := database(t), testenv.NATS(t)
	recorder := &activity.Recorder{}
	run(t, &activity.Log{NATS: nc, DB: d, Recorder: recorder})
	recorder.Record(access("a", ids(2)...))
	recorder.Record(access("b", ids(3)...))
	await(t, "accesses", 5, func() int64 { return count(t, d, all) })
	pool, err := d.Reader(t.Context(), 1)
	check(t, err)
	for tenant, want := range map[string]int{"": 0, "a": 2, "b": 3, "c": 0} {
		tx, err := pool.Begin(t.Context())
		check(t, err)
		_, err = tx.Exec(t.Context(), "SELECT set_config('app.tenant', $1, true)", tenant)
		check(t, err)
		n := 0
		check(t, tx.QueryRow(t.Context(), all).Scan(&n))
		if n != want {
			t.Errorf("tenant %q sees %d accesses, want %d", tenant, n, want)
		}
		check(t, tx.Rollback(t.Context()))
	}
	for _, sql := range []string{"DELETE FROM control.access", "SELECT * FROM control.access_loss"} {
		var denied *pgconn.PgError
		if _, err := pool.Exec(t.Context(), sql); !errors.As(err, &denied) || denied.Code != "42501" && denied.Code != "25006" {
			t.Errorf("a reader may %s: %v", sql, err)
		}
	}
}

// What has no room is dropped and counted, and the count comes into the database. A tenant that reads much leaves room for
// another.
func TestDropsAreCounted(t *testing.T) {
	d, nc := database(t), testenv.NATS(t)
	recorder := &activity.Recorder{WaitingMax: 10}
	for range 25 {
		recorder.Record(access("a", uuid.New()))
	}
	for range 2 {
		recorder.Record(access("b", uuid.New()))
	}
	if c := recorder.Counts(); c != (activity.Counts{Recorded: 7, Dropped: 20, Waiting: 7}) {
		t.Errorf("counts: %+v", c)
	}
	run(t, &activity.Log{NATS: nc, DB: d, Recorder: recorder})
	await(t, "accesses", 7, func() int64 { return count(t, d, all) })
	await(t, "lost accesses", 20, func() int64 {
		s, err := activity.Stand(t.Context(), nc, journalID, d)
		check(t, err)
		return s.Lost
	})
}

// Without an answer from the stream a reading goes on: Record returns at once, and what waits arrives later.
func TestRecordDoesNotWaitForTheStream(t *testing.T) {
	d := database(t)
	dir := t.TempDir()
	server := testenv.NATSServer(t, localstack.NATSOptions{StoreDir: dir})
	nc := testenv.Connect(t, server)
	recorder := &activity.Recorder{}
	stop := run(t, &activity.Log{NATS: nc, DB: d, Recorder: recorder})
	recorder.Record(access("a", uuid.New()))
	await(t, "accesses", 1, func() int64 { return count(t, d, all) })
	server.Stop()
	started := time.Now()
	for range 10_000 {
		recorder.Record(access("a", uuid.New()))
	}
	if took := time.Since(started); took > time.Second {
		t.Errorf("10000 accesses were recorded in %v while the stream did not answer", took)
	}
	if c := recorder.Counts(); c.Recorded != 10_001 || c.Dropped != 0 {
		t.Errorf("counts: %+v", c)
	}
	stop() // returns, though nothing can be sent
}

// A process that ends leaves its last accesses in the stream, and the next one writes them.
func TestRestart(t *testing.T) {
	d, nc := database(t), testenv.NATS(t)
	busy, taken, err := d.TryLock(t.Context(), "refold activity") // another process empties the stream, and is stuck
	check(t, err)
	if !taken {
		t.Fatal("somebody has the lock")
	}
	first := &activity.Recorder{}
	run(t, &activity.Log{NATS: nc, DB: d, Recorder: &activity.Recorder{}})() // makes nothing: it has no lock
	js, err := jetstream.New(nc)
	check(t, err)
	_, err = js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "REFOLD-ACTIVITY-" + journalID, Subjects: []string{"activity." + journalID}, Retention: jetstream.WorkQueuePolicy})
	check(t, err)
	stop := run(t, &activity.Log{NATS: nc, DB: d, Recorder: first})
	for range 3000 {
		first.Record(access("a", uuid.New()))
	}
	stop()
	if n := count(t, d, all); n != 0 {
		t.Fatalf("%d accesses were written without the lock", n)
	}
	busy()
	run(t, &activity.Log{NATS: nc, DB: d})
	await(t, "accesses", 3000, func() int64 { return count(t, d, all) })
}

// A batch that comes twice is stored once; one that is no batch is counted and does not stop the others.
func TestRedeliveryAndGarbage(t *testing.T) {
	d, nc := database(t), testenv.NATS(t)
	recorder := &activity.Recorder{}
	run(t, &activity.Log{NATS: nc, DB: d, Recorder: recorder})
	recorder.Record(access("a", uuid.New()))
	await(t, "accesses", 1, func() int64 { return count(t, d, all) })
	body := []byte(`{"id":"01935cae-bf00-7000-9000-00000000de10","accesses":[{"t":"a","u":"01935cae-bf00-7000-9000-00000000de11","k":"read","at":"2026-01-02T03:04:05Z",` +
		`"m":["01935cae-bf00-7000-9000-00000000de12","01935cae-bf00-7000-9000-00000000de12"]}]}`)
	js, err := jetstream.New(nc)
	check(t, err)
	for _, b := range [][]byte{body, []byte("{"), body, body} {
		_, err := js.Publish(t.Context(), "activity."+journalID, b)
		check(t, err)
	}
	recorder.Record(access("z", uuid.New()))
	await(t, "the last access", 1, func() int64 { return count(t, d, all+" WHERE tenant_id = 'z'") })
	if n := count(t, d, all); n != 4 {
		t.Errorf("%d accesses, want 4", n)
	}
	if n := count(t, d, "SELECT coalesce(sum(batches), 0)::bigint FROM control.access_loss"); n != 1 {
		t.Errorf("%d batches lost, want 1", n)
	}
}

// Batches that the stream drops before they are written are counted.
func TestLostBatchesAreCounted(t *testing.T) {
	d, nc := database(t), testenv.NATS(t)
	recorder := &activity.Recorder{}
	stop := run(t, &activity.Log{NATS: nc, DB: d, Recorder: recorder})
	recorder.Record(access("b", uuid.New()))
	await(t, "accesses", 1, func() int64 { return count(t, d, all) })
	stop()
	js, err := jetstream.New(nc)
	check(t, err)
	stream, err := js.Stream(t.Context(), "REFOLD-ACTIVITY-"+journalID)
	check(t, err)
	for range 3 { // nobody empties the stream, and these reach their age
		ack, err := js.Publish(t.Context(), "activity."+journalID, []byte(`{}`))
		check(t, err)
		check(t, stream.DeleteMsg(t.Context(), ack.Sequence))
	}
	run(t, &activity.Log{NATS: nc, DB: d, Recorder: recorder})
	recorder.Record(access("a", uuid.New()))
	await(t, "accesses", 2, func() int64 { return count(t, d, all) })
	if n := count(t, d, "SELECT coalesce(sum(batches), 0)::bigint FROM control.access_loss"); n != 3 {
		t.Errorf("%d batches lost, want 3", n)
	}
}

func TestExpireAndForget(t *testing.T) {
	d, nc := database(t), testenv.NATS(t)
	recorder := &activity.Recorder{}
	old := access("a", ids(12_000)...) // more than one portion
	old.At = time.Now().Add(-48 * time.Hour)
	for part := range slices.Chunk(old.Memories, 100) {
		one := old
		one.Memories = part
		recorder.Record(one)
	}
	recorder.Record(access("a", ids(2)...))
	recorder.Record(access("b", ids(3)...))
	run(t, &activity.Log{NATS: nc, DB: d, Recorder: recorder})
	await(t, "accesses", 12_005, func() int64 { return count(t, d, all) })
	removed, err := activity.Expire(t.Context(), d, time.Now().Add(-24*time.Hour))
	check(t, err)
	if left := count(t, d, all); removed != 12_000 || left != 5 {
		t.Errorf("%d removed, %d left", removed, left)
	}
	removed, err = activity.Forget(t.Context(), d, "a")
	check(t, err)
	if left := count(t, d, all+" WHERE tenant_id = 'b'"); removed != 2 || left != 3 {
		t.Errorf("%d forgotten, %d of the other tenant left", removed, left)
	}
}

// The age at which accesses go is that of the configuration, and the log sees to it by itself.
func TestTheLogExpires(t *testing.T) {
	d, nc := database(t), testenv.NATS(t)
	pool, err := d.Operator(t.Context())
	check(t, err)
	for _, age := range []time.Duration{time.Hour, 3 * time.Hour} {
		_, err := db.New(pool).AccessInsert(t.Context(), db.AccessInsertParams{
			TenantIds: []string{"a"}, MemoryIds: ids(1), AccessedAts: []time.Time{time.Now().Add(-age)}, Batches: ids(1), Ordinals: []int32{0},
			UserIds: ids(1), AppIds: ids(1), Kinds: []string{"read"},
		})
		check(t, err)
	}
	run(t, &activity.Log{NATS: nc, DB: d, Keep: 2 * time.Hour})
	await(t, "accesses", 1, func() int64 { return count(t, d, all) })
}

func TestNilRecorderTakesNothing(t *testing.T) {
	var r *activity.Recorder
	r.Record(access("a", uuid.New()))
	if c := r.Counts(); c != (activity.Counts{}) {
		t.Errorf("counts: %+v", c)
	}
}
