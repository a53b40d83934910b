package postgres

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"maps"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/refold-dev/refold/schema"
)

// CreateEdition makes the schema of an edition with bare tables, ready to be loaded. It may be repeated.
func (d *DB) CreateEdition(ctx context.Context, edition int64) error {
	pool, err := d.Owner(ctx)
	if err != nil {
		return err
	}
	name := SchemaName(edition)
	if _, err := pool.Exec(ctx, "CREATE SCHEMA IF NOT EXISTS "+pgx.Identifier{name}.Sanitize()); err != nil && !isCode(err, "23505", "42P06") {
		return fmt.Errorf("create schema %s: %w", name, err)
	}
	return d.withProjection(ctx, edition, func(p *goose.Provider) error {
		_, err := p.UpTo(ctx, schema.LoadedVersion-1)
		return err
	})
}

// FinishEdition gives a loaded edition its keys, indexes and policies, and fresh statistics. It may be repeated. gently
// leaves processors and memory to those who use the database meanwhile; it takes longer.
func (d *DB) FinishEdition(ctx context.Context, edition int64, gently bool) error {
	settings := finishSettings(gently)
	err := d.withProjection(ctx, edition, func(p *goose.Provider) error {
		_, err := p.Up(ctx)
		return err
	}, settings)
	if err != nil {
		return err
	}
	pool, err := d.OwnerOf(ctx, edition)
	if err != nil {
		return err
	}
	tables, err := d.TableNames(ctx, edition)
	if err != nil {
		return err
	}
	for _, table := range tables {
		if err := analyze(ctx, pool, pgx.Identifier{table}.Sanitize()); err != nil {
			return fmt.Errorf("analyze table %s: %w", table, err)
		}
	}
	return nil
}

// analyze leaves an empty table alone: a table that is known to have no rows is read from end to end, even when it has
// thousands of them by then, until autovacuum comes by.
func analyze(ctx context.Context, pool *pgxpool.Pool, table string) error {
	var filled bool
	if err := pool.QueryRow(ctx, "SELECT EXISTS (SELECT FROM "+table+")").Scan(&filled); err != nil || !filled {
		return err
	}
	_, err := pool.Exec(ctx, "ANALYZE "+table)
	return err
}

// DropEdition removes the schemas of an edition with all rows. Sessions of refold that do not let go of it are ended. It
// may be repeated.
func (d *DB) DropEdition(ctx context.Context, edition int64) error {
	d.Forget(edition)
	if err := d.closeViews(ctx, edition); err != nil {
		return err
	}
	for range dropsMax {
		err := d.dropSchemas(ctx, edition)
		if err == nil || !IsLockTimeout(err) {
			return err
		}
		if _, err := d.Evict(ctx, edition); err != nil {
			return err
		}
	}
	return fmt.Errorf("drop schema of edition %d: a session that is not refold's holds it, see pg_locks", edition)
}

func (d *DB) withProjection(ctx context.Context, edition int64, run func(*goose.Provider) error, settings ...map[string]string) error {
	name := SchemaName(edition)
	conn := d.sqlDB(name, settings...)
	defer conn.Close()
	files, err := fs.Sub(schema.Projection, "projection")
	if err != nil {
		return err
	}
	provider, err := d.newProvider(conn, files, name+".goose_db_version", "refold "+name)
	if err != nil {
		return fmt.Errorf("schema of edition %d: %w", edition, err)
	}
	if err := run(provider); err != nil {
		return fmt.Errorf("schema of edition %d: %w", edition, err)
	}
	return nil
}

func (d *DB) newProvider(conn *sql.DB, files fs.FS, table, lockName string) (*goose.Provider, error) {
	return goose.NewProvider(goose.DialectPostgres, conn, files, goose.WithTableName(table),
		goose.WithSessionLocker(&pollLocker{db: d, name: lockName}), goose.WithDisableGlobalRegistry(true))
}

// sqlDB is a database/sql handle as goose wants it, pinned to a schema.
func (d *DB) sqlDB(searchPath string, settings ...map[string]string) *sql.DB {
	config := d.config.ConnConfig.Copy()
	all := d.sessionSettings(RoleOwner)
	for _, more := range settings {
		maps.Copy(all, more)
	}
	all["search_path"] = searchPath
	d.server.begin(config, all)
	return stdlib.OpenDB(*config)
}

// lockID turns a name into the number of an advisory lock.
func lockID(name string) int64 {
	h := fnv.New64a()
	h.Write([]byte(name))
	return int64(h.Sum64() >> 1)
}

func isCode(err error, codes ...string) bool {
	var pg *pgconn.PgError
	if !errors.As(err, &pg) {
		return false
	}
	for _, code := range codes {
		if pg.Code == code {
			return true
		}
	}
	return false
}
