-- name: AppOfEntities :many
-- The apps of the given entities; for the projector's working set.
SELECT a.* FROM app a
JOIN (SELECT unnest(@tenant_ids::text[]) AS tenant_id, unnest(@ids::uuid[]) AS id) AS k ON a.tenant_id = k.tenant_id AND a.id = k.id;

-- name: AppByID :one
-- One app of its owner, with the number of its memories that are not deleted; for readers.
SELECT sqlc.embed(a), (
    SELECT count(*) FROM memory m WHERE m.tenant_id = a.tenant_id AND m.app_id = a.id AND m.state <> 'deleted'
) AS memories
FROM app a
WHERE a.tenant_id = @tenant_id AND a.id = @id AND a.owner_id = @owner_id;

-- name: AppPage :many
-- A page of an owner's apps by name, each with the number of its memories that are not deleted; for readers.
-- The page begins behind (after_name, after_id); without them it is the first.
SELECT sqlc.embed(a), (
    SELECT count(*) FROM memory m WHERE m.tenant_id = a.tenant_id AND m.app_id = a.id AND m.state <> 'deleted'
) AS memories
FROM app a
WHERE a.tenant_id = @tenant_id AND a.owner_id = @owner_id
  AND (sqlc.narg('search')::text IS NULL OR strpos(lower(a.name), lower(sqlc.narg('search')::text)) > 0)
  AND (sqlc.narg('is_active')::boolean IS NULL OR a.is_active = sqlc.narg('is_active')::boolean)
  AND (sqlc.narg('after_name')::text IS NULL
      OR (a.name, a.id) > (sqlc.narg('after_name')::text, sqlc.narg('after_id')::uuid))
ORDER BY a.name, a.id
LIMIT @count_max;
