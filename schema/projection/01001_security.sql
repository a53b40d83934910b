-- Row level security, enabled after the load because COPY is refused under it. The loop covers every table of the
-- edition, so that a new table cannot be forgotten. Without a tenant set, a reader sees nothing: after a
-- transaction with a local setting the value is '' and not NULL, hence nullif.

-- +goose Up
-- +goose StatementBegin
DO $$
DECLARE
    t record;
BEGIN
    FOR t IN SELECT tablename FROM pg_tables WHERE schemaname = current_schema() AND tablename <> 'goose_db_version' LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', t.tablename);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', t.tablename);
        EXECUTE format($f$CREATE POLICY reader ON %I FOR SELECT TO refold_reader
            USING (tenant_id = nullif(current_setting('app.tenant', true), ''))$f$, t.tablename);
        -- The functions of 01003 run as the owner, for one tenant by the name of the login, which no setting can change.
        EXECUTE format('CREATE POLICY sql_reader ON %I FOR SELECT TO CURRENT_USER USING (tenant_id = (SELECT control.sql_tenant()))', t.tablename);
        EXECUTE format('CREATE POLICY projector ON %I FOR ALL TO refold_projector USING (true) WITH CHECK (true)', t.tablename);
        EXECUTE format('CREATE POLICY verifier ON %I FOR SELECT TO refold_verifier USING (true)', t.tablename);
        EXECUTE format('GRANT SELECT ON %I TO refold_reader, refold_verifier', t.tablename);
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %I TO refold_projector', t.tablename);
    END LOOP;
    EXECUTE format('GRANT USAGE ON SCHEMA %I TO refold_reader, refold_projector, refold_verifier', current_schema());
END
$$;
-- +goose StatementEnd
