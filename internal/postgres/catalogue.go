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

// Audit returns what is wrong with the protection of an edition: every table must be under forced row level
// security with a policy for each role, every unique index must begin with the tenant, nothing may be owned,
// truncated or bypassed by a runtime role, and no view, matview or SECURITY DEFINER function may stand beside.
// Empty means sound.
func (d *DB) Audit(ctx context.Context, edition int64) ([]string, error) {
	pool, err := d.Owner(ctx)
	if err != nil {
		return nil, err
	}
	rows, err := pool.Query(ctx, auditSQL, SchemaName(edition))
	if err != nil {
		return nil, fmt.Errorf("audit of edition %d: %w", edition, err)
	}
	return pgx.CollectRows(rows, pgx.RowTo[string])
}

const auditSQL = `
WITH tables AS (
	SELECT c.oid, c.relname, c.relrowsecurity, c.relforcerowsecurity
	FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
	WHERE n.nspname = $1 AND c.relkind IN ('r', 'p') AND c.relname <> 'goose_db_version'
)
SELECT 'table ' || relname || ' is not under forced row level security' FROM tables
WHERE NOT (relrowsecurity AND relforcerowsecurity)
UNION ALL
SELECT 'table ' || t.relname || ' has no policy for ' || r.rolname FROM tables t
CROSS JOIN (VALUES ('refold_reader'), ('refold_projector'), ('refold_verifier')) AS r (rolname)
WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_policy p JOIN pg_catalog.pg_roles o ON o.oid = ANY (p.polroles)
	WHERE p.polrelid = t.oid AND o.rolname = r.rolname)
UNION ALL
SELECT 'unique index ' || i.indexrelid::regclass || ' does not begin with tenant_id' FROM tables t
JOIN pg_catalog.pg_index i ON i.indrelid = t.oid AND i.indisunique
JOIN pg_catalog.pg_attribute a ON a.attrelid = t.oid AND a.attnum = i.indkey[0]
WHERE a.attname <> 'tenant_id'
UNION ALL
SELECT 'column tenant_id of table ' || t.relname || ' may be NULL or is missing' FROM tables t
WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_attribute a WHERE a.attrelid = t.oid AND a.attname = 'tenant_id' AND a.attnotnull AND a.attnum = 1)
UNION ALL
SELECT 'role ' || r.rolname || ' may ' || p.privilege || ' table ' || t.relname FROM tables t
CROSS JOIN pg_catalog.pg_roles r CROSS JOIN (VALUES ('TRUNCATE'), ('REFERENCES'), ('TRIGGER')) AS p (privilege)
WHERE r.rolname LIKE 'refold\_%' AND pg_catalog.has_table_privilege(r.rolname, t.oid, p.privilege)
UNION ALL
SELECT 'role ' || rolname || ' bypasses row level security' FROM pg_catalog.pg_roles
WHERE rolname LIKE 'refold\_%' AND (rolbypassrls OR rolsuper)
UNION ALL
SELECT 'view ' || c.relname || ' stands beside the tables' FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1 AND c.relkind IN ('v', 'm')
UNION ALL
SELECT 'function ' || p.proname || ' is SECURITY DEFINER' FROM pg_catalog.pg_proc p
JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace WHERE n.nspname = $1 AND p.prosecdef
ORDER BY 1`
