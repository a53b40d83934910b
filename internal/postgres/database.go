package postgres

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/refold-dev/refold/internal/postgres/db"
)

// What the whole database, or the cluster, has to do with refold is in no schema that could be made afresh. These are
// rules: each query returns what breaks one, as severity, object, text and the statement that puts it right.

// collectFindings runs such a query.
func collectFindings(ctx context.Context, q db.DBTX, about, sql string, args ...any) ([]Finding, error) {
	rows, err := q.Query(ctx, sql, args...)
	if err != nil {
		return nil, fmt.Errorf("audit of %s: %w", about, err)
	}
	found, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (Finding, error) {
		f := Finding{Fix: []string{}, Found: isThere, rank: rankRight}
		var fix string
		err := row.Scan(&f.Severity, &f.Object, &f.Text, &fix)
		if fix != "" {
			f.Fix = []string{fix}
		}
		return f, err
	})
	if err != nil {
		return nil, fmt.Errorf("audit of %s: %w", about, err)
	}
	return found, nil
}

// missingRoles are roles without which nothing else can be looked at.
func missingRoles(ctx context.Context, tx pgx.Tx) ([]Finding, error) {
	found, err := collectFindings(ctx, tx, "the roles", `
		SELECT 'broken', 'role ' || r, 'role ' || r || ' is missing', 'CREATE ROLE ' || r || ' NOLOGIN' FROM unnest($1::text[]) r
		WHERE NOT EXISTS (SELECT FROM pg_roles o WHERE o.rolname = r)`, roleNames(append([]Role{RoleSQL}, roles...)))
	for i := range found {
		found[i].Expected, found[i].Found, found[i].rank = isThere, "", rankOwner
	}
	return found, err
}

// database holds the database against the rules. It returns those findings that interfere with schemas as they are made.
func (a *Audit) database(ctx context.Context, tx pgx.Tx) (interference []Finding, err error) {
	note := func(found []Finding, failed error) {
		a.Findings = append(a.Findings, found...)
		if err == nil {
			err = failed
		}
	}
	names := roleNames(roles)
	note(collectFindings(ctx, tx, "the roles", roleAuditSQL, names))
	note(collectFindings(ctx, tx, "the rights of everybody", createAuditSQL, append(names, string(RoleSQL))))
	note(collectFindings(ctx, tx, "publications", publicationAuditSQL))
	note(collectFindings(ctx, tx, "functions", definerAuditSQL))
	note(collectFindings(ctx, tx, "settings", settingAuditSQL, append(names, string(RoleSQL))))
	before := len(a.Findings)
	note(collectFindings(ctx, tx, "event triggers", eventTriggerAuditSQL))
	note(collectFindings(ctx, tx, "default privileges", defaultAuditSQL))
	interference = a.Findings[before:]
	if err != nil {
		return nil, err
	}
	var known bool
	if err := tx.QueryRow(ctx, "SELECT to_regclass('control.sql_reader') IS NOT NULL").Scan(&known); err != nil {
		return nil, err
	}
	if known {
		note(readerFindings(ctx, tx))
		note(collectFindings(ctx, tx, "SQL readers", readerSettingSQL))
		note(collectFindings(ctx, tx, "SQL readers", removedReaderSQL, removedComment))
		var anyReader bool
		if err := tx.QueryRow(ctx, "SELECT EXISTS (SELECT FROM control.sql_reader)").Scan(&anyReader); err != nil {
			return nil, err
		}
		if anyReader {
			note(functionFindings(ctx, tx))
		}
		note(nil, a.note(ctx, tx, openFunctionsNote))
	}
	note(nil, a.note(ctx, tx, "SELECT 'extension ' || extname || ' is installed' FROM pg_extension WHERE extname NOT IN ('plpgsql', 'pg_trgm') ORDER BY 1"))
	return interference, err
}

