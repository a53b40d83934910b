-- A proof of the scrubber tells that it was not made up, as a verification does: see 00012.
-- refold: works with binaries from 00001

-- +goose Up
ALTER TABLE control.scrub ADD COLUMN mac bytea;
COMMENT ON COLUMN control.scrub.mac IS 'Of edition, tenant, proven_at and proven_events, by the scrubber that set them.';
