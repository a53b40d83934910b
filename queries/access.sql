-- name: AccessInsert :execrows
-- Writes accesses, each once however often it is delivered.
INSERT INTO control.access (tenant_id, memory_id, accessed_at, batch, ordinal, user_id, app_id, kind)
SELECT unnest(@tenant_ids::text[]), unnest(@memory_ids::uuid[]), unnest(@accessed_ats::timestamptz[]), unnest(@batches::uuid[]),
    unnest(@ordinals::integer[]), unnest(@user_ids::uuid[]), nullif(unnest(@app_ids::uuid[]), '00000000-0000-0000-0000-000000000000'::uuid), unnest(@kinds::text[])
ON CONFLICT DO NOTHING;

-- name: AccessLossInsert :exec
-- Notes, once for each id, what will not come.
INSERT INTO control.access_loss (id, lost_at, accesses, batches) VALUES (@id, @lost_at, @accesses, @batches) ON CONFLICT DO NOTHING;

-- name: AccessLosses :one
-- What was lost, as far as it is remembered.
SELECT coalesce(sum(accesses), 0)::bigint AS accesses, coalesce(sum(batches), 0)::bigint AS batches, coalesce(max(lost_at), 'epoch')::timestamptz AS last_at
FROM control.access_loss;

-- name: AccessExpire :execrows
-- Removes some of what is older than a time.
DELETE FROM control.access WHERE ctid = ANY (ARRAY(
    SELECT o.ctid FROM control.access o WHERE o.accessed_at < @older_than ORDER BY o.accessed_at LIMIT @count_max::integer
));

-- name: AccessLossExpire :exec
DELETE FROM control.access_loss WHERE lost_at < @older_than;

-- name: AccessForget :execrows
-- Removes some of what is known about a tenant.
DELETE FROM control.access WHERE ctid = ANY (ARRAY(
    SELECT o.ctid FROM control.access o WHERE o.tenant_id = @tenant_id LIMIT @count_max::integer
));

-- name: AccessOldest :one
-- When the oldest access was; no row without any.
SELECT accessed_at FROM control.access ORDER BY accessed_at LIMIT 1;

-- name: AccessPage :many
-- A page of the accesses to one memory, newest first; for readers.
SELECT l.accessed_at, l.batch, l.ordinal, l.user_id, l.app_id, l.kind, a.name AS app_name
FROM control.access l
LEFT JOIN app a ON a.tenant_id = l.tenant_id AND a.id = l.app_id
WHERE l.tenant_id = @tenant_id AND l.memory_id = @memory_id AND l.user_id = @user_id
  AND (sqlc.narg('before_at')::timestamptz IS NULL
      OR (l.accessed_at, l.batch, l.ordinal) < (sqlc.narg('before_at')::timestamptz, sqlc.narg('before_batch')::uuid, sqlc.narg('before_ordinal')::integer))
ORDER BY l.accessed_at DESC, l.batch DESC, l.ordinal DESC
LIMIT @count_max OFFSET @skip;

-- name: AccessCount :one
-- How many accesses to one memory are known; for readers.
SELECT count(*) FROM control.access l WHERE l.tenant_id = @tenant_id AND l.memory_id = @memory_id AND l.user_id = @user_id;

-- name: AccessedPage :many
-- A page of the memories that an app accessed, most accessed first; deleted ones are left out. For readers.
WITH counted AS (
    SELECT l.memory_id, count(*) AS accesses, max(l.accessed_at)::timestamptz AS last_at
    FROM control.access l
    WHERE l.tenant_id = @tenant_id AND l.app_id = @app_id::uuid AND l.user_id = @user_id
    GROUP BY l.memory_id
)
SELECT sqlc.embed(m), a.name AS app_name, ARRAY(
    SELECT y.name FROM memory_category l JOIN category y ON y.tenant_id = l.tenant_id AND y.id = l.category_id
    WHERE l.tenant_id = @tenant_id AND l.memory_id = m.id ORDER BY y.name)::text[] AS categories, c.accesses, c.last_at
FROM counted c
JOIN memory m ON m.tenant_id = @tenant_id AND m.id = c.memory_id AND m.user_id = @user_id AND m.state <> 'deleted'
LEFT JOIN app a ON a.tenant_id = m.tenant_id AND a.id = m.app_id
WHERE sqlc.narg('below')::bigint IS NULL OR (c.accesses, m.id) < (sqlc.narg('below')::bigint, sqlc.narg('below_id')::uuid)
ORDER BY c.accesses DESC, m.id DESC
LIMIT @count_max OFFSET @skip;

-- name: AccessesOfApps :many
-- How many memories that are not deleted each app accessed, and when it did so first and last; for readers.
SELECT l.app_id::uuid AS app_id, count(DISTINCT l.memory_id) FILTER (WHERE m.id IS NOT NULL) AS memories,
    min(l.accessed_at)::timestamptz AS first_at, max(l.accessed_at)::timestamptz AS last_at
FROM control.access l
LEFT JOIN memory m ON m.tenant_id = l.tenant_id AND m.id = l.memory_id AND m.state <> 'deleted'
WHERE l.tenant_id = @tenant_id AND l.user_id = @user_id AND l.app_id = ANY (@app_ids::uuid[])
GROUP BY l.app_id;
