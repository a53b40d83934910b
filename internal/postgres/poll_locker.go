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
	name string
	max  time.Duration // 0 = pollMax
}

// SessionLock returns once the lock is held, or says who has it.
func (l *pollLocker) SessionLock(ctx context.Context, conn *sql.Conn) error {
	most := l.max
	if most == 0 {
		most = pollMax
	}
	deadline := time.After(most)
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		var locked bool
		if err := conn.QueryRowContext(ctx, "SELECT pg_try_advisory_lock($1)", lockID(l.name)).Scan(&locked); err != nil {
			return fmt.Errorf("lock %q: %w", l.name, err)
		}
		if locked {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-deadline:
			return fmt.Errorf("lock %q: process %d of the database has held it for %s: %w", l.name, l.holder(ctx, conn), most, ErrBusy)
		case <-tick.C:
		}
	}
}

// SessionUnlock gives the lock back.
func (l *pollLocker) SessionUnlock(ctx context.Context, conn *sql.Conn) error {
	_, err := conn.ExecContext(ctx, "SELECT pg_advisory_unlock($1)", lockID(l.name))
	return err
}

// holder is the server process that has the lock; 0 when it cannot be told.
func (l *pollLocker) holder(ctx context.Context, conn *sql.Conn) (pid int) {
	_ = conn.QueryRowContext(ctx, `SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted AND objsubid = 1
		AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
		AND (classid::bigint << 32 | objid::bigint) = $1`, lockID(l.name)).Scan(&pid)
	return pid
}
