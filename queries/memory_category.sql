-- name: MemoryCategoryOfEntities :many
-- The category links of the given memories; for the projector's working set.
SELECT c.* FROM memory_category c
JOIN (SELECT unnest(@tenant_ids::text[]) AS tenant_id, unnest(@ids::uuid[]) AS id) AS k ON c.tenant_id = k.tenant_id AND c.memory_id = k.id;

-- name: MemoryCategoryNames :many
-- The names of the categories of some memories, by name; for readers.
SELECT l.memory_id, c.name
FROM memory_category l
JOIN category c ON c.tenant_id = l.tenant_id AND c.id = l.category_id
WHERE l.tenant_id = @tenant_id AND l.memory_id = ANY (@memory_ids::uuid[])
ORDER BY l.memory_id, c.name;
