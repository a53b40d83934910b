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

const (
	// lockPulse is how often the holder of locks tells the server that it lives.
	lockPulse = 2 * time.Second
	// lockSilenceMax is how long it may not: then the server ends its session, and others get the locks.
	lockSilenceMax = 10 * time.Second
	// releaseMax bounds each step of giving locks back.
	releaseMax = time.Second
)

// TryLock takes a named advisory lock on a connection of its own; ok is false when another process has it. SQL readers that
// have it lose their sessions. The lock
// lasts until release, until the connection is lost, or until this process has been frozen or cut off for
// lockSilenceMax: it lessens contention and proves nothing.
func (d *DB) TryLock(ctx context.Context, name string) (release func(), ok bool, err error) {
	l, err := d.openLocks(ctx)
	if err != nil {
		return nil, false, fmt.Errorf("lock %q: %w", name, err)
	}
	ok, err = d.insist(ctx, advisory{name: name}, l.exec(ctx), func() (bool, error) {
		taken, err := l.try(ctx, name)
		return taken == "", err
	})
	if err != nil || !ok {
		l.release()
		return nil, false, err
	}
	l.keep()
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
			l.keep()
			return l.release, nil
		}
		again := tick.C
		if ended, err := d.endReaders(ctx, advisory{name: taken}); err != nil {
			l.release()
			return nil, err
		} else if ended {
			if err := d.queue(ctx, advisory{name: taken}, l.exec(ctx)); err != nil {
				l.release()
				return nil, err
			}
			again = time.After(0)
		}
		select {
		case <-ctx.Done():
			l.release()
			return nil, fmt.Errorf("lock %q: %w", taken, ctx.Err())
		case <-deadline:
			l.release()
			return nil, d.locked(ctx, advisory{name: taken})
		case <-again:
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
func (d *DB) locked(ctx context.Context, lock advisory) error {
	pool, err := d.Owner(ctx)
	if err != nil {
		return err
	}
	e := &LockedError{Lock: lock.name}
	err = pool.QueryRow(ctx, `
		SELECT a.pid, coalesce(a.usename, ''), coalesce(a.application_name, ''),
			coalesce(host(a.client_addr) || ':' || a.client_port, CASE a.client_port WHEN -1 THEN 'a local socket' ELSE 'unknown' END)
		FROM (`+advisoryLocks+`) l JOIN pg_stat_activity a ON a.pid = l.pid WHERE l.granted`, lock.name, lock.key).Scan(&e.PID, &e.Login, &e.Application, &e.Client)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return fmt.Errorf("holder of lock %q: %w", lock.name, err)
	}
	return e
}

// locks is a session for locks of TryLock. It is none of the pool: that serves short questions, and a lock may be held
// for long. It belongs to one goroutine; between keep and the end of kept that is keep's.
type locks struct {
	conn *pgx.Conn
	stop context.CancelFunc // nil before keep
	kept chan struct{}
}

func (d *DB) openLocks(ctx context.Context) (*locks, error) {
	pool, err := d.Operator(ctx)
	if err != nil {
		return nil, err
	}
	conn, err := pgx.ConnectConfig(ctx, pool.Config().ConnConfig)
	if err != nil {
		return nil, err
	}
	l := &locks{conn: conn}
	_, err = conn.Exec(ctx, "SELECT set_config('idle_session_timeout', $1, false)", strconv.FormatInt(lockSilenceMax.Milliseconds(), 10)+"ms")
	if err != nil {
		l.release()
		return nil, err
	}
	return l, nil
}

// keep gives signs of life until release, or until the session is lost.
func (l *locks) keep() {
	ctx, stop := context.WithCancel(context.Background())
	l.stop, l.kept = stop, make(chan struct{})
	go func() {
		defer close(l.kept)
		tick := time.NewTicker(lockPulse)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			if err := l.pulse(ctx); err != nil {
				return
			}
		}
	}()
}

// pulse goes on for a while after ctx has ended: a question that is broken off closes the session.
func (l *locks) pulse(ctx context.Context) error {
	asking, cancel := context.WithTimeout(context.Background(), lockSilenceMax)
	defer cancel()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(releaseMax, cancel) })()
	return l.conn.Ping(asking)
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

func (l *locks) exec(ctx context.Context) func(sql string) error {
	return func(sql string) error {
		_, err := l.conn.Exec(ctx, sql)
		return err
	}
}

func (l *locks) unlock(ctx context.Context) error {
	_, err := l.conn.Exec(ctx, "SELECT pg_advisory_unlock_all()")
	return err
}

// release gives the locks back before it ends the session: the server notices that a while later.
func (l *locks) release() {
	if l.stop != nil {
		l.stop()
		<-l.kept
	}
	ctx, cancel := context.WithTimeout(context.Background(), releaseMax)
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
