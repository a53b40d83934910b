-- name: MemoryOfEntities :many
-- The memories of the given entities; for the projector's working set.
SELECT m.* FROM memory m
JOIN (SELECT unnest(@tenant_ids::text[]) AS tenant_id, unnest(@ids::uuid[]) AS id) AS k ON m.tenant_id = k.tenant_id AND m.id = k.id;

-- name: MemoryByID :one
-- One memory that a user may read, with the name of its app; for readers.
SELECT m.*, a.name AS app_name
FROM memory_readable(@tenant_id, @user_id, sqlc.narg('as_app')) m
LEFT JOIN app a ON a.tenant_id = m.tenant_id AND a.id = m.app_id
WHERE m.tenant_id = @tenant_id::text AND m.id = @id::uuid;

-- name: MemoryPage :many
-- A page of the memories that a user may read and a filter selects, with the names of their apps; for readers. The sort
-- is created_at, updated_at, content (its first 100 characters) or app (its name), ties by id, in one direction. The page
-- begins behind (after_at or after_text, after_id), or without them with the first, and after as many as are skipped.
-- A condition on the sort falls away before the plan is made, so that created_at is served from its index.
SELECT m.*, a.name AS app_name
FROM memory_matching(@tenant_id, @user_id, sqlc.narg('as_app'), @states::text[], sqlc.narg('app_ids')::uuid[], sqlc.narg('category_ids')::uuid[],
    sqlc.narg('categories')::text[], sqlc.narg('search'), sqlc.narg('created_from'), sqlc.narg('created_to')) m
LEFT JOIN app a ON a.tenant_id = m.tenant_id AND a.id = m.app_id
WHERE m.tenant_id = @tenant_id::text AND CASE
    WHEN sqlc.narg('after_id')::uuid IS NULL THEN true
    WHEN @sort::text = 'created_at' AND @descending::boolean THEN (m.created_at, m.id) < (sqlc.narg('after_at')::timestamptz, sqlc.narg('after_id')::uuid)
    WHEN @sort::text = 'created_at' THEN (m.created_at, m.id) > (sqlc.narg('after_at')::timestamptz, sqlc.narg('after_id')::uuid)
    WHEN @sort::text = 'updated_at' AND @descending::boolean THEN (m.updated_at, m.id) < (sqlc.narg('after_at')::timestamptz, sqlc.narg('after_id')::uuid)
    WHEN @sort::text = 'updated_at' THEN (m.updated_at, m.id) > (sqlc.narg('after_at')::timestamptz, sqlc.narg('after_id')::uuid)
    WHEN @sort::text = 'content' AND @descending::boolean THEN (left(m.content, 100) COLLATE "C", m.id) < (sqlc.narg('after_text')::text, sqlc.narg('after_id')::uuid)
    WHEN @sort::text = 'content' THEN (left(m.content, 100) COLLATE "C", m.id) > (sqlc.narg('after_text')::text, sqlc.narg('after_id')::uuid)
    WHEN @sort::text = 'app' AND @descending::boolean THEN (COALESCE(a.name, '') COLLATE "C", m.id) < (sqlc.narg('after_text')::text, sqlc.narg('after_id')::uuid)
    WHEN @sort::text = 'app' THEN (COALESCE(a.name, '') COLLATE "C", m.id) > (sqlc.narg('after_text')::text, sqlc.narg('after_id')::uuid)
END
ORDER BY
    CASE WHEN @sort::text = 'created_at' AND @descending::boolean THEN m.created_at END DESC,
    CASE WHEN @sort::text = 'created_at' AND NOT @descending::boolean THEN m.created_at END,
    CASE WHEN @sort::text = 'updated_at' AND @descending::boolean THEN m.updated_at END DESC,
    CASE WHEN @sort::text = 'updated_at' AND NOT @descending::boolean THEN m.updated_at END,
    CASE WHEN @sort::text = 'content' AND @descending::boolean THEN left(m.content, 100) COLLATE "C" END DESC,
    CASE WHEN @sort::text = 'content' AND NOT @descending::boolean THEN left(m.content, 100) COLLATE "C" END,
    CASE WHEN @sort::text = 'app' AND @descending::boolean THEN COALESCE(a.name, '') COLLATE "C" END DESC,
    CASE WHEN @sort::text = 'app' AND NOT @descending::boolean THEN COALESCE(a.name, '') COLLATE "C" END,
    CASE WHEN @descending::boolean THEN m.id END DESC,
    CASE WHEN NOT @descending::boolean THEN m.id END
OFFSET @skip::int LIMIT @count_max::int;

-- name: MemoryCount :one
-- How many memories a user may read that a filter selects; for readers.
SELECT count(*) FROM memory_matching(@tenant_id, @user_id, sqlc.narg('as_app'), @states::text[], sqlc.narg('app_ids')::uuid[], sqlc.narg('category_ids')::uuid[],
    sqlc.narg('categories')::text[], sqlc.narg('search'), sqlc.narg('created_from'), sqlc.narg('created_to')) m
WHERE m.tenant_id = @tenant_id::text;
