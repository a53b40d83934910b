-- How alike a question and a text are: what pg_trgm, which comes with PostgreSQL, calls word similarity. A database that
-- has the extension already, in another schema, must move it: ALTER EXTENSION pg_trgm SET SCHEMA control.
-- refold: works with binaries from 00001

-- +goose Up
CREATE EXTENSION IF NOT EXISTS pg_trgm WITH SCHEMA control;
CREATE FUNCTION control.likeness(query text, content text) RETURNS real LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN control.word_similarity(query, content);
COMMENT ON FUNCTION control.likeness(text, text) IS 'How much of the query a part of the content has, letter by letter in threes: 0 to 1.';
REVOKE ALL ON FUNCTION control.likeness(text, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION control.likeness(text, text) TO refold_reader;
