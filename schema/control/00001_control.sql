-- The tables that outlive editions. They are altered in place, by migrations, and hold no tenant's data.
-- refold: works with binaries from 00001

-- +goose Up
CREATE SCHEMA IF NOT EXISTS control;

CREATE TABLE control.edition (
    number      bigint      PRIMARY KEY,
    schema_name text        NOT NULL UNIQUE,
    shape       text        NOT NULL,
    state       text        NOT NULL CHECK (state IN ('building', 'serving', 'retired')),
    epoch       bigint      NOT NULL,
    created_at  timestamptz NOT NULL,
    retired_at  timestamptz
);
COMMENT ON TABLE control.edition IS 'One row per edition. serving: it has keys, policies and checkpoints, and is kept level by projectors.';

CREATE TABLE control.edition_shard (
    edition      bigint      NOT NULL REFERENCES control.edition (number),
    shard        integer     NOT NULL,
    state        text        NOT NULL CHECK (state IN ('building', 'caught_up', 'verified', 'retired')),
    head         bigint      NOT NULL,
    passes       integer     NOT NULL,
    passes_done  integer     NOT NULL,
    event_digest bytea       NOT NULL,
    chain        bytea       NOT NULL,
    verified_seq bigint,
    verified_at  timestamptz,
    PRIMARY KEY (edition, shard)
);
COMMENT ON COLUMN control.edition_shard.head IS 'The sequence that all passes of the build fold to, captured once at its start.';

CREATE TABLE control.checkpoint (
    edition        bigint      NOT NULL REFERENCES control.edition (number),
    shard          integer     NOT NULL,
    journal_id     text        NOT NULL,
    incarnation    bigint      NOT NULL,
    stream         text        NOT NULL,
    seq            bigint      NOT NULL,
    event_digest   bytea       NOT NULL,
    chain          bytea       NOT NULL,
    epoch          bigint      NOT NULL,
    holder         text        NOT NULL,
    holder_pid     integer     NOT NULL,
    stopped        text,
    stopped_detail text,
    updated_at     timestamptz NOT NULL,
    PRIMARY KEY (edition, shard)
);
COMMENT ON COLUMN control.checkpoint.stopped IS 'PROJECTION_AHEAD, DIVERGED, LOG_TRUNCATED or LOG_REPLACED: journal and edition disagree about the past; only a named operator command goes on.';

CREATE TABLE control.live (
    shard      integer     NOT NULL,
    tenant_id  text        NOT NULL,
    edition    bigint      NOT NULL REFERENCES control.edition (number),
    previous   bigint      REFERENCES control.edition (number),
    epoch      bigint      NOT NULL,
    flipped_at timestamptz NOT NULL,
    PRIMARY KEY (shard, tenant_id)
);
COMMENT ON COLUMN control.live.tenant_id IS 'Empty for the default of the shard; a row with a tenant overrides it.';

CREATE TABLE control.flip (
    id         bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    shard      integer     NOT NULL,
    tenant_id  text        NOT NULL,
    edition    bigint      NOT NULL,
    previous   bigint,
    seq        bigint      NOT NULL,
    verified   boolean     NOT NULL,
    reason     text        NOT NULL,
    flipped_at timestamptz NOT NULL
);
COMMENT ON TABLE control.flip IS 'Every cutover and rollback, for the record.';

CREATE TABLE control.verification (
    id          bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    edition     bigint      NOT NULL,
    shard       integer     NOT NULL,
    seq         bigint      NOT NULL,
    clean       boolean     NOT NULL,
    report      jsonb       NOT NULL,
    finished_at timestamptz NOT NULL
);

CREATE TABLE control.tenant (
    tenant_id  text        PRIMARY KEY,
    shard      integer     NOT NULL,
    name       text        NOT NULL,
    id_key     bytea       NOT NULL,
    seq        bigint      NOT NULL,
    created_at timestamptz NOT NULL
);
COMMENT ON TABLE control.tenant IS 'The fold of the tenant events of every shard.';

CREATE TABLE control.setting (
    name       text        PRIMARY KEY,
    value      text        NOT NULL,
    changed_at timestamptz NOT NULL
);
COMMENT ON TABLE control.setting IS 'Facts about this plane that outlive a process, such as migrations that ran unverified.';

GRANT USAGE ON SCHEMA control TO refold_operator, refold_projector, refold_reader, refold_verifier;
GRANT SELECT ON ALL TABLES IN SCHEMA control TO refold_operator;
GRANT INSERT, UPDATE, DELETE ON control.edition, control.edition_shard, control.checkpoint, control.live, control.flip,
    control.verification, control.tenant, control.setting TO refold_operator;
GRANT SELECT, UPDATE ON control.checkpoint TO refold_projector;
GRANT SELECT ON control.edition, control.edition_shard TO refold_projector;
GRANT SELECT ON control.edition, control.edition_shard, control.checkpoint, control.live TO refold_reader, refold_verifier;
