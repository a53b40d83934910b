-- name: MemoryCategoryOfEntities :many
-- The category links of the given memories; for the projector's working set.
SELECT c.* FROM memory_category c
JOIN (SELECT unnest(@tenant_ids::text[]) AS tenant_id, unnest(@ids::uuid[]) AS id) AS k ON c.tenant_id = k.tenant_id AND c.memory_id = k.id;

