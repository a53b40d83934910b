package postgres

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/refold-dev/refold/internal/postgres/db"
)

// PostgreSQL lets every login run functions by which a SQL reader would stop others (advisory locks), write (large objects)
// or learn about all tenants (sizes, counters, sessions and locks of others). Where refold owns the database as a superuser,
// as it does its private cluster, it takes them from everybody with the first SQL reader. Elsewhere only an administrator
// can: see rollBackPrepared, endReaders and DropSQLReader for what holds without.

// closedFunctions are those of pg_catalog.
const closedFunctions = `p.pronamespace = 'pg_catalog'::regnamespace AND (
	p.proname ~ '^pg_(try_)?advisory_' OR p.proname ~ '^pg_stat_get_'
	OR p.proname IN ('lo_creat', 'lo_create', 'lo_from_bytea', 'lo_open', 'lo_put', 'lo_truncate', 'lo_truncate64', 'lo_unlink', 'lowrite')
	OR p.proname IN ('pg_relation_size', 'pg_table_size', 'pg_indexes_size', 'pg_total_relation_size', 'pg_database_size', 'pg_tablespace_size')
	OR p.proname IN ('pg_lock_status', 'pg_prepared_xact', 'pg_blocking_pids', 'pg_safe_snapshot_blocking_pids', 'pg_notification_queue_usage'))`

// closeFunctionsSQL takes them from everybody, once those have them by name who need them.
const closeFunctionsSQL = `DO $$ DECLARE f regprocedure; BEGIN
	FOR f IN SELECT p.oid FROM pg_proc p WHERE ` + closedFunctions + ` LOOP
		EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO refold_operator, refold_projector, refold_reader, refold_verifier, pg_monitor', f);
		EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', f);
	END LOOP;
END $$`

// mayClose: the owner of refold's schemas runs the server, too.
const mayClose = `EXISTS (SELECT FROM pg_namespace n JOIN pg_roles r ON r.oid = n.nspowner WHERE n.nspname = 'control' AND r.rolsuper)`

func closeFunctions(ctx context.Context, tx pgx.Tx) error {
	found, err := functionFindings(ctx, tx)
	for i := 0; err == nil && i < len(found); i++ {
		for _, statement := range found[i].Fix {
			if _, err = tx.Exec(ctx, statement); err != nil {
				err = fmt.Errorf("take functions from every role: %w", err)
			}
		}
	}
	return err
}

// functionFindings says whether a SQL reader may run them, or whether a role of refold may not.
func functionFindings(ctx context.Context, q db.DBTX) ([]Finding, error) {
	return collectFindings(ctx, q, "functions of PostgreSQL", `
		SELECT 'minor', 'functions of PostgreSQL', 'every role may run ' || count(*) || ' functions of PostgreSQL that stop others, write, or show what all tenants have ('
			|| min(p.proname) || ' to ' || max(p.proname) || ')', $1::text
		FROM pg_proc p WHERE `+closedFunctions+` AND `+mayClose+`
		  AND EXISTS (SELECT FROM aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a WHERE a.grantee = 0)
		HAVING count(*) > 0
		UNION ALL
		SELECT 'broken', 'role ' || r, 'role ' || r || ' may not run ' || count(*) || ' functions of PostgreSQL (' || min(p.proname) || ' to ' || max(p.proname) || ')', $1
		FROM pg_proc p, unnest($2::text[]) r WHERE `+closedFunctions+` AND p.proname ~ 'advisory|_size$|^pg_lock_status$|^pg_stat_get_activity$'
		  AND NOT has_function_privilege(r, p.oid, 'EXECUTE')
		GROUP BY r`, closeFunctionsSQL, roleNames(roles))
}

// openFunctionsNote says what an administrator could take away.
const openFunctionsNote = `
SELECT 'every role may run pg_advisory_lock, lo_create and other functions of PostgreSQL, and only an administrator can take them away: see docs/sql-readers.md'
WHERE NOT ` + mayClose + ` AND EXISTS (SELECT FROM control.sql_reader)
  AND EXISTS (SELECT FROM pg_proc p WHERE ` + closedFunctions + ` AND EXISTS (SELECT FROM aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a WHERE a.grantee = 0))
UNION ALL
SELECT 'SQL readers read the tables of ' || n.nspname || ', which an older version of refold made, and planner statistics show through EXPLAIN: retire it'
FROM pg_namespace n WHERE n.nspname ~ '^edition_[0-9]+$' AND EXISTS (SELECT FROM control.sql_reader)
  AND NOT EXISTS (SELECT FROM pg_namespace v WHERE v.nspname = n.nspname || '_sql')`
