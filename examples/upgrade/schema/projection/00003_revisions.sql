-- Add a table: every content that a memory has had, append-only.

-- +goose Up
CREATE TABLE memory_revision (
    tenant_id  text        NOT NULL,
    memory_id  uuid        NOT NULL,
    seq        bigint      NOT NULL,
    version    bigint      NOT NULL,
    content    text        NOT NULL,
    changed_at timestamptz NOT NULL
);
