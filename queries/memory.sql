-- name: MemoryOfEntities :many
-- The memories of the given entities; for the projector's working set.
SELECT m.* FROM memory m
JOIN unnest(@tenant_ids::text[], @ids::uuid[]) AS k (tenant_id, id) ON m.tenant_id = k.tenant_id AND m.id = k.id;
