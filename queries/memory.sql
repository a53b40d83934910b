-- name: MemoryOfEntities :many
-- The memories of the given entities; for the projector's working set.
SELECT m.* FROM memory m
JOIN (SELECT unnest(@tenant_ids::text[]) AS tenant_id, unnest(@ids::uuid[]) AS id) AS k ON m.tenant_id = k.tenant_id AND m.id = k.id;

-- name: MemoryByID :one
-- One memory of a user, with the name of its app; for readers. A deleted one is absent.
SELECT sqlc.embed(m), a.name AS app_name
FROM memory m
LEFT JOIN app a ON a.tenant_id = m.tenant_id AND a.id = m.app_id
WHERE m.tenant_id = @tenant_id AND m.id = @id AND m.user_id = @user_id AND m.state <> 'deleted';

-- name: MemoryPage :many
-- A page of a user's memories, newest first; for readers. Deleted ones are absent whatever states are asked for.
-- The page begins behind (before_at, before_id); without them it is the first.
SELECT sqlc.embed(m), a.name AS app_name
FROM memory m
LEFT JOIN app a ON a.tenant_id = m.tenant_id AND a.id = m.app_id
WHERE m.tenant_id = @tenant_id AND m.user_id = @user_id
  AND m.state = ANY (@states::text[]) AND m.state <> 'deleted'
  AND (sqlc.narg('app_id')::uuid IS NULL OR m.app_id = sqlc.narg('app_id')::uuid)
  AND (sqlc.narg('search')::text IS NULL OR strpos(lower(m.content), lower(sqlc.narg('search')::text)) > 0)
  AND (sqlc.narg('category')::text IS NULL OR EXISTS (
      SELECT FROM memory_category l JOIN category c ON c.tenant_id = l.tenant_id AND c.id = l.category_id
      WHERE l.tenant_id = m.tenant_id AND l.memory_id = m.id AND c.name = sqlc.narg('category')::text))
  AND m.created_at >= COALESCE(sqlc.narg('created_from')::timestamptz, '-infinity')
  AND m.created_at <= COALESCE(sqlc.narg('created_to')::timestamptz, 'infinity')
  AND (m.created_at, m.id) < (COALESCE(sqlc.narg('before_at')::timestamptz, 'infinity'),
      COALESCE(sqlc.narg('before_id')::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff'))
ORDER BY m.created_at DESC, m.id DESC
LIMIT @count_max;
