-- What became of each tenant, and what it may take of the plane.
-- refold: works with binaries from 00001

-- +goose Up
ALTER TABLE control.tenant
    ADD COLUMN standing   text    NOT NULL DEFAULT 'active',
    ADD COLUMN per_second integer NOT NULL DEFAULT 0,
    ADD COLUMN burst      integer NOT NULL DEFAULT 0,
    ADD COLUMN in_flight  integer NOT NULL DEFAULT 0;
COMMENT ON COLUMN control.tenant.standing IS 'suspended: commands are refused. removed: absent to its principals, for ever.';
COMMENT ON COLUMN control.tenant.per_second IS 'Requests a second; 0, here and in the other limits, is what the plane gives every tenant.';
