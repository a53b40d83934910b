-- name: EditionNext :one
SELECT (coalesce(max(number), 0) + 1)::bigint FROM control.edition;

-- name: EditionInsert :exec
INSERT INTO control.edition (number, schema_name, shape, state, epoch, created_at)
VALUES (@number, @schema_name, @shape, 'building', 1, clock_timestamp());

-- name: EditionByNumber :one
SELECT * FROM control.edition WHERE number = @number;

-- name: EditionList :many
SELECT * FROM control.edition ORDER BY number;

-- name: EditionSetState :execrows
UPDATE control.edition SET state = @state, retired_at = CASE WHEN @state = 'retired' THEN clock_timestamp() END
WHERE number = @number AND epoch = @epoch;

-- name: EditionClaim :one
-- Takes over a build: whoever held it before is fenced.
UPDATE control.edition SET epoch = epoch + 1 WHERE number = @number RETURNING epoch;

-- name: EditionShardInsert :exec
INSERT INTO control.edition_shard (edition, shard, state, head, passes, passes_done, event_digest, chain)
VALUES (@edition, @shard, 'building', @head, @passes, 0, '', '')
ON CONFLICT (edition, shard) DO NOTHING;

-- name: EditionShardList :many
SELECT * FROM control.edition_shard WHERE edition = @edition ORDER BY shard;

-- name: EditionShardPassDone :execrows
-- Counts one pass as done, in the transaction that loaded its rows; 0 rows mean that another builder took over.
UPDATE control.edition_shard s SET passes_done = s.passes_done + 1, event_digest = @event_digest, chain = @chain
FROM control.edition e
WHERE s.edition = @edition AND s.shard = @shard AND s.passes_done = @passes_done
  AND e.number = s.edition AND e.epoch = @epoch;

-- name: EditionShardSetState :execrows
UPDATE control.edition_shard SET state = @state WHERE edition = @edition AND shard = @shard;

-- name: EditionShardCaughtUp :exec
UPDATE control.edition_shard SET state = 'caught_up' WHERE edition = @edition AND shard = @shard AND state = 'building';

-- name: EditionShardVerified :execrows
UPDATE control.edition_shard SET state = 'verified', verified_seq = @seq::bigint, verified_at = clock_timestamp(), mac = @mac::bytea
WHERE edition = @edition AND shard = @shard AND state <> 'retired';

-- name: CheckpointInsert :exec
INSERT INTO control.checkpoint (edition, shard, journal_id, incarnation, stream, seq, event_digest, chain, epoch, holder, holder_pid, updated_at)
VALUES (@edition, @shard, @journal_id, @incarnation, @stream, @seq, @event_digest, @chain, 0, '', 0, clock_timestamp())
ON CONFLICT (edition, shard) DO NOTHING;

-- name: CheckpointGet :one
SELECT * FROM control.checkpoint WHERE edition = @edition AND shard = @shard;

-- name: CheckpointList :many
SELECT * FROM control.checkpoint ORDER BY edition, shard;

-- name: CheckpointLock :one
SELECT * FROM control.checkpoint WHERE edition = @edition AND shard = @shard FOR UPDATE;

-- name: CheckpointClaim :one
-- Makes the caller the projector of an edition's shard; the one before is fenced by the new epoch. A stopped checkpoint keeps
-- the time at which it was stopped.
UPDATE control.checkpoint SET epoch = epoch + 1, holder = @holder, holder_pid = pg_backend_pid(),
  updated_at = CASE WHEN stopped IS NULL THEN clock_timestamp() ELSE updated_at END
WHERE edition = @edition AND shard = @shard
RETURNING *;

-- name: CheckpointMove :execrows
-- The guarded move, first statement of every batch: 1 row, or this projector is fenced and must stop.
UPDATE control.checkpoint SET seq = @new_seq, event_digest = @event_digest, chain = @chain, updated_at = clock_timestamp()
WHERE edition = @edition AND shard = @shard AND seq = @old_seq AND event_digest = @old_digest AND epoch = @epoch
  AND journal_id = @journal_id AND incarnation = @incarnation AND stopped IS NULL;

-- name: CheckpointStop :execrows
-- Latches a stop state; the first one found stays.
UPDATE control.checkpoint SET stopped = @stopped::text, stopped_detail = @detail::text, updated_at = clock_timestamp()
WHERE edition = @edition AND shard = @shard AND stopped IS NULL;

-- name: CheckpointResume :execrows
-- An operator's command: go on after a stop state.
UPDATE control.checkpoint SET stopped = NULL, stopped_detail = NULL, updated_at = clock_timestamp()
WHERE edition = @edition AND shard = @shard AND stopped = @stopped::text;

