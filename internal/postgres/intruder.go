package postgres

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// SQL readers are logins of people. PostgreSQL gives every login some ways to keep others waiting: advisory locks by any
// number, transactions that stay open, changes to its own role. What refold waits for it ends, and says so.

// endTriesMax bounds how often a lock is tried again at once, after sessions of SQL readers that had it were ended.
const endTriesMax = 20

// sessionEnd is how long a session may take to end, in milliseconds.
const sessionEnd = "2000"

// isSQLReader is true of a login in pg_stat_activity a: a member of the group, and not one that may become a role of refold.
const isSQLReader = `EXISTS (SELECT FROM pg_auth_members m JOIN pg_roles g ON g.oid = m.roleid WHERE g.rolname = 'refold_sql' AND m.member = a.usesysid)
	AND NOT EXISTS (SELECT FROM pg_roles o WHERE o.rolname = 'refold_operator' AND pg_has_role(a.usesysid, o.oid, 'MEMBER'))`

// insist tries to take an advisory lock. Where sessions of SQL readers hold it, or wait for it, it waits in their queue and
// ends them meanwhile, so that those who come back are behind it: none of them has a use for a lock of refold. exec runs a
// statement in the session that is to have the lock. ok is false when another process of refold has it, or a login whose
// sessions cannot be ended.
func (d *DB) insist(ctx context.Context, lock advisory, exec func(sql string) error, try func() (ok bool, err error)) (ok bool, err error) {
	for range endTriesMax {
		if ok, err = try(); err != nil || ok {
			return ok, err
		}
		ended, err := d.endReaders(ctx, lock)
		if err != nil || !ended {
			return false, err
		}
		if err := d.queue(ctx, lock, exec); err != nil {
			return false, err
		}
	}
	return try()
}

// queue waits for a lock for a while, and ends the SQL readers before it as long as it does.
func (d *DB) queue(ctx context.Context, lock advisory, exec func(sql string) error) error {
	queued := make(chan error, 1)
	go func() { queued <- exec(lock.queueSQL()) }()
	tick := time.NewTicker(lockPollEvery)
	defer tick.Stop()
	for {
		select {
		case err := <-queued:
			return err
		case <-tick.C:
		}
		if _, err := d.endReaders(ctx, lock); err != nil {
			return errors.Join(err, <-queued)
		}
	}
}

// endReaders ends all sessions of the SQL readers that hold a lock or wait for it; of the whole login, because its other
// sessions would take the lock at once. ended is false when there was none.
func (d *DB) endReaders(ctx context.Context, lock advisory) (ended bool, err error) {
	if err := d.rollBackPrepared(ctx, ""); err != nil {
		return false, err
	}
	pool, err := d.Owner(ctx)
	if err != nil {
		return false, err
	}
	var logins []string
	err = pool.QueryRow(ctx, `
		WITH held AS (`+advisoryLocks+`), guilty AS MATERIALIZED (
			SELECT DISTINCT a.usesysid FROM held JOIN pg_stat_activity a ON a.pid = held.pid WHERE `+isSQLReader+` AND pg_has_role(current_user, a.usesysid, 'USAGE')
		)
		SELECT coalesce(array_agg(DISTINCT a.usename::text) FILTER (WHERE pg_terminate_backend(a.pid)), '{}')
		FROM pg_stat_activity a JOIN guilty g ON g.usesysid = a.usesysid`, lock.name, lock.key).Scan(&logins)
	if err != nil {
		return false, fmt.Errorf("end the SQL readers that hold the lock %q: %w", lock.name, err)
	}
	if len(logins) > 0 && d.Logger != nil {
		d.Logger.Warn("SQL readers held a lock of refold: ended their sessions", "lock", lock.name, "logins", strings.Join(logins, ", "))
	}
	return len(logins) > 0, nil
}

// rollBackPrepared rolls back the prepared transactions of a SQL reader, or of all; they keep locks without a session.
func (d *DB) rollBackPrepared(ctx context.Context, login string) error {
	pool, err := d.Owner(ctx)
	if err != nil {
		return err
	}
	rows, err := pool.Query(ctx, `SELECT p.gid, p.owner::text FROM pg_prepared_xacts p JOIN pg_roles r ON r.rolname = p.owner
		CROSS JOIN LATERAL (SELECT r.oid AS usesysid) a
		WHERE p.database = current_database() AND $1::text IN ('', p.owner::text) AND pg_has_role(current_user, r.oid, 'MEMBER') AND `+isSQLReader, login)
	if err != nil {
		return fmt.Errorf("prepared transactions: %w", err)
	}
	type prepared struct{ ID, Owner string }
	all, err := pgx.CollectRows(rows, pgx.RowToStructByPos[prepared])
	if err != nil || len(all) == 0 {
		return err
	}
	conn, err := pool.Acquire(ctx)
	if err != nil {
		return err
	}
	defer conn.Release()
	for _, p := range all {
		// Only whoever prepared it may, and a superuser; not within a transaction.
		_, err := conn.Exec(ctx, "SET ROLE "+pgx.Identifier{p.Owner}.Sanitize())
		if err == nil {
			_, err = conn.Exec(ctx, "ROLLBACK PREPARED '"+strings.ReplaceAll(p.ID, "'", "''")+"'")
		}
		if _, reset := conn.Exec(ctx, "RESET ROLE"); reset != nil {
			_ = conn.Conn().Close(ctx) // never back into the pool in another role
			return reset
		}
		if err != nil && !isCode(err, "42704") { // another process rolled it back
			return fmt.Errorf("roll back the prepared transaction %q of SQL reader %s: %w", p.ID, p.Owner, err)
		}
		if d.Logger != nil {
			d.Logger.Warn("rolled back a prepared transaction of a SQL reader", "login", p.Owner, "id", p.ID)
		}
	}
	return nil
}

