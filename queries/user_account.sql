-- name: UserAccountOfEntities :many
-- The users of the given entities; for the projector's working set.
SELECT u.* FROM user_account u
JOIN unnest(@tenant_ids::text[], @ids::uuid[]) AS k (tenant_id, id) ON u.tenant_id = k.tenant_id AND u.id = k.id;
