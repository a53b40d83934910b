-- Add a column: the bare tables of a new edition are empty, so NOT NULL needs no default and locks nobody out.

-- +goose Up
ALTER TABLE memory ADD COLUMN words integer NOT NULL;
