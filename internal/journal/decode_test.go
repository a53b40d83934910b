package journal

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
)

// TestDecode: what goes out comes back, and a decoder keeps one copy of the names.
func TestDecode(t *testing.T) {
	want := testEvent("acme", "n1", "c1", 3)
	want.TraceParent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	o, err := newOutgoing(4, want, 7)
	if err != nil {
		t.Fatal(err)
	}
	m := o.message("S")
	want.Shard, want.Seq = 4, 9
	d := decoder{shard: 4, names: map[string]string{}}
	for range 2 {
		got := d.decode(m.Subject, 9, m.Header, m.Data)
		if diff := cmp.Diff(*want, got); diff != "" {
			t.Fatalf("decoded another event (-want +got):\n%s", diff)
		}
	}
	if len(d.names) != 3 {
		t.Fatalf("the decoder keeps %v, want tenant, entity and kind", d.names)
	}
	if foreign := decode(5, m.Subject, 9, m.Header, m.Data); foreign.Kind != MalformedKind {
		t.Fatalf("an event of shard 4 read from shard 5 has kind %q", foreign.Kind)
	}
}

// TestNoHeaderEscapesTheDigest: a header that the digest does not cover makes a message malformed, for both readers.
func TestNoHeaderEscapesTheDigest(t *testing.T) {
	o, err := newOutgoing(0, testEvent("acme", "n1", "c1", 3), 7)
	if err != nil {
		t.Fatal(err)
	}
	for what, c := range map[string]struct {
		change    func(nats.Header)
		malformed bool
	}{
		"as it was":                    {func(nats.Header) {}, false},
		"one of the broker's":          {func(h nats.Header) { h["Nats-Batch-Id"] = []string{"b", "c"} }, false},
		"a foreign one":                {func(h nats.Header) { h["note"] = []string{"x"} }, true},
		"an empty foreign one":         {func(h nats.Header) { h["note"] = []string{""} }, true},
		"like the broker's":            {func(h nats.Header) { h["nats-batch-id"] = []string{"b"} }, true},
		"one of ours twice":            {func(h nats.Header) { h["refold-actor"] = []string{"a", "b"} }, true},
		"one of ours in capitals, too": {func(h nats.Header) { h["Refold-Actor"] = []string{"a"} }, true},
		"another source":               {func(h nats.Header) { h["ce-source"] = []string{"x"} }, true},
	} {
		t.Run(what, func(t *testing.T) {
			m := o.message("S")
			c.change(m.Header)
			var wire strings.Builder
			wire.WriteString("NATS/1.0\r\n")
			for name, values := range m.Header {
				for _, value := range values {
					wire.WriteString(name + ": " + value + "\r\n")
				}
			}
			wire.WriteString("\r\n")
			bulk := bulkDecoder{decoder: decoder{names: map[string]string{}}}
			one, other := decode(0, m.Subject, 9, m.Header, m.Data), bulk.decode(m.Subject, 9, []byte(wire.String()), m.Data)
			if (one.Kind == MalformedKind) != c.malformed || (other.Kind == MalformedKind) != c.malformed {
				t.Fatalf("kinds are %q by the library and %q in bulk, malformed must be %v", one.Kind, other.Kind, c.malformed)
			}
		})
	}
}

func BenchmarkDecode(b *testing.B) {
	o, err := newOutgoing(0, testEvent("acme", "n1", "c1", 3), 7)
	if err != nil {
		b.Fatal(err)
	}
	m := o.message("S")
	d := decoder{names: map[string]string{}}
	b.ReportAllocs()
	for b.Loop() {
		d.decode(m.Subject, 9, m.Header, m.Data)
	}
}
