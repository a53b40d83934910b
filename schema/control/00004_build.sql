-- What each build took: shown beside the edition, and what the next build's estimates rest on.
-- refold: works with binaries from 00001

-- +goose Up
CREATE TABLE control.build (
    edition      bigint      PRIMARY KEY REFERENCES control.edition (number),
    events       bigint      NOT NULL,
    rows_loaded  bigint      NOT NULL,
    replay_ms    bigint      NOT NULL,
    load_ms      bigint      NOT NULL,
    index_ms     bigint      NOT NULL,
    held_back_ms bigint      NOT NULL,
    bytes        bigint      NOT NULL,
    finished_at  timestamptz
);
COMMENT ON TABLE control.build IS 'One row per edition that was built, by one builder or by several after each other: each pass adds what it took.';
COMMENT ON COLUMN control.build.replay_ms IS 'Reading and folding, over all passes.';
COMMENT ON COLUMN control.build.load_ms IS 'What COPY and commit took behind the last event of each pass.';
COMMENT ON COLUMN control.build.index_ms IS 'Keys, indexes, policies and statistics.';
COMMENT ON COLUMN control.build.held_back_ms IS 'How much of all that was waiting for the live edition.';
COMMENT ON COLUMN control.build.bytes IS 'Tables and indexes on disk at the end.';

GRANT SELECT, INSERT, UPDATE ON control.build TO refold_operator;
