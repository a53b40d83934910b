-- Keys and indexes, made after the load. Every key begins with the tenant, so that no key of one tenant can ever
-- answer for another's.

-- +goose Up
ALTER TABLE user_account ADD PRIMARY KEY (tenant_id, id);
ALTER TABLE app ADD PRIMARY KEY (tenant_id, id);
ALTER TABLE app_access_rule ADD PRIMARY KEY (tenant_id, app_id, id);
ALTER TABLE category ADD PRIMARY KEY (tenant_id, id);
ALTER TABLE memory ADD PRIMARY KEY (tenant_id, id);
ALTER TABLE memory_category ADD PRIMARY KEY (tenant_id, memory_id, category_id);
ALTER TABLE memory_status ADD PRIMARY KEY (tenant_id, memory_id, seq, ordinal);
ALTER TABLE archive_policy ADD PRIMARY KEY (tenant_id, id);
ALTER TABLE config ADD PRIMARY KEY (tenant_id, id);
ALTER TABLE held_entity ADD PRIMARY KEY (tenant_id, entity, entity_id);
ALTER TABLE held_event ADD PRIMARY KEY (tenant_id, entity, entity_id, seq);

CREATE INDEX app_by_owner ON app (tenant_id, owner_id, name);
CREATE INDEX memory_by_user ON memory (tenant_id, user_id, created_at, id);
CREATE INDEX memory_by_app ON memory (tenant_id, app_id, created_at, id);
CREATE INDEX memory_category_by_category ON memory_category (tenant_id, category_id, memory_id);
