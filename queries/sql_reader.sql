-- name: SQLReaderInsert :exec
INSERT INTO control.sql_reader (login, tenant_id, created_at) VALUES (@login, @tenant_id, clock_timestamp());

-- name: SQLReaderList :many
SELECT * FROM control.sql_reader ORDER BY login;

-- name: SQLReaderDelete :execrows
DELETE FROM control.sql_reader WHERE login = @login;

-- name: SQLReaderFollowLive :exec
-- Points new sessions of all SQL readers to the live edition of their tenant.
SELECT control.sql_follow_live();
