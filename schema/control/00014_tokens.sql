-- Which tokens the plane has minted, and which tokens are refused before they expire. Neither holds a token.
-- refold: works with binaries from 00001

-- +goose Up
CREATE TABLE control.token (
    token_id   text        PRIMARY KEY,
    tenant_id  text        NOT NULL,
    subject    text        NOT NULL,
    scopes     text[]      NOT NULL,
    app        text        NOT NULL,
    audience   text        NOT NULL,
    key_id     text        NOT NULL,
    issued_at  timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    minted_by  text        NOT NULL
);
CREATE INDEX token_by_tenant ON control.token (tenant_id, subject, issued_at);
COMMENT ON TABLE control.token IS 'The tokens that were minted with the plane''s own keys, until some time after they expire.';
COMMENT ON COLUMN control.token.app IS 'The app that the token is bound to; empty = none.';

CREATE TABLE control.token_revocation (
    tenant_id  text        NOT NULL,
    subject    text        NOT NULL,
    token_id   text        NOT NULL,
    not_before timestamptz NOT NULL,
    until      timestamptz NOT NULL,
    revoked_at timestamptz NOT NULL,
    revoked_by text        NOT NULL,
    PRIMARY KEY (tenant_id, subject, token_id)
);
COMMENT ON TABLE control.token_revocation IS 'A token that fits is refused when it was issued at not_before or earlier, whoever its issuer is. An empty text fits all.';
COMMENT ON COLUMN control.token_revocation.until IS 'When the last token that it refuses has expired.';

GRANT SELECT, INSERT, DELETE ON control.token TO refold_operator;
GRANT SELECT, INSERT, UPDATE, DELETE ON control.token_revocation TO refold_operator;
