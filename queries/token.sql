-- name: Clock :one
-- The time by which tokens are issued and revoked: one clock for all operators.
SELECT clock_timestamp()::timestamptz AS now;

-- name: TokenInsert :exec
INSERT INTO control.token (token_id, tenant_id, subject, scopes, app, audience, key_id, issued_at, expires_at, minted_by)
VALUES (@token_id, @tenant_id, @subject, @scopes::text[], @app, @audience, @key_id, @issued_at, @expires_at, @minted_by);

-- name: TokenList :many
-- The tokens that a filter selects, newest first; an empty text selects all.
SELECT * FROM control.token
WHERE (@tenant_id::text = '' OR tenant_id = @tenant_id) AND (@subject::text = '' OR subject = @subject) AND (@token_id::text = '' OR token_id = @token_id)
  AND (@expired::boolean OR expires_at > clock_timestamp())
ORDER BY issued_at DESC, token_id
LIMIT @count_max;

-- name: TokenApps :many
-- The apps that tokens are bound to.
SELECT DISTINCT app FROM control.token WHERE app <> '' AND (@tenant_id::text = '' OR tenant_id = @tenant_id) ORDER BY app LIMIT @count_max;

-- name: TokensOfKey :one
-- How many tokens of a key have not expired.
SELECT count(*) FROM control.token WHERE key_id = @key_id AND expires_at > clock_timestamp();

-- name: TokenForget :exec
DELETE FROM control.token WHERE expires_at < @older_than;

-- name: RevocationUpsert :exec
-- Refuses what fits, up to the later of the times that are given.
INSERT INTO control.token_revocation AS r (tenant_id, subject, token_id, not_before, until, revoked_at, revoked_by)
VALUES (@tenant_id, @subject, @token_id, @not_before, @until, clock_timestamp(), @revoked_by)
ON CONFLICT (tenant_id, subject, token_id) DO UPDATE SET
    not_before = greatest(r.not_before, excluded.not_before), until = greatest(r.until, excluded.until),
    revoked_at = excluded.revoked_at, revoked_by = excluded.revoked_by;

-- name: RevocationList :many
SELECT * FROM control.token_revocation ORDER BY tenant_id, subject, token_id;

-- name: RevocationMark :one
-- Differs when what is revoked does.
SELECT (count(*) || ' ' || coalesce(sum(extract(epoch FROM not_before)), 0))::text AS mark FROM control.token_revocation;

-- name: RevocationForget :exec
DELETE FROM control.token_revocation WHERE until < clock_timestamp();
