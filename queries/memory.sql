-- name: MemoryOfEntities :many
-- The memories of the given entities; for the projector's working set.
SELECT m.* FROM memory m
JOIN (SELECT unnest(@tenant_ids::text[]) AS tenant_id, unnest(@ids::uuid[]) AS id) AS k ON m.tenant_id = k.tenant_id AND m.id = k.id;

-- name: MemoryByID :one
-- One memory that a user may read, with the names of its app and its categories; for readers.
SELECT m.*, a.name AS app_name, ARRAY(
    SELECT c.name FROM memory_category l JOIN category c ON c.tenant_id = l.tenant_id AND c.id = l.category_id
    WHERE l.tenant_id = @tenant_id AND l.memory_id = m.id ORDER BY c.name)::text[] AS categories
FROM memory_readable(@tenant_id, @user_id, sqlc.narg('as_app')) m
LEFT JOIN app a ON a.tenant_id = m.tenant_id AND a.id = m.app_id
WHERE m.tenant_id = @tenant_id::text AND m.id = @id::uuid;

-- name: OwnMemoryByID :one
-- MemoryByID for whom no access rules bind: a plan without them is begun in half the time. For readers.
SELECT m.*, a.name AS app_name, ARRAY(
    SELECT c.name FROM memory_category l JOIN category c ON c.tenant_id = l.tenant_id AND c.id = l.category_id
    WHERE l.tenant_id = @tenant_id AND l.memory_id = m.id ORDER BY c.name)::text[] AS categories
FROM memory m
LEFT JOIN app a ON a.tenant_id = m.tenant_id AND a.id = m.app_id
WHERE m.tenant_id = @tenant_id::text AND m.id = @id::uuid AND m.user_id = @user_id::uuid AND m.state <> 'deleted';

-- name: MemoryPage :many
-- A page of the memories that a user may read and a filter selects, with the names of
-- their apps and categories; for readers. The sort
-- is created_at, updated_at, content (its first 100 characters) or app (its name), ties by id, in one direction. The page
-- begins behind (after_at or after_text, after_id), or without them with the first, and after as many as are skipped.
-- A condition on the sort falls away before the plan is made, so that created_at is served from its index.
SELECT m.*, a.name AS app_name, ARRAY(
    SELECT c.name FROM memory_category l JOIN category c ON c.tenant_id = l.tenant_id AND c.id = l.category_id
    WHERE l.tenant_id = @tenant_id AND l.memory_id = m.id ORDER BY c.name)::text[] AS categories
FROM memory_matching(@tenant_id, @user_id, sqlc.narg('as_app'), @states::text[], sqlc.narg('app_ids')::uuid[], sqlc.narg('app_names')::text[],
    sqlc.narg('category_ids')::uuid[], sqlc.narg('categories')::text[], sqlc.narg('search'), sqlc.narg('created_from'), sqlc.narg('created_to'),
    sqlc.narg('updated_from'), sqlc.narg('updated_to'), sqlc.narg('metadata')::jsonb, sqlc.narg('not_metadata')::jsonb) m
LEFT JOIN app a ON a.tenant_id = m.tenant_id AND a.id = m.app_id
WHERE m.tenant_id = @tenant_id::text AND CASE
    WHEN sqlc.narg('after_id')::uuid IS NULL THEN true
    WHEN @sort::text = 'created_at' AND @descending::boolean THEN (m.created_at, m.id) < (sqlc.narg('after_at')::timestamptz, sqlc.narg('after_id')::uuid)
    WHEN @sort::text = 'created_at' THEN (m.created_at, m.id) > (sqlc.narg('after_at')::timestamptz, sqlc.narg('after_id')::uuid)
    WHEN @sort::text = 'updated_at' AND @descending::boolean THEN (m.updated_at, m.id) < (sqlc.narg('after_at')::timestamptz, sqlc.narg('after_id')::uuid)
    WHEN @sort::text = 'updated_at' THEN (m.updated_at, m.id) > (sqlc.narg('after_at')::timestamptz, sqlc.narg('after_id')::uuid)
    WHEN @sort::text = 'content' AND @descending::boolean THEN (left(m.content, 100) COLLATE "C", m.id) < (sqlc.narg('after_text')::text, sqlc.narg('after_id')::uuid)
    WHEN @sort::text = 'content' THEN (left(m.content, 100) COLLATE "C", m.id) > (sqlc.narg('after_text')::text, sqlc.narg('after_id')::uuid)
    WHEN @sort::text = 'app' AND @descending::boolean THEN (COALESCE(a.name, '') COLLATE "C", m.id) < (sqlc.narg('after_text')::text, sqlc.narg('after_id')::uuid)
    WHEN @sort::text = 'app' THEN (COALESCE(a.name, '') COLLATE "C", m.id) > (sqlc.narg('after_text')::text, sqlc.narg('after_id')::uuid)
