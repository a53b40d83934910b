-- name: KeptKeyMake :exec
-- Makes the key of all kept digests, unless there is one.
INSERT INTO control.kept_key (one, key) VALUES (true, @key) ON CONFLICT (one) DO NOTHING;

-- name: KeptKey :one
SELECT key FROM control.kept_key;

-- name: KeptShards :many
-- In which shards an edition keeps digests, and of which sequence they are.
SELECT shard, seq FROM control.kept_shard WHERE edition = @edition ORDER BY shard;

-- name: KeptShardInsert :exec
INSERT INTO control.kept_shard (edition, shard, seq) VALUES (@edition, @shard, @seq)
ON CONFLICT (edition, shard) DO NOTHING;

-- name: KeptDigestOfTenants :many
SELECT tenant_id, events, event_digest, tables FROM control.kept_digest
WHERE edition = @edition AND shard = @shard AND tenant_id = ANY (@tenant_ids::text[]);

-- name: KeptDigestMove :execrows
-- Writes the digests behind a batch. 0 rows mean that nobody keeps them, or that they are of another sequence.
WITH moved AS (
    UPDATE control.kept_shard s SET seq = @new_seq
    WHERE s.edition = @edition AND s.shard = @shard AND s.seq = @old_seq RETURNING s.edition, s.shard
)
INSERT INTO control.kept_digest (edition, shard, tenant_id, events, event_digest, tables)
SELECT moved.edition, moved.shard, v.tenant_id, v.events, v.event_digest, v.tables
FROM moved CROSS JOIN (
    SELECT unnest(@tenant_ids::text[]) AS tenant_id, unnest(@events::bigint[]) AS events,
        unnest(@event_digests::bytea[]) AS event_digest, unnest(@tables::bytea[]) AS tables
) AS v
ON CONFLICT (edition, shard, tenant_id) DO UPDATE SET
    events = excluded.events, event_digest = excluded.event_digest, tables = excluded.tables;

-- name: KeptDigestPut :execrows
-- Writes digests of an edition that is being built.
INSERT INTO control.kept_digest (edition, shard, tenant_id, events, event_digest, tables)
SELECT @edition, @shard, v.tenant_id, v.events, v.event_digest, v.tables
FROM (
    SELECT unnest(@tenant_ids::text[]) AS tenant_id, unnest(@events::bigint[]) AS events,
        unnest(@event_digests::bytea[]) AS event_digest, unnest(@tables::bytea[]) AS tables
) AS v
ON CONFLICT (edition, shard, tenant_id) DO UPDATE SET
    events = excluded.events, event_digest = excluded.event_digest, tables = excluded.tables;

-- name: KeptDigestReplaceTables :execrows
-- Sets what is kept of the tables of one tenant, after a repair has proven them.
UPDATE control.kept_digest SET tables = @tables WHERE edition = @edition AND shard = @shard AND tenant_id = @tenant_id;

-- name: KeptDigestList :many
SELECT shard, tenant_id, events, event_digest, tables FROM control.kept_digest WHERE edition = @edition ORDER BY tenant_id, shard;

-- name: KeptDigestOf :many
-- What is kept of one tenant, in all shards.
SELECT shard, events, event_digest, tables FROM control.kept_digest WHERE edition = @edition AND tenant_id = @tenant_id ORDER BY shard;

-- name: KeptTenants :many
SELECT DISTINCT tenant_id FROM control.kept_digest WHERE edition = @edition ORDER BY tenant_id;

-- name: KeptEvents :one
-- How many events the digests of a shard are the sum of.
SELECT coalesce(sum(events), 0)::bigint FROM control.kept_digest WHERE edition = @edition AND shard = @shard;

-- name: KeptDigestDelete :exec
DELETE FROM control.kept_digest WHERE edition = @edition;

-- name: KeptShardDelete :exec
DELETE FROM control.kept_shard WHERE edition = @edition;

-- name: ScrubDelete :exec
DELETE FROM control.scrub WHERE edition = @edition;

-- name: ScrubList :many
SELECT * FROM control.scrub WHERE edition = @edition ORDER BY checked_at;

-- name: ScrubProven :exec
-- The rows of a tenant are those the projector wrote.
INSERT INTO control.scrub (edition, tenant_id, checked_at, proven_at, proven_events, damaged, mac)
VALUES (@edition, @tenant_id, clock_timestamp(), @proven_at::timestamptz, @events::bigint, '{}', @mac::bytea)
ON CONFLICT (edition, tenant_id) DO UPDATE SET checked_at = excluded.checked_at, proven_at = excluded.proven_at,
    proven_events = excluded.proven_events, damaged_since = NULL, damaged = '{}', mac = excluded.mac;

-- name: ScrubDamaged :exec
-- The rows of a tenant are not those the projector wrote; since when it is known stays.
INSERT INTO control.scrub (edition, tenant_id, checked_at, damaged_since, damaged)
VALUES (@edition, @tenant_id, clock_timestamp(), clock_timestamp(), @damaged::text[])
ON CONFLICT (edition, tenant_id) DO UPDATE SET checked_at = excluded.checked_at,
    damaged_since = coalesce(control.scrub.damaged_since, excluded.damaged_since), damaged = excluded.damaged;

-- name: ScrubForget :exec
-- A tenant has neither rows nor digests any more.
DELETE FROM control.scrub WHERE edition = @edition AND tenant_id = @tenant_id;

-- name: ScrubProofs :many
-- The tenants of an edition, with what is said of the last proof of each.
SELECT k.tenant_id, s.proven_at, s.proven_events, s.mac
FROM (SELECT DISTINCT d.tenant_id FROM control.kept_digest d WHERE d.edition = @edition) AS k
LEFT JOIN control.scrub s ON s.edition = @edition AND s.tenant_id = k.tenant_id
ORDER BY s.proven_at NULLS FIRST, k.tenant_id;

-- name: ScrubDamage :many
SELECT tenant_id, damaged_since::timestamptz AS damaged_since, checked_at, damaged FROM control.scrub
WHERE edition = @edition AND damaged_since IS NOT NULL ORDER BY tenant_id;

-- name: KeptPositions :many
-- How far an edition has folded each shard, and of which sequence its kept digests are; NULL where none are kept.
SELECT c.shard, c.journal_id, c.seq, c.event_digest, c.chain, k.seq AS kept_seq
FROM control.checkpoint c LEFT JOIN control.kept_shard k ON k.edition = c.edition AND k.shard = c.shard
WHERE c.edition = @edition ORDER BY c.shard;
