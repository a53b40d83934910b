-- name: VerificationRunInsert :one
INSERT INTO control.verification_run (edition, shard, journal_id, incarnation, shape, scope, epoch, started_at, touched_at)
VALUES (@edition, @shard, @journal_id, @incarnation, @shape, @scope, 1, clock_timestamp(), clock_timestamp())
RETURNING id;

-- name: VerificationRunResume :one
-- Claims the newest run of the same kind, if that was cut short not too long ago: its epoch is raised.
UPDATE control.verification_run u SET epoch = u.epoch + 1, touched_at = clock_timestamp()
WHERE u.finished_at IS NULL AND u.touched_at > clock_timestamp() - make_interval(mins => @age_minutes::integer) AND u.id = (
    SELECT max(r.id) FROM control.verification_run r
    WHERE r.edition = @edition AND r.shard = @shard AND r.journal_id = @journal_id AND r.incarnation = @incarnation
      AND r.shape = @shape AND r.scope = @scope
)
RETURNING u.id, u.epoch, u.started_at;

-- name: VerificationRunTouch :execrows
UPDATE control.verification_run SET touched_at = clock_timestamp() WHERE id = @id AND epoch = @epoch AND finished_at IS NULL;

-- name: VerificationRunFinish :execrows
UPDATE control.verification_run SET finished_at = clock_timestamp(), touched_at = clock_timestamp(), clean = @clean::boolean, report = @report::jsonb
WHERE id = @id AND epoch = @epoch AND finished_at IS NULL;

-- name: VerificationRunPrune :exec
-- Forgets runs that nobody will go on with, and all but the newest finished ones.
DELETE FROM control.verification_run d WHERE d.edition = @edition AND d.shard = @shard AND (
    d.finished_at IS NULL AND d.touched_at < clock_timestamp() - make_interval(mins => @age_minutes::integer)
    OR d.finished_at IS NOT NULL AND d.id NOT IN (
        SELECT r.id FROM control.verification_run r WHERE r.edition = @edition AND r.shard = @shard AND r.finished_at IS NOT NULL
        ORDER BY r.id DESC LIMIT @keep
    )
);

-- name: VerificationRunUnclean :one
-- The newest finished run that found something, unless a later one over everything was clean.
SELECT u.id, u.report, u.finished_at FROM control.verification_run u
WHERE u.edition = @edition AND u.shard = @shard AND u.clean = false AND NOT EXISTS (
    SELECT FROM control.verification_run c
    WHERE c.edition = u.edition AND c.shard = u.shard AND c.id > u.id AND c.clean AND c.scope = @whole
)
ORDER BY u.id DESC LIMIT 1;

-- name: VerificationPartInsert :exec
INSERT INTO control.verification_part (run, number, parts, seq, chain, result, digests, finished_at)
VALUES (@run, @number, @parts, @seq, @chain, @result, @digests, clock_timestamp());

-- name: VerificationPartList :many
SELECT * FROM control.verification_part WHERE run = @run ORDER BY finished_at, parts, number;

-- name: VerificationEntityInsert :exec
INSERT INTO control.verification_entity (run, tenant_id, entity, entity_id)
SELECT @run::bigint, unnest(@tenant_ids::text[]), unnest(@entities::text[]), unnest(@ids::text[])
ON CONFLICT DO NOTHING;

-- name: VerificationEntityCount :one
SELECT count(*) FROM control.verification_entity WHERE run = @run;

-- name: VerificationEntityNext :many
SELECT tenant_id, entity, entity_id FROM control.verification_entity
WHERE run = @run AND (tenant_id, entity, entity_id) > (@tenant_id::text, @entity::text, @entity_id::text)
ORDER BY tenant_id, entity, entity_id LIMIT @most;
