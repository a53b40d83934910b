-- name: CategoryOfEntities :many
-- The categories of the given entities; for the projector's working set.
SELECT c.* FROM category c
JOIN unnest(@tenant_ids::text[], @ids::uuid[]) AS k (tenant_id, id) ON c.tenant_id = k.tenant_id AND c.id = k.id;
