package postgres

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/refold-dev/refold/internal/postgres/db"
)

var (
	// ErrNoTenant is a defect of the caller: rows were asked for without a tenant.
	ErrNoTenant = errors.New("no tenant given")
	// ErrNoCheckpoint: the edition has no checkpoint any more, so it was retired.
	ErrNoCheckpoint = errors.New("the edition has no checkpoint in this shard")
)

// Entry says how the one door to tenants' rows is gone through.
type Entry struct {
	Tenant string
	// Edition and Shard name the checkpoint that the rows stand on, which is read in their snapshot; Edition 0 = none is.
	Edition int64
	Shard   int
	// Planned has each query planned for the parameters that it is asked with, at about a millisecond: for conditions
	// that depend on what is asked. The one plan that queries have else would sort all that a tenant has before it gives
	// the first page.
	Planned bool
	// Single promises that fn makes no more than one query. It then makes one journey together with the beginning of the
	// transaction, and ends it: apart, these cost more than most questions.
	Single bool
	// StatementMax bounds each query; 0 = as long as any statement of the pool may take. A query that is cut is told by IsTimeout.
	StatementMax time.Duration
}

// IsTimeout reports whether a statement was cut because it took longer than it may (57014).
func IsTimeout(err error) bool { return isCode(err, "57014") }

// WithTenant is the one door to tenants' rows: fn runs in a read-only transaction, of one snapshot, in which row level
// security admits the rows of this tenant alone. Queries name the tenant as well.
//
// The checkpoint is valid unless the door itself failed, whatever fn returned: an answer that must not be given because
// its rows are too old is not given as "not found" either. With ErrNoCheckpoint there are no answers.
func WithTenant(ctx context.Context, pool *pgxpool.Pool, entry Entry, fn func(*db.Queries) error) (checkpoint db.ControlCheckpoint, err error) {
	if entry.Tenant == "" {
		return checkpoint, ErrNoTenant
	}
	conn, err := pool.Acquire(ctx)
	if err != nil {
		return checkpoint, fmt.Errorf("begin for tenant: %w", err)
	}
	defer conn.Release() // which closes it when the transaction is not over
	door := &door{Entry: entry, conn: conn}
	err = fn(db.New(door))
	if !door.entered && err == nil {
		err = door.enter(ctx)
	}
	return door.checkpoint, errors.Join(err, door.close(ctx))
}

// door is the connection as queries see it: it puts the beginning of the transaction before the first of them. A single one
// needs no more transaction than the protocol has by itself: all that is sent before one Sync is one transaction, as the
// session makes them.
type door struct {
	Entry
	conn       *pgxpool.Conn
	entered    bool // the transaction was begun
	checkpoint db.ControlCheckpoint
}

// txNone is what Postgres says of a connection without a transaction.
const txNone = 'I'

// The settings of the transaction, and with them what an answer says of where its rows stand. A checkpoint that is not there
// makes no settings, and then no row is seen.
const (
	settings            = "SELECT set_config('app.tenant', $1, true), set_config('plan_cache_mode', $2, true), set_config('statement_timeout', coalesce($3, current_setting('statement_timeout')), true)"
	settingsOfAnEdition = settings + ", edition, shard, journal_id, incarnation, stream, seq, updated_at FROM control.checkpoint WHERE edition = $4 AND shard = $5"
)

// beginning returns the batch that begins the transaction.
func (d *door) beginning() *pgx.Batch {
	d.entered = true
	batch := &pgx.Batch{}
	if !d.Single {
		batch.Queue("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
	}
	mode := genericPlans
	if d.Planned {
		mode = customPlans
	}
	var statementMax *string // nil = that of the session
	if d.StatementMax > 0 {
		statementMax = new(strconv.FormatInt(d.StatementMax.Milliseconds(), 10))
	}
	if d.Edition == 0 {
		batch.Queue(settings, d.Tenant, mode, statementMax)
	} else {
		batch.Queue(settingsOfAnEdition, d.Tenant, mode, statementMax, d.Edition, int32(d.Shard))
	}
	return batch
}

// begun reads what the beginning gave.
func (d *door) begun(results pgx.BatchResults) error {
	if !d.Single {
		if _, err := results.Exec(); err != nil {
			return fmt.Errorf("begin for tenant: %w", err)
		}
	}
	if d.Edition == 0 {
		if _, err := results.Exec(); err != nil {
			return fmt.Errorf("begin for tenant: %w", err)
		}
		return nil
	}
	c := &d.checkpoint
	err := results.QueryRow().Scan(nil, nil, nil, &c.Edition, &c.Shard, &c.JournalID, &c.Incarnation, &c.Stream, &c.Seq, &c.UpdatedAt)
	if errors.Is(err, pgx.ErrNoRows) {
		return ErrNoCheckpoint
	}
	if err != nil {
		return fmt.Errorf("checkpoint of edition %d, shard %d: %w", d.Edition, d.Shard, err)
	}
	return nil
}

// enter begins the transaction without a query.
func (d *door) enter(ctx context.Context) error {
	results := d.conn.SendBatch(ctx, d.beginning())
	return errors.Join(d.begun(results), results.Close())
}

// close ends the transaction unless a single query has done so.
func (d *door) close(ctx context.Context) error {
	if d.conn.Conn().IsClosed() || d.conn.Conn().PgConn().TxStatus() == txNone {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeMax)
	defer cancel()
	if _, err := d.conn.Exec(ctx, "ROLLBACK"); err != nil { // nothing was written
		return fmt.Errorf("end for tenant: %w", err)
	}
	return nil
}

// closeMax bounds the end of a transaction that did not end with its query.
const closeMax = 5 * time.Second

// Query implements db.DBTX.
func (d *door) Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error) {
	if d.entered && d.Single {
		return nil, errors.New("a second query where a single one was promised")
	}
	if d.entered {
		return d.conn.Query(ctx, sql, args...)
	}
	batch := d.beginning()
	batch.Queue(sql, args...)
	results := d.conn.SendBatch(ctx, batch)
	if err := d.begun(results); err != nil {
		return nil, errors.Join(err, results.Close())
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
	// Closing reads what came behind the rows: the end of the transaction, or an error in its place.
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