-- name: CheckpointDelete :exec
DELETE FROM control.checkpoint WHERE edition = @edition;

-- name: LiveList :many
SELECT * FROM control.live ORDER BY shard, tenant_id;

-- name: LiveLock :one
SELECT * FROM control.live WHERE shard = @shard AND tenant_id = @tenant_id FOR UPDATE;

-- name: LiveInsert :execrows
INSERT INTO control.live (shard, tenant_id, edition, previous, epoch, flipped_at)
VALUES (@shard, @tenant_id, @edition, NULL, 1, clock_timestamp())
ON CONFLICT (shard, tenant_id) DO NOTHING;

-- name: LiveFlip :execrows
UPDATE control.live SET edition = @edition, previous = edition, epoch = epoch + 1, flipped_at = clock_timestamp()
WHERE shard = @shard AND tenant_id = @tenant_id AND epoch = @epoch;

-- name: FlipInsert :exec
INSERT INTO control.flip (shard, tenant_id, edition, previous, seq, verified, reason, flipped_at)
VALUES (@shard, @tenant_id, @edition, @previous, @seq, @verified, @reason, clock_timestamp());

-- name: VerificationInsert :one
INSERT INTO control.verification (edition, shard, seq, clean, report, finished_at)
VALUES (@edition, @shard, @seq, @clean, @report, clock_timestamp())
RETURNING id;

-- name: VerificationLatest :one
SELECT * FROM control.verification WHERE edition = @edition AND shard = @shard ORDER BY id DESC LIMIT 1;

-- name: TenantUpsert :exec
-- Folds a tenant event; an older event never overwrites a newer one.
INSERT INTO control.tenant (tenant_id, shard, name, id_key, seq, created_at, standing, per_second, burst, in_flight)
VALUES (@tenant_id, @shard, @name, @id_key, @seq, @created_at, @standing, @per_second, @burst, @in_flight)
ON CONFLICT (tenant_id) DO UPDATE SET name = excluded.name, seq = excluded.seq, standing = excluded.standing,
    per_second = excluded.per_second, burst = excluded.burst, in_flight = excluded.in_flight
WHERE control.tenant.seq < excluded.seq;

-- name: TenantGet :one
SELECT * FROM control.tenant WHERE tenant_id = @tenant_id;

-- name: TenantList :many
SELECT * FROM control.tenant ORDER BY tenant_id;

-- name: TenantDelete :execrows
-- Removes the row of a tenant that has no events.
DELETE FROM control.tenant WHERE tenant_id = @tenant_id;

-- name: TenantSizes :many
-- What the live edition of each tenant holds: events that were applied, the packed counts of rows, and the position.
SELECT t.tenant_id, coalesce(own.edition, home.edition)::bigint AS edition, coalesce(k.events, 0)::bigint AS events,
    coalesce(k.tables, '')::bytea AS tables, coalesce(c.seq, 0)::bigint AS position
FROM control.tenant t
JOIN control.live home ON home.shard = t.shard AND home.tenant_id = ''
LEFT JOIN control.live own ON own.shard = t.shard AND own.tenant_id = t.tenant_id
LEFT JOIN control.kept_digest k ON k.edition = coalesce(own.edition, home.edition) AND k.shard = t.shard AND k.tenant_id = t.tenant_id
LEFT JOIN control.checkpoint c ON c.edition = coalesce(own.edition, home.edition) AND c.shard = t.shard;

-- name: SettingSet :exec
INSERT INTO control.setting (name, value, changed_at) VALUES (@name, @value, clock_timestamp())
ON CONFLICT (name) DO UPDATE SET value = excluded.value, changed_at = excluded.changed_at;

-- name: SettingList :many
SELECT * FROM control.setting ORDER BY name;

-- name: EditionShardSetPasses :execrows
-- Splits a build into more passes; only before the first one has been loaded.
UPDATE control.edition_shard s SET passes = @passes
FROM control.edition e
WHERE s.edition = @edition AND s.shard = @shard AND s.passes_done = 0 AND e.number = s.edition AND e.epoch = @epoch;

-- name: FlipLastAway :one
-- When an edition was live for the last time: the newest flip that left it.
SELECT coalesce(max(flipped_at), to_timestamp(0))::timestamptz FROM control.flip WHERE previous = @edition::bigint;

-- name: EditionShardUnverified :execrows
-- A verification found differences: the edition falls back to having caught up.
UPDATE control.edition_shard SET state = 'caught_up', verified_seq = NULL, verified_at = NULL, mac = NULL
WHERE edition = @edition AND shard = @shard AND state = 'verified';
