package events_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/refold-dev/refold/events"
)

func TestDecodeUnknownKind(t *testing.T) {
	for _, kind := range []string{"", "memory.added", "memory.added.v2", "Memory.Added.v1"} {
		p, err := events.Decode(kind, []byte(`{}`))
		if p != nil || !errors.Is(err, events.ErrUnknownKind) || kind != "" && !strings.Contains(err.Error(), kind) {
			t.Errorf("Decode(%q) = %v, %v, want ErrUnknownKind with the kind", kind, p, err)
		}
	}
}

const someID = `"01935cae-bf00-8000-9000-00000000de10"`

func TestDecodeSkipsUnknownMembers(t *testing.T) {
	data := `{"later":{"a":[1,{"b":null}],"a":"\ud83e\udde0"},"private":{"content":"c","later":1.5e-3},"user_id":` + someID + `,"x":[]}`
	got, err := events.Decode("memory.added.v1", []byte(data))
	want := &events.MemoryAdded{UserID: id(0x10), Private: events.MemoryPrivate{Content: "c"}}
	if diff := cmp.Diff(events.Payload(want), got); err != nil || diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}
}

// malformed has for a kind what it must not take, and a word of the reason.
var malformed = []struct{ kind, data, reason string }{
	{"memory.added.v1", ``, "want"},
	{"memory.added.v1", `[]`, "want"},
	{"memory.added.v1", `null`, "want"},
	{"memory.added.v1", `{}`, `private is missing`},
	{"memory.added.v1", `{"private":{},"user_id":` + someID + `}`, "content is missing"},
	{"memory.added.v1", `{"private":{"content":"c"}}`, "user_id is missing"},
	{"memory.added.v1", `{"private":{"content":"c"},"user_id":` + someID + `} x`, "follows"},
	{"memory.added.v1", `{"private":{"content":"c"},"user_id":` + someID, "does not end"},
	{"memory.added.v1", `{"private":{"content":"c"},"user_id":` + someID + `,}`, "string"},
	{"memory.added.v1", `{"private":{"content":"c"} "user_id":` + someID + `}`, "comma"},
	{"memory.added.v1", `{"private":{"content":"c"},"user_id":` + someID + `,"user_id":` + someID + `}`, "twice"},
	{"memory.added.v1", `{"private":{"content":"c"},"user_id":` + someID + `,"later":1,"later":1}`, "twice"},
	{"memory.added.v1", `{"private":{"content":"c"},"user_id":` + someID + `,"us\u0065r":1}`, "escapes"},
	{"memory.added.v1", `{"private":{"content":"c","request_hash":"a","request_hash":"b"},"user_id":` + someID + `}`, "twice"},
	{"memory.added.v1", `{"private":{"content":1},"user_id":` + someID + `}`, "string"},
	{"memory.added.v1", `{"private":{"content":null},"user_id":` + someID + `}`, "string"},
	{"memory.added.v1", `{"private":{"content":"\ud800"},"user_id":` + someID + `}`, "surrogate"},
	{"memory.added.v1", `{"private":{"content":"\u0000"},"user_id":` + someID + `}`, "stored"},
	{"memory.added.v1", "{\"private\":{\"content\":\"\xff\"},\"user_id\":" + someID + "}", "UTF-8"},
	{"memory.added.v1", "{\"private\":{\"content\":\"\n\"},\"user_id\":" + someID + "}", "control"},
	{"memory.added.v1", `{"private":{"content":"c","metadata":[]},"user_id":` + someID + `}`, "object"},
	{"memory.added.v1", `{"private":{"content":"c","metadata":{"a":01}},"user_id":` + someID + `}`, "value"},
	{"memory.added.v1", `{"private":{"content":"c"},"user_id":"01935CAE-bf00-8000-9000-00000000de10"}`, "UUID"},
	{"memory.added.v1", `{"private":{"content":"c"},"user_id":"01935cae-bf00-8000-9000-00000000de1"}`, "UUID"},
	{"memory.added.v1", `{"private":{"content":"c"},"user_id":"{1935cae-bf00-8000-9000-00000000de10"}`, "UUID"},
	{"memory.added.v1", `{"private":{"content":"c"},"user_id":7}`, "UUID"},
	{"memory.added.v1", `{"private":{"content":"c"},"user_id":` + someID + `,"app_id":null}`, "UUID"},
	{"memory.added.v1", `{"private":{"content":"c"},"user_id":` + someID + `,"category_ids":[` + someID + `,]}`, "UUID"},
	{"memory.added.v1", `{"private":{"content":"c"},"user_id":` + someID + `,"category_ids":{}}`, "want"},
	{"memory.added.v1", `{"private":{"content":"c"},"user_id":` + someID + `,"later":` + strings.Repeat("[", 70) + strings.Repeat("]", 70) + `}`, "nested"},
	{"memory.supplemented.v1", `{"history":[{"id":` + someID + `}]}`, "changed_by is missing"},
	{"memory.supplemented.v1", `{"history":[` + change("active", "gone", "2025-01-31T08:05:03.000001Z") + `]}`, "active"},
	{"memory.supplemented.v1", `{"history":[` + change("active", "paused", "2025-02-30T08:05:03.000001Z") + `]}`, "time"},
	{"memory.supplemented.v1", `{"history":[` + change("active", "paused", "2025-01-31T24:05:03.000001Z") + `]}`, "time"},
	{"memory.supplemented.v1", `{"history":[` + change("active", "paused", "0000-01-31T00:05:03.000001Z") + `]}`, "time"},
	{"memory.supplemented.v1", `{"history":[` + change("active", "paused", "2025-01-31T08:05:03Z") + `]}`, "time"},
	{"memory.supplemented.v1", `{"history":[` + change("active", "paused", "2025-01-31T08:05:03.000001+00:00") + `]}`, "time"},
	{"app.access-ruled.v1", `{"rule_id":` + someID + `,"object_type":"memory","effect":"maybe"}`, "allow"},
	{"app.registered.v1", `{"owner_id":` + someID + `,"active":1,"private":{"name":"n"}}`, "true"},
	{"journal.created.v1", `{"journal_id":"j","shard":1.5,"shards":1,"format":1}`, "whole"},
	{"journal.created.v1", `{"journal_id":"j","shard":99999999999999999999,"shards":1,"format":1}`, "whole"},
	{"tenant.created.v1", `{"private":{"name":"n","key":"%%"}}`, "base64"},
	{"app.paused.v1", `{"private":{}`, "does not end"},
	{"memory.deleted.v1", `{"private":{}}`, "by is missing"},
}

