package postgres

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
)

// DriftError: the control tables are not what the migrations of this binary make, because somebody altered them or
// restored a part of them. Each fault names a column.
type DriftError struct{ Faults []string }

func (e *DriftError) Error() string {
	return "the control tables are not what this binary's migrations make: " + strings.Join(e.Faults, "; ") +
		"; put that right by hand, or start with VERIFY_MIGRATIONS=false"
}

// ControlColumns describes the columns of the control tables as the catalogue has them: "table.column type [not null]",
// by table and position. goose's own table is left out.
func (d *DB) ControlColumns(ctx context.Context) ([]string, error) {
	pool, err := d.Owner(ctx)
	if err != nil {
		return nil, err
	}
	rows, err := pool.Query(ctx, `
		SELECT c.relname || '.' || a.attname || ' ' || pg_catalog.format_type(a.atttypid, a.atttypmod)
			|| CASE WHEN a.attnotnull THEN ' not null' ELSE '' END
		FROM pg_catalog.pg_class c
		JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
		JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
		WHERE n.nspname = 'control' AND c.relkind IN ('r', 'p') AND c.relname <> 'goose_db_version'
		ORDER BY c.relname COLLATE "C", a.attnum`)
	if err != nil {
		return nil, fmt.Errorf("columns of the control tables: %w", err)
	}
	return pgx.CollectRows(rows, pgx.RowTo[string])
}

// checkControl compares the catalogue with what a binary knows. Tables that a newer binary migrated may hold more.
func (d *DB) checkControl(ctx context.Context, set controlSet, newer bool) error {
	actual, err := d.ControlColumns(ctx)
	if err != nil {
		return err
	}
	if faults := drift(strings.Split(strings.TrimSpace(set.columns), "\n"), actual, newer); len(faults) > 0 {
		return &DriftError{faults}
	}
	return nil
}

func drift(want, actual []string, newer bool) []string {
	var faults []string
	found := map[string]string{}
	for _, line := range actual {
		column, kind, _ := strings.Cut(line, " ")
		found[column] = kind
	}
	for _, line := range want {
		column, kind, _ := strings.Cut(line, " ")
		got, ok := found[column]
		switch {
		case !ok:
			faults = append(faults, fmt.Sprintf("column control.%s is missing", column))
		case got != kind:
			faults = append(faults, fmt.Sprintf("column control.%s is %s, want %s", column, got, kind))
		}
		delete(found, column)
	}
	if !newer {
		for column := range found {
			faults = append(faults, fmt.Sprintf("column control.%s is not ours", column))
		}
	}
	slices.Sort(faults)
	return faults
}
