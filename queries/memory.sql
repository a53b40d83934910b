-- name: MemoryOfEntities :many
-- The memories of the given entities; for the projector's working set.
SELECT m.* FROM memory m
JOIN (SELECT unnest(@tenant_ids::text[]) AS tenant_id, unnest(@ids::uuid[]) AS id) AS k ON m.tenant_id = k.tenant_id AND m.id = k.id;
