-- What SQL readers see: a schema of views beside the tables, on which they have no right. Each view reads a function that
-- returns the rows of the login's tenant and is a black box to the planner. A view alone would not do, security_barrier or
-- not: its estimates come from statistics over all tenants, and EXPLAIN shows them. The fixed settings keep the plan
-- inside from the session (debug_print_plan would send it there) and read by the tenant's index.
-- Deleted memories, and what other tables say of them, are absent.

-- +goose Up
-- +goose StatementBegin
DO $$
DECLARE
    tables text := current_schema();
    views  text := current_schema() || '_sql';
    t      record;
BEGIN
    EXECUTE format('CREATE SCHEMA %I', views);
    EXECUTE format('GRANT USAGE ON SCHEMA %I TO refold_sql', views);
    FOR t IN
        SELECT p.tablename AS name, CASE
            WHEN p.tablename = 'memory' THEN $w$ AND t.state <> 'deleted'$w$
            WHEN EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = format('%I.%I', tables, p.tablename)::regclass AND a.attname = 'memory_id')
                THEN format($w$ AND NOT EXISTS (SELECT FROM %I.memory m WHERE m.tenant_id = t.tenant_id AND m.id = t.memory_id AND m.state = 'deleted')$w$, tables)
            ELSE '' END AS condition
        FROM pg_tables p WHERE p.schemaname = tables AND p.tablename <> 'goose_db_version' ORDER BY p.tablename
    LOOP
        EXECUTE format($f$CREATE FUNCTION %1$I.%3$I() RETURNS SETOF %2$I.%3$I LANGUAGE sql STABLE SECURITY DEFINER ROWS 1000
            SET search_path = pg_catalog, pg_temp SET client_min_messages = warning SET row_security = on SET enable_seqscan = off
            AS %4$L$f$, views, tables, t.name,
            format('SELECT t.* FROM %I.%I t WHERE t.tenant_id = (SELECT control.sql_tenant())', tables, t.name) || t.condition);
        EXECUTE format('REVOKE ALL ON FUNCTION %I.%I() FROM PUBLIC', views, t.name);
        EXECUTE format('GRANT EXECUTE ON FUNCTION %I.%I() TO refold_sql', views, t.name);
        EXECUTE format('CREATE VIEW %1$I.%2$I AS SELECT * FROM %1$I.%2$I()', views, t.name);
        EXECUTE format('GRANT SELECT ON %I.%I TO refold_sql', views, t.name);
    END LOOP;
END
$$;
-- +goose StatementEnd
