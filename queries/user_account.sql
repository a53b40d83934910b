-- name: UserAccountOfEntities :many
-- The users of the given entities; for the projector's working set.
SELECT u.* FROM user_account u
JOIN (SELECT unnest(@tenant_ids::text[]) AS tenant_id, unnest(@ids::uuid[]) AS id) AS k ON u.tenant_id = k.tenant_id AND u.id = k.id;

-- name: UserAccountByID :one
-- One user; for readers.
SELECT * FROM user_account WHERE tenant_id = @tenant_id AND id = @id;
