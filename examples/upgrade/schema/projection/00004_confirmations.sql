-- Add an event: when somebody last confirmed that a memory still holds.

-- +goose Up
ALTER TABLE memory ADD COLUMN confirmed_at timestamptz;
