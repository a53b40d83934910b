package mcpapi_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/refold-dev/refold/events/commands"
	"github.com/refold-dev/refold/internal/app"
	"github.com/refold-dev/refold/internal/auth"
	"github.com/refold-dev/refold/internal/user"
	"github.com/refold-dev/refold/internal/writer"
)

// Two apps of a user change a memory; either reads its versions, restores one, and brings it back once it is deleted.
func TestVersions(t *testing.T) {
	s := newStack(t)
	notes, chat := s.connect(t, s.token(t, "a", "alice"), "notes", "", nil), s.connect(t, s.token(t, "a", "alice"), "chat", "", nil)
	added := notes.call("add_memories", map[string]any{"text": "likes tea", "categories": []string{"taste"}, "metadata": map[string]any{"n": 1}})
	of := func(more ...any) map[string]any {
		out := map[string]any{"memory_id": added["id"]}
		for i := 0; i < len(more); i += 2 {
			out[more[i].(string)] = more[i+1]
		}
		return out
	}
	chat.call("update_memory", of("text", "likes coffee", "categories", []string{}))
	list := items(notes.call("memory_versions", of()))
	if len(list) != 2 {
		t.Fatalf("versions %v", list)
	}
	newest, first := list[0].(map[string]any), list[1].(map[string]any)
	if !cmp.Equal(newest["changed"], []any{"content", "categories"}) || !cmp.Equal(newest["before"], map[string]any{"content": "likes tea", "categories": []any{"taste"}}) {
		t.Errorf("the newest %v", newest)
	}
	if first["content"] != "likes tea" || first["app"] != "notes" || first["kind"] != "memory.added.v1" || first["state"] != "active" || first["changed_by"] == nil || first["before"] != nil {
		t.Errorf("the first %v", first)
	}
	page := notes.call("memory_versions", of("limit", 1))
	if rest := items(notes.call("memory_versions", of("limit", 1, "cursor", page["next_cursor"]))); len(rest) != 1 || rest[0].(map[string]any)["version"] != 1.0 {
		t.Errorf("the second page %v", rest)
	}
	if code := chat.refused("restore_memory", of("version", 1, "if_version", 1)); code != "precondition_failed" {
		t.Errorf("restore at an old version: %s", code)
	}
	for _, version := range []int{0, -1, 3} {
		if code := chat.refused("restore_memory", of("version", version)); code != "invalid" {
			t.Errorf("restore version %d: %s", version, code)
		}
		if version < 0 {
			continue
		}
		if code := chat.refused("get_memory_version", of("version", version)); code != "not_found" {
			t.Errorf("read version %d: %s", version, code)
		}
	}
	if done := chat.call("restore_memory", of("version", 1, "if_version", 2)); done["version"] != 3.0 || done["changed"] != true || done["readable"] != true {
		t.Errorf("restored %v", done)
	}
	notes.call("delete_memories", map[string]any{"memory_ids": []any{added["id"]}})
	for _, tool := range []string{"memory_versions", "get_memory_version", "restore_memory"} {
		arguments := of("version", 1)
		if tool == "memory_versions" {
			arguments = of()
		}
		if code := notes.refused(tool, arguments); code != "not_found" {
			t.Errorf("%s of a deleted memory: %s", tool, code)
		}
	}
	if back := chat.call("undelete_memory", of()); back["version"] != 5.0 || back["changed"] != true {
		t.Errorf("undeleted %v", back)
	}
	m, _ := notes.call("get_memory", of())["memory"].(map[string]any)
	if m["content"] != "likes tea" || m["state"] != "active" || !cmp.Equal(m["categories"], []any{"taste"}) || !cmp.Equal(m["metadata"], map[string]any{"n": 1.0}) {
		t.Errorf("after all that %v", m)
	}
}

// An answer is bounded whatever the versions hold, and what was cut off is read part by part.
func TestVersionsThatAreLarge(t *testing.T) {
	s := newStack(t)
	a := s.connect(t, s.token(t, "a", "alice"), "x", "", nil)
	text := strings.Repeat("<日本> ", 20_000)
	id := a.call("add_memories", map[string]any{"text": text, "metadata": map[string]any{"k": strings.Repeat("m", 100_000)}})["id"]
	for i := range 30 {
		a.call("update_memory", map[string]any{"memory_id": id, "text": strings.Repeat("y", 1000*(i+1)) + text})
	}
	met := 0
	for cursor := any(nil); ; {
		arguments := map[string]any{"memory_id": id, "limit": 50}
		if cursor != nil {
			arguments["cursor"] = cursor
		}
		page := a.call("memory_versions", arguments)
		body, _ := json.Marshal(page)
		if met += len(items(page)); len(body) > 60<<10 {
			t.Errorf("an answer of %d bytes", len(body))
		}
		if cursor = page["next_cursor"]; cursor == nil {
			break
		}
	}
	if met != 31 {
		t.Errorf("%d versions, want 31", met)
	}
	whole := ""
	for offset := 0.0; ; {
		part := a.call("get_memory_version", map[string]any{"memory_id": id, "version": 1, "offset": offset})
		v, _ := part["version"].(map[string]any)
		whole += v["content"].(string)
		next, more := part["next_offset"].(float64)
		if !more {
			break
		}
		offset = next
	}
	if whole != text {
		t.Errorf("version 1 has %d bytes, want %d", len(whole), len(text))
	}
}

// An app does not bring back what its access rules keep from it, and cannot tell it from what is not there.
func TestUndeleteByRules(t *testing.T) {
	s := newStack(t)
	whole := s.connect(t, s.token(t, "a", "alice"), "whole", "", nil)
	bound := s.connect(t, s.token(t, "a", "alice"), "bound", "", nil)
	secret, _ := whole.call("add_memories", map[string]any{"text": "a secret", "categories": []string{"secret"}})["id"].(string)
	open, _ := whole.call("add_memories", map[string]any{"text": "for all", "categories": []string{"open"}})["id"].(string)
	bound.call("add_memories", map[string]any{"text": "its own"})
	tenant, err := s.plane.Directory.Tenant(t.Context(), "a")
	check(t, err)
	caller, err := s.config.Writer.Caller(t.Context(), auth.Principal{Tenant: "a", Subject: "alice"})
	check(t, err)
	denied := uuid.MustParse(secret)
	_, err = s.config.Writer.RuleAccess(t.Context(), caller, writer.Wish{ID: "rule"}, commands.RuleAccess{
		ID: app.ID(tenant.Key, "a", user.ID(tenant.Key, "a", "alice"), "bound"), Rule: uuid.New(), ObjectType: "memory", ObjectID: &denied, Effect: "deny",
	})
	check(t, err)
	gone := whole.call("delete_memories", map[string]any{"memory_ids": []string{secret, open}}) // after the rule, and readable
	if gone["deleted"] != 2.0 {
		t.Fatalf("deleted %v", gone)
	}
	refused := bound.try("undelete_memory", map[string]any{"memory_id": secret})
	absent := bound.try("undelete_memory", map[string]any{"memory_id": uuid.NewString()})
	if diff := cmp.Diff(absent.Content, refused.Content); !refused.IsError || diff != "" {
		t.Errorf("what is denied (-absent +denied):\n%s", diff)
	}
	for range 2 {
		if back := bound.call("undelete_memory", map[string]any{"memory_id": open}); back["version"] != 3.0 {
			t.Errorf("what is not denied: %v", back)
		}
	}
	if back := whole.call("undelete_memory", map[string]any{"memory_id": secret}); back["version"] != 3.0 {
		t.Errorf("by the other app: %v", back)
	}
}
