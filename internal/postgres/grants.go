package postgres

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/refold-dev/refold/internal/postgres/db"
	"github.com/refold-dev/refold/schema"
)

// rightsFaults returns what roles may do that they must not: policies bind by membership and by grants, so they are worth
// no more than the list of both. Whatever is granted beyond it is a fault, to whichever role.
func (d *DB) rightsFaults(ctx context.Context, edition int64) ([]string, error) {
	pool, err := d.Owner(ctx)
	if err != nil {
		return nil, err
	}
	faults, err := roleFaults(ctx, pool)
	if err != nil {
		return nil, err
	}
	tables, err := d.TableNames(ctx, edition)
	if err != nil {
		return nil, err
	}
	rights, err := grants(ctx, pool, SchemaName(edition))
	if err != nil {
		return nil, err
	}
	faults = append(faults, beyond(rights, editionGrants(SchemaName(edition), tables))...)
	control, err := d.controlFaults(ctx)
	return append(faults, control...), err
}

// controlFaults are the rights on the control tables that no migration gave.
func (d *DB) controlFaults(ctx context.Context) ([]string, error) {
	rights, err := d.ControlGrants(ctx)
	if err != nil {
		return nil, err
	}
	faults := beyond(rights, strings.Split(strings.TrimSpace(schema.ControlGrants), "\n"))
	newer, err := d.controlIsNewer(ctx)
	if err == nil && newer {
		// What a newer binary's migrations grant to a role of refold, this one cannot know; tenants' data is not for them.
		faults = slices.DeleteFunc(faults, func(fault string) bool {
			return strings.HasPrefix(fault, "role refold_") && strings.Contains(fault, " may ") && !strings.Contains(fault, " control.access")
		})
	}
	return faults, err
}

func (d *DB) controlIsNewer(ctx context.Context) (bool, error) {
	set, err := ourControl()
	if err != nil {
		return false, err
	}
	ours, err := set.versions()
	if err != nil {
		return false, err
	}
	at, err := d.controlAt(ctx)
	return at.last() > ours[len(ours)-1], err
}

// ControlGrants lists who may do what with the control tables, a line a right: "role refold_reader may SELECT control.live".
// What their owner may is left out.
func (d *DB) ControlGrants(ctx context.Context) ([]string, error) {
	pool, err := d.Owner(ctx)
	if err != nil {
		return nil, err
	}
	return grants(ctx, pool, "control")
}

// editionGrants are the rights on an edition that 01001_security.sql gives.
func editionGrants(name string, tables []string) (out []string) {
	for _, role := range []Role{RoleReader, RoleProjector, RoleVerifier, RoleSQL} {
		out = append(out, fmt.Sprintf("role %s may USAGE schema %s", role, name))
		privileges := []string{"SELECT"}
		if role == RoleProjector {
			privileges = []string{"SELECT", "INSERT", "UPDATE", "DELETE"}
		}
		for _, table := range tables {
			for _, privilege := range privileges {
				out = append(out, fmt.Sprintf("role %s may %s %s.%s", role, privilege, name, table))
			}
		}
	}
	return out
}

// beyond returns what is not allowed.
func beyond(rights, allowed []string) (out []string) {
	for _, right := range rights {
		if !slices.Contains(allowed, right) {
			out = append(out, right)
		}
	}
	return out
}

func grants(ctx context.Context, q db.DBTX, name string) ([]string, error) {
	rows, err := q.Query(ctx, grantsSQL, name, roleNames(append([]Role{RoleSQL}, roles...)))
	if err != nil {
		return nil, fmt.Errorf("rights on schema %s: %w", name, err)
	}
	lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("rights on schema %s: %w", name, err)
	}
	slices.Sort(lines)
	return lines, nil
}

