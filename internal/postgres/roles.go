package postgres

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
)

// createRoles makes the roles, which belong to the whole cluster, and lets the login become them.
func (d *DB) createRoles(ctx context.Context) error {
	pool, err := d.Owner(ctx)
	if err != nil {
		return err
	}
	return pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		if err := d.LockInTx(ctx, tx, rolesLock, lockID(rolesLock), pollMax); err != nil {
			return err
		}
		for _, role := range append([]Role{RoleSQL}, roles...) {
			if err := createRole(ctx, tx, role); err != nil {
				return fmt.Errorf("take on role %s (the login needs CREATEROLE, and the role WITH ADMIN OPTION where another login made it; or an administrator runs: %s): %w",
					role, rolesSQL(d.config.ConnConfig.User), err)
			}
		}
		return nil
	})
}

// rolesLock lets one process at a time make the roles.
const rolesLock = "refold roles"

// rolesSQL makes the roles for a login that may not.
func rolesSQL(login string) string {
	var all []string
	statements := "CREATE ROLE " + string(RoleSQL) + " NOLOGIN;"
	for _, role := range roles {
		all = append(all, string(role))
		statements += " CREATE ROLE " + string(role) + " NOLOGIN;"
	}
	return statements + " GRANT " + strings.Join(all, ", ") + " TO " + pgx.Identifier{login}.Sanitize() + ";"
}

// SharedWith lists the other databases of the server in which the roles of refold have rights: those of other planes. What a
// login may do there, it may do by them here as well.
func (d *DB) SharedWith(ctx context.Context) ([]string, error) {
	pool, err := d.Owner(ctx)
	if err != nil {
		return nil, err
	}
	rows, err := pool.Query(ctx, `SELECT DISTINCT d.datname::text FROM pg_shdepend s
		JOIN pg_database d ON d.oid = s.dbid JOIN pg_roles r ON r.oid = s.refobjid
		WHERE s.refclassid = 'pg_authid'::regclass AND r.rolname = $1 AND d.datname <> current_database() ORDER BY 1`, string(RoleReader))
	if err != nil {
		return nil, fmt.Errorf("other planes of the server: %w", err)
	}
	return pgx.CollectRows(rows, pgx.RowTo[string])
}

// createRole makes a role that is not there. The advisory lock knows one database only, so a process on another one of
// the cluster may come first: then the role is there as well.
func createRole(ctx context.Context, tx pgx.Tx, role Role) error {
	_, err := tx.Exec(ctx, `DO $$ BEGIN
		IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '`+string(role)+`') THEN
			CREATE ROLE `+string(role)+` NOLOGIN;
		END IF;
	EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
	END $$`)
	if err != nil || role == RoleSQL {
		return err
	}
	// Since Postgres 16 whoever made a role is its member and yet may not become it.
	_, err = tx.Exec(ctx, `DO $$ BEGIN
		IF NOT pg_has_role(current_user, '`+string(role)+`', CASE WHEN current_setting('server_version_num')::int >= 160000 THEN 'SET' ELSE 'MEMBER' END) THEN
			EXECUTE format('GRANT `+string(role)+` TO %I', current_user);
		END IF;
	EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
	END $$`)
	return err
}
