package openmemory

import (
	"archive/zip"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/refold-dev/refold/internal/directory"
	"github.com/refold-dev/refold/internal/journal/journaltest"
)

type object = map[string]any

// testID gives a UUID that is easy to recognise: a letter for the kind, a number.
func testID(kind byte, n int) string { return fmt.Sprintf("%c0000000-0000-4000-8000-%012d", kind, n) }

const (
	testTime  = "2025-02-03T04:05:06.000007+00:00"
	laterTime = "2025-03-03T04:05:06+00:00"
)

// document is a sound export that each test may spoil: one user, two apps, two categories, four memories (the last
// has no app), links, status history and access rules.
func document() object {
	user := testID('a', 1)
	record := func(fields object) object {
		fields["created_at"], fields["updated_at"] = testTime, laterTime
		return fields
	}
	memory := func(n int, app any, state string) object {
		return record(object{"id": testID('d', n), "user_id": user, "app_id": app, "content": fmt.Sprintf("memory %d", n),
			"metadata": object{"n": n}, "state": state, "archived_at": nil, "deleted_at": nil, "category_ids": []any{testID('c', 1)}})
	}
	app := func(n int) object {
		return record(object{"id": testID('b', n), "owner_id": user, "name": fmt.Sprintf("app-%d", n), "description": nil,
			"metadata": object{"app": n}, "is_active": n == 1})
	}
	category := func(n int) object {
		return record(object{"id": testID('c', n), "name": fmt.Sprintf("category-%d", n), "description": "described"})
	}
	paused := memory(2, testID('b', 2), "paused")
	return object{
		"user":       record(object{"id": user, "user_id": "someone", "name": "Some One", "email": "some@one.example", "metadata": nil}),
		"apps":       []any{app(1), app(2)},
		"categories": []any{category(1), category(2)},
		"memories":   []any{memory(1, testID('b', 1), "active"), paused, memory(3, testID('b', 1), "archived"), memory(4, nil, "deleted")},
		"memory_categories": []any{
			object{"memory_id": testID('d', 1), "category_id": testID('c', 1)},
			object{"memory_id": testID('d', 1), "category_id": testID('c', 2)},
		},
		"status_history": []any{
			object{"id": testID('e', 1), "memory_id": testID('d', 2), "changed_by": user, "old_state": "active", "new_state": "paused", "changed_at": laterTime},
			object{"id": testID('e', 2), "memory_id": testID('d', 3), "changed_by": user, "old_state": "active", "new_state": "archived", "changed_at": laterTime},
		},
		"access_controls": []any{
			object{"id": testID('f', 1), "subject_type": "app", "subject_id": testID('b', 1), "object_type": "memory", "object_id": nil, "effect": "allow", "created_at": testTime},
			object{"id": testID('f', 2), "subject_type": "app", "subject_id": testID('b', 1), "object_type": "memory", "object_id": testID('d', 2), "effect": "deny", "created_at": testTime},
		},
		"export_meta": object{"app_id_filter": nil, "from_date": nil, "to_date": nil, "version": "1", "generated_at": laterTime},
	}
}

// item returns item n of one of the document's arrays.
func item(d object, member string, n int) object { return d[member].([]any)[n].(object) }

func encode(t testing.TB, d any) []byte {
	t.Helper()
	raw, err := json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	return bytes.ReplaceAll(raw, []byte(`"`+tooDeepToEncode+`"`), []byte(nested(10_000)))
}

type testMember struct {
	name string
	data []byte
}

func zipOf(t testing.TB, members ...testMember) []byte {
	t.Helper()
	var out bytes.Buffer
	z := zip.NewWriter(&out)
	for _, m := range members {
		w, err := z.Create(m.name)
		if err == nil {
			_, err = w.Write(m.data)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func zipDocument(t testing.TB, d object) []byte {
	t.Helper()
	return zipOf(t, testMember{documentName, encode(t, d)})
}

func gzipped(t testing.TB, text string) []byte {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	if _, err := w.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func testTenant(id string) directory.Tenant {
	return directory.Tenant{ID: id, Name: id, Key: []byte(strings.Repeat(id, 32)[:32])}
}

// configFor imports file into tenant "acme" of the shard.
func configFor(t testing.TB, shard *journaltest.Fake, file []byte) Config {
	t.Helper()
	return Config{File: bytes.NewReader(file), Size: int64(len(file)), Tenant: testTenant("acme"), Shard: shard, TempDir: t.TempDir(), Workers: 8}
}
