package envelope_test

import (
	"encoding/base64"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/refold-dev/refold/events/envelope"
)

// FuzzSubject: a key either becomes a subject of five plain tokens that reads back as the same key, or none.
func FuzzSubject(f *testing.F) {
	f.Add(0, "acme", "memory", "01935cae-bf00-8000-9000-00000000de10")
	f.Add(7, "_plane", "journal", "A")
	f.Add(-1, "a", "b", "c")
	f.Add(0, "*", ">", "a.b")
	f.Add(0, "", "é", "a b")
	f.Add(0, strings.Repeat("a", 64), strings.Repeat("b", 65), "$SYS")
	f.Fuzz(func(t *testing.T, shard int, tenant, entity, id string) {
		key := envelope.Key{Tenant: tenant, Entity: entity, ID: id}
		subject, err := envelope.Subject(shard, key)
		if err != nil {
			if subject != "" {
				t.Fatalf("%q with %v", subject, err)
			}
			return
		}
		if strings.ContainsAny(subject, "*> \t\r\n\x00") || strings.Count(subject, ".") != 4 {
			t.Fatalf("subject %q", subject)
		}
		gotShard, gotKey, err := envelope.ParseSubject(subject)
		if err != nil || gotShard != shard || gotKey != key {
			t.Fatalf("%q reads back as %d, %v, %v", subject, gotShard, gotKey, err)
		}
	})
}

// FuzzParseSubject: what reads as a subject is written as that very subject.
func FuzzParseSubject(f *testing.F) {
	for _, subject := range []string{
		"ev.0.acme.memory.a", "ev.01.acme.memory.a", "ev.+1.acme.memory.a", "ev.0.acme.memory", "ev.0.acme.memory.a.b",
		"ev.0.acme.*.a", "ev.0.>", "", "ev", "ev.", "EV.0.a.b.c", "ev.99999999999999999999.a.b.c", "ev.-1.a.b.c", "ev.0..b.c",
	} {
		f.Add(subject)
	}
	f.Fuzz(func(t *testing.T, subject string) {
		shard, key, err := envelope.ParseSubject(subject)
		if err != nil {
			return
		}
		if again, err := envelope.Subject(shard, key); err != nil || again != subject {
			t.Fatalf("%q reads as %d, %v, which is %q, %v", subject, shard, key, again, err)
		}
	})
}

// FuzzHeaders: headers that read as those of an event are written again as they mean, and read back the same.
func FuzzHeaders(f *testing.F) {
	f.Add("id", "memory.added.v1", "1", "2025-01-31T08:05:03.000001Z", "actor", "command", "trace")
	f.Add("id", "memory.added.v1", "0", "2025-01-31T08:05:03+02:00", "", "command", "")
	f.Add("", "k", "18446744073709551615", "0001-01-01T00:00:00Z", "", "c", "")
	f.Fuzz(func(t *testing.T, id, kind, version, at, actor, commandID, trace string) {
		first := map[string]string{
			"ce-specversion": "1.0", "ce-id": id, "ce-type": kind, "ce-source": "refold", "ce-time": at,
			"refold-version": version, "refold-actor": actor, "refold-command": commandID, "traceparent": trace,
		}
		var e, again envelope.Event
		if e.FromHeaders(func(name string) string { return first[name] }) != nil {
			return
		}
		second := e.Headers()
		if trace == "" {
			delete(first, "traceparent")
		}
		if diff := cmp.Diff(first, second); diff != "" {
			t.Fatalf("two ways to write one event (-read +written):\n%s", diff)
		}
		if err := again.FromHeaders(func(name string) string { return second[name] }); err != nil {
			t.Fatalf("%v does not read back: %v", second, err)
		}
		if diff := cmp.Diff(e, again); diff != "" {
			t.Fatalf("(-before +after):\n%s", diff)
		}
		for name := range second {
			if name != strings.ToLower(name) || strings.HasPrefix(name, "nats-") {
				t.Fatalf("header %q", name)
			}
		}
	})
}