END
ORDER BY
    CASE WHEN @sort::text = 'created_at' AND @descending::boolean THEN m.created_at END DESC,
    CASE WHEN @sort::text = 'created_at' AND NOT @descending::boolean THEN m.created_at END,
    CASE WHEN @sort::text = 'updated_at' AND @descending::boolean THEN m.updated_at END DESC,
    CASE WHEN @sort::text = 'updated_at' AND NOT @descending::boolean THEN m.updated_at END,
    CASE WHEN @sort::text = 'content' AND @descending::boolean THEN left(m.content, 100) COLLATE "C" END DESC,
    CASE WHEN @sort::text = 'content' AND NOT @descending::boolean THEN left(m.content, 100) COLLATE "C" END,
    CASE WHEN @sort::text = 'app' AND @descending::boolean THEN COALESCE(a.name, '') COLLATE "C" END DESC,
    CASE WHEN @sort::text = 'app' AND NOT @descending::boolean THEN COALESCE(a.name, '') COLLATE "C" END,
    CASE WHEN @descending::boolean THEN m.id END DESC,
    CASE WHEN NOT @descending::boolean THEN m.id END
OFFSET @skip::int LIMIT @count_max::int;

-- name: OwnMemoryPage :many
-- MemoryPage for whom no access rules bind and who selects by nothing but the states: the newest first. It is the list that
-- is asked for most, and its one plan serves all, which saves making one: half of the time. For readers.
SELECT m.*, a.name AS app_name, ARRAY(
    SELECT c.name FROM memory_category l JOIN category c ON c.tenant_id = l.tenant_id AND c.id = l.category_id
    WHERE l.tenant_id = @tenant_id AND l.memory_id = m.id ORDER BY c.name)::text[] AS categories
