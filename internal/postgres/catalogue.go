package postgres

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// Column is a column as the catalogue has it.
type Column struct {
	Table, Name, Type string
	NotNull           bool
}

// Columns lists all columns of an edition's tables, by table and position. goose's own table is left out.
func (d *DB) Columns(ctx context.Context, edition int64) ([]Column, error) {
	pool, err := d.Owner(ctx)
	if err != nil {
		return nil, err
	}
	rows, err := pool.Query(ctx, `
		SELECT c.relname, a.attname, t.typname, a.attnotnull
		FROM pg_catalog.pg_class c
		JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
		JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
		JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
		WHERE n.nspname = $1 AND c.relkind IN ('r', 'p') AND c.relname <> 'goose_db_version'
		ORDER BY c.relname, a.attnum`, SchemaName(edition))
	if err != nil {
		return nil, fmt.Errorf("columns of edition %d: %w", edition, err)
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[Column])
}

// TableNames lists the tables of an edition.
func (d *DB) TableNames(ctx context.Context, edition int64) ([]string, error) {
	columns, err := d.Columns(ctx, edition)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, c := range columns {
		if len(names) == 0 || names[len(names)-1] != c.Table {
			names = append(names, c.Table)
		}
	}
	return names, nil
}

// TableSizes returns what each table of an edition takes on disk, with its indexes.
func (d *DB) TableSizes(ctx context.Context, edition int64) (map[string]int64, error) {
	pool, err := d.Owner(ctx)
	if err != nil {
		return nil, err
	}
	rows, err := pool.Query(ctx, `
		SELECT c.relname, pg_catalog.pg_total_relation_size(c.oid)
		FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
		WHERE n.nspname = $1 AND c.relkind IN ('r', 'p') AND c.relname <> 'goose_db_version'`, SchemaName(edition))
	if err != nil {
		return nil, fmt.Errorf("sizes of the tables of edition %d: %w", edition, err)
	}
	sizes := map[string]int64{}
	var name string
	var bytes int64
	_, err = pgx.ForEachRow(rows, []any{&name, &bytes}, func() error {
		sizes[name] = bytes
		return nil
	})
	return sizes, err
}
