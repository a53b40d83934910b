-- Which processes answer readers, and from which editions: what a flip waits for and what a retirement respects.
-- refold: works with binaries from 00001

-- +goose Up
CREATE TABLE control.replica (
    id         text        PRIMARY KEY,
    shape      text        NOT NULL,
    editions   bigint[]    NOT NULL,
    ready      boolean     NOT NULL,
    started_at timestamptz NOT NULL,
    seen_at    timestamptz NOT NULL
);
COMMENT ON TABLE control.replica IS 'One row per serving process, renewed every second; it means nothing once it is old.';
COMMENT ON COLUMN control.replica.editions IS 'The editions it answers readers from.';

ALTER TABLE control.edition ADD COLUMN answered_at timestamptz;
COMMENT ON COLUMN control.edition.answered_at IS 'When a process was last known to answer readers from it.';

GRANT SELECT, INSERT, UPDATE, DELETE ON control.replica TO refold_operator;
-- A flip compares what two editions hold back, shard by shard.
GRANT SELECT (tenant_id, shard) ON control.tenant TO refold_verifier;