// grantsSQL lists who may do what with a schema and all that is in it, save what an extension brought and functions of
// editions that run as their caller. Owners may be the login and whoever has more: the owner of the database, superusers,
// and roles that the login is a member of.
const grantsSQL = `
WITH object (kind, name, owner, acl) AS (
	SELECT 'schema ', n.nspname::text, n.nspowner, n.nspacl FROM pg_catalog.pg_namespace n WHERE n.nspname = $1
	UNION ALL
	SELECT '', n.nspname || '.' || c.relname, c.relowner, c.relacl
	FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
	WHERE n.nspname = $1 AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
	  AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
	UNION ALL
	SELECT 'column ', n.nspname || '.' || c.relname || '.' || a.attname, c.relowner, a.attacl
	FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid
	WHERE n.nspname = $1 AND a.attacl IS NOT NULL AND NOT a.attisdropped
	UNION ALL
	SELECT 'function ', n.nspname || '.' || p.proname, p.proowner, coalesce(p.proacl, pg_catalog.acldefault('f', p.proowner))
	FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
	WHERE n.nspname = $1 AND (n.nspname = 'control' OR p.prosecdef)
	  AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e')
)
SELECT CASE a.grantee WHEN 0 THEN 'every role' ELSE 'role ' || pg_catalog.pg_get_userbyid(a.grantee) END
	|| ' may ' || a.privilege_type || ' ' || o.kind || o.name || CASE WHEN a.is_grantable THEN ' and grant that' ELSE '' END
FROM object o CROSS JOIN LATERAL pg_catalog.aclexplode(o.acl) a WHERE a.grantee <> o.owner
UNION
SELECT 'role ' || r.rolname || ' owns ' || o.kind || o.name FROM object o JOIN pg_catalog.pg_roles r ON r.oid = o.owner
WHERE r.rolname = ANY ($2) OR NOT r.rolsuper AND r.rolname <> current_user
  AND r.oid <> (SELECT b.datdba FROM pg_catalog.pg_database b WHERE b.datname = pg_catalog.current_database())
  AND NOT (pg_catalog.pg_has_role(r.oid, 'MEMBER') AND NOT (SELECT u.rolsuper FROM pg_catalog.pg_roles u WHERE u.rolname = current_user))`

// roleFaults returns what is wrong with the roles that the login takes on: each has the rights of its own grants and no
// others, and nobody has it who could not make himself a member anyway.
func roleFaults(ctx context.Context, q db.DBTX) ([]string, error) {
	rows, err := q.Query(ctx, roleAuditSQL, roleNames(roles))
	if err != nil {
		return nil, fmt.Errorf("audit of the roles: %w", err)
	}
	faults, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("audit of the roles: %w", err)
	}
	return faults, nil
}

// roleAuditSQL: roles belong to the cluster, so members may be the logins of other databases of refold, too. They have
// CREATEROLE, and that is more: until Postgres 15 it makes members of everybody, since then of whoever made the role, or
// has it with ADMIN OPTION.
const roleAuditSQL = `
WITH ours AS (SELECT * FROM pg_catalog.pg_roles WHERE rolname = ANY ($1))
SELECT 'role ' || rolname || ' can log in' FROM ours WHERE rolcanlogin
UNION ALL
SELECT 'role ' || rolname || ' bypasses row level security' FROM ours WHERE rolbypassrls OR rolsuper
UNION ALL
SELECT 'role ' || rolname || ' has rights beyond those granted (createrole, createdb or replication)' FROM ours WHERE rolcreaterole OR rolcreatedb OR rolreplication
UNION ALL
SELECT DISTINCT 'role ' || m.rolname || ' is a member of ' || g.rolname FROM pg_catalog.pg_auth_members a
JOIN pg_catalog.pg_roles m ON m.oid = a.member JOIN pg_catalog.pg_roles g ON g.oid = a.roleid
WHERE a.member IN (SELECT oid FROM ours)
   OR a.roleid IN (SELECT oid FROM ours) AND NOT m.rolsuper AND m.rolname <> current_user
	AND m.oid <> (SELECT b.datdba FROM pg_catalog.pg_database b WHERE b.datname = pg_catalog.current_database())
	AND NOT (m.rolcreaterole AND (pg_catalog.current_setting('server_version_num')::int < 160000 OR pg_catalog.pg_has_role(m.oid, g.oid, 'MEMBER WITH ADMIN OPTION')))
ORDER BY 1`

func roleNames(roles []Role) (out []string) {
	for _, role := range roles {
		out = append(out, string(role))
	}
	return out
}
