-- name: MemoryCategoryOfEntities :many
-- The category links of the given memories; for the projector's working set.
SELECT c.* FROM memory_category c
JOIN unnest(@tenant_ids::text[], @ids::uuid[]) AS k (tenant_id, id) ON c.tenant_id = k.tenant_id AND c.memory_id = k.id;
