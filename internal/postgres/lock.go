package postgres

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// TryLock takes a named advisory lock on a connection of its own; ok is false when another process has it. The lock
// lasts until release, or until the connection is lost: it lessens contention and proves nothing.
func (d *DB) TryLock(ctx context.Context, name string) (release func(), ok bool, err error) {
	release, taken, err := d.TryLocks(ctx, name)
	return release, err == nil && taken == "", err
}

// TryLocks takes all of several locks on one connection, or none: then taken names one that another process has, and
// release is nil.
func (d *DB) TryLocks(ctx context.Context, names ...string) (release func(), taken string, err error) {
	pool, err := d.Operator(ctx)
	if err != nil {
		return nil, "", err
	}
	// Not from the pool: that serves short questions, and a lock may be held for long.
	conn, err := pgx.ConnectConfig(ctx, pool.Config().ConnConfig)
	if err != nil {
		return nil, "", fmt.Errorf("lock %q: %w", names, err)
	}
	release = func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = conn.Close(ctx)
	}
	for _, name := range names {
		ok := false
		if err := conn.QueryRow(ctx, "SELECT pg_try_advisory_lock(hashtextextended($1, 0))", name).Scan(&ok); err != nil {
			release()
			return nil, "", fmt.Errorf("lock %q: %w", name, err)
		}
		if !ok {
			release()
			return nil, name, nil
		}
	}
	return release, "", nil
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
