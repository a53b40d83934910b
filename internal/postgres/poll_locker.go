package postgres

import (
	"context"
	"database/sql"
	"fmt"
	"time"
)

// Bounds of waiting for another process that changes the same schema.
const (
	pollEvery = 100 * time.Millisecond
	pollMax   = 5 * time.Minute
)

// pollLocker is a lock of a session that goose can use, by the name of what is locked. It asks again and again rather
// than waiting in the server: a session that waits there holds back whoever builds an index concurrently.
type pollLocker struct {
	db   *DB
	name string
	max  time.Duration // 0 = pollMax
}

// SessionLock returns once the lock is held, or says who has it.
func (l *pollLocker) SessionLock(ctx context.Context, conn *sql.Conn) error {
	most := l.max
	if most == 0 {
		most = pollMax
	}
	key := lockID(l.name)
	lock := advisory{name: l.name, key: &key}
	exec := func(sql string) error {
		_, err := conn.ExecContext(ctx, sql)
		return err
	}
	deadline := time.After(most)
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		locked, err := l.db.insist(ctx, lock, exec, func() (locked bool, err error) {
			err = conn.QueryRowContext(ctx, "SELECT pg_try_advisory_lock($1)", key).Scan(&locked)
			return locked, err
		})
		if err != nil {
			return fmt.Errorf("lock %q: %w", l.name, err)
		}
		if locked {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-deadline:
			return fmt.Errorf("%w within %s: %w", ErrBusy, most, l.db.locked(ctx, lock))
		case <-tick.C:
		}
	}
}

// SessionUnlock gives the lock back.
func (l *pollLocker) SessionUnlock(ctx context.Context, conn *sql.Conn) error {
	_, err := conn.ExecContext(ctx, "SELECT pg_advisory_unlock_all()") // it may have been taken twice
	return err
}
