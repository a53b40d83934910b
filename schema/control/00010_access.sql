-- The access log: who read which memory, through which app, and when. It is no part of what is proven: it comes by a
-- stream of its own, may have gaps that access_loss counts, expires, and is in no backup.
-- refold: works with binaries from 00001

-- +goose Up
CREATE TABLE control.access (
    tenant_id   text        NOT NULL,
    memory_id   uuid        NOT NULL,
    accessed_at timestamptz NOT NULL,
    batch       uuid        NOT NULL,
    ordinal     integer     NOT NULL,
    user_id     uuid        NOT NULL,
    app_id      uuid,
    kind        text        NOT NULL,
    PRIMARY KEY (tenant_id, memory_id, accessed_at, batch, ordinal)
);
CREATE INDEX access_by_app ON control.access (tenant_id, app_id, memory_id, accessed_at) WHERE app_id IS NOT NULL;
CREATE INDEX access_by_age ON control.access (accessed_at);
COMMENT ON TABLE control.access IS 'The access log. Unproven: no fold of the journal, and not in backups.';
COMMENT ON COLUMN control.access.batch IS 'The message that brought it, with its place there: what is delivered twice is stored once.';
ALTER TABLE control.access ENABLE ROW LEVEL SECURITY;
ALTER TABLE control.access FORCE ROW LEVEL SECURITY;
CREATE POLICY reader ON control.access FOR SELECT TO refold_reader USING (tenant_id = nullif(current_setting('app.tenant', true), ''));
CREATE POLICY operator ON control.access FOR ALL TO refold_operator USING (true) WITH CHECK (true);

CREATE TABLE control.access_loss (
    id       text        PRIMARY KEY,
    lost_at  timestamptz NOT NULL,
    accesses bigint      NOT NULL,
    batches  bigint      NOT NULL
);
COMMENT ON TABLE control.access_loss IS 'What never came into control.access: accesses that a process had no room for, and batches that expired on their way.';

GRANT SELECT ON control.access TO refold_reader;
GRANT SELECT, INSERT, DELETE ON control.access, control.access_loss TO refold_operator;
