package postgres

import (
	"context"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// blockedMax is how long a session of refold may block a transaction of Unblocked.
const blockedMax = 2 * time.Second

// Evict ends all sessions of refold, and of SQL readers where it may, that hold a lock on a relation of an edition, or the lock of its schema changes: a
// process that is frozen or cut off must not keep its successor waiting. Those who are well get an error and find out
// that they were fenced. It returns how many were ended.
func (d *DB) Evict(ctx context.Context, edition int64) (int, error) {
	pool, err := d.Owner(ctx)
	if err != nil {
		return 0, err
	}
	var ended int
	err = pool.QueryRow(ctx, `
		SELECT count(*) FILTER (WHERE pg_terminate_backend(a.pid, 1000)) FROM pg_stat_activity a
		WHERE (a.application_name = 'refold' OR EXISTS (
				SELECT FROM control.sql_reader r WHERE r.login = a.usename AND pg_has_role(current_user, a.usesysid, 'USAGE')))
		  AND a.datname = current_database() AND a.pid <> pg_backend_pid()
		  AND EXISTS (
			SELECT FROM pg_locks l LEFT JOIN pg_class c ON c.oid = l.relation LEFT JOIN pg_namespace n ON n.oid = c.relnamespace
			WHERE l.pid = a.pid AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database()) AND l.granted
			  AND (n.nspname IN ($1, $3)
				OR l.locktype = 'advisory' AND l.objsubid = 1 AND l.classid = ($2::bigint >> 32)::oid AND l.objid = ($2::bigint & 4294967295)::oid)
		  )`, SchemaName(edition), lockID("refold "+SchemaName(edition)), viewsName(edition)).Scan(&ended)
	if err != nil {
		return 0, fmt.Errorf("end the sessions on edition %d: %w", edition, err)
	}
	return ended, nil
}

// Unblocked runs fn in a transaction of the operator. A session of refold that blocks it for long is ended: it is frozen
// or cut off, as none has a reason to sit on control tables.
func (d *DB) Unblocked(ctx context.Context, fn func(pgx.Tx) error) error {
	pool, err := d.Operator(ctx)
	if err != nil {
		return err
	}
	conn, err := pool.Acquire(ctx)
	if err != nil {
		return err
	}
	defer conn.Release()
	var pid uint32 // PgConn().PID() is the pooler's, where there is one
	if err := conn.QueryRow(ctx, "SELECT pg_backend_pid()").Scan(&pid); err != nil {
		return err
	}
	watching, stop := context.WithCancel(ctx)
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		d.endBlockers(watching, pid)
	}()
	defer func() { stop(); <-watched }()
	return pgx.BeginFunc(ctx, conn, fn)
}

// endBlockers ends whoever blocks a session, until ctx ends.
func (d *DB) endBlockers(ctx context.Context, pid uint32) {
	tick := time.NewTicker(blockedMax / 2)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		// What fails here, fails there as well, by its lock_timeout.
		if pool, err := d.Owner(ctx); err == nil {
			_, _ = pool.Exec(ctx, `SELECT pg_terminate_backend(a.pid) FROM unnest(pg_blocking_pids($1)) AS b (pid)
				JOIN pg_stat_activity a ON a.pid = b.pid
				WHERE a.application_name = 'refold' AND a.xact_start < clock_timestamp() - make_interval(secs => $2)`,
				int32(pid), blockedMax.Seconds())
		}
	}
}

// IsLockTimeout: a lock was not given in the time that lock_timeout allows.
func IsLockTimeout(err error) bool { return isCode(err, "55P03") }

// IsMissing reports whether the table or the schema that was asked for is not there (42P01, 3F000).
func IsMissing(err error) bool { return isCode(err, "42P01", "3F000") }

// dropsMax bounds the attempts to drop a schema, each of up to dropWait.
const (
	dropsMax = 5
	dropWait = "2s"
)

