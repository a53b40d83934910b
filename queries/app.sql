-- name: AppOfEntities :many
-- The apps of the given entities; for the projector's working set.
SELECT a.* FROM app a
JOIN (SELECT unnest(@tenant_ids::text[]) AS tenant_id, unnest(@ids::uuid[]) AS id) AS k ON a.tenant_id = k.tenant_id AND a.id = k.id;

-- name: AppByID :one
-- One app of its owner, with the number of its memories that may be read; for readers.
SELECT sqlc.embed(a), (SELECT count(*) FROM memory_readable(@tenant_id, @owner_id, sqlc.narg('as_app')) m WHERE m.app_id = a.id) AS memories
FROM app a
WHERE a.tenant_id = @tenant_id AND a.id = @id AND a.owner_id = @owner_id;

-- name: AppIsActive :one
-- Whether an app of its owner takes memories; for what precedes a command.
SELECT a.is_active FROM app a WHERE a.tenant_id = @tenant_id AND a.id = @id AND a.owner_id = @owner_id;

-- name: AppPage :many
-- A page of an owner's apps, each with the number of its memories that may be read; for readers. The sort is name,
-- memories or created_at, ties by id, in one direction. The page begins behind (after_name, after_count or after_at,
-- after_id), or without them with the first, and after as many as are skipped.
SELECT sqlc.embed(a), n.memories
FROM app a CROSS JOIN LATERAL (
    SELECT count(*) AS memories FROM memory_readable(@tenant_id, @owner_id, sqlc.narg('as_app')) m WHERE m.app_id = a.id
) n
WHERE a.tenant_id = @tenant_id AND a.owner_id = @owner_id
  AND (sqlc.narg('search')::text IS NULL OR strpos(lower(a.name), lower(sqlc.narg('search')::text)) > 0)
  AND (sqlc.narg('is_active')::boolean IS NULL OR a.is_active = sqlc.narg('is_active')::boolean)
  AND CASE
    WHEN sqlc.narg('after_id')::uuid IS NULL THEN true
    WHEN @sort::text = 'name' AND @descending::boolean THEN (a.name COLLATE "C", a.id) < (sqlc.narg('after_name')::text, sqlc.narg('after_id')::uuid)
    WHEN @sort::text = 'name' THEN (a.name COLLATE "C", a.id) > (sqlc.narg('after_name')::text, sqlc.narg('after_id')::uuid)
    WHEN @sort::text = 'memories' AND @descending::boolean THEN (n.memories, a.id) < (sqlc.narg('after_count')::bigint, sqlc.narg('after_id')::uuid)
    WHEN @sort::text = 'memories' THEN (n.memories, a.id) > (sqlc.narg('after_count')::bigint, sqlc.narg('after_id')::uuid)
    WHEN @sort::text = 'created_at' AND @descending::boolean THEN (a.created_at, a.id) < (sqlc.narg('after_at')::timestamptz, sqlc.narg('after_id')::uuid)
    WHEN @sort::text = 'created_at' THEN (a.created_at, a.id) > (sqlc.narg('after_at')::timestamptz, sqlc.narg('after_id')::uuid)
END
ORDER BY
    CASE WHEN @sort::text = 'name' AND @descending::boolean THEN a.name COLLATE "C" END DESC,
    CASE WHEN @sort::text = 'name' AND NOT @descending::boolean THEN a.name COLLATE "C" END,
    CASE WHEN @sort::text = 'memories' AND @descending::boolean THEN n.memories END DESC,
    CASE WHEN @sort::text = 'memories' AND NOT @descending::boolean THEN n.memories END,
    CASE WHEN @sort::text = 'created_at' AND @descending::boolean THEN a.created_at END DESC,
    CASE WHEN @sort::text = 'created_at' AND NOT @descending::boolean THEN a.created_at END,
    CASE WHEN @descending::boolean THEN a.id END DESC,
    CASE WHEN NOT @descending::boolean THEN a.id END
OFFSET @skip::int LIMIT @count_max::int;

-- name: AppCount :one
-- How many apps of an owner a filter selects; for readers.
SELECT count(*) FROM app a
WHERE a.tenant_id = @tenant_id AND a.owner_id = @owner_id
  AND (sqlc.narg('search')::text IS NULL OR strpos(lower(a.name), lower(sqlc.narg('search')::text)) > 0)
  AND (sqlc.narg('is_active')::boolean IS NULL OR a.is_active = sqlc.narg('is_active')::boolean);

-- name: AppsAlike :many
-- The apps of an owner whose names may be equal but for case and form to one that is folded so, with whether they have
-- access rules: those that are so in ASCII, and all with other characters, which the database does not compare as we do.
SELECT a.id, a.name, a.is_active, EXISTS (SELECT FROM app_access_rule r WHERE r.tenant_id = a.tenant_id AND r.app_id = a.id) AS has_rules
FROM app a
WHERE a.tenant_id = @tenant_id AND a.owner_id = @owner_id
  AND (translate(btrim(a.name), 'ABCDEFGHIJKLMNOPQRSTUVWXYZ', 'abcdefghijklmnopqrstuvwxyz') = @folded::text
      OR octet_length(a.name) <> length(a.name) OR a.name ~ '[[:cntrl:]]')
ORDER BY a.name, a.id
LIMIT @count_max;
