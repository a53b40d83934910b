package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/refold-dev/refold/internal/postgres/db"
)

// ErrNoTenant is a defect of the caller: rows were asked for without a tenant.
var ErrNoTenant = errors.New("no tenant given")

// WithTenant is the one door to tenants' rows: fn and then last run in one read-only transaction, of one snapshot, in
// which row level security admits the rows of this tenant alone. Queries name the tenant as well.
//
// The first query of fn travels together with the beginning of the transaction, and that of last, which makes exactly
// one, with its end: apart, these cost more than most questions. last may be nil. It runs also when fn has failed for a
// reason of its own, and its error comes first: an answer that must not be given is not given as "not found" either.
func WithTenant(ctx context.Context, pool *pgxpool.Pool, tenant string, fn, last func(*db.Queries) error) error {
	return withTenant(ctx, pool, &door{tenant: tenant}, fn, last)
}

// WithTenantPlanned is WithTenant for queries whose conditions depend on what is asked: each is planned for the
// parameters that it is asked with, at about a millisecond. A plan for all parameters would sort all that a tenant has
// before it gives the first page.
func WithTenantPlanned(ctx context.Context, pool *pgxpool.Pool, tenant string, fn, last func(*db.Queries) error) error {
	return withTenant(ctx, pool, &door{tenant: tenant, planned: true}, fn, last)
}

func withTenant(ctx context.Context, pool *pgxpool.Pool, door *door, fn, last func(*db.Queries) error) error {
	if door.tenant == "" {
		return ErrNoTenant
	}
	conn, err := pool.Acquire(ctx)
	if err != nil {
		return fmt.Errorf("begin for tenant: %w", err)
	}
	defer conn.Release() // which closes it when the transaction is not over
	door.conn = conn
	err = fn(db.New(door))
	if last != nil && !door.broken() {
		door.last = true
		if errLast := last(db.New(door)); errLast != nil {
			err = errLast
		}
	}
	return errors.Join(err, door.close(ctx))
}

// door is the connection as queries see it: it puts the beginning of the transaction before the first of them, and the
// end behind the last one.
type door struct {
	conn    *pgxpool.Conn
	tenant  string
	planned bool // no query shares its plan with others
	last    bool // the next query is the last one
}

// What Postgres says of a connection's transaction.
const (
	txNone   = 'I'
	txFailed = 'E'
)

func (d *door) status() byte { return d.conn.Conn().PgConn().TxStatus() }

// broken tells that the transaction takes no more queries.
func (d *door) broken() bool { return d.conn.Conn().IsClosed() || d.status() == txFailed }

// begun returns a batch that begins the transaction unless it has begun.
func (d *door) begun() (batch *pgx.Batch, ahead int) {
	batch = &pgx.Batch{}
	if d.status() == txNone {
		batch.Queue("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
		batch.Queue("SELECT set_config('app.tenant', $1, true)", d.tenant)
		if d.planned {
			batch.Queue("SET LOCAL plan_cache_mode = force_custom_plan")
		}
	}
	return batch, batch.Len()
}

// close ends the transaction unless the last query has done so.
func (d *door) close(ctx context.Context) error {
	if d.conn.Conn().IsClosed() || d.status() == txNone {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeMax)
	defer cancel()
	if _, err := d.conn.Exec(ctx, "ROLLBACK"); err != nil { // nothing was written
		return fmt.Errorf("end for tenant: %w", err)
	}
	return nil
}

// closeMax bounds the end of a transaction that did not end with its last query.
const closeMax = 5 * time.Second

// Query implements db.DBTX.
func (d *door) Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error) {
	batch, ahead := d.begun()
	if ahead == 0 && !d.last {
		return d.conn.Query(ctx, sql, args...)
	}
	batch.Queue(sql, args...)
	if d.last {
		batch.Queue("COMMIT")
	}
	results := d.conn.SendBatch(ctx, batch)
	for range ahead {
		if _, err := results.Exec(); err != nil {
			return nil, errors.Join(fmt.Errorf("begin for tenant: %w", err), results.Close())
		}
	}
	rows, err := results.Query()
	if err != nil {
		return nil, errors.Join(err, results.Close())
	}
	return &travelled{Rows: rows, results: results}, nil
}

// QueryRow implements db.DBTX.
func (d *door) QueryRow(ctx context.Context, sql string, args ...any) pgx.Row {
	rows, err := d.Query(ctx, sql, args...)
	return &onlyRow{rows, err}
}

// Exec implements db.DBTX. Nothing is changed through this door.
func (d *door) Exec(context.Context, string, ...any) (pgconn.CommandTag, error) {
	return pgconn.CommandTag{}, errors.New("a tenant's rows are read-only")
}

// travelled are the rows of a query that was not alone on its way.
type travelled struct {
	pgx.Rows
	results pgx.BatchResults
	closed  bool
	err     error
}

func (t *travelled) Next() bool {
	more := t.Rows.Next()
	if !more {
		t.Close()
	}
	return more
}

func (t *travelled) Close() {
	if t.closed {
		return
	}
	t.closed = true
	t.Rows.Close()
	// Closing reads what travelled behind the query: the end of the transaction, or an error in its place.
	t.err = errors.Join(t.Rows.Err(), t.results.Close())
}

func (t *travelled) Err() error {
	if t.err != nil {
		return t.err
	}
	return t.Rows.Err()
}

// onlyRow is the row that a query must give.
type onlyRow struct {
	rows pgx.Rows
	err  error
}

func (o *onlyRow) Scan(into ...any) error {
	if o.err != nil {
		return o.err
	}
	defer o.rows.Close()
	if !o.rows.Next() {
		if err := o.rows.Err(); err != nil {
			return err
		}
		return pgx.ErrNoRows
	}
	if err := o.rows.Scan(into...); err != nil {
		return err
	}
	o.rows.Close()
	return o.rows.Err()
}