FROM memory m
LEFT JOIN app a ON a.tenant_id = m.tenant_id AND a.id = m.app_id
WHERE m.tenant_id = @tenant_id::text AND m.user_id = @user_id::uuid AND m.state <> 'deleted' AND m.state = ANY (@states::text[])
  AND (m.created_at, m.id) < (COALESCE(sqlc.narg('after_at')::timestamptz, 'infinity'), COALESCE(sqlc.narg('after_id')::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff'))
ORDER BY m.created_at DESC, m.id DESC
LIMIT @count_max::int;

-- name: MemoryCount :one
-- How many memories a user may read that a filter selects; for readers.
SELECT count(*) FROM memory_matching(@tenant_id, @user_id, sqlc.narg('as_app'), @states::text[], sqlc.narg('app_ids')::uuid[], sqlc.narg('app_names')::text[],
    sqlc.narg('category_ids')::uuid[], sqlc.narg('categories')::text[], sqlc.narg('search'), sqlc.narg('created_from'), sqlc.narg('created_to'),
    sqlc.narg('updated_from'), sqlc.narg('updated_to'), sqlc.narg('metadata')::jsonb, sqlc.narg('not_metadata')::jsonb) m
WHERE m.tenant_id = @tenant_id::text;

-- name: MemoryRelatedPage :many
-- The memories that a user may read and that share categories with one of them: those that share most first, then the
-- newest; for readers. The page begins behind (after_shared, after_at, after_id), or without them with the first, and
-- after as many as are skipped.
SELECT m.*, a.name AS app_name, ARRAY(
    SELECT c.name FROM memory_category l JOIN category c ON c.tenant_id = l.tenant_id AND c.id = l.category_id
    WHERE l.tenant_id = @tenant_id AND l.memory_id = m.id ORDER BY c.name)::text[] AS categories, s.shared
FROM memory_readable(@tenant_id, @user_id, sqlc.narg('as_app')) m
JOIN (
    SELECT l.memory_id, count(*) AS shared
    FROM memory_category o JOIN memory_category l ON l.tenant_id = o.tenant_id AND l.category_id = o.category_id AND l.memory_id <> o.memory_id
    WHERE o.tenant_id = @tenant_id AND o.memory_id = @id
    GROUP BY l.memory_id
) s ON s.memory_id = m.id
LEFT JOIN app a ON a.tenant_id = m.tenant_id AND a.id = m.app_id
WHERE m.tenant_id = @tenant_id::text AND (sqlc.narg('after_id')::uuid IS NULL OR (s.shared, m.created_at, m.id)
    < (sqlc.narg('after_shared')::bigint, sqlc.narg('after_at')::timestamptz, sqlc.narg('after_id')::uuid))
ORDER BY s.shared DESC, m.created_at DESC, m.id DESC
OFFSET @skip::int LIMIT @count_max::int;

-- name: MemoryRelatedCount :one
-- How many memories a user may read share categories with one of them; for readers.
SELECT count(*) FROM memory_readable(@tenant_id, @user_id, sqlc.narg('as_app')) m
WHERE m.tenant_id = @tenant_id::text AND m.id <> @id::uuid AND EXISTS (
    SELECT FROM memory_category o JOIN memory_category l ON l.tenant_id = o.tenant_id AND l.category_id = o.category_id
    WHERE o.tenant_id = @tenant_id AND o.memory_id = @id::uuid AND l.memory_id = m.id);

-- name: MemoryStats :one
-- How many memories a user may read, by state, and in how many categories; for readers.
SELECT count(*) FILTER (WHERE m.state = 'active') AS active, count(*) FILTER (WHERE m.state = 'paused') AS paused,
    count(*) FILTER (WHERE m.state = 'archived') AS archived
FROM memory_readable(@tenant_id, @user_id, sqlc.narg('as_app')) m
WHERE m.tenant_id = @tenant_id::text;

-- name: MemorySearch :many
-- The memories that a user may read and a filter selects that a query finds, best first; for readers. A memory must have
-- each of the words, in any form that has them as a part; that is quickly seen. Of those that do, the newest are looked
-- at, as many as are given, and only they are parsed, once (the count keeps the planner from doing it anew for each use).
-- The score is between 0 and 1: of the words, and with a weight of the age at a time.
SELECT f.tenant_id, f.id, f.version, f.user_id, f.app_id, f.content, f.metadata, f.state, f.created_at, f.updated_at, f.archived_at,
    f.deleted_at, f.app_name, ARRAY(
        SELECT c.name FROM memory_category l JOIN category c ON c.tenant_id = l.tenant_id AND c.id = l.category_id
        WHERE l.tenant_id = @tenant_id AND l.memory_id = f.id ORDER BY c.name)::text[] AS categories, f.score, count(*) OVER () AS total,
    CASE WHEN @highlight::boolean THEN ts_headline('simple', f.content, f.words,
        'StartSel=«, StopSel=», MaxFragments=2, MinWords=5, MaxWords=20, FragmentDelimiter=" … "') ELSE '' END AS headline, f.looked_at
FROM (
    SELECT d.*, a.name AS app_name, q.words, (
        (1 - q.recency) * ts_rank_cd(d.document, q.words, 32)
        + q.recency * power(0.5::float8, GREATEST(0, extract(epoch FROM q.at - d.created_at))::float8 / (86400 * q.half_life_days))
    )::float8 AS score
    FROM (
        SELECT m.*, to_tsvector('simple', m.content) AS document, count(*) OVER () AS looked_at
        FROM (
            SELECT m.* FROM memory_matching(@tenant_id, @user_id, sqlc.narg('as_app'), @states::text[], sqlc.narg('app_ids')::uuid[], sqlc.narg('app_names')::text[],
                sqlc.narg('category_ids')::uuid[], sqlc.narg('categories')::text[], sqlc.narg('search'), sqlc.narg('created_from'), sqlc.narg('created_to'),
                sqlc.narg('updated_from'), sqlc.narg('updated_to'), sqlc.narg('metadata')::jsonb, sqlc.narg('not_metadata')::jsonb) m
            WHERE m.tenant_id = @tenant_id::text
              AND NOT EXISTS (SELECT FROM unnest(@words::text[]) w WHERE strpos(lower(m.content), lower(w)) = 0)
            ORDER BY m.created_at DESC, m.id DESC LIMIT @looked_at_max::int
        ) m
    ) d
    CROSS JOIN (SELECT websearch_to_tsquery('simple', @query::text) AS words, @recency::float8 AS recency,
        @half_life_days::float8 AS half_life_days, @at::timestamptz AS at) q
    LEFT JOIN app a ON a.tenant_id = d.tenant_id AND a.id = d.app_id
    WHERE d.document @@ q.words
) f
ORDER BY f.score DESC, f.created_at DESC, f.id DESC
LIMIT @count_max::int;

-- name: MemoryLookedAt :one
-- How many memories MemorySearch has to look at, counted up to a bound; without words, MemorySimilar.
SELECT count(*) FROM (
    SELECT FROM memory_matching(@tenant_id, @user_id, sqlc.narg('as_app'), @states::text[], sqlc.narg('app_ids')::uuid[], sqlc.narg('app_names')::text[],
        sqlc.narg('category_ids')::uuid[], sqlc.narg('categories')::text[], sqlc.narg('search'), sqlc.narg('created_from'), sqlc.narg('created_to'),
        sqlc.narg('updated_from'), sqlc.narg('updated_to'), sqlc.narg('metadata')::jsonb, sqlc.narg('not_metadata')::jsonb) m
    WHERE m.tenant_id = @tenant_id::text
      AND NOT EXISTS (SELECT FROM unnest(@words::text[]) w WHERE strpos(lower(m.content), lower(w)) = 0)
    LIMIT @looked_at_max::int
) l;

-- name: MemorySimilar :many
-- The memories that a user may read and a filter selects that have a part like the query, most alike first; for readers.
-- The newest are looked at, as many as are given, and of long texts the beginning. The score is as that of MemorySearch.
SELECT f.tenant_id, f.id, f.version, f.user_id, f.app_id, f.content, f.metadata, f.state, f.created_at, f.updated_at, f.archived_at,
    f.deleted_at, f.app_name, ARRAY(
        SELECT c.name FROM memory_category l JOIN category c ON c.tenant_id = l.tenant_id AND c.id = l.category_id
        WHERE l.tenant_id = @tenant_id AND l.memory_id = f.id ORDER BY c.name)::text[] AS categories, f.score, count(*) OVER () AS total,
    ''::text AS headline, f.looked_at
FROM (
    SELECT d.*, a.name AS app_name, (
        (1 - q.recency) * d.likeness
        + q.recency * power(0.5::float8, GREATEST(0, extract(epoch FROM q.at - d.created_at))::float8 / (86400 * q.half_life_days))
    )::float8 AS score
    FROM (
        SELECT m.*, control.likeness(@query::text, left(m.content, 10000)) AS likeness, count(*) OVER () AS looked_at
        FROM (
            SELECT m.* FROM memory_matching(@tenant_id, @user_id, sqlc.narg('as_app'), @states::text[], sqlc.narg('app_ids')::uuid[], sqlc.narg('app_names')::text[],
                sqlc.narg('category_ids')::uuid[], sqlc.narg('categories')::text[], sqlc.narg('search'), sqlc.narg('created_from'), sqlc.narg('created_to'),
                sqlc.narg('updated_from'), sqlc.narg('updated_to'), sqlc.narg('metadata')::jsonb, sqlc.narg('not_metadata')::jsonb) m
            WHERE m.tenant_id = @tenant_id::text
            ORDER BY m.created_at DESC, m.id DESC LIMIT @looked_at_max::int
        ) m
    ) d
    CROSS JOIN (SELECT @recency::float8 AS recency, @half_life_days::float8 AS half_life_days, @at::timestamptz AS at) q
    LEFT JOIN app a ON a.tenant_id = d.tenant_id AND a.id = d.app_id
    WHERE d.likeness >= @least::real
) f
ORDER BY f.score DESC, f.created_at DESC, f.id DESC
LIMIT @count_max::int;

-- name: MemoryIDs :many
-- The ids of the memories that a user may read and a filter selects, in the order of the ids; for what is to be done to
-- all of them.
SELECT m.id FROM memory_matching(@tenant_id, @user_id, sqlc.narg('as_app'), @states::text[], sqlc.narg('app_ids')::uuid[], sqlc.narg('app_names')::text[],
    sqlc.narg('category_ids')::uuid[], sqlc.narg('categories')::text[], sqlc.narg('search'), sqlc.narg('created_from'), sqlc.narg('created_to'),
    sqlc.narg('updated_from'), sqlc.narg('updated_to'), sqlc.narg('metadata')::jsonb, sqlc.narg('not_metadata')::jsonb) m
WHERE m.tenant_id = @tenant_id::text
ORDER BY m.id LIMIT @count_max::int;
