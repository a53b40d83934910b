-- name: MemoryRevisionOf :many
-- The contents that a memory has had, oldest first; for readers.
SELECT * FROM memory_revision
WHERE tenant_id = @tenant_id AND memory_id = @memory_id
ORDER BY seq
LIMIT @count_max;
