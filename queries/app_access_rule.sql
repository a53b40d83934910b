-- name: AppAccessRuleOfEntities :many
-- The access rules of the given apps; for the projector's working set.
SELECT r.* FROM app_access_rule r
JOIN (SELECT unnest(@tenant_ids::text[]) AS tenant_id, unnest(@ids::uuid[]) AS id) AS k ON r.tenant_id = k.tenant_id AND r.app_id = k.id;

-- name: AppAccessRules :many
-- The access rules of an app of its owner, oldest first; for readers.
SELECT r.* FROM app_access_rule r
JOIN app a ON a.tenant_id = r.tenant_id AND a.id = r.app_id
WHERE r.tenant_id = @tenant_id AND r.app_id = @app_id AND a.owner_id = @owner_id
ORDER BY r.created_at, r.id
LIMIT @count_max;
