package journal

import (
	"testing"

	"github.com/google/go-cmp/cmp"
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