func change(before, after, at string) string {
	return `{"id":` + someID + `,"changed_by":` + someID + `,"old_state":"` + before + `","new_state":"` + after + `","changed_at":"` + at + `"}`
}

func TestDecodeMalformed(t *testing.T) {
	for _, c := range malformed {
		p, err := events.Decode(c.kind, []byte(c.data))
		var m *events.MalformedError
		if p != nil || !errors.As(err, &m) || m.Kind != c.kind || !strings.Contains(err.Error(), c.reason) {
			t.Errorf("Decode(%s, %s) = %v, %v, want a MalformedError about %q", c.kind, c.data, p, err, c.reason)
		}
	}
}

func TestDecodeRefusesManyMembers(t *testing.T) {
	var data strings.Builder
	data.WriteByte('{')
	for i := range 100 {
		data.WriteString(`"m` + strings.Repeat("x", i) + `":1,`)
	}
	data.WriteString(`"by":` + someID + `}`)
	var m *events.MalformedError
	if _, err := events.Decode("memory.deleted.v1", []byte(data.String())); !errors.As(err, &m) {
		t.Errorf("got %v", err)
	}
}

// TestDecodeEveryPrefix: a payload that was cut anywhere is malformed.
func TestDecodeEveryPrefix(t *testing.T) {
	for name, p := range golden() {
		data := compose(t, p)
		for n := range len(data) {
			if got, err := events.Decode(p.Kind(), data[:n]); err == nil {
				t.Fatalf("%s: the first %d bytes decode to %v", name, n, got)
			}
		}
	}
}

// TestDecodeKeepsNothing: rows outlive the message that an event came in.
func TestDecodeKeepsNothing(t *testing.T) {
	for name, want := range golden() {
		data := compose(t, want)
		got, err := events.Decode(want.Kind(), data)
		if err != nil {
			t.Fatal(err)
		}
		clear(data)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s shares memory with its message:\n%s", name, diff)
		}
	}
}

func TestHalvesRefuse(t *testing.T) {
	content := "c"
	for name, p := range map[string]events.Payload{
		"invalid UTF-8":        &events.MemoryAdded{Private: events.MemoryPrivate{Content: "\xff"}},
		"zero character":       &events.MemoryAdded{Private: events.MemoryPrivate{Content: "a\x00"}},
		"metadata no object":   &events.MemoryAdded{Private: events.MemoryPrivate{Content: "c", Metadata: []byte(`[]`)}},
		"metadata is nothing":  &events.MemoryAdded{Private: events.MemoryPrivate{Content: "c", Metadata: []byte{}}},
		"metadata is broken":   &events.MemoryChanged{Private: events.MemoryChangedPrivate{Content: &content, Metadata: []byte(`{"a"}`)}},
		"metadata with more":   &events.MemoryAdded{Private: events.MemoryPrivate{Content: "c", Metadata: []byte(`{},"user_id":1`)}},
		"metadata with blank":  &events.MemoryAdded{Private: events.MemoryPrivate{Content: "c", Metadata: []byte(` {}`)}},
		"no state":             &events.MemoryImported{CreatedAt: at(1), UpdatedAt: at(1)},
		"no time":              &events.MemoryImported{State: events.Active, CreatedAt: at(1).AddDate(-3000, 0, 0), UpdatedAt: at(1)},
		"finer than a table":   &events.MemoryImported{State: events.Active, CreatedAt: at(1).Add(1), UpdatedAt: at(1)},
		"no effect":            &events.AppAccessRuled{ObjectType: "memory"},
		"history of no states": &events.MemorySupplemented{History: []events.StatusChange{{ChangedAt: at(1)}}},
	} {
		if public, private, err := p.Halves(); err == nil {
			t.Errorf("%s: %s %s", name, public, private)
		}
	}
}
