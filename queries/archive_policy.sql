-- name: ArchivePolicyOfEntities :many
-- The archive policies of the given entities; for the projector's working set.
SELECT p.* FROM archive_policy p
JOIN (SELECT unnest(@tenant_ids::text[]) AS tenant_id, unnest(@ids::uuid[]) AS id) AS k ON p.tenant_id = k.tenant_id AND p.id = k.id;

-- name: ArchivePolicyByID :one
-- One policy of its owner; for readers.
SELECT p.* FROM archive_policy p WHERE p.tenant_id = @tenant_id AND p.id = @id AND p.owner_id = @owner_id;

-- name: ArchivePolicyPage :many
-- A page of an owner's policies, oldest first; for readers.
SELECT p.* FROM archive_policy p
WHERE p.tenant_id = @tenant_id AND p.owner_id = @owner_id
  AND (sqlc.narg('after_at')::timestamptz IS NULL OR (p.created_at, p.id) > (sqlc.narg('after_at')::timestamptz, sqlc.narg('after_id')::uuid))
ORDER BY p.created_at, p.id
LIMIT @count_max;

-- name: ArchivePoliciesOfTenant :many
-- The policies of all users of a tenant, some at a time; for who applies them.
SELECT p.* FROM archive_policy p WHERE p.tenant_id = @tenant_id AND p.id > @after_id ORDER BY p.id LIMIT @count_max;

-- name: MemoriesDue :many
-- Some of the memories that an archive policy is about, oldest first, behind (after_at, after_id).
SELECT m.id, m.version, m.created_at FROM memory m
WHERE m.tenant_id = @tenant_id AND m.user_id = @owner_id AND m.state IN ('active', 'paused') AND m.created_at < @created_before
  AND (m.created_at, m.id) > (@after_at::timestamptz, @after_id::uuid)
  AND (sqlc.narg('app_id')::uuid IS NULL OR m.app_id = sqlc.narg('app_id')::uuid)
  AND (sqlc.narg('category_id')::uuid IS NULL OR EXISTS (
      SELECT FROM memory_category l WHERE l.tenant_id = m.tenant_id AND l.memory_id = m.id AND l.category_id = sqlc.narg('category_id')::uuid))
ORDER BY m.created_at, m.id
LIMIT @count_max;
