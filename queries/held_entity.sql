-- name: HeldEntityOfEntities :many
-- The held ones among the given entities; for the projector's working set.
SELECT h.* FROM held_entity h
JOIN unnest(@tenant_ids::text[], @entities::text[], @ids::text[]) AS k (tenant_id, entity, entity_id)
    ON h.tenant_id = k.tenant_id AND h.entity = k.entity AND h.entity_id = k.entity_id;

-- name: HeldEntityCount :one
-- How many entities of an edition are held, over all tenants; for status and the cutover.
SELECT count(*) FROM held_entity;