// alterReader runs fn in a transaction of the owner that changes the role of a SQL reader. The reader may change its own
// role at any moment, and then PostgreSQL refuses or waits: its sessions are ended and fn runs again.
func (d *DB) alterReader(ctx context.Context, login string, fn func(pgx.Tx) error) error {
	for try := 1; ; try++ {
		err := d.inOwner(ctx, func(tx pgx.Tx) error {
			if err := lockReaders(ctx, tx); err != nil {
				return err
			}
			return fn(tx)
		})
		if try == endTriesMax || !isCode(err, "55P03", "40P01", "XX000") { // XX000: "tuple concurrently updated"
			return err
		}
		if _, err := d.endSessions(ctx, login); err != nil {
			return err
		}
	}
}

// endSessions ends the sessions of a login, and its prepared transactions. It returns how many sessions it left: those that
// do not end, and those that came meanwhile.
func (d *DB) endSessions(ctx context.Context, login string) (left int, err error) {
	pool, err := d.Owner(ctx)
	if err != nil {
		return 0, err
	}
	// What a call returns says little: it is false for a session that ended by itself just before.
	var ended int
	err = pool.QueryRow(ctx, "SELECT count(pg_terminate_backend(pid, "+sessionEnd+")) FROM pg_stat_activity WHERE usename = $1", login).Scan(&ended)
	if err == nil {
		err = pool.QueryRow(ctx, "SELECT count(*) FROM pg_stat_activity WHERE usename = $1", login).Scan(&left)
	}
	if err != nil {
		return 0, fmt.Errorf("end the sessions of %s: %w", login, err)
	}
	return left, d.rollBackPrepared(ctx, login)
}

// advisory is an advisory lock by its name, with the number where that does not follow from the name.
type advisory struct {
	name string
	key  *int64 // nil = hashtextextended(name, 0)
	// transaction: it lasts as long as one, and not as long as the session.
	transaction bool
}

// queueSQL waits for the lock in its queue, for queueMax. It may be used in a transaction.
func (a advisory) queueSQL() string {
	key, scope := "hashtextextended('"+strings.ReplaceAll(a.name, "'", "''")+"', 0)", ""
	if a.key != nil {
		key = strconv.FormatInt(*a.key, 10)
	}
	if a.transaction {
		scope = "xact_"
	}
	return `DO $queue$ DECLARE before text := current_setting('lock_timeout'); BEGIN
		PERFORM set_config('lock_timeout', '` + queueMax + `', true);
		PERFORM pg_advisory_` + scope + `lock(` + key + `);
		PERFORM set_config('lock_timeout', before, true);
	EXCEPTION WHEN lock_not_available THEN NULL; END $queue$`
}

// queueMax bounds each wait in the queue of a lock.
const queueMax = "2s"

// advisoryLocks lists the sessions that hold the advisory lock ($1, $2) of this database, or wait for it.
const advisoryLocks = `SELECT l.pid, l.granted FROM pg_locks l WHERE l.locktype = 'advisory' AND l.objsubid = 1
	AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
	AND (l.classid::bigint << 32 | l.objid::bigint) = coalesce($2::bigint, hashtextextended($1::text, 0))`

// LockInTx takes a lock for the rest of a transaction. It waits until others have given it back, and after wait fails with
// a LockedError. The number of the lock is key.
func (d *DB) LockInTx(ctx context.Context, tx pgx.Tx, name string, key int64, wait time.Duration) error {
	lock := advisory{name: name, key: &key, transaction: true}
	exec := func(sql string) error {
		_, err := tx.Exec(ctx, sql)
		return err
	}
	deadline := time.After(wait)
	tick := time.NewTicker(lockPollEvery)
	defer tick.Stop()
	for {
		ok, err := d.insist(ctx, lock, exec, func() (ok bool, err error) {
			err = tx.QueryRow(ctx, "SELECT pg_try_advisory_xact_lock($1)", key).Scan(&ok)
			return ok, err
		})
		if err != nil {
			return fmt.Errorf("lock %q: %w", name, err)
		}
		if ok {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("lock %q: %w", name, ctx.Err())
		case <-deadline:
			return d.locked(ctx, lock)
		case <-tick.C:
		}
	}
}

// lockPollEvery is how often LockInTx asks: its locks are held for the length of a short transaction.
const lockPollEvery = 20 * time.Millisecond
