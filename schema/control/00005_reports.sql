-- Signed reports, one series for the plane, and the digests of all events, kept outside the journal.
-- refold: works with binaries from 00001

-- +goose Up
CREATE TABLE control.report (
    number   bigint      PRIMARY KEY,
    kind     text        NOT NULL,
    digest   text        NOT NULL,
    document bytea       NOT NULL,
    made_at  timestamptz NOT NULL
);
COMMENT ON TABLE control.report IS 'Documents that prove themselves; each names the digest of the one before.';

CREATE TABLE control.journal_page (
    journal_id    text        NOT NULL,
    incarnation   bigint      NOT NULL,
    shard         integer     NOT NULL,
    first_seq     bigint      NOT NULL,
    last_seq      bigint      NOT NULL,
    event_digests bytea       NOT NULL,
    chain         bytea       NOT NULL,
    read_at       timestamptz NOT NULL,
    PRIMARY KEY (journal_id, incarnation, shard, first_seq)
);
COMMENT ON TABLE control.journal_page IS 'What each event of the journal looked like when it was first read: a changed, lost or moved one is found and named.';
COMMENT ON COLUMN control.journal_page.event_digests IS 'The first 16 bytes of the digest of each event, first_seq to last_seq.';
COMMENT ON COLUMN control.journal_page.chain IS 'The chain of all events up to last_seq.';

GRANT SELECT, INSERT ON control.report TO refold_operator;
GRANT SELECT, INSERT, UPDATE ON control.journal_page TO refold_operator;
GRANT SELECT ON control.journal_page TO refold_verifier;
