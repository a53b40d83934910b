-- name: CategoryOfEntities :many
-- The categories of the given entities; for the projector's working set.
SELECT c.* FROM category c
JOIN (SELECT unnest(@tenant_ids::text[]) AS tenant_id, unnest(@ids::uuid[]) AS id) AS k ON c.tenant_id = k.tenant_id AND c.id = k.id;
