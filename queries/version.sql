-- name: CategoryNames :many
-- The names of categories; for readers.
SELECT c.id, c.name FROM category c WHERE c.tenant_id = @tenant_id AND c.id = ANY (@ids::uuid[]);

-- name: AppNames :many
-- The names of apps of an owner; for readers.
SELECT a.id, a.name FROM app a WHERE a.tenant_id = @tenant_id AND a.owner_id = @owner_id AND a.id = ANY (@ids::uuid[]);

-- name: MemoryRuled :one
-- What access rules go by of a memory of its user, be it deleted; for readers.
SELECT m.app_id, ARRAY(
    SELECT l.category_id FROM memory_category l WHERE l.tenant_id = @tenant_id AND l.memory_id = m.id)::uuid[] AS category_ids
FROM memory m
WHERE m.tenant_id = @tenant_id AND m.id = @id AND m.user_id = @user_id;
