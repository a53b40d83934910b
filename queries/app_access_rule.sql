-- name: AppAccessRuleOfEntities :many
-- The access rules of the given apps; for the projector's working set.
SELECT r.* FROM app_access_rule r
JOIN unnest(@tenant_ids::text[], @ids::uuid[]) AS k (tenant_id, id) ON r.tenant_id = k.tenant_id AND r.app_id = k.id;
