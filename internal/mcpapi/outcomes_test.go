package mcpapi_test

import (
	"context"
	"encoding/json"
	"errors"
	"testing"

	"github.com/refold-dev/refold/events/envelope"
	"github.com/refold-dev/refold/internal/journal"
	"github.com/refold-dev/refold/internal/writer"
)

// ailing is a shard that may not read histories, and may lose the answers to its appends.
type ailing struct {
	journal.Shard
	deaf, mute bool
}

func (a *ailing) History(ctx context.Context, key envelope.Key) ([]envelope.Event, error) {
	if a.deaf {
		return nil, errors.New("a text of a store")
	}
	return a.Shard.History(ctx, key)
}

func (a *ailing) Append(ctx context.Context, e *envelope.Event, last uint64) (journal.Receipt, error) {
	receipt, err := a.Shard.Append(ctx, e, last)
	if a.mute {
		return receipt, journal.ErrUnknown
	}
	return receipt, err
}

// An agent is told apart what may be stored, with the key to ask by, and what is surely not.
func TestNotStoredOrUnknown(t *testing.T) {
	shard := &ailing{}
	s := newStack(t)
	shard.Shard = s.plane.Journal.Shard(0)
	s.config.Writer = writer.New(s.plane.Directory, func(int) journal.Shard { return shard }, s.config.Reader)
	s.serve(t)
	a := s.connect(t, s.token(t, "a", "ann"), "claude-code", "", nil)
	id := a.call("add_memories", map[string]any{"text": "x"})["id"]

	type refusal struct {
		Code      string
		Retryable bool
		Key       string `json:"idempotency_key"`
	}
	refused := func(tool string, arguments map[string]any) (r refusal) {
		t.Helper()
		result := a.try(tool, arguments)
		if !result.IsError {
			t.Fatalf("%s: %s, want a refusal", tool, textOf(result))
		}
		check(t, json.Unmarshal([]byte(textOf(result)), &r))
		return r
	}
	shard.deaf = true
	if got, want := refused("update_memory", map[string]any{"memory_id": id, "text": "y"}), (refusal{"not_stored", true, ""}); got != want {
		t.Errorf("update: %+v, want %+v", got, want)
	}
	results := a.call("delete_memories", map[string]any{"memory_ids": []any{id}})["results"].([]any)
	if code := results[0].(map[string]any)["code"]; code != "not_stored" {
		t.Errorf("delete: code %v", code)
	}
	shard.deaf, shard.mute = false, true
	if got := refused("add_memories", map[string]any{"text": "z", "idempotency_key": "k"}); got != (refusal{"outcome_unknown", true, "k"}) {
		t.Errorf("add: %+v, want it unknown", got)
	}
}
