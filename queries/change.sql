-- name: EntitiesVisible :many
-- Which of the given entities a user may read: own memories, apps, archive policies and user, and the tenant's categories and config; for readers.
SELECT k.entity::text AS entity, k.id::uuid AS id
FROM (SELECT unnest(@entities::text[]) AS entity, unnest(@ids::uuid[]) AS id) AS k
WHERE CASE k.entity
    WHEN 'memory' THEN EXISTS (SELECT FROM memory m WHERE m.tenant_id = @tenant_id AND m.id = k.id AND m.user_id = @user_id)
    WHEN 'app' THEN EXISTS (SELECT FROM app a WHERE a.tenant_id = @tenant_id AND a.id = k.id AND a.owner_id = @user_id)
    WHEN 'category' THEN EXISTS (SELECT FROM category c WHERE c.tenant_id = @tenant_id AND c.id = k.id)
    WHEN 'archive-policy' THEN EXISTS (SELECT FROM archive_policy p WHERE p.tenant_id = @tenant_id AND p.id = k.id AND p.owner_id = @user_id)
    WHEN 'config' THEN EXISTS (SELECT FROM config f WHERE f.tenant_id = @tenant_id AND f.id = k.id)
    WHEN 'user' THEN EXISTS (SELECT FROM user_account u WHERE u.tenant_id = @tenant_id AND u.id = k.id AND u.id = @user_id)
    ELSE false
END;
