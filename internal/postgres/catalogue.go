package postgres

import (
	"context"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"
	"github.com/refold-dev/refold/internal/postgres/db"
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
// security with the policies of refold and no others, every unique index must begin with the tenant, nothing may be
// owned or bypassed by a runtime role, no role may have a grant or a membership that refold does not give, no view, matview,
// foreign table or SECURITY DEFINER function may stand beside, and SQL readers may do nothing but read these tables, as a
// member of one tenant. Empty means sound.
func (d *DB) Audit(ctx context.Context, edition int64) ([]string, error) {
	pool, err := d.Owner(ctx)
	if err != nil {
		return nil, err
	}
	rows, err := pool.Query(ctx, auditSQL, SchemaName(edition))
	if err != nil {
		return nil, fmt.Errorf("audit of edition %d: %w", edition, err)
	}
	faults, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("audit of edition %d: %w", edition, err)
	}
	accesses, err := accessFaults(ctx, pool)
	if err != nil {
		return nil, err
	}
	rights, err := d.rightsFaults(ctx, edition)
	if err != nil {
		return nil, err
	}
	readers, err := readerFaults(ctx, pool)
	return slices.Concat(faults, accesses, rights, readers), err
}

// accessFaults returns what is wrong with the protection of the access log, the one table of tenants' data outside of the
// editions.
func accessFaults(ctx context.Context, q db.DBTX) ([]string, error) {
	rows, err := q.Query(ctx, accessAuditSQL)
	if err != nil {
		return nil, fmt.Errorf("audit of the access log: %w", err)
	}
	faults, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("audit of the access log: %w", err)
	}
	return faults, nil
}

const accessAuditSQL = `
WITH tables AS (
	SELECT c.oid, c.relrowsecurity AND c.relforcerowsecurity AS fenced FROM pg_catalog.pg_class c
	JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = 'control' AND c.relname = 'access'
), wanted (name, role, command, admits, takes) AS (VALUES
	('reader', 'refold_reader', 'r', $q$(tenant_id = NULLIF(current_setting('app.tenant'::text, true), ''::text))$q$, NULL),
	('operator', 'refold_operator', '*', 'true', 'true')
), policies AS (
	SELECT p.polname, EXISTS (
		SELECT FROM wanted w JOIN pg_catalog.pg_roles o ON o.rolname = w.role
		WHERE w.name = p.polname AND p.polroles = ARRAY[o.oid] AND w.command = p.polcmd AND p.polpermissive
		  AND w.admits = pg_catalog.pg_get_expr(p.polqual, p.polrelid)
		  AND w.takes IS NOT DISTINCT FROM pg_catalog.pg_get_expr(p.polwithcheck, p.polrelid)
	) AS ours
	FROM pg_catalog.pg_policy p JOIN tables t ON t.oid = p.polrelid
)
SELECT 'table control.access is missing' WHERE NOT EXISTS (SELECT FROM tables)
UNION ALL
SELECT 'table control.access is not under forced row level security' FROM tables WHERE NOT fenced
UNION ALL
SELECT 'table control.access has no policy for ' || w.role FROM wanted w WHERE NOT EXISTS (SELECT FROM policies p WHERE p.polname = w.name AND p.ours)
UNION ALL
SELECT 'policy ' || p.polname || ' of table control.access is not one of refold' FROM policies p WHERE NOT p.ours
UNION ALL
SELECT 'unique index ' || i.indexrelid::regclass || ' does not begin with tenant_id' FROM tables t
JOIN pg_catalog.pg_index i ON i.indrelid = t.oid AND i.indisunique
JOIN pg_catalog.pg_attribute a ON a.attrelid = t.oid AND a.attnum = i.indkey[0] WHERE a.attname <> 'tenant_id'
ORDER BY 1`

// readerFaults returns what SQL readers could do that they must not, in the whole database.
func readerFaults(ctx context.Context, q db.DBTX) ([]string, error) {
	rows, err := q.Query(ctx, readerAuditSQL, sqlTenantText)
	if err != nil {
		return nil, fmt.Errorf("audit of SQL readers: %w", err)
	}
	faults, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("audit of SQL readers: %w", err)
	}
	return faults, nil
}