// note adds the lines of a query to what is worth knowing.
func (a *Audit) note(ctx context.Context, tx pgx.Tx, sql string) error {
	rows, err := tx.Query(ctx, sql)
	if err != nil {
		return fmt.Errorf("notes of an audit: %w", err)
	}
	notes, err := pgx.CollectRows(rows, pgx.RowTo[string])
	a.Notes = append(a.Notes, notes...)
	return err
}

// removedReaderSQL: in this database nothing is left of them.
const removedReaderSQL = `
SELECT 'minor', 'role ' || r.rolname, 'role ' || r.rolname || ' was a SQL reader and owns something in another database: run DROP OWNED BY ' || quote_ident(r.rolname) || ' there',
	format('DROP ROLE %I', r.rolname)
FROM pg_roles r WHERE shobj_description(r.oid, 'pg_authid') = $1`

// readerFindings are what SQL readers could do that they must not, in the whole database.
func readerFindings(ctx context.Context, q db.DBTX) ([]Finding, error) {
	return collectFindings(ctx, q, "SQL readers", readerAuditSQL)
}

// roleAuditSQL: each role has the rights of its own grants and no others, and nobody has it who could not make himself a
// member anyway. Roles belong to the cluster, so members may be the logins of other databases of refold, too. They have
// CREATEROLE, and that is more: until Postgres 15 it makes members of everybody, since then of whoever made the role, or
// has it with ADMIN OPTION.
const roleAuditSQL = `
WITH ours AS (SELECT * FROM pg_roles WHERE rolname = ANY ($1))
SELECT 'unsafe', 'role ' || rolname, 'role ' || rolname || ' can log in', format('ALTER ROLE %I NOLOGIN', rolname) FROM ours WHERE rolcanlogin
UNION ALL
SELECT 'unsafe', 'role ' || rolname, 'role ' || rolname || ' bypasses row level security', format('ALTER ROLE %I NOBYPASSRLS NOSUPERUSER', rolname) FROM ours WHERE rolbypassrls OR rolsuper
UNION ALL
SELECT 'unsafe', 'role ' || rolname, 'role ' || rolname || ' has rights beyond those granted (createrole, createdb or replication)',
	format('ALTER ROLE %I NOCREATEROLE NOCREATEDB NOREPLICATION', rolname) FROM ours WHERE rolcreaterole OR rolcreatedb OR rolreplication
UNION ALL
SELECT DISTINCT 'unsafe', 'role ' || m.rolname, 'role ' || m.rolname || ' is a member of ' || g.rolname, format('REVOKE %I FROM %I', g.rolname, m.rolname) FROM pg_auth_members a
JOIN pg_roles m ON m.oid = a.member JOIN pg_roles g ON g.oid = a.roleid
WHERE a.member IN (SELECT oid FROM ours)
   OR a.roleid IN (SELECT oid FROM ours) AND NOT m.rolsuper AND m.rolname <> current_user
	AND m.oid <> (SELECT b.datdba FROM pg_database b WHERE b.datname = current_database())
	AND NOT (m.rolcreaterole AND (current_setting('server_version_num')::int < 160000 OR pg_has_role(m.oid, g.oid, 'MEMBER WITH ADMIN OPTION')))
UNION ALL
SELECT 'broken', 'role ' || current_user, 'role ' || current_user || ' may not become ' || rolname, format('GRANT %I TO %I', rolname, current_user) FROM ours
WHERE NOT pg_has_role(current_user, oid, CASE WHEN current_setting('server_version_num')::int >= 160000 THEN 'SET' ELSE 'MEMBER' END)`

