package ledger_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/refold-dev/refold/events/envelope"
	"github.com/refold-dev/refold/internal/ledger"
)

func event(seq uint64, tenant, entity, id, command string) *envelope.Event {
	return &envelope.Event{Key: envelope.Key{Tenant: tenant, Entity: entity, ID: id}, Seq: seq, Version: seq * 7, CommandID: command, Data: []byte("{}")}
}

func sample() []*envelope.Event {
	u := uuid.MustParse("01935cae-bf00-8000-9000-00000000de01").String()
	return []*envelope.Event{
		event(41, "acme", "memory", u, u),
		event(42, "acme", "memory", strings.ToUpper(u), "key-1"),
		event(43, "blue", "app", strings.ReplaceAll(u, "-", ""), ""),
		event(44, "", "", "", "a\x00b\xff"),
		event(45, "acme", "blue", "acme", strings.Repeat("k", 5000)),
		event(46, "blue", "memory", "urn:uuid:"+u, "{"+u[:34]+"}"),
	}
}

func pack(all []*envelope.Event) ([]byte, []ledger.Entry) {
	var p ledger.Packer
	var want []ledger.Entry
	for _, e := range all {
		digest, _ := e.Digest(nil)
		p.Add(e, digest)
		want = append(want, ledger.Entry{Key: e.Key, Seq: e.Seq, Version: e.Version, CommandID: e.CommandID, Digest: ledger.Short(digest)})
	}
	return p.Bytes(), want
}

func TestPackedComesBack(t *testing.T) {
	batch, want := pack(sample())
	got, err := ledger.Unpack(batch)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("-packed +unpacked:\n%s", diff)
	}
}

func TestAPackerIsUsedAgain(t *testing.T) {
	var p ledger.Packer
	for round := range 3 {
		p.Reset()
		e := event(uint64(round+1), "acme", "memory", "m", fmt.Sprint(round))
		digest, _ := e.Digest(nil)
		p.Add(e, digest)
		got, err := ledger.Unpack(p.Bytes())
		if err != nil || len(got) != 1 || got[0].CommandID != fmt.Sprint(round) || p.Len() != 1 || p.First() != e.Seq || p.Last() != e.Seq {
			t.Fatalf("round %d: %+v, %v", round, got, err)
		}
	}
}

// TestEveryFlippedBitAndCutIsHarmless: what comes back is refused, or is a batch that packs to the very same bytes.
func TestEveryFlippedBitAndCutIsHarmless(t *testing.T) {
	batch, _ := pack(sample())
	for i := range batch {
		if _, err := ledger.Unpack(batch[:i]); !errors.Is(err, ledger.ErrMalformed) {
			t.Fatalf("cut at %d: %v", i, err)
		}
		for bit := range 8 {
			other := bytes.Clone(batch)
			other[i] ^= 1 << bit
			isCanonical(t, other)
		}
	}
}

// isCanonical fails unless a batch is refused or is the only form of what it holds.
func isCanonical(t *testing.T, batch []byte) {
	t.Helper()
	got, err := ledger.Unpack(batch)
	if err != nil {
		if !errors.Is(err, ledger.ErrMalformed) {
			t.Fatalf("%x: %v", batch, err)
		}
		return
	}
	var p ledger.Packer
	for _, e := range got {
		var digest envelope.Digest
		copy(digest[:], e.Digest[:])
		p.Add(&envelope.Event{Key: e.Key, Seq: e.Seq, Version: e.Version, CommandID: e.CommandID}, digest)
	}
	if !bytes.Equal(p.Bytes(), batch) {
		t.Fatalf("%x is also\n%x", batch, p.Bytes())
	}
}

func FuzzUnpack(f *testing.F) {
	batch, _ := pack(sample())
	f.Add(batch)
	f.Add([]byte{})
	f.Add([]byte{1, 0xff, 0xff, 0x3f, 1})
	f.Fuzz(isCanonical)
}

func BenchmarkPack(b *testing.B) {
	var all []*envelope.Event
	for i := range 2000 {
		all = append(all, event(uint64(i+1), fmt.Sprintf("tenant-%d", i%200), "memory", uuid.NewString(), uuid.NewString()))
	}
	var p ledger.Packer
	var size int
	for b.Loop() {
		p.Reset()
		for _, e := range all {
			p.Add(e, envelope.Digest{})
		}
		size = len(p.Bytes())
	}
	b.ReportMetric(float64(size)/float64(len(all)), "B/event")
}