const auditSQL = `
WITH tables AS (
	SELECT c.oid, c.relname, c.relrowsecurity, c.relforcerowsecurity
	FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
	WHERE n.nspname = $1 AND c.relkind IN ('r', 'p') AND c.relname <> 'goose_db_version'
), wanted (name, role, command, admits, takes) AS (VALUES
	('reader', 'refold_reader', 'r', $q$(tenant_id = NULLIF(current_setting('app.tenant'::text, true), ''::text))$q$, NULL),
	('projector', 'refold_projector', '*', 'true', 'true'),
	('verifier', 'refold_verifier', 'r', 'true', NULL),
	('sql_reader', 'refold_sql', 'r', '(tenant_id = ( SELECT control.sql_tenant() AS sql_tenant))', NULL)
), policies AS (
	SELECT p.polrelid, p.polname, EXISTS (
		SELECT FROM wanted w JOIN pg_catalog.pg_roles o ON o.rolname = w.role
		WHERE w.name = p.polname AND p.polroles = ARRAY[o.oid] AND w.command = p.polcmd AND p.polpermissive
		  AND w.admits = pg_catalog.pg_get_expr(p.polqual, p.polrelid)
		  AND w.takes IS NOT DISTINCT FROM pg_catalog.pg_get_expr(p.polwithcheck, p.polrelid)
	) AS ours
	FROM pg_catalog.pg_policy p
)
SELECT 'table ' || relname || ' is not under forced row level security' FROM tables
WHERE NOT (relrowsecurity AND relforcerowsecurity)
UNION ALL
SELECT 'table ' || t.relname || ' has no policy for ' || w.role FROM tables t CROSS JOIN wanted w
WHERE NOT EXISTS (SELECT FROM policies p WHERE p.polrelid = t.oid AND p.polname = w.name AND p.ours)
UNION ALL
SELECT 'policy ' || p.polname || ' of table ' || t.relname || ' is not one of refold' FROM tables t
JOIN policies p ON p.polrelid = t.oid WHERE NOT p.ours
UNION ALL
SELECT 'unique index ' || i.indexrelid::regclass || ' does not begin with tenant_id' FROM tables t
JOIN pg_catalog.pg_index i ON i.indrelid = t.oid AND i.indisunique
JOIN pg_catalog.pg_attribute a ON a.attrelid = t.oid AND a.attnum = i.indkey[0]
WHERE a.attname <> 'tenant_id'
UNION ALL
SELECT 'column tenant_id of table ' || t.relname || ' may be NULL or is missing' FROM tables t
WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_attribute a WHERE a.attrelid = t.oid AND a.attname = 'tenant_id' AND a.attnotnull AND a.attnum = 1)
UNION ALL
SELECT CASE c.relkind WHEN 'f' THEN 'foreign table ' ELSE 'view ' END || c.relname || ' stands beside the tables' FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1 AND c.relkind IN ('v', 'm', 'f')
UNION ALL
SELECT 'function ' || p.proname || ' is SECURITY DEFINER' FROM pg_catalog.pg_proc p
JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace WHERE n.nspname = $1 AND p.prosecdef
ORDER BY 1`

// sqlTenantText is the body of control.sql_tenant.
const sqlTenantText = "SELECT r.tenant_id FROM control.sql_reader r WHERE r.login = session_user::text"

