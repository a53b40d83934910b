-- name: ExportUser :one
-- A user, as an export shows it.
SELECT * FROM user_account WHERE tenant_id = @tenant_id AND id = @user_id;

-- name: ExportMemoryPage :many
-- The next memories of a user that are to be exported, in whatever state, oldest first.
SELECT m.* FROM memory m
WHERE m.tenant_id = @tenant_id AND m.user_id = @user_id
  AND (sqlc.narg('app_id')::uuid IS NULL OR m.app_id = sqlc.narg('app_id')::uuid)
  AND m.created_at >= COALESCE(sqlc.narg('created_from')::timestamptz, '-infinity')
  AND m.created_at <= COALESCE(sqlc.narg('created_to')::timestamptz, 'infinity')
  AND (m.created_at, m.id) > (COALESCE(sqlc.narg('after_at')::timestamptz, '-infinity'),
      COALESCE(sqlc.narg('after_id')::uuid, '00000000-0000-0000-0000-000000000000'))
ORDER BY m.created_at, m.id
LIMIT @count_max;

-- name: ExportAppPage :many
-- The next apps of a user, by id: all of them, or (selected) only those with memories that are to be exported.
SELECT a.* FROM app a
WHERE a.tenant_id = @tenant_id AND a.owner_id = @user_id
  AND (NOT @selected::boolean OR EXISTS (
      SELECT FROM memory m WHERE m.tenant_id = a.tenant_id AND m.app_id = a.id AND m.user_id = a.owner_id
        AND (sqlc.narg('app_id')::uuid IS NULL OR m.app_id = sqlc.narg('app_id')::uuid)
        AND m.created_at >= COALESCE(sqlc.narg('created_from')::timestamptz, '-infinity')
        AND m.created_at <= COALESCE(sqlc.narg('created_to')::timestamptz, 'infinity')))
  AND a.id > COALESCE(sqlc.narg('after_id')::uuid, '00000000-0000-0000-0000-000000000000')
ORDER BY a.id
LIMIT @count_max;

-- name: ExportCategoryPage :many
-- The next categories, by id, of the memories that are to be exported.
SELECT c.* FROM category c
WHERE c.tenant_id = @tenant_id
  AND c.id > COALESCE(sqlc.narg('after_id')::uuid, '00000000-0000-0000-0000-000000000000')
  AND EXISTS (
      SELECT FROM memory_category l JOIN memory m ON m.tenant_id = l.tenant_id AND m.id = l.memory_id
      WHERE l.tenant_id = c.tenant_id AND l.category_id = c.id AND m.user_id = @user_id
        AND (sqlc.narg('app_id')::uuid IS NULL OR m.app_id = sqlc.narg('app_id')::uuid)
        AND m.created_at >= COALESCE(sqlc.narg('created_from')::timestamptz, '-infinity')
        AND m.created_at <= COALESCE(sqlc.narg('created_to')::timestamptz, 'infinity'))
ORDER BY c.id
LIMIT @count_max;

-- name: ExportLinks :many
-- The categories of some memories, with their names.
SELECT l.memory_id, l.category_id, c.name
FROM memory_category l
JOIN category c ON c.tenant_id = l.tenant_id AND c.id = l.category_id
WHERE l.tenant_id = @tenant_id AND l.memory_id = ANY (@memory_ids::uuid[])
ORDER BY l.memory_id, l.category_id;

-- name: ExportStatuses :many
-- The status history of some memories.
SELECT * FROM memory_status
WHERE tenant_id = @tenant_id AND memory_id = ANY (@memory_ids::uuid[])
ORDER BY memory_id, seq, ordinal;

-- name: ExportRules :many
-- The access rules of some apps.
SELECT * FROM app_access_rule
WHERE tenant_id = @tenant_id AND app_id = ANY (@app_ids::uuid[])
ORDER BY app_id, id;
