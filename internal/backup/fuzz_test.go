package backup

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/refold-dev/refold/events/envelope"
	"github.com/refold-dev/refold/internal/journal"
)

// seedSegment is a small valid segment.
func seedSegment(t testing.TB) []byte {
	w, err := newSegmentWriter(segmentHead{"01J", 3, 5, envelope.Digest{1}})
	if err != nil {
		t.Fatal(err)
	}
	for seq := uint64(5); seq < 9; seq++ {
		w.add(&journal.Raw{Seq: seq, Subject: "ev.3.a.b.c", Header: []byte("NATS/1.0\r\nce-id: x\r\n\r\n"), Data: []byte("{}")})
	}
	body, err := w.finish(envelope.Digest{2})
	if err != nil {
		t.Fatal(err)
	}
	return body
}

// FuzzSegment: whatever the bytes inside the compression, a segment is refused or is whole, and one that is read can be
// written again with the same content.
func FuzzSegment(f *testing.F) {
	decoder, err := zstd.NewReader(nil)
	if err != nil {
		f.Fatal(err)
	}
	raw, err := decoder.DecodeAll(seedSegment(f), nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw)
	f.Add(raw[:len(raw)-10])
	f.Add(append(bytes.Clone(raw), 0))
	f.Add([]byte(segmentMagic))
	f.Add([]byte(segmentMagic + "\x02ab\x00\x01"))
	encoder, err := zstd.NewWriter(nil, zstd.WithWindowSize(windowBytes))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		var w *segmentWriter
		var first uint64
		tail, err := readSegment(encoder.EncodeAll(raw, nil), func(h segmentHead) (err error) {
			first = h.First
			w, err = newSegmentWriter(h)
			return err
		}, func(m *journal.Raw) error {
			w.add(m)
			return nil
		})
		if err != nil {
			if !errors.Is(err, ErrSegment) {
				t.Fatalf("not refused as no segment: %v", err)
			}
			return
		}
		if tail.Last-first+1 != tail.Count {
			t.Fatalf("%d messages from %d to %d", tail.Count, first, tail.Last)
		}
		body, err := w.finish(tail.Chain)
		if err != nil {
			t.Fatal(err)
		}
		again, err := decoder.DecodeAll(body, nil)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := readSegment(body, func(segmentHead) error { return nil }, func(*journal.Raw) error { return nil }); err != nil || got != tail {
			t.Fatalf("%+v, %v, want %+v", got, err, tail)
		}
		if len(again) > len(raw) {
			t.Fatalf("%d bytes became %d", len(raw), len(again))
		}
	})
}

// FuzzSegmentFile: the same for the bytes of the file.
func FuzzSegmentFile(f *testing.F) {
	body := seedSegment(f)
	f.Add(body)
	f.Add(body[:len(body)/2])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, body []byte) {
		_, err := readSegment(body, func(segmentHead) error { return nil }, func(*journal.Raw) error { return nil })
		if err != nil && !errors.Is(err, ErrSegment) {
			t.Fatal(err)
		}
		if _, err := unpack(body, Piece{RawBytes: 10}); err != nil && !errors.Is(err, ErrPiece) {
			t.Fatal(err)
		}
	})
}

// FuzzManifest: a manifest that passes its check can be used: its objects have proper names, its shards are dense.
func FuzzManifest(f *testing.F) {
	f.Add([]byte(`{}`))
	f.Add([]byte(`{"format":1,"id":"01M83BHABVMS7RFP72RRCJFRKW","journal_id":"j","incarnation":1,"taken":"2026-01-01T00:00:00Z","shards":[{"seq":1}]}`))
	m := Manifest{Format: 1, ID: "01M83BHABVMS7RFP72RRCJFRKW", JournalID: "j", Incarnation: 1, Taken: now()}
	sum := sumHex(nil)
	s := Shard{Position: Position{Seq: 2, EventDigest: sum, Chain: sum}, Segments: []Segment{{First: 1, Last: 2, Bytes: 3, SHA256: sum, EventDigest: sum, Chain: sum, Object: segmentName("j", 0, 1, 2, sum)}}}
	m.Shards = []Shard{s}
	if err := m.check(); err != nil {
		f.Fatal(err)
	}
	body, err := json.Marshal(m)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(body)
	f.Fuzz(func(t *testing.T, body []byte) {
		var m Manifest
		if json.Unmarshal(body, &m) != nil || m.check() != nil {
			return
		}
		m.objects(func(name string, bytes int64, sum string) {
			if bytes < 1 || len(sum) != 64 || name[:len(dataPrefix)] != dataPrefix || strings.Contains(name, "..") {
				t.Fatalf("object %q of %d bytes", name, bytes)
			}
		})
		for i, s := range m.Shards {
			if s.Shard != i || s.Segments[len(s.Segments)-1].Last != s.Seq {
				t.Fatalf("shard %d: %+v", i, s)
			}
		}
		if _, err := digestOf(m.Shards[0].Chain); err != nil {
			t.Fatal(err)
		}
	})
}

// FuzzRows: a stream of COPY is counted the same however it is cut into pieces, and never read past its end.
func FuzzRows(f *testing.F) {
	valid := append(bytes.Clone(copyHeader), 0, 2, 0, 0, 0, 1, 'a', 0xff, 0xff, 0xff, 0xff, 0xff, 0xff)
	f.Add(valid, 1, true)
	f.Add(valid, 7, true)
	f.Add([]byte("a\tb\nc\td\n"), 3, false)
	f.Fuzz(func(t *testing.T, stream []byte, cut int, binary bool) {
		whole, parts := &rowCounter{binary: binary}, &rowCounter{binary: binary}
		_, wholeErr := whole.Write(stream)
		var partsErr error
		for at := 0; at < len(stream) && partsErr == nil; {
			n := min(max(cut, 1), len(stream)-at)
			_, partsErr = parts.Write(stream[at : at+n])
			at += n
		}
		if (wholeErr == nil) != (partsErr == nil) {
			t.Fatalf("whole: %v, in parts: %v", wholeErr, partsErr)
		}
		if wholeErr == nil && (whole.rows != parts.rows || whole.incomplete() != parts.incomplete()) {
			t.Fatalf("whole: %d rows, in parts: %d", whole.rows, parts.rows)
		}
	})
}