// createAuditSQL: who can create where others look for names can pass something off as something else. Everybody could in
// schema public until PostgreSQL 15; refold does not look there.
const createAuditSQL = `
SELECT CASE a.grantee WHEN 0 THEN 'minor' ELSE 'unsafe' END, 'schema ' || n.nspname,
	CASE a.grantee WHEN 0 THEN 'every role' ELSE 'role ' || pg_get_userbyid(a.grantee) END || ' may CREATE schema ' || n.nspname,
	format('REVOKE CREATE ON SCHEMA %I FROM %s', n.nspname, CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END)
FROM pg_namespace n CROSS JOIN LATERAL aclexplode(n.nspacl) a
WHERE a.privilege_type = 'CREATE' AND n.nspname !~ '^(pg_|control$|edition_[0-9]+(_sql)?$)' AND (a.grantee = 0 OR pg_get_userbyid(a.grantee) = ANY ($1))
UNION ALL
SELECT 'unsafe', 'database ' || b.datname, CASE a.grantee WHEN 0 THEN 'every role' ELSE 'role ' || pg_get_userbyid(a.grantee) END || ' may CREATE schemas in database ' || b.datname,
	format('REVOKE CREATE ON DATABASE %I FROM %s', b.datname, CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END)
FROM pg_database b CROSS JOIN LATERAL aclexplode(b.datacl) a
WHERE b.datname = current_database() AND a.privilege_type = 'CREATE' AND (a.grantee = 0 OR pg_get_userbyid(a.grantee) = ANY ($1))
UNION ALL
SELECT 'minor', 'large objects of role ' || r.rolname, 'role ' || r.rolname || ' has ' || count(*) || ' large objects',
	format('SELECT count(lo_unlink(oid)) FROM pg_largeobject_metadata WHERE lomowner = %L::regrole', quote_ident(r.rolname))
FROM pg_largeobject_metadata l JOIN pg_roles r ON r.oid = l.lomowner
WHERE r.rolname = ANY ($1) OR EXISTS (SELECT FROM pg_auth_members m WHERE m.member = r.oid AND m.roleid = 'refold_sql'::regrole) GROUP BY r.rolname`

const publicationAuditSQL = `
SELECT 'unsafe', 'publication ' || pubname, 'publication ' || pubname || ' sends the rows of all tables elsewhere', format('DROP PUBLICATION %I', pubname)
FROM pg_publication WHERE puballtables`

// definerAuditSQL: the text of a function is no dependency that the catalogue knows.
const definerAuditSQL = `
SELECT 'unsafe', 'function ' || p.oid::regprocedure, 'function ' || p.oid::regprocedure || ' is SECURITY DEFINER, and its text names a schema of refold',
	format('ALTER ROUTINE %s SECURITY INVOKER', p.oid::regprocedure)
FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
WHERE p.prosecdef AND n.nspname !~ '^(pg_catalog|information_schema|control|edition_[0-9]+(_sql)?)$' AND p.prosrc ~ '\m(control|edition_[0-9]+(_sql)?)\.'
  AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e')`

// eventTriggerAuditSQL: what runs with each change of a schema can put its own things into every schema that is made.
const eventTriggerAuditSQL = `
SELECT CASE evtenabled WHEN 'D' THEN 'minor' ELSE 'unsafe' END, 'event trigger ' || evtname,
	'event trigger ' || evtname || ' runs ' || evtfoid::regprocedure || ' on ' || evtevent || CASE evtenabled WHEN 'D' THEN ', once it is enabled' ELSE '' END,
	format('DROP EVENT TRIGGER %I', evtname)
FROM pg_event_trigger e
WHERE NOT EXISTS (SELECT FROM pg_depend d WHERE d.deptype = 'e' AND (d.classid = 'pg_event_trigger'::regclass AND d.objid = e.oid OR d.classid = 'pg_proc'::regclass AND d.objid = e.evtfoid))`

