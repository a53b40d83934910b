-- name: BuildAdd :exec
-- Adds what a pass took, in the transaction that loads its rows.
INSERT INTO control.build (edition, events, rows_loaded, replay_ms, load_ms, index_ms, held_back_ms, bytes)
VALUES (@edition, @events, @rows_loaded, @replay_ms, @load_ms, 0, @held_back_ms, 0)
ON CONFLICT (edition) DO UPDATE SET events = build.events + excluded.events, rows_loaded = build.rows_loaded + excluded.rows_loaded,
    replay_ms = build.replay_ms + excluded.replay_ms, load_ms = build.load_ms + excluded.load_ms,
    held_back_ms = build.held_back_ms + excluded.held_back_ms;

-- name: BuildFinish :exec
-- Records the end of a build, in the transaction that publishes the edition.
UPDATE control.build SET index_ms = @index_ms, bytes = @bytes, finished_at = clock_timestamp() WHERE edition = @edition;

-- name: BuildList :many
SELECT * FROM control.build ORDER BY edition;

-- name: BuildLast :one
-- The newest finished build of some size.
SELECT * FROM control.build WHERE finished_at IS NOT NULL AND events >= @events_min ORDER BY finished_at DESC, edition DESC LIMIT 1;

-- name: EditionEverLive :one
-- Whether an edition is or was live anywhere, to one tenant even.
SELECT (EXISTS (SELECT FROM control.flip f WHERE f.edition = @edition)
    OR EXISTS (SELECT FROM control.live l WHERE l.edition = @edition OR l.previous = @edition))::boolean;

-- name: LiveCheckpoints :many
-- How far the live edition of each shard is; for whoever must not disturb it.
SELECT l.shard, c.seq FROM control.live l
JOIN control.checkpoint c ON c.edition = l.edition AND c.shard = l.shard
WHERE l.tenant_id = '' AND c.stopped IS NULL;

-- name: EditionUnfinished :one
-- The newest edition of a shape that is not finished; 0 for none.
SELECT coalesce(max(number), 0)::bigint FROM control.edition WHERE state = 'building' AND shape = @shape;
