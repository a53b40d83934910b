-- The tables of one edition. A new edition starts with these, bare: keys, indexes and row level security come
-- after the load (files from 01000 on), because COPY into a bare table is several times quicker.
-- The first column of each table is the tenant, the entity and what identifies the row within it follow.
-- Only a fold writes here: no defaults, no sequences, no clock.

-- +goose Up
CREATE TABLE user_account (
    tenant_id  text        NOT NULL,
    id         uuid        NOT NULL,
    version    bigint      NOT NULL,
    subject    text        NOT NULL,
    name       text,
    email      text,
    metadata   jsonb       NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL
);

CREATE TABLE app (
    tenant_id   text        NOT NULL,
    id          uuid        NOT NULL,
    version     bigint      NOT NULL,
    owner_id    uuid        NOT NULL,
    name        text        NOT NULL,
    description text,
    metadata    jsonb       NOT NULL,
    is_active   boolean     NOT NULL,
    created_at  timestamptz NOT NULL,
    updated_at  timestamptz NOT NULL
);

CREATE TABLE app_access_rule (
    tenant_id   text        NOT NULL,
    app_id      uuid        NOT NULL,
    id          uuid        NOT NULL,
    version     bigint      NOT NULL,
    object_type text        NOT NULL,
    object_id   uuid,
    effect      text        NOT NULL CHECK (effect IN ('allow', 'deny')),
    created_at  timestamptz NOT NULL
);

CREATE TABLE category (
    tenant_id   text        NOT NULL,
    id          uuid        NOT NULL,
    version     bigint      NOT NULL,
    name        text        NOT NULL,
    description text,
    created_at  timestamptz NOT NULL,
    updated_at  timestamptz NOT NULL
);

CREATE TABLE memory (
    tenant_id   text        NOT NULL,
    id          uuid        NOT NULL,
    version     bigint      NOT NULL,
    user_id     uuid        NOT NULL,
    app_id      uuid,
    content     text        NOT NULL,
    metadata    jsonb       NOT NULL,
    state       text        NOT NULL CHECK (state IN ('active', 'paused', 'archived', 'deleted')),
    created_at  timestamptz NOT NULL,
    updated_at  timestamptz NOT NULL,
    archived_at timestamptz,
    deleted_at  timestamptz
);

CREATE TABLE memory_category (
    tenant_id   text   NOT NULL,
    memory_id   uuid   NOT NULL,
    category_id uuid   NOT NULL,
    version     bigint NOT NULL
);

-- The status history: append-only, so each row carries the shard sequence of its event and its place in it.
CREATE TABLE memory_status (
    tenant_id  text        NOT NULL,
    memory_id  uuid        NOT NULL,
    seq        bigint      NOT NULL,
    ordinal    integer     NOT NULL,
    version    bigint      NOT NULL,
    id         uuid        NOT NULL,
    changed_by uuid        NOT NULL,
    old_state  text        NOT NULL,
    new_state  text        NOT NULL,
    changed_at timestamptz NOT NULL
);

-- What users want archived by its age; a policy that is withdrawn has no row.
CREATE TABLE archive_policy (
    tenant_id   text        NOT NULL,
    id          uuid        NOT NULL,
    version     bigint      NOT NULL,
    owner_id    uuid        NOT NULL,
    criteria    text        NOT NULL CHECK (criteria IN ('global', 'app', 'category')),
    criteria_id uuid        CHECK ((criteria = 'global') = (criteria_id IS NULL)),
    days        bigint      NOT NULL CHECK (days >= 1),
    created_at  timestamptz NOT NULL,
    updated_at  timestamptz NOT NULL
);

-- Settings that the users of a tenant share. Secrets in them are sealed.
CREATE TABLE config (
    tenant_id  text        NOT NULL,
    id         uuid        NOT NULL,
    version    bigint      NOT NULL,
    settings   jsonb       NOT NULL,
    changed_by uuid        NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL
);

-- Quarantine: an entity whose event could not be folded is held from that event on.
CREATE TABLE held_entity (
    tenant_id text   NOT NULL,
    entity    text   NOT NULL,
    entity_id text   NOT NULL,
    version   bigint NOT NULL,
    seq       bigint NOT NULL,
    kind      text   NOT NULL,
    reason    text   NOT NULL
);

-- Every event that waits behind a held entity, the one that caused it included; append-only.
CREATE TABLE held_event (
    tenant_id text   NOT NULL,
    entity    text   NOT NULL,
    entity_id text   NOT NULL,
    seq       bigint NOT NULL,
    version   bigint NOT NULL,
    kind      text   NOT NULL,
    digest    bytea  NOT NULL
);
