-- name: ReportLast :many
-- The newest report: one row or none.
SELECT * FROM control.report ORDER BY number DESC LIMIT 1;

-- name: ReportSeries :one
SELECT count(*) AS reports, coalesce(max(number), 0)::bigint AS newest FROM control.report;

-- name: ReportDigest :one
SELECT digest FROM control.report WHERE number = @number;

-- name: ReportGaps :many
-- Numbers that are missing between 1 and the newest report.
SELECT (g.before + 1)::bigint AS first, (g.number - 1)::bigint AS last
FROM (SELECT r.number, lag(r.number, 1, 0) OVER (ORDER BY r.number) AS before FROM control.report r) AS g
WHERE g.number > g.before + 1 ORDER BY g.number LIMIT 100;

-- name: ReportInsert :exec
INSERT INTO control.report (number, kind, digest, document, made_at) VALUES (@number, @kind, @digest, @document, @made_at);

-- name: ReportsFrom :many
SELECT * FROM control.report WHERE number >= @number AND (@kind::text = '' OR kind = @kind) ORDER BY number LIMIT @count_max;

-- name: ReportNewest :many
-- The newest reports without their documents, newest first.
SELECT number, kind, digest, made_at, octet_length(document)::bigint AS bytes FROM control.report
WHERE @kind::text = '' OR kind = @kind ORDER BY number DESC LIMIT @count_max;

-- name: JournalPageLast :many
-- The newest page of a shard: one row or none.
SELECT * FROM control.journal_page WHERE journal_id = @journal_id AND incarnation = @incarnation AND shard = @shard
ORDER BY first_seq DESC LIMIT 1;

-- name: JournalPagesFrom :many
SELECT * FROM control.journal_page
WHERE journal_id = @journal_id AND incarnation = @incarnation AND shard = @shard AND first_seq >= @first_seq
ORDER BY first_seq LIMIT @count_max;

-- name: JournalPageInsert :execrows
INSERT INTO control.journal_page (journal_id, incarnation, shard, first_seq, last_seq, event_digests, chain, read_at)
VALUES (@journal_id, @incarnation, @shard, @first_seq, @last_seq, @event_digests, @chain, clock_timestamp())
ON CONFLICT DO NOTHING;

-- name: JournalPageExtend :execrows
-- Adds to a page that was not full; 0 rows: another process was quicker.
UPDATE control.journal_page SET last_seq = @last_seq, event_digests = event_digests || @more::bytea, chain = @chain, read_at = clock_timestamp()
WHERE journal_id = @journal_id AND incarnation = @incarnation AND shard = @shard AND first_seq = @first_seq AND last_seq = @old_last_seq;
