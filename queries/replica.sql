-- name: ReplicaBeat :exec
INSERT INTO control.replica (id, shape, editions, ready, started_at, seen_at)
VALUES (@id, @shape, @editions, @ready, clock_timestamp(), clock_timestamp())
ON CONFLICT (id) DO UPDATE SET editions = excluded.editions, ready = excluded.ready, seen_at = excluded.seen_at;

-- name: ReplicaAnswered :exec
-- Notes that readers are answered from these editions now.
UPDATE control.edition SET answered_at = clock_timestamp() WHERE number = ANY (@editions::bigint[]);

-- name: ReplicaGone :exec
DELETE FROM control.replica WHERE id = @id OR seen_at < clock_timestamp() - interval '1 minute';

-- name: ReplicaList :many
-- The processes that were seen a moment ago.
SELECT * FROM control.replica WHERE seen_at > clock_timestamp() - make_interval(secs => @within_seconds::float8) ORDER BY started_at, id;

-- name: AnswerList :many
-- The shards of the editions of one shape that are kept level, with what a reader's choice among them rests on.
SELECT s.edition, s.shard, s.state, s.verified_seq, s.mac,
    EXISTS (SELECT FROM control.flip f WHERE f.edition = s.edition AND f.shard = s.shard AND f.tenant_id = '') AS was_live
FROM control.edition_shard s
JOIN control.edition e ON e.number = s.edition
WHERE e.state = 'serving' AND e.shape = @shape
ORDER BY s.edition, s.shard;

-- name: ShapeWasLive :one
-- In how many shards an edition of a shape has ever been live, retired ones included.
SELECT count(DISTINCT f.shard) FROM control.flip f JOIN control.edition e ON e.number = f.edition
WHERE e.shape = @shape AND f.tenant_id = '';

-- name: EditionDiffers :one
-- Whether the newest verification of any shard of an edition found differences.
SELECT EXISTS (
    SELECT FROM control.verification v WHERE v.edition = @edition AND NOT v.clean
      AND v.id = (SELECT max(w.id) FROM control.verification w WHERE w.edition = v.edition AND w.shard = v.shard)
);

-- name: LiveTenantInsert :execrows
INSERT INTO control.live (shard, tenant_id, edition, previous, epoch, flipped_at)
VALUES (@shard, @tenant_id, @edition, @previous::bigint, 1, clock_timestamp())
ON CONFLICT (shard, tenant_id) DO NOTHING;

-- name: LiveTenantDelete :execrows
DELETE FROM control.live WHERE shard = @shard AND tenant_id = @tenant_id AND tenant_id <> '';

-- name: LiveTenantsJoin :exec
-- Tenants that read an edition early follow their shard again once it has come there.
DELETE FROM control.live WHERE shard = @shard AND edition = @edition AND tenant_id <> '';

-- name: LiveForgetPrevious :exec
UPDATE control.live SET previous = NULL WHERE previous = @edition::bigint;

-- name: FlipLast :one
-- The newest flip of a whole shard.
SELECT * FROM control.flip WHERE tenant_id = '' ORDER BY id DESC LIMIT 1;
