-- name: HeldEntityOfEntities :many
-- The held ones among the given entities; for the projector's working set.
SELECT h.* FROM held_entity h
JOIN (SELECT unnest(@tenant_ids::text[]) AS tenant_id, unnest(@entities::text[]) AS entity, unnest(@ids::text[]) AS entity_id) AS k
    ON h.tenant_id = k.tenant_id AND h.entity = k.entity AND h.entity_id = k.entity_id;

-- name: HeldEntityCount :one
-- How many entities of an edition are held, over all tenants; for status and the cutover.
SELECT count(*) FROM held_entity;
