package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/refold-dev/refold/internal/postgres"
	"github.com/refold-dev/refold/internal/testenv"
)

func migrated(t testing.TB) *postgres.DB {
	t.Helper()
	d := open(t)
	must(t, d.Migrate(t.Context()))
	return d
}

// advisory is the session that holds an advisory lock in the database of d; 0 for none.
func advisory(t testing.TB, d *postgres.DB) int32 {
	t.Helper()
	return one[int32](t, d, `SELECT coalesce(max(pid), 0) FROM pg_locks WHERE locktype = 'advisory' AND granted
		AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`)
}

// TestAReleasedLockIsFree: others need not wait for the server to notice that the session has ended.
func TestAReleasedLockIsFree(t *testing.T) {
	t.Parallel()
	d := migrated(t)
	for i := range 20 {
		release, mine, err := d.TryLock(t.Context(), "b")
		must(t, err)
		if !mine {
			t.Fatal("the lock is taken")
		}
		release()
		if !one[bool](t, d, "SELECT pg_try_advisory_xact_lock(hashtextextended('b', 0))") {
			t.Fatalf("the lock is still held after it was released %d times", i+1)
		}
	}
}

// TestTakeLocksWaits until a session that ends has given back its lock, as one of a process that has just died does.
func TestTakeLocksWaits(t *testing.T) {
	t.Parallel()
	d := migrated(t)
	release, mine, err := d.TryLock(t.Context(), "b")
	must(t, err)
	if !mine {
		t.Fatal("the lock of a new database is taken")
	}
	holder := advisory(t, d)
	type taken struct {
		release func()
		err     error
	}
	done := make(chan taken)
	go func() {
		release, err := d.TakeLocks(t.Context(), time.Minute, "a", "b")
		done <- taken{release, err}
	}()
	asks := `SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid NOT IN ($1, pg_backend_pid()) AND query LIKE '%advisory%'`
	for one[int](t, d, asks, holder) == 0 {
		select {
		case got := <-done:
			t.Fatalf("did not wait: %v", got.err)
		case <-time.After(time.Millisecond):
		}
	}
	release()
	got := <-done
	must(t, got.err)
	if _, mine, _ := d.TryLock(t.Context(), "a"); mine {
		t.Error("the other lock was not taken")
	}
	got.release()
	if pid := advisory(t, d); pid != 0 {
		t.Errorf("process %d still has a lock", pid)
	}
}

// TestTakeLocksNamesTheHolder: none is taken, and the error says whom to end.
func TestTakeLocksNamesTheHolder(t *testing.T) {
	t.Parallel()
	d := migrated(t)
	pool, err := d.Owner(t.Context())
	must(t, err)
	config := pool.Config().ConnConfig.Copy()
	config.RuntimeParams["application_name"] = "somebody else"
	other, err := pgx.ConnectConfig(t.Context(), config)
	must(t, err)
	defer other.Close(t.Context())
	_, err = other.Exec(t.Context(), "SELECT pg_advisory_lock(hashtextextended('b', 0))")
	must(t, err)
	_, err = d.TakeLocks(t.Context(), 50*time.Millisecond, "a", "b")
	var locked *postgres.LockedError
	if !errors.As(err, &locked) {
		t.Fatalf("got %v, want a LockedError", err)
	}
	for _, want := range []string{`"b"`, `"somebody else"`, fmt.Sprint(other.PgConn().PID()), config.User} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q does not say %s", err, want)
		}
	}
	release, mine, err := d.TryLock(t.Context(), "a")
	if err != nil || !mine {
		t.Fatalf("a lock stayed behind: %v", err)
	}
	release()
}

const lockURL = "REFOLD_TEST_LOCK_URL"

// holdLock is a process that holds the lock "frozen" until its standard input ends.
func holdLock() int {
	ctx := context.Background()
	d, err := postgres.Open(ctx, os.Getenv(lockURL))
	if err == nil {
		_, _, err = d.TryLock(ctx, "frozen")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	testenv.Ready("held")
	_, _ = io.Copy(io.Discard, os.Stdin)
	return 0
}

// TestAFrozenProcessLosesItsLocks: its sessions stay open and idle, so nothing else would free them. A process that is
// healthy keeps its locks for longer than that takes.
func TestAFrozenProcessLosesItsLocks(t *testing.T) {
	t.Parallel()
	url := testenv.Postgres(t)
	d := openURL(t, url)
	must(t, d.Migrate(t.Context()))
	releaseKept, mine, err := d.TryLock(t.Context(), "kept")
	must(t, err)
	if !mine {
		t.Fatal("the lock of a new database is taken")
	}
	defer releaseKept()
	child := testenv.Spawn(t, "lock", testenv.ProcessOptions{Env: []string{lockURL + "=" + url}})
	child.WaitReady()
	if _, mine, _ := d.TryLock(t.Context(), "frozen"); mine {
		t.Fatal("the child does not hold its lock")
	}
	child.Signal(syscall.SIGSTOP)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	release, err := d.TakeLocks(ctx, time.Minute, "frozen")
	must(t, err)
	release()
	if _, mine, _ := d.TryLock(t.Context(), "kept"); mine {
		t.Error("a process that is well has lost its lock")
	}
}