// defaultAuditSQL: rights that the next schema would come with, or lack.
const defaultAuditSQL = `
WITH changed AS (
	SELECT d.*, r.rolname, format('ALTER DEFAULT PRIVILEGES FOR ROLE %I%s', r.rolname, ' IN SCHEMA ' || quote_ident(n.nspname)) AS alter,
		CASE d.defaclobjtype WHEN 'r' THEN 'TABLES' WHEN 'S' THEN 'SEQUENCES' WHEN 'f' THEN 'FUNCTIONS' WHEN 'T' THEN 'TYPES' WHEN 'n' THEN 'SCHEMAS' ELSE 'LARGE OBJECTS' END AS objects,
		CASE WHEN d.defaclnamespace = 0 AND d.defaclobjtype IN ('r', 'S', 'f', 'T', 'n')
			THEN acldefault(CASE d.defaclobjtype WHEN 'S' THEN 's' ELSE d.defaclobjtype END, d.defaclrole) END AS usual
	FROM pg_default_acl d JOIN pg_roles r ON r.oid = d.defaclrole LEFT JOIN pg_namespace n ON n.oid = d.defaclnamespace
	WHERE (d.defaclnamespace = 0 OR n.nspname ~ '^(control|edition_[0-9]+(_sql)?)$')
	  AND (r.rolname = current_user OR r.oid IN (SELECT o.nspowner FROM pg_namespace o WHERE o.nspname ~ '^(control|edition_[0-9]+(_sql)?)$'))
), has AS (
	SELECT c.oid, a.grantee, a.privilege_type FROM changed c CROSS JOIN LATERAL aclexplode(c.defaclacl) a WHERE a.grantee <> c.defaclrole
), usual AS (
	SELECT c.oid, a.grantee, a.privilege_type FROM changed c CROSS JOIN LATERAL aclexplode(c.usual) a WHERE a.grantee <> c.defaclrole
), named AS (
	SELECT t.*, 'default privileges of role ' || c.rolname AS what, c.alter, c.objects, CASE t.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(t.grantee)) END AS who
	FROM (SELECT true AS more, * FROM has EXCEPT SELECT true, * FROM usual UNION ALL (SELECT false, * FROM usual EXCEPT SELECT false, * FROM has)) t JOIN changed c ON c.oid = t.oid
)
SELECT CASE WHEN more THEN 'unsafe' ELSE 'broken' END, what, what || CASE WHEN more THEN ' give ' ELSE ' take ' END || privilege_type || ' on new ' || lower(objects) || CASE WHEN more THEN ' to ' ELSE ' from ' END || who,
	alter || CASE WHEN more THEN ' REVOKE ' ELSE ' GRANT ' END || privilege_type || ' ON ' || objects || CASE WHEN more THEN ' FROM ' ELSE ' TO ' END || who
FROM named`

// settingAuditSQL: settings of the database and of the login that change what statements mean or whether they are checked.
// refold pins its own search_path; whoever else comes, comes with this one. Those of refold's roles have no effect,
// because nobody logs in as them, and are nobody's business but refold's.
const settingAuditSQL = `
WITH setting AS (
	SELECT b.datname, r.rolname, split_part(s.line, '=', 1) AS name, s.line, coalesce(r.rolname = ANY ($1), false) AS ours,
		CASE WHEN r.rolname IS NULL THEN format('ALTER DATABASE %I', b.datname) ELSE format('ALTER ROLE %I%s', r.rolname, ' IN DATABASE ' || quote_ident(b.datname)) END AS alter
	FROM pg_db_role_setting d LEFT JOIN pg_database b ON b.oid = d.setdatabase LEFT JOIN pg_roles r ON r.oid = d.setrole CROSS JOIN LATERAL unnest(d.setconfig) s (line)
	WHERE (d.setdatabase = 0 OR b.datname = current_database()) AND (d.setrole = 0 OR r.rolname = current_user OR r.rolname = ANY ($1)
		OR r.oid IN (SELECT o.nspowner FROM pg_namespace o WHERE o.nspname ~ '^(control|edition_[0-9]+(_sql)?)$'))
)
SELECT CASE WHEN ours OR name = 'search_path' THEN 'minor' WHEN name = 'default_transaction_read_only' THEN 'broken' ELSE 'unsafe' END, 'setting ' || name, coalesce('role ' || rolname, 'database ' || datname) || ' has ' || line, alter || ' RESET ' || quote_ident(name)
FROM setting WHERE ours OR name IN ('search_path', 'row_security', 'role', 'session_replication_role', 'session_preload_libraries', 'local_preload_libraries',
	'default_transaction_read_only', 'transform_null_equals', 'standard_conforming_strings')`