// dropSchemas drops the tables of an edition and the views on them.
func (d *DB) dropSchemas(ctx context.Context, edition int64) error {
	err := d.inOwner(ctx, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "SET LOCAL lock_timeout = '"+dropWait+"'"); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, "DROP SCHEMA IF EXISTS "+viewsName(edition)+", "+SchemaName(edition)+" CASCADE")
		return err
	})
	if err != nil {
		return fmt.Errorf("drop schemas of edition %d: %w", edition, err)
	}
	return nil
}

// closeViews keeps SQL readers from beginning new questions to an edition.
func (d *DB) closeViews(ctx context.Context, edition int64) error {
	err := d.inOwner(ctx, func(tx pgx.Tx) error {
		var there bool
		if err := tx.QueryRow(ctx, "SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = $1)", viewsName(edition)).Scan(&there); err != nil || !there {
			return err
		}
		_, err := tx.Exec(ctx, "REVOKE ALL ON SCHEMA "+viewsName(edition)+" FROM "+string(RoleSQL))
		return err
	})
	if err != nil {
		return fmt.Errorf("close the views of edition %d: %w", edition, err)
	}
	return nil
}

// Size returns the bytes that an edition's tables and indexes take on disk; 0 when there is no such schema.
func (d *DB) Size(ctx context.Context, edition int64) (int64, error) {
	pool, err := d.Owner(ctx)
	if err != nil {
		return 0, err
	}
	var bytes int64
	err = pool.QueryRow(ctx, `SELECT coalesce(sum(pg_total_relation_size(c.oid)), 0)::bigint FROM pg_class c
		JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1 AND c.relkind = 'r'`, SchemaName(edition)).Scan(&bytes)
	if err != nil {
		return 0, fmt.Errorf("size of edition %d: %w", edition, err)
	}
	return bytes, nil
}

// Folder returns the folder that new tables are written to, when the server runs on this machine and tells; otherwise
// it says why that is not known.
func (d *DB) Folder(ctx context.Context) (folder, unknown string) {
	host := d.config.ConnConfig.Host
	if !onThisMachine(host) {
		return "", "the database is on another machine (" + host + ")"
	}
	pool, err := d.Owner(ctx)
	if err != nil {
		return "", err.Error()
	}
	err = pool.QueryRow(ctx, `SELECT coalesce(nullif(pg_tablespace_location(t.oid), ''), current_setting('data_directory'))
		FROM pg_tablespace t WHERE t.spcname = coalesce(nullif(current_setting('default_tablespace'), ''),
			(SELECT s.spcname FROM pg_database b JOIN pg_tablespace s ON s.oid = b.dattablespace WHERE b.datname = current_database()))`).Scan(&folder)
	if err != nil {
		return "", "the database does not tell its folder: " + err.Error()
	}
	return folder, ""
}

// Reclaim gives the space of rows that were rolled back to the file system again.
func (d *DB) Reclaim(ctx context.Context, edition int64) error {
	pool, err := d.OwnerOf(ctx, edition)
	if err != nil {
		return err
	}
	tables, err := d.TableNames(ctx, edition)
	if err != nil {
		return err
	}
	for _, table := range tables {
		if _, err := pool.Exec(ctx, "VACUUM (TRUNCATE) "+pgx.Identifier{table}.Sanitize()); err != nil {
			return fmt.Errorf("vacuum table %s: %w", table, err)
		}
	}
	return nil
}

// IsFull: the disk of the database is full.
func IsFull(err error) bool { return isCode(err, "53100") }

// finishSettings are for the session that makes the keys of an edition. It gives up when a lock is withheld, so that
// whoever withholds it can be ended.
func finishSettings(gently bool) map[string]string {
	s := map[string]string{"lock_timeout": "5s"}
	if gently {
		s["max_parallel_maintenance_workers"], s["maintenance_work_mem"] = "0", "64MB"
	}
	return s
}

func onThisMachine(host string) bool {
	if strings.HasPrefix(host, "/") || host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}
