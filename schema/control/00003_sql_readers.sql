-- Logins that read the tables of an edition by SQL. Each belongs to one tenant for ever, by its name: row level
-- security asks control.sql_tenant, which looks at session_user and at nothing that a session can set.
-- refold: works with binaries from 00001

-- +goose Up
CREATE TABLE control.sql_reader (
    login      text        PRIMARY KEY,
    tenant_id  text        NOT NULL,
    created_at timestamptz NOT NULL
);
COMMENT ON TABLE control.sql_reader IS 'Which tenant a login of the group refold_sql belongs to. Only the owner writes it.';

-- Policies of editions depend on it, and audits of older binaries compare its text: another rule takes another name.
-- +goose StatementBegin
CREATE FUNCTION control.sql_tenant() RETURNS text LANGUAGE sql STABLE PARALLEL SAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$SELECT r.tenant_id FROM control.sql_reader r WHERE r.login = session_user::text$$;
-- +goose StatementEnd
COMMENT ON FUNCTION control.sql_tenant() IS 'The tenant of whoever logged in; NULL for all who are no SQL reader.';

-- It runs as its owner, who made the logins and so may alter them; whoever flips may not.
-- +goose StatementBegin
CREATE FUNCTION control.sql_follow_live() RETURNS integer LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    reader record;
    moved  integer := 0;
BEGIN
    -- Two flips at a time: ALTER ROLE does not wait for its like, it fails.
    LOCK TABLE control.sql_reader IN SHARE ROW EXCLUSIVE MODE;
    FOR reader IN
        SELECT s.login, 'edition_' || coalesce(own.edition, home.edition) AS edition
        FROM control.sql_reader s
        JOIN pg_catalog.pg_roles r ON r.rolname = s.login
        JOIN control.tenant t ON t.tenant_id = s.tenant_id
        JOIN control.live home ON home.shard = t.shard AND home.tenant_id = ''
        LEFT JOIN control.live own ON own.shard = t.shard AND own.tenant_id = t.tenant_id
        WHERE EXISTS (
            SELECT FROM pg_catalog.pg_auth_members m WHERE m.member = r.oid AND m.roleid = 'refold_sql'::regrole
        ) AND NOT EXISTS (
            SELECT FROM pg_catalog.pg_db_role_setting d
            WHERE d.setrole = r.oid
              AND d.setdatabase = (SELECT b.oid FROM pg_catalog.pg_database b WHERE b.datname = current_database())
              AND 'search_path=edition_' || coalesce(own.edition, home.edition) = ANY (d.setconfig)
        )
        ORDER BY s.login
    LOOP
        EXECUTE format('ALTER ROLE %I IN DATABASE %I SET search_path = %I', reader.login, current_database(), reader.edition);
        moved := moved + 1;
    END LOOP;
    RETURN moved;
END
$$;
-- +goose StatementEnd
COMMENT ON FUNCTION control.sql_follow_live() IS 'Points the search_path of every SQL reader to the live edition of its tenant, for sessions to come.';

REVOKE ALL ON FUNCTION control.sql_tenant(), control.sql_follow_live() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION control.sql_tenant() TO refold_sql;
GRANT EXECUTE ON FUNCTION control.sql_follow_live() TO refold_operator;
GRANT SELECT ON control.sql_reader TO refold_operator;