// readerAuditSQL looks at the group and at every login that belongs to a tenant of this database. A table under an
// edition's policies may be read; anything else not, whether by a grant to them or to everybody.
const readerAuditSQL = `
WITH readers AS (
	SELECT r.*, r.rolname <> 'refold_sql' AS belongs FROM pg_catalog.pg_roles r
	WHERE r.rolname = 'refold_sql' OR r.rolname IN (SELECT s.login FROM control.sql_reader s)
), relations AS (
	SELECT c.oid, n.nspname, c.relname, n.nspname ~ '^edition_[0-9]+$' AND c.relname <> 'goose_db_version' AND c.relkind IN ('r', 'p') AS may_be_read
	FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
	WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname !~ '^pg_(toast|temp_)'
	  AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
), functions AS (
	SELECT p.*, n.nspname FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
	WHERE n.nspname NOT IN ('pg_catalog', 'information_schema')
	  AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e')
)
SELECT 'role ' || rolname || ' has rights beyond those of a reader (superuser, bypassrls, createrole, createdb or replication)' FROM readers
WHERE rolsuper OR rolbypassrls OR rolcreaterole OR rolcreatedb OR rolreplication
UNION ALL
SELECT 'role refold_sql can log in' FROM readers WHERE NOT belongs AND rolcanlogin
UNION ALL
SELECT 'role ' || r.rolname || ' is a member of ' || o.rolname FROM readers r
JOIN pg_catalog.pg_auth_members m ON m.member = r.oid JOIN pg_catalog.pg_roles o ON o.oid = m.roleid
WHERE NOT (r.belongs AND o.rolname = 'refold_sql' AND NOT m.admin_option)
UNION ALL
SELECT 'role ' || r.rolname || ' may read ' || c.nspname || '.' || c.relname FROM readers r CROSS JOIN relations c
WHERE NOT c.may_be_read AND (r.belongs OR c.nspname = 'control' OR c.nspname LIKE 'edition\_%') AND pg_catalog.has_any_column_privilege(r.oid, c.oid, 'SELECT')
UNION ALL
SELECT 'role ' || r.rolname || ' may change ' || c.nspname || '.' || c.relname FROM readers r CROSS JOIN relations c
WHERE (r.belongs OR c.nspname = 'control' OR c.nspname LIKE 'edition\_%')
  AND (pg_catalog.has_table_privilege(r.oid, c.oid, 'INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER')
	OR pg_catalog.has_any_column_privilege(r.oid, c.oid, 'INSERT, UPDATE, REFERENCES'))
UNION ALL
SELECT 'role ' || r.rolname || ' may enter schema control' FROM readers r WHERE pg_catalog.has_schema_privilege(r.oid, 'control', 'USAGE, CREATE')
UNION ALL
SELECT 'role ' || r.rolname || ' may create in schema ' || n.nspname || ': revoke create on schema ' || n.nspname || ' from public' FROM readers r
CROSS JOIN pg_catalog.pg_namespace n WHERE r.belongs AND n.nspname !~ '^pg_' AND pg_catalog.has_schema_privilege(r.oid, n.oid, 'CREATE')
UNION ALL
SELECT 'role ' || r.rolname || ' may create schemas in the database' FROM readers r
WHERE r.belongs AND pg_catalog.has_database_privilege(r.oid, pg_catalog.current_database(), 'CREATE')
UNION ALL
SELECT 'role ' || r.rolname || ' may make temporary tables: revoke temporary on database ' || pg_catalog.quote_ident(pg_catalog.current_database()) || ' from public' FROM readers r
WHERE r.belongs AND pg_catalog.has_database_privilege(r.oid, pg_catalog.current_database(), 'TEMP')
UNION ALL
SELECT 'role ' || r.rolname || ' may run ' || f.nspname || '.' || f.proname || ' as its owner' FROM readers r CROSS JOIN functions f
WHERE r.belongs AND f.prosecdef AND f.nspname <> 'control'
  AND pg_catalog.has_schema_privilege(r.oid, f.nspname, 'USAGE') AND pg_catalog.has_function_privilege(r.oid, f.oid, 'EXECUTE')
UNION ALL
SELECT 'role ' || r.rolname || ' may run control.' || f.proname FROM readers r CROSS JOIN functions f
WHERE f.nspname = 'control' AND f.proname <> 'sql_tenant' AND pg_catalog.has_function_privilege(r.oid, f.oid, 'EXECUTE')
UNION ALL
SELECT 'function control.sql_tenant is not as refold made it' WHERE NOT EXISTS (
	SELECT FROM functions f JOIN pg_catalog.pg_class c ON c.oid = 'control.sql_reader'::regclass
	WHERE f.nspname = 'control' AND f.proname = 'sql_tenant' AND f.pronargs = 0 AND f.prosecdef AND f.provolatile = 's'
	  AND f.proowner = c.relowner AND f.proconfig = ARRAY['search_path=pg_catalog, pg_temp'] AND f.prosrc = $1
)
ORDER BY 1`