func TestFromHeadersRefuses(t *testing.T) {
	good := envelope.Event{EventID: "id", Kind: "k", Version: 1, CommandID: "c", Time: time.Unix(1, 0).UTC()}
	for _, change := range [][2]string{
		{"ce-specversion", "0.3"}, {"ce-id", ""}, {"ce-type", ""}, {"refold-command", ""}, {"ce-source", "elsewhere"}, {"ce-source", ""},
		{"refold-version", "0"}, {"refold-version", "01"}, {"refold-version", "+1"}, {"refold-version", "1 "},
		{"ce-time", "yesterday"}, {"ce-time", "1970-01-01T00:00:01.0Z"}, {"ce-time", "1970-01-01T01:00:01+01:00"},
		{"ce-time", "1970-01-01T00:00:01+00:00"}, {"ce-time", "1970-01-01T00:00:01.000000001Z"}, {"ce-time", "1970-01-01T00:00:01,5Z"},
	} {
		name, value := change[0], change[1]
		headers := good.Headers()
		headers[name] = value
		var e envelope.Event
		if err := e.FromHeaders(func(name string) string { return headers[name] }); err == nil {
			t.Errorf("%s %q was taken", name, value)
		}
	}
}

// FuzzCompose: any two objects and any hash in its alphabet make a payload from which the hash reads back.
func FuzzCompose(f *testing.F) {
	f.Add("{}", "{}", []byte("hash"))
	f.Add(`{"a":1}`, `{"b":{"c":"}"}}`, []byte{})
	f.Add(` { } `, `{"b":1 }`, []byte{0xff})
	f.Fuzz(func(t *testing.T, public, private string, seed []byte) {
		hash := base64.RawURLEncoding.EncodeToString(seed)
		if got := envelope.RequestHash(envelope.Compose([]byte(public), []byte(private), hash)); got != hash {
			t.Fatalf("hash %q, want %q", got, hash)
		}
	})
}

// TestDigestCoversEverything: two events that differ anywhere have different digests, and each is stable.
func TestDigestCoversEverything(t *testing.T) {
	base := envelope.Event{
		Key: envelope.Key{Tenant: "t", Entity: "e", ID: "i"}, Shard: 1, Seq: 9, EventID: "id", Kind: "k", Version: 1,
		Time: time.UnixMicro(1).UTC(), Actor: "a", CommandID: "c", TraceParent: "p", Data: []byte("{}"),
	}
	changes := map[string]func(*envelope.Event){
		"tenant": func(e *envelope.Event) { e.Tenant = "T" }, "entity": func(e *envelope.Event) { e.Entity = "E" },
		"id": func(e *envelope.Event) { e.ID = "I" }, "shard": func(e *envelope.Event) { e.Shard = 2 },
		"event id": func(e *envelope.Event) { e.EventID = "ID" }, "kind": func(e *envelope.Event) { e.Kind = "K" },
		"version": func(e *envelope.Event) { e.Version = 2 }, "time": func(e *envelope.Event) { e.Time = time.UnixMicro(2) },
		"actor": func(e *envelope.Event) { e.Actor = "A" }, "command": func(e *envelope.Event) { e.CommandID = "C" },
		"trace": func(e *envelope.Event) { e.TraceParent = "" }, "data": func(e *envelope.Event) { e.Data = []byte("{ }") },
		"a shifted border": func(e *envelope.Event) { e.Tenant, e.Entity = "te", "" },
	}
	want, scratch := base.Digest(nil)
	for what, change := range changes {
		e := base
		change(&e)
		var got envelope.Digest
		if got, scratch = e.Digest(scratch); got == want {
			t.Errorf("%s is not in the digest", what)
		}
	}
	base.Seq = 10 // known only once it is stored
	if got, _ := base.Digest(scratch); got != want {
		t.Error("the digest is not stable")
	}
}
