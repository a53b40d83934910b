-- Which memories a question may be answered with: the one place where access rules and filters are evaluated, in the
-- database, so that pages, totals and ranks are of the same set. The functions run with the rights of whoever asks, and
-- the planner puts their bodies in the place of the call, so that indexes serve them.

-- +goose Up

-- The memories that a user may read, through one of the user's apps (as_app) or else directly. Deleted ones never
-- appear. An app reads by its rules: an app that is paused, or not the user's, reads nothing; without rules, or with
-- rules that only deny, it reads all but what they deny; once a rule allows anything, it reads only what rules allow.
-- Deny beats allow. A rule is about a memory, about the memories of an app, of a category or of a user, or, without an
-- object, about all of its type; no rule opens the memories of another user. One of any other type covers nothing, and
-- yet makes an allowed set empty.
-- +goose StatementBegin
CREATE FUNCTION memory_readable(of_tenant text, of_user uuid, as_app uuid) RETURNS SETOF memory LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT m.* FROM memory m
    WHERE m.tenant_id = of_tenant AND m.user_id = of_user AND m.state <> 'deleted' AND (as_app IS NULL OR (
        EXISTS (SELECT FROM app a WHERE a.tenant_id = of_tenant AND a.id = as_app AND a.owner_id = of_user AND a.is_active)
        AND (NOT EXISTS (SELECT FROM app_access_rule r WHERE r.tenant_id = of_tenant AND r.app_id = as_app AND r.effect = 'allow')
            OR EXISTS (SELECT FROM app_access_rule r WHERE r.tenant_id = of_tenant AND r.app_id = as_app AND r.effect = 'allow'
                AND (r.object_type = 'memory' AND r.object_id IS NULL OR r.object_type = 'user' AND COALESCE(r.object_id, of_user) = of_user))
            OR m.id IN (SELECT r.object_id FROM app_access_rule r WHERE r.tenant_id = of_tenant AND r.app_id = as_app AND r.effect = 'allow'
                AND r.object_type = 'memory' AND r.object_id IS NOT NULL)
            OR m.app_id IS NOT NULL AND EXISTS (SELECT FROM app_access_rule r WHERE r.tenant_id = of_tenant AND r.app_id = as_app
                AND r.effect = 'allow' AND r.object_type = 'app' AND r.object_id IS NULL)
            OR m.app_id IS NOT NULL AND m.app_id IN (SELECT r.object_id FROM app_access_rule r WHERE r.tenant_id = of_tenant AND r.app_id = as_app
                AND r.effect = 'allow' AND r.object_type = 'app' AND r.object_id IS NOT NULL)
            OR m.id IN (SELECT l.memory_id FROM memory_category l JOIN app_access_rule r ON r.object_id IS NULL OR r.object_id = l.category_id
                WHERE l.tenant_id = of_tenant AND r.tenant_id = of_tenant AND r.app_id = as_app AND r.effect = 'allow' AND r.object_type = 'category'))
        AND NOT (EXISTS (SELECT FROM app_access_rule r WHERE r.tenant_id = of_tenant AND r.app_id = as_app AND r.effect = 'deny'
                AND (r.object_type = 'memory' AND r.object_id IS NULL OR r.object_type = 'user' AND COALESCE(r.object_id, of_user) = of_user))
            OR m.id IN (SELECT r.object_id FROM app_access_rule r WHERE r.tenant_id = of_tenant AND r.app_id = as_app AND r.effect = 'deny'
                AND r.object_type = 'memory' AND r.object_id IS NOT NULL)
            OR m.app_id IS NOT NULL AND EXISTS (SELECT FROM app_access_rule r WHERE r.tenant_id = of_tenant AND r.app_id = as_app
                AND r.effect = 'deny' AND r.object_type = 'app' AND r.object_id IS NULL)
            OR m.app_id IS NOT NULL AND m.app_id IN (SELECT r.object_id FROM app_access_rule r WHERE r.tenant_id = of_tenant AND r.app_id = as_app
                AND r.effect = 'deny' AND r.object_type = 'app' AND r.object_id IS NOT NULL)
            OR m.id IN (SELECT l.memory_id FROM memory_category l JOIN app_access_rule r ON r.object_id IS NULL OR r.object_id = l.category_id
                WHERE l.tenant_id = of_tenant AND r.tenant_id = of_tenant AND r.app_id = as_app AND r.effect = 'deny' AND r.object_type = 'category'))));
END;
-- +goose StatementEnd

-- Those of them that a filter selects; NULL selects all. Apps go by their ids or, those of the user, by their names;
-- categories likewise. containing is a substring of the content, in which nothing is a wildcard and case does not matter.
-- The metadata contains all of with_metadata, and not all of without_metadata. A condition on names falls away before the
-- plan is made, so that ids alone are still served from their index.
-- +goose StatementBegin
CREATE FUNCTION memory_matching(of_tenant text, of_user uuid, as_app uuid, with_states text[], of_apps uuid[], of_app_names text[],
    in_categories uuid[], in_category_names text[], containing text, created_from timestamptz, created_to timestamptz,
    updated_from timestamptz, updated_to timestamptz, with_metadata jsonb, without_metadata jsonb
) RETURNS SETOF memory LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT m.* FROM memory_readable(of_tenant, of_user, as_app) m
    WHERE m.state = ANY (with_states)
      AND (of_apps IS NULL AND of_app_names IS NULL OR m.app_id = ANY (of_apps) OR of_app_names IS NOT NULL AND m.app_id IN (
          SELECT a.id FROM app a WHERE a.tenant_id = of_tenant AND a.owner_id = of_user AND a.name = ANY (of_app_names)))
      AND (in_categories IS NULL AND in_category_names IS NULL OR EXISTS (
          SELECT FROM memory_category l LEFT JOIN category c ON c.tenant_id = l.tenant_id AND c.id = l.category_id
          WHERE l.tenant_id = of_tenant AND l.memory_id = m.id
            AND (l.category_id = ANY (in_categories) OR c.name = ANY (in_category_names))))
      AND (containing IS NULL OR strpos(lower(m.content), lower(containing)) > 0)
      AND m.created_at >= COALESCE(created_from, '-infinity')
      AND m.created_at <= COALESCE(created_to, 'infinity')
      AND m.updated_at >= COALESCE(updated_from, '-infinity')
      AND m.updated_at <= COALESCE(updated_to, 'infinity')
      AND (with_metadata IS NULL OR m.metadata @> with_metadata)
      AND (without_metadata IS NULL OR NOT m.metadata @> without_metadata);
END;
-- +goose StatementEnd
