-- name: AppOfEntities :many
-- The apps of the given entities; for the projector's working set.
SELECT a.* FROM app a
JOIN (SELECT unnest(@tenant_ids::text[]) AS tenant_id, unnest(@ids::uuid[]) AS id) AS k ON a.tenant_id = k.tenant_id AND a.id = k.id;
