-- name: AppOfEntities :many
-- The apps of the given entities; for the projector's working set.
SELECT a.* FROM app a
JOIN unnest(@tenant_ids::text[], @ids::uuid[]) AS k (tenant_id, id) ON a.tenant_id = k.tenant_id AND a.id = k.id;
