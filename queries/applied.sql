-- name: CheckpointMoveApplied :one
-- The guarded move, first statement of every batch, together with the ledger's row of that batch: 1, or this projector
-- is fenced and must stop.
WITH moved AS (
    UPDATE control.checkpoint c SET seq = @new_seq, event_digest = @event_digest, chain = @chain, updated_at = clock_timestamp()
    WHERE c.edition = @edition AND c.shard = @shard AND c.seq = @old_seq AND c.event_digest = @old_digest AND c.epoch = @epoch
      AND c.journal_id = @journal_id AND c.incarnation = @incarnation AND c.stopped IS NULL
    RETURNING c.edition, c.shard, c.seq, c.chain
), noted AS (
    INSERT INTO control.applied (edition, shard, last_seq, first_seq, chain, events)
    SELECT m.edition, m.shard, m.seq, @first_seq::bigint, m.chain, @events::bytea FROM moved m
    ON CONFLICT (edition, shard, last_seq) DO UPDATE SET first_seq = excluded.first_seq, chain = excluded.chain, events = excluded.events
)
SELECT count(*) FROM moved;

-- name: AppliedInsert :exec
INSERT INTO control.applied (edition, shard, last_seq, first_seq, chain, events)
VALUES (@edition, @shard, @last_seq, @first_seq, @chain, @events);

-- name: AppliedAfter :many
-- The next rows of an edition's ledger, in order.
SELECT * FROM control.applied WHERE edition = @edition AND shard = @shard AND last_seq > @after ORDER BY last_seq LIMIT @rows;

-- name: AppliedPrune :exec
DELETE FROM control.applied WHERE edition = @edition AND shard = @shard AND last_seq <= @upto;

-- name: AppliedDelete :exec
DELETE FROM control.applied WHERE edition = @edition;

-- name: CheckpointAdopt :execrows
-- Brings a checkpoint that the journal continues to the incarnation of the journal, and fences who held it.
UPDATE control.checkpoint SET incarnation = @new_incarnation, stopped = NULL, stopped_detail = NULL, epoch = epoch + 1, updated_at = clock_timestamp()
WHERE edition = @edition AND shard = @shard AND journal_id = @journal_id AND stream = @stream
  AND seq = @seq AND event_digest = @event_digest AND chain = @chain AND incarnation = @incarnation;

-- name: CheckpointGiveUp :execrows
-- Marks a checkpoint that the journal does not continue, and fences who held it.
UPDATE control.checkpoint SET stopped = @stopped::text, stopped_detail = @detail::text, epoch = epoch + 1, updated_at = clock_timestamp()
WHERE edition = @edition AND shard = @shard AND seq = @seq AND incarnation = @incarnation;

-- name: ReconciliationInsert :one
INSERT INTO control.reconciliation (journal_id, incarnation, finding_hash, finding, begun_at)
VALUES (@journal_id, @incarnation, @finding_hash, @finding, clock_timestamp())
RETURNING id;

-- name: ReconciliationList :many
SELECT * FROM control.reconciliation WHERE journal_id = @journal_id ORDER BY id;

-- name: ReconciliationFinish :exec
UPDATE control.reconciliation SET finished_at = clock_timestamp() WHERE id = @id AND finished_at IS NULL;

-- name: TenantReplace :exec
-- Puts a tenant to where the journal has it, whatever stood there.
INSERT INTO control.tenant (tenant_id, shard, name, id_key, seq, created_at, standing, per_second, burst, in_flight)
VALUES (@tenant_id, @shard, @name, @id_key, @seq, @created_at, @standing, @per_second, @burst, @in_flight)
ON CONFLICT (tenant_id) DO UPDATE SET shard = excluded.shard, name = excluded.name, id_key = excluded.id_key, seq = excluded.seq,
    created_at = excluded.created_at, standing = excluded.standing,
    per_second = excluded.per_second, burst = excluded.burst, in_flight = excluded.in_flight;
