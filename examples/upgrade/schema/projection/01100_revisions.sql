-- Keys come after the load. Row level security covers every table by itself (01001_security.sql).

-- +goose Up
ALTER TABLE memory_revision ADD PRIMARY KEY (tenant_id, memory_id, seq);
