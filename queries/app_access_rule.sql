-- name: AppAccessRuleOfEntities :many
-- The access rules of the given apps; for the projector's working set.
SELECT r.* FROM app_access_rule r
JOIN (SELECT unnest(@tenant_ids::text[]) AS tenant_id, unnest(@ids::uuid[]) AS id) AS k ON r.tenant_id = k.tenant_id AND r.app_id = k.id;
