-- What a reconciliation after a restore needs: which events each edition has folded, newest first to be kept, so that
-- commands can be named whose events a restored journal no longer holds; and what was reconciled.
-- refold: works with binaries from 00001

-- +goose Up
CREATE TABLE control.applied (
    edition   bigint  NOT NULL,
    shard     integer NOT NULL,
    last_seq  bigint  NOT NULL,
    first_seq bigint  NOT NULL,
    chain     bytea   NOT NULL,
    events    bytea   NOT NULL,
    PRIMARY KEY (edition, shard, last_seq)
);
COMMENT ON TABLE control.applied IS 'One row per committed batch of a projector, written with its checkpoint. The oldest are removed.';
COMMENT ON COLUMN control.applied.chain IS 'The digest of all events up to last_seq, as in the checkpoint.';
COMMENT ON COLUMN control.applied.events IS 'For each event tenant, entity, id, version, command id and digest, packed; see package ledger.';
-- Most of it are digests and random ids: trying to compress them only takes time.
ALTER TABLE control.applied ALTER COLUMN events SET STORAGE EXTERNAL;

CREATE TABLE control.reconciliation (
    id           bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    journal_id   text        NOT NULL,
    incarnation  bigint      NOT NULL,
    finding_hash text        NOT NULL,
    finding      jsonb       NOT NULL,
    begun_at     timestamptz NOT NULL,
    finished_at  timestamptz
);
COMMENT ON TABLE control.reconciliation IS 'What an operator was shown and has applied. finished_at is NULL while it is under way, or was cut short.';

GRANT SELECT, INSERT, UPDATE, DELETE ON control.applied TO refold_projector;
GRANT SELECT, INSERT, DELETE ON control.applied TO refold_operator;
GRANT SELECT, INSERT, UPDATE ON control.reconciliation TO refold_operator;
