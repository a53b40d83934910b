-- A plan runs beside a plane that an older binary keeps: these name only columns that no control migration may take
-- away, and none that one may have yet to add.

-- name: PlanLive :many
-- The edition each shard answers from by default.
SELECT l.shard, l.edition, e.shape FROM control.live l JOIN control.edition e ON e.number = l.edition
WHERE l.tenant_id = '' ORDER BY l.shard;

-- name: PlanCheckpoints :many
SELECT shard, journal_id, stream, seq FROM control.checkpoint WHERE edition = @edition ORDER BY shard;
