-- name: CategoryOfEntities :many
-- The categories of the given entities; for the projector's working set.
SELECT c.* FROM category c
JOIN (SELECT unnest(@tenant_ids::text[]) AS tenant_id, unnest(@ids::uuid[]) AS id) AS k ON c.tenant_id = k.tenant_id AND c.id = k.id;

-- name: CategoryPage :many
-- A page of the categories, by name, of the active and paused memories that a user may read, with their numbers; for
-- readers. The page begins behind (after_name, after_id), or without them with the first, and after as many as are
-- skipped.
SELECT c.id, c.name, c.description, count(*) AS memories
FROM memory_readable(@tenant_id, @user_id, sqlc.narg('as_app')) m
JOIN memory_category l ON l.tenant_id = m.tenant_id AND l.memory_id = m.id
JOIN category c ON c.tenant_id = l.tenant_id AND c.id = l.category_id
WHERE c.tenant_id = @tenant_id::text AND m.state IN ('active', 'paused')
  AND (sqlc.narg('after_id')::uuid IS NULL OR (c.name COLLATE "C", c.id) > (sqlc.narg('after_name')::text, sqlc.narg('after_id')::uuid))
GROUP BY c.id, c.name, c.description
ORDER BY c.name COLLATE "C", c.id
OFFSET @skip::int LIMIT @count_max::int;

-- name: CategoryCount :one
-- How many categories the active and paused memories have that a user may read; for readers.
SELECT count(DISTINCT l.category_id)
FROM memory_readable(@tenant_id, @user_id, sqlc.narg('as_app')) m
JOIN memory_category l ON l.tenant_id = m.tenant_id AND l.memory_id = m.id
JOIN category c ON c.tenant_id = l.tenant_id AND c.id = l.category_id
WHERE c.tenant_id = @tenant_id::text AND m.state IN ('active', 'paused');
