-- name: ConfigOfEntities :many
-- The configs of the given entities; for the projector's working set.
SELECT c.* FROM config c
JOIN (SELECT unnest(@tenant_ids::text[]) AS tenant_id, unnest(@ids::uuid[]) AS id) AS k ON c.tenant_id = k.tenant_id AND c.id = k.id;

-- name: ConfigOfTenant :one
-- The config of a tenant; for readers.
SELECT c.* FROM config c WHERE c.tenant_id = @tenant_id ORDER BY c.id LIMIT 1;
