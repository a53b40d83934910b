package postgres

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// TryLock takes a named advisory lock on a connection of its own; ok is false when another process has it. The lock
// lasts until release, or until the connection is lost: it lessens contention and proves nothing.
func (d *DB) TryLock(ctx context.Context, name string) (release func(), ok bool, err error) {
	l, err := d.openLocks(ctx)
	if err != nil {
		return nil, false, fmt.Errorf("lock %q: %w", name, err)
	}
	taken, err := l.try(ctx, name)
	if err != nil || taken != "" {
		l.release()
		return nil, false, err
	}
	return l.release, true, nil
}

// TakeLocks takes all of several locks of TryLock, or none. It waits for as long as told until others have given them
// back: the server needs a moment to notice that a process has died. Then it fails with a LockedError.
func (d *DB) TakeLocks(ctx context.Context, wait time.Duration, names ...string) (release func(), err error) {
	l, err := d.openLocks(ctx)
	if err != nil {
		return nil, fmt.Errorf("locks %q: %w", names, err)
	}
	deadline := time.After(wait)
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		taken, err := l.try(ctx, names...)
		switch {
		case err != nil:
			l.release()
			return nil, err
		case taken == "":
			return l.release, nil
		}
		select {
		case <-ctx.Done():
			l.release()
			return nil, fmt.Errorf("lock %q: %w", taken, ctx.Err())
		case <-deadline:
			l.release()
			return nil, d.locked(ctx, taken)
		case <-tick.C:
		}
	}
}

// LockedError says which session holds a lock.
type LockedError struct {
	Lock        string
	PID         int32 // server process of the session; 0 = the lock is free by now
	Login       string
	Application string
	Client      string // address, or "a local socket"
}

func (e *LockedError) Error() string {
	if e.PID == 0 {
		return fmt.Sprintf("another session held the lock %q until a moment ago", e.Lock)
	}
	return fmt.Sprintf("the lock %q is held by database session %d: login %q, application %q, client %s", e.Lock, e.PID, e.Login, e.Application, e.Client)
}

// locked asks who has a lock, as the owner: other roles see less of sessions.
func (d *DB) locked(ctx context.Context, name string) error {
	pool, err := d.Owner(ctx)
	if err != nil {
		return err
	}
	e := &LockedError{Lock: name}
	err = pool.QueryRow(ctx, `
		SELECT a.pid, coalesce(a.usename, ''), coalesce(a.application_name, ''),
			coalesce(host(a.client_addr) || ':' || a.client_port, CASE a.client_port WHEN -1 THEN 'a local socket' ELSE 'unknown' END)
		FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid
		WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
		  AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
		  AND (l.classid::bigint << 32 | l.objid::bigint) = hashtextextended($1, 0)`, name).Scan(&e.PID, &e.Login, &e.Application, &e.Client)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return fmt.Errorf("holder of lock %q: %w", name, err)
	}
	return e
}

// locks is a session for locks of TryLock. It is none of the pool: that serves short questions, and a lock may be held
// for long.
type locks struct{ conn *pgx.Conn }

func (d *DB) openLocks(ctx context.Context) (*locks, error) {
	pool, err := d.Operator(ctx)
	if err != nil {
		return nil, err
	}
	conn, err := pgx.ConnectConfig(ctx, pool.Config().ConnConfig)
	return &locks{conn}, err
}

// try takes all locks or none: then taken names one that another session has.
func (l *locks) try(ctx context.Context, names ...string) (taken string, err error) {
	for _, name := range names {
		ok := false
		if err := l.conn.QueryRow(ctx, "SELECT pg_try_advisory_lock(hashtextextended($1, 0))", name).Scan(&ok); err != nil {
			return "", fmt.Errorf("lock %q: %w", name, err)
		}
		if !ok {
			return name, l.unlock(ctx)
		}
	}
	return "", nil
}

func (l *locks) unlock(ctx context.Context) error {
	_, err := l.conn.Exec(ctx, "SELECT pg_advisory_unlock_all()")
	return err
}

// release gives the locks back before it ends the session: the server notices that a while later.
func (l *locks) release() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = l.unlock(ctx)
	_ = l.conn.Close(ctx)
}

// AwaitLock waits until nobody has a lock of TryLock, on a connection without a transaction. After wait it fails with an
// error that IsLockTimeout knows.
func AwaitLock(ctx context.Context, conn *pgxpool.Conn, name string, wait time.Duration) error {
	return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "SELECT set_config('lock_timeout', $1, true)", strconv.FormatInt(wait.Milliseconds(), 10)+"ms"); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock_shared(hashtextextended($1, 0))", name)
		return err
	})
}
