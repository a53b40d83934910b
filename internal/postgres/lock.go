package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// TryLock takes a named advisory lock on a connection of its own; ok is false when another process has it. The lock
// lasts until release, or until the connection is lost: it lessens contention and proves nothing.
func (d *DB) TryLock(ctx context.Context, name string) (release func(), ok bool, err error) {
	pool, err := d.Operator(ctx)
	if err != nil {
		return nil, false, err
	}
	// Not from the pool: that serves short questions, and a lock may be held for long.
	conn, err := pgx.ConnectConfig(ctx, pool.Config().ConnConfig)
	if err != nil {
		return nil, false, fmt.Errorf("lock %q: %w", name, err)
	}
	release = func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = conn.Close(ctx)
	}
	if err := conn.QueryRow(ctx, "SELECT pg_try_advisory_lock(hashtextextended($1, 0))", name).Scan(&ok); err != nil {
		release()
		return nil, false, fmt.Errorf("lock %q: %w", name, err)
	}
	if !ok {
		release()
		return nil, false, nil
	}
	return release, true, nil
}
