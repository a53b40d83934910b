-- Digests that projectors keep of what they write, so that tables can be checked without a replay, and when each tenant
-- was last proven in that way.
-- refold: works with binaries from 00001

-- +goose Up
CREATE TABLE control.kept_key (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    key bytea   NOT NULL CHECK (length(key) = 32)
);
COMMENT ON TABLE control.kept_key IS 'One random secret, made once, that keys all kept digests. Whoever has it can choose rows whose sums cancel.';

CREATE TABLE control.kept_shard (
    edition bigint  NOT NULL,
    shard   integer NOT NULL,
    seq     bigint  NOT NULL,
    PRIMARY KEY (edition, shard)
) WITH (fillfactor = 50);
COMMENT ON TABLE control.kept_shard IS 'Which editions keep digests. No row: none are kept.';
COMMENT ON COLUMN control.kept_shard.seq IS 'The digests are those of this sequence. Another one than the checkpoint''s means that a binary which knows no digests has projected since: they are void.';

CREATE TABLE control.kept_digest (
    edition      bigint  NOT NULL,
    shard        integer NOT NULL,
    tenant_id    text    NOT NULL,
    events       bigint  NOT NULL,
    event_digest bytea   NOT NULL,
    tables       bytea   NOT NULL,
    PRIMARY KEY (edition, shard, tenant_id)
) WITH (fillfactor = 50);
COMMENT ON COLUMN control.kept_digest.events IS 'How many events of the tenant were applied; event_digest is the sum over them.';
COMMENT ON COLUMN control.kept_digest.tables IS 'Count and sum of the rows of each table, packed; see package rows.';

CREATE TABLE control.scrub (
    edition       bigint      NOT NULL,
    tenant_id     text        NOT NULL,
    checked_at    timestamptz NOT NULL,
    proven_at     timestamptz,
    proven_events bigint,
    damaged_since timestamptz,
    damaged       text[]      NOT NULL,
    PRIMARY KEY (edition, tenant_id)
);
COMMENT ON TABLE control.scrub IS 'When the rows of each tenant were last held against its kept digests.';
COMMENT ON COLUMN control.scrub.proven_events IS 'The position of the last proof: how many events of the tenant the rows were the fold of.';
COMMENT ON COLUMN control.scrub.damaged IS 'Tables that differed at the last check.';

GRANT SELECT ON control.kept_key, control.kept_shard, control.kept_digest, control.scrub TO refold_operator, refold_verifier;
GRANT INSERT ON control.kept_key TO refold_operator;
GRANT INSERT, UPDATE, DELETE ON control.kept_shard, control.kept_digest, control.scrub TO refold_operator;
GRANT SELECT ON control.kept_key TO refold_projector;
GRANT SELECT, UPDATE ON control.kept_shard TO refold_projector;
GRANT SELECT, INSERT, UPDATE ON control.kept_digest TO refold_projector;
