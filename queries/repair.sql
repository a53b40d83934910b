-- name: RepairInsert :exec
INSERT INTO control.repair (id, edition, shard, journal_id, incarnation, actor, report_digest, entities, seq, counts, started_at)
VALUES (@id, @edition, @shard, @journal_id, @incarnation, @actor, @report_digest, 0, 0, '[]', clock_timestamp());

-- name: RepairEntities :exec
-- Counts what there is to do, once all of it has been added.
UPDATE control.repair r SET entities = (SELECT count(*) FROM control.repair_entity e WHERE e.repair = r.id) WHERE r.id = @id;

-- name: RepairEntityInsert :exec
INSERT INTO control.repair_entity (repair, tenant_id, entity, entity_id, done)
SELECT @repair::uuid, unnest(@tenant_ids::text[]), unnest(@entities::text[]), unnest(@ids::text[]), false
ON CONFLICT DO NOTHING;

-- name: RepairEntityOfRun :exec
-- Takes over what a verification has found.
INSERT INTO control.repair_entity (repair, tenant_id, entity, entity_id, done)
SELECT @repair::uuid, v.tenant_id, v.entity, v.entity_id, false FROM control.verification_entity v WHERE v.run = @run
ON CONFLICT DO NOTHING;

-- name: RepairEntityNext :many
SELECT tenant_id, entity, entity_id FROM control.repair_entity
WHERE repair = @repair AND NOT done AND (tenant_id, entity, entity_id) > (@tenant_id::text, @entity::text, @entity_id::text)
ORDER BY tenant_id, entity, entity_id LIMIT @most;

-- name: RepairEntityDone :execrows
UPDATE control.repair_entity e SET done = true
FROM (SELECT unnest(@tenant_ids::text[]) AS tenant_id, unnest(@entities::text[]) AS entity, unnest(@ids::text[]) AS entity_id) AS k
WHERE e.repair = @repair::uuid AND NOT e.done AND e.tenant_id = k.tenant_id AND e.entity = k.entity AND e.entity_id = k.entity_id;

-- name: RepairDone :one
SELECT count(*) FROM control.repair_entity WHERE repair = @repair AND done;

-- name: RepairTenants :many
SELECT DISTINCT tenant_id FROM control.repair_entity WHERE repair = @repair ORDER BY tenant_id LIMIT @most;

-- name: RepairIDs :many
-- The ids of one kind of entity of a tenant that a repair is about.
SELECT entity_id FROM control.repair_entity WHERE repair = @repair AND tenant_id = @tenant_id AND entity = @entity ORDER BY entity_id;

-- name: RepairProgress :execrows
UPDATE control.repair SET seq = @seq, counts = @counts WHERE id = @id AND finished_at IS NULL;

-- name: RepairFinish :execrows
-- Nothing more will be done: what is not done by now stays as it is.
UPDATE control.repair SET finished_at = clock_timestamp() WHERE id = @id AND finished_at IS NULL;

-- name: RepairAudited :exec
UPDATE control.repair SET audited_seq = @seq::bigint WHERE id = @id;

-- name: RepairGet :one
SELECT * FROM control.repair WHERE id = @id;

-- name: RepairOpen :many
-- Repairs that are not finished, or whose audit event is still to be appended.
SELECT * FROM control.repair WHERE audited_seq IS NULL AND journal_id = @journal_id ORDER BY started_at, id;

-- name: CheckpointFence :one
-- Locks a checkpoint and fences its projector, which then begins anew with nothing in memory.
UPDATE control.checkpoint SET epoch = epoch + 1, updated_at = clock_timestamp() WHERE edition = @edition AND shard = @shard
RETURNING *;
