-- What a verification has finished so far, which entities it found to differ, and what repairs did about that.
-- refold: works with binaries from 00001

-- +goose Up
CREATE TABLE control.verification_run (
    id          bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    edition     bigint      NOT NULL,
    shard       integer     NOT NULL,
    journal_id  text        NOT NULL,
    incarnation bigint      NOT NULL,
    shape       text        NOT NULL,
    scope       text        NOT NULL,
    epoch       bigint      NOT NULL,
    started_at  timestamptz NOT NULL,
    touched_at  timestamptz NOT NULL,
    finished_at timestamptz,
    clean       boolean,
    report      jsonb
);
CREATE INDEX verification_run_by_edition ON control.verification_run (edition, shard, id);
COMMENT ON TABLE control.verification_run IS 'One row per verification. Without finished_at it was cut short, and says nothing about the rows.';
COMMENT ON COLUMN control.verification_run.scope IS 'What it was narrowed to, as JSON; a run is gone on with only by one of equal scope.';
COMMENT ON COLUMN control.verification_run.epoch IS 'Raised by whoever goes on with it: the one before is fenced.';

CREATE TABLE control.verification_part (
    run         bigint      NOT NULL REFERENCES control.verification_run (id) ON DELETE CASCADE,
    number      integer     NOT NULL,
    parts       integer     NOT NULL,
    seq         bigint      NOT NULL,
    chain       bytea       NOT NULL,
    result      jsonb       NOT NULL,
    digests     bytea       NOT NULL,
    finished_at timestamptz NOT NULL,
    PRIMARY KEY (run, parts, number)
);
COMMENT ON TABLE control.verification_part IS 'The parts of the key space that a verification has compared, each at the position of its snapshot.';
COMMENT ON COLUMN control.verification_part.chain IS 'The chain of the checkpoint in that snapshot.';

CREATE TABLE control.verification_entity (
    run       bigint NOT NULL REFERENCES control.verification_run (id) ON DELETE CASCADE,
    tenant_id text   NOT NULL,
    entity    text   NOT NULL,
    entity_id text   NOT NULL,
    PRIMARY KEY (run, tenant_id, entity, entity_id)
);
COMMENT ON TABLE control.verification_entity IS 'Every entity of which a verification found a row that differs, however many: what a repair refolds.';

CREATE TABLE control.repair (
    id            uuid        PRIMARY KEY,
    edition       bigint      NOT NULL,
    shard         integer     NOT NULL,
    journal_id    text        NOT NULL,
    actor         text        NOT NULL,
    report_digest text        NOT NULL,
    entities      bigint      NOT NULL,
    incarnation   bigint      NOT NULL,
    seq           bigint      NOT NULL,
    counts        jsonb       NOT NULL,
    started_at    timestamptz NOT NULL,
    finished_at   timestamptz,
    audited_seq   bigint
);
CREATE INDEX repair_open ON control.repair (edition, shard) WHERE audited_seq IS NULL;
COMMENT ON TABLE control.repair IS 'One row per repair of an edition and shard, with what it changed so far.';
COMMENT ON COLUMN control.repair.audited_seq IS 'Where its audit event stands in the journal; NULL: it is still to be appended.';

CREATE TABLE control.repair_entity (
    repair    uuid    NOT NULL REFERENCES control.repair (id) ON DELETE CASCADE,
    tenant_id text    NOT NULL,
    entity    text    NOT NULL,
    entity_id text    NOT NULL,
    done      boolean NOT NULL,
    PRIMARY KEY (repair, tenant_id, entity, entity_id)
);
COMMENT ON COLUMN control.repair_entity.done IS 'Set in the transaction that wrote its rows.';

GRANT SELECT, INSERT, UPDATE, DELETE ON control.verification_run, control.verification_part, control.verification_entity,
    control.repair, control.repair_entity TO refold_operator;
GRANT SELECT, UPDATE ON control.repair TO refold_projector;
GRANT SELECT, UPDATE ON control.repair_entity TO refold_projector;
