-- SQL readers go to the views beside the tables of an edition. Editions made by older binaries have none: there, readers
-- keep the tables until the edition is retired.
-- refold: works with binaries from 00001

-- +goose Up
-- A reader may alter its own role at any moment, and then ALTER ROLE waits or fails here: its sessions are ended, and if
-- that does not help it stays where it is until the next call. No reader can hold back a flip.
-- +goose StatementBegin
CREATE OR REPLACE FUNCTION control.sql_follow_live() RETURNS integer LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET lock_timeout = '10s'
AS $$
DECLARE
    reader record;
    moved  integer := 0;
BEGIN
    -- Two flips at a time: ALTER ROLE does not wait for its like, it fails.
    LOCK TABLE control.sql_reader IN SHARE ROW EXCLUSIVE MODE;
    PERFORM set_config('lock_timeout', '200ms', true);
    FOR reader IN
        WITH lives AS (
            SELECT s.login, r.oid, 'edition_' || coalesce(own.edition, home.edition) AS tables
            FROM control.sql_reader s
            JOIN pg_catalog.pg_roles r ON r.rolname = s.login
            JOIN control.tenant t ON t.tenant_id = s.tenant_id
            JOIN control.live home ON home.shard = t.shard AND home.tenant_id = ''
            LEFT JOIN control.live own ON own.shard = t.shard AND own.tenant_id = t.tenant_id
            WHERE EXISTS (
                SELECT FROM pg_catalog.pg_auth_members m WHERE m.member = r.oid AND m.roleid = 'refold_sql'::regrole
            )
        ), seen AS (
            SELECT l.login, l.oid, CASE WHEN n.oid IS NULL THEN l.tables ELSE l.tables || '_sql' END AS schema
            FROM lives l LEFT JOIN pg_catalog.pg_namespace n ON n.nspname = l.tables || '_sql'
        )
        SELECT s.login, s.schema FROM seen s
        WHERE NOT EXISTS (
            SELECT FROM pg_catalog.pg_db_role_setting d
            WHERE d.setrole = s.oid
              AND d.setdatabase = (SELECT b.oid FROM pg_catalog.pg_database b WHERE b.datname = current_database())
              AND 'search_path=' || s.schema = ANY (d.setconfig)
        )
        ORDER BY s.login
    LOOP
        FOR try IN 1..5 LOOP
            BEGIN
                EXECUTE format('ALTER ROLE %I IN DATABASE %I SET search_path = %I', reader.login, current_database(), reader.schema);
                moved := moved + 1;
                EXIT;
            EXCEPTION
                WHEN insufficient_privilege THEN RAISE;
                WHEN OTHERS THEN
                    PERFORM pg_stat_clear_snapshot();
                    PERFORM pg_terminate_backend(a.pid, 1000) FROM pg_catalog.pg_stat_activity a
                    WHERE a.usename = reader.login AND pg_has_role(current_user, a.usesysid, 'USAGE');
            END;
        END LOOP;
    END LOOP;
    RETURN moved;
END
$$;
-- +goose StatementEnd
