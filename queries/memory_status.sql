-- name: MemoryStatusOf :many
-- The status history of a memory, oldest first; for readers.
SELECT * FROM memory_status
WHERE tenant_id = @tenant_id AND memory_id = @memory_id
ORDER BY seq, ordinal
LIMIT @count_max;
