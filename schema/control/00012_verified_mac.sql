-- What tells a row that this plane wrote from one that somebody changed: a MAC under a key that the database does not
-- have. An older binary leaves it as it is, and a row that it has written anew then counts as not proven.
-- refold: works with binaries from 00001

-- +goose Up
ALTER TABLE control.edition_shard ADD COLUMN mac bytea;
COMMENT ON COLUMN control.edition_shard.mac IS 'Of edition, shard, shape and verified_seq, by the verification that set it.';