// readerSettingSQL: readers may change their own settings, so that these are for convenience only.
const readerSettingSQL = `
SELECT 'minor', 'role ' || r.rolname, 'role ' || r.rolname || ' has ' || s.line, format('ALTER ROLE %I IN DATABASE %I RESET %I', r.rolname, current_database(), split_part(s.line, '=', 1))
FROM control.sql_reader l JOIN pg_roles r ON r.rolname = l.login JOIN pg_db_role_setting d ON d.setrole = r.oid CROSS JOIN LATERAL unnest(d.setconfig) s (line)
WHERE d.setdatabase = (SELECT b.oid FROM pg_database b WHERE b.datname = current_database())
  AND s.line !~ '^search_path=(pg_catalog|edition_[0-9]+(_sql)?)$' AND split_part(s.line, '=', 1) IN ('search_path', 'role', 'session_preload_libraries', 'local_preload_libraries')`

// readerAuditSQL looks at the group and at every login that belongs to a tenant of this database. The views on an edition
// may be read; anything else not, whether by a grant to them or to everybody. Editions that an older binary made have no
// views: SQL readers read their tables until they are retired.
const readerAuditSQL = `
WITH readers AS (
	SELECT r.*, r.rolname <> 'refold_sql' AS belongs FROM pg_catalog.pg_roles r
	WHERE r.rolname = 'refold_sql' OR r.rolname IN (SELECT s.login FROM control.sql_reader s)
), relations AS (
	SELECT c.oid, n.nspname, c.relname, n.nspname ~ '^edition_[0-9]+_sql$' AND c.relkind = 'v'
		OR n.nspname ~ '^edition_[0-9]+$' AND c.relname <> 'goose_db_version' AND c.relkind IN ('r', 'p')
			AND NOT EXISTS (SELECT FROM pg_catalog.pg_namespace v WHERE v.nspname = n.nspname || '_sql') AS may_be_read
	FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
	WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname !~ '^pg_(toast|temp_)'
	  AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
), functions AS (
	SELECT p.*, n.nspname FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
	WHERE n.nspname NOT IN ('pg_catalog', 'information_schema')
	  AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e')
), faults (role, text, fix) AS (
	SELECT rolname, 'has rights beyond those of a reader (superuser, bypassrls, createrole, createdb or replication)',
		format('ALTER ROLE %I NOSUPERUSER NOBYPASSRLS NOCREATEROLE NOCREATEDB NOREPLICATION', rolname) FROM readers
	WHERE rolsuper OR rolbypassrls OR rolcreaterole OR rolcreatedb OR rolreplication
	UNION ALL
	SELECT rolname, 'can log in', format('ALTER ROLE %I NOLOGIN', rolname) FROM readers WHERE NOT belongs AND rolcanlogin
	UNION ALL
	SELECT r.rolname, 'is a member of ' || o.rolname, CASE WHEN r.belongs AND o.rolname = 'refold_sql' THEN format('REVOKE ADMIN OPTION FOR refold_sql FROM %I', r.rolname)
		ELSE format('REVOKE %I FROM %I', o.rolname, r.rolname) END FROM readers r
	JOIN pg_catalog.pg_auth_members m ON m.member = r.oid JOIN pg_catalog.pg_roles o ON o.oid = m.roleid
	WHERE NOT (r.belongs AND o.rolname = 'refold_sql' AND NOT m.admin_option)
	UNION ALL
	SELECT r.rolname, 'may read ' || c.nspname || '.' || c.relname, format('REVOKE SELECT ON %I.%I FROM PUBLIC, %I', c.nspname, c.relname, r.rolname) FROM readers r CROSS JOIN relations c
	WHERE NOT c.may_be_read AND (r.belongs OR c.nspname = 'control' OR c.nspname LIKE 'edition\_%') AND pg_catalog.has_any_column_privilege(r.oid, c.oid, 'SELECT')
	UNION ALL
	SELECT r.rolname, 'may change ' || c.nspname || '.' || c.relname, format('REVOKE INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER ON %I.%I FROM PUBLIC, %I', c.nspname, c.relname, r.rolname)
	FROM readers r CROSS JOIN relations c
	WHERE (r.belongs OR c.nspname = 'control' OR c.nspname LIKE 'edition\_%')
	  AND (pg_catalog.has_table_privilege(r.oid, c.oid, 'INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER')
		OR pg_catalog.has_any_column_privilege(r.oid, c.oid, 'INSERT, UPDATE, REFERENCES'))
	UNION ALL
	SELECT r.rolname, 'may enter schema control', format('REVOKE ALL ON SCHEMA control FROM PUBLIC, %I', r.rolname) FROM readers r WHERE pg_catalog.has_schema_privilege(r.oid, 'control', 'USAGE, CREATE')
	UNION ALL
	SELECT r.rolname, 'may create in schema ' || n.nspname || ': revoke create on schema ' || n.nspname || ' from public', format('REVOKE CREATE ON SCHEMA %I FROM PUBLIC, %I', n.nspname, r.rolname)
	FROM readers r CROSS JOIN pg_catalog.pg_namespace n WHERE r.belongs AND n.nspname !~ '^pg_' AND pg_catalog.has_schema_privilege(r.oid, n.oid, 'CREATE')
	UNION ALL
	SELECT r.rolname, 'may create schemas in the database', format('REVOKE CREATE ON DATABASE %I FROM PUBLIC, %I', pg_catalog.current_database(), r.rolname) FROM readers r
	WHERE r.belongs AND pg_catalog.has_database_privilege(r.oid, pg_catalog.current_database(), 'CREATE')
	UNION ALL
	SELECT r.rolname, 'may make temporary tables: revoke temporary on database ' || pg_catalog.quote_ident(pg_catalog.current_database()) || ' from public',
		format('REVOKE TEMPORARY ON DATABASE %I FROM PUBLIC, %I', pg_catalog.current_database(), r.rolname) FROM readers r
	WHERE r.belongs AND pg_catalog.has_database_privilege(r.oid, pg_catalog.current_database(), 'TEMP')
	UNION ALL
	SELECT r.rolname, 'may run ' || f.nspname || '.' || f.proname || ' as its owner', format('REVOKE EXECUTE ON ROUTINE %s FROM PUBLIC, %I', f.oid::regprocedure, r.rolname) FROM readers r CROSS JOIN functions f
	WHERE r.belongs AND f.prosecdef AND f.nspname <> 'control' AND f.nspname !~ '^edition_[0-9]+_sql$'
	  AND pg_catalog.has_schema_privilege(r.oid, f.nspname, 'USAGE') AND pg_catalog.has_function_privilege(r.oid, f.oid, 'EXECUTE')
	UNION ALL
	SELECT r.rolname, 'may run control.' || f.proname, format('REVOKE EXECUTE ON ROUTINE %s FROM PUBLIC, %I', f.oid::regprocedure, r.rolname) FROM readers r CROSS JOIN functions f
	WHERE f.nspname = 'control' AND f.proname <> 'sql_tenant' AND pg_catalog.has_function_privilege(r.oid, f.oid, 'EXECUTE')
)
SELECT 'unsafe', 'role ' || role, 'role ' || role || ' ' || text, fix FROM faults`

// sqlTenantText is the body of control.sql_tenant.
const sqlTenantText = "SELECT r.tenant_id FROM control.sql_reader r WHERE r.login = session_user::text"

// sqlTenantAuditSQL looks at what says which tenant a SQL reader belongs to. An audit compares it with a fresh one, too.
const sqlTenantAuditSQL = `
SELECT 'unsafe', 'function control.sql_tenant()', 'function control.sql_tenant() is not as refold made it', '' WHERE NOT EXISTS (
	SELECT FROM pg_proc p JOIN pg_class c ON c.oid = 'control.sql_reader'::regclass
	WHERE p.pronamespace = c.relnamespace AND p.proname = 'sql_tenant' AND p.pronargs = 0 AND p.prosecdef AND p.provolatile = 's'
	  AND p.proowner = c.relowner AND p.proconfig = ARRAY['search_path=pg_catalog, pg_temp'] AND p.prosrc = $1
)`
