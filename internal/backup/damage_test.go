package backup

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/refold-dev/refold/events/envelope"
	"github.com/refold-dev/refold/internal/journal"
)

// twoBackups are a backup and the next one, of two shards, in a folder.
func twoBackups(t *testing.T) (folder string, first, second *Entry) {
	t.Helper()
	s := newSource(t, 2)
	r, folder := newRepository(t)
	fill(t, s.Journal.Shards[0], 20)
	first = create(t, r, s)
	fill(t, s.Journal.Shards[0], 20)
	fill(t, s.Journal.Shards[1], 5)
	second = create(t, r, s)
	if v := validate(t, r, second.ID, ValidateOptions{Level: 3, JournalID: second.JournalID}); !v.Valid || len(v.Levels) != 4 || v.Events != 47 {
		t.Fatalf("the backup is not valid: %+v", v)
	}
	return folder, first, second
}

// TestDamages: every kind of damage is found, by the level that it is the business of, and not before.
func TestDamages(t *testing.T) {
	folder, first, second := twoBackups(t)
	type damage struct {
		level int
		what  string
		do    func(t *testing.T, r *Repository, folder string, m *Manifest)
	}
	object := func(pick func(m *Manifest) string, change func([]byte) []byte) func(*testing.T, *Repository, string, *Manifest) {
		return func(t *testing.T, r *Repository, folder string, m *Manifest) {
			name := filepath.Join(folder, pick(m))
			body, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			if body = change(body); body == nil {
				err = os.Remove(name)
			} else {
				err = os.WriteFile(name, body, 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	segment := func(m *Manifest) string { return m.Shards[0].Segments[1].Object }
	control := func(m *Manifest) string {
		for _, table := range m.Control.Tables {
			if table.Name == "tenant" {
				return table.Pieces[0].Object
			}
		}
		return ""
	}
	row := func(m *Manifest) string { return m.Editions[0].Tables[0].Pieces[0].Object }
	manifest := func(m *Manifest) string { return manifestName(m.ID) }
	flip := func(b []byte) []byte { b[len(b)/2] ^= 1; return b }
	zipped := func(b []byte) []byte {
		encoder, _ := zstd.NewWriter(nil)
		decoder, _ := zstd.NewReader(nil)
		raw, err := decoder.DecodeAll(b, nil)
		if err != nil {
			t.Fatal(err)
		}
		raw[len(raw)/2] ^= 1
		return encoder.EncodeAll(raw, nil)
	}
	resigned := func(change func(t *testing.T, r *Repository, m *Manifest)) func(*testing.T, *Repository, string, *Manifest) {
		return func(t *testing.T, r *Repository, _ string, m *Manifest) {
			change(t, r, m)
			sign(t, r, r.Signer, m)
		}
	}
	all := []damage{
		{0, "manifest edited, signature of another key", func(t *testing.T, r *Repository, _ string, m *Manifest) {
			m.Warnings = append(m.Warnings, "all is well")
			sign(t, r, signerOf(t, 2), m)
		}},
		{0, "event removed, all hashes recomputed, signature of another key", func(t *testing.T, r *Repository, _ string, m *Manifest) {
			written(t, r, m, 0, 1, without(events(t, r, m.Shards[0].Segments[1]), 7), true)
			sign(t, r, signerOf(t, 2), m)
		}},
		{0, "manifest edited without signing", object(manifest, func(b []byte) []byte {
			return []byte(strings.Replace(string(b), `"incarnation":1`, `"incarnation":2`, 1))
		})},
		{0, "another backup's manifest under this name", func(t *testing.T, r *Repository, _ string, m *Manifest) {
			body, err := r.Store.Get(t.Context(), manifestName(first.ID), manifestBytesMax)
			if err != nil {
				t.Fatal(err)
			}
			replace(t, r, manifestName(m.ID), body)
		}},
		{0, "manifest of another journal", resigned(func(t *testing.T, _ *Repository, m *Manifest) { m.JournalID = "01OTHER" })},
		{0, "signed document of another kind", func(t *testing.T, r *Repository, _ string, m *Manifest) {
			document, err := r.Signer.Sign(KindValidation, m)
			if err != nil {
				t.Fatal(err)
			}
			replace(t, r, manifestName(m.ID), document)
		}},
		{0, "two segments swapped in the manifest", resigned(func(_ *testing.T, _ *Repository, m *Manifest) {
			g := m.Shards[0].Segments
			g[0], g[1] = g[1], g[0]
		})},
		{0, "two segments swapped on disk", func(t *testing.T, r *Repository, folder string, m *Manifest) {
			a, b := filepath.Join(folder, m.Shards[0].Segments[0].Object), filepath.Join(folder, segment(m))
			for _, move := range [][2]string{{a, a + "x"}, {b, a}, {a + "x", b}} {
				if err := os.Rename(move[0], move[1]); err != nil {
					t.Fatal(err)
				}
			}
		}},
		{1, "a message missing inside a segment", resigned(func(t *testing.T, r *Repository, m *Manifest) {
			messages := events(t, r, m.Shards[0].Segments[1])
			written(t, r, m, 0, 1, append(messages[:3:3], messages[4:]...), false)
		})},
		{1, "a message missing at the end", resigned(func(t *testing.T, r *Repository, m *Manifest) {
			messages := events(t, r, m.Shards[0].Segments[1])
			written(t, r, m, 0, 1, messages[:len(messages)-1], false)
		})},
		{1, "a segment of the other shard", resigned(func(t *testing.T, r *Repository, m *Manifest) {
			g := &m.Shards[0].Segments[0]
			body, err := r.fetch(t.Context(), m.Shards[1].Segments[0].Object, m.Shards[1].Segments[0].Bytes, m.Shards[1].Segments[0].SHA256)
			if err != nil {
				t.Fatal(err)
			}
			g.Bytes, g.SHA256 = int64(len(body)), sumHex(body)
			g.Object = segmentName(m.JournalID, 0, g.First, g.Last, g.SHA256)
			replace(t, r, g.Object, body)
		})},
		{1, "a table with fewer rows than were written", resigned(func(_ *testing.T, _ *Repository, m *Manifest) {
			for i := range m.Control.Tables {
				if m.Control.Tables[i].Name == "tenant" {
					m.Control.Tables[i].Rows++
				}
			}
		})},
		{1, "a table without its pieces", resigned(func(_ *testing.T, _ *Repository, m *Manifest) {
			for i := range m.Control.Tables {
				if m.Control.Tables[i].Name == "tenant" {
					m.Control.Tables[i].Pieces = []Piece{}
				}
			}
		})},
		{1, "rows without their pieces", resigned(func(_ *testing.T, _ *Repository, m *Manifest) { m.Editions[0].Tables[0].Pieces = []Piece{} })},
		{2, "a changed event under the old chain", resigned(func(t *testing.T, r *Repository, m *Manifest) {
			messages := events(t, r, m.Shards[0].Segments[1])
			messages[4].Data = []byte(strings.Replace(string(messages[4].Data), `"n":1`, `"n":2`, 1))
			written(t, r, m, 0, 1, messages, false)
		})},
		{2, "two events exchanged under the old chain", resigned(func(t *testing.T, r *Repository, m *Manifest) {
			messages := events(t, r, m.Shards[0].Segments[1])
			messages[4], messages[5] = messages[5], messages[4]
			messages[4].Seq, messages[5].Seq = messages[5].Seq, messages[4].Seq
			written(t, r, m, 0, 1, messages, false)
		})},
		{2, "an event of another shard", resigned(func(t *testing.T, r *Repository, m *Manifest) {
			messages := events(t, r, m.Shards[0].Segments[1])
			messages[4].Subject = "ev.1.acme.note.x"
			written(t, r, m, 0, 1, messages, true)
		})},
		{2, "events that the edition has not folded", resigned(func(_ *testing.T, _ *Repository, m *Manifest) {
			m.Checkpoints = []Checkpoint{{Position: Position{Shard: 0, Seq: 5, EventDigest: m.Shards[0].EventDigest, Chain: m.Shards[0].Chain}, Edition: 1, Shape: "shape", Live: true}}
		})},
		{2, "an edition ahead of the journal", resigned(func(_ *testing.T, _ *Repository, m *Manifest) {
			m.Checkpoints = []Checkpoint{{Position: Position{Shard: 0, Seq: 500, EventDigest: m.Shards[0].EventDigest, Chain: m.Shards[0].Chain}, Edition: 1, Shape: "shape", Live: true}}
		})},
		{3, "an event removed by whoever has the key", resigned(func(t *testing.T, r *Repository, m *Manifest) {
			m.Shards[0].Segments = m.Shards[0].Segments[:1]
			written(t, r, m, 0, 0, without(events(t, r, m.Shards[0].Segments[0]), 7), true)
		})},
		{3, "an older history under a newer time", resigned(func(t *testing.T, r *Repository, m *Manifest) {
			m.Shards[0].Segments = m.Shards[0].Segments[:1]
			written(t, r, m, 0, 0, events(t, r, m.Shards[0].Segments[0])[:9], true)
		})},
		{3, "another backup before", resigned(func(_ *testing.T, _ *Repository, m *Manifest) { m.Previous.SHA256 = strings.Repeat("0", 64) })},
		{3, "the backup before edited", func(t *testing.T, r *Repository, folder string, _ *Manifest) {
			object(func(*Manifest) string { return manifestName(first.ID) }, flip)(t, r, folder, nil)
		}},
	}
	for kind, pick := range map[string]func(*Manifest) string{"segment": segment, "control piece": control, "rows piece": row, "manifest": manifest} {
		if kind != "manifest" {
			all = append(all,
				damage{0, kind + " missing", object(pick, func([]byte) []byte { return nil })},
				damage{0, kind + " zipped again with other content", object(pick, zipped)})
		}
		all = append(all,
			damage{0, kind + " cut short", object(pick, func(b []byte) []byte { return b[:len(b)-5] })},
			damage{0, kind + " emptied", object(pick, func([]byte) []byte { return []byte{} })},
			damage{0, kind + " with a byte at its end", object(pick, func(b []byte) []byte { return append(b, 'x') })},
			damage{0, kind + " with a bit flipped", object(pick, flip)},
			damage{0, kind + " replaced by one byte", object(pick, func([]byte) []byte { return []byte("x") })})
	}
	for _, d := range all {
		t.Run(d.what, func(t *testing.T) {
			r, folder := copied(t, folder)
			entry, err := r.Read(t.Context(), second.ID)
			if err != nil {
				t.Fatal(err)
			}
			d.do(t, r, folder, &entry.Manifest)
			v := validate(t, r, second.ID, ValidateOptions{Level: 3, JournalID: second.JournalID})
			if v.Valid || v.Total == 0 || len(v.Levels) != d.level+1 || v.Levels[d.level].Passed || v.Findings[0].Level != d.level {
				t.Fatalf("want a fault at level %d, got %+v", d.level, v)
			}
			if d.level > 0 {
				if v := validate(t, r, second.ID, ValidateOptions{Level: d.level - 1}); !v.Valid {
					t.Fatalf("level %d finds it already: %+v", d.level-1, v)
				}
			}
		})
	}
}

// TestEveryByteCounts changes random bytes of random files: a backup whose files are changed is never valid, and what it
// names is told.
func TestEveryByteCounts(t *testing.T) {
	folder, _, second := twoBackups(t)
	names := map[string]bool{manifestName(second.ID): true}
	second.objects(func(name string, _ int64, _ string) { names[name] = true })
	list := make([]string, 0, len(names))
	for name := range names {
		list = append(list, name)
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	r, folder := copied(t, folder)
	for range 300 {
		name := list[random.IntN(len(list))]
		at := filepath.Join(folder, name)
		before, err := os.ReadFile(at)
		if err != nil {
			t.Fatal(err)
		}
		body := append([]byte{}, before...)
		body[random.IntN(len(body))] ^= byte(1 + random.IntN(255))
		if err := os.WriteFile(at, body, 0o600); err != nil {
			t.Fatal(err)
		}
		v := validate(t, r, second.ID, ValidateOptions{Level: 0})
		if v.Valid || v.Total != 1 || v.Findings[0].Object != name {
			t.Fatalf("%s was changed and not found: %+v", name, v)
		}
		if err := os.WriteFile(at, before, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if v := validate(t, r, second.ID, ValidateOptions{Level: 3}); !v.Valid {
		t.Fatalf("unchanged: %+v", v)
	}
}

// TestUnreadableEventsAreNoFault: a backup of a journal with messages that nobody can read is what that journal is.
func TestUnreadableEventsAreNoFault(t *testing.T) {
	folder, _, second := twoBackups(t)
	r := openRepository(t, folder)
	v := validate(t, r, second.ID, ValidateOptions{Level: 2, Decode: func(e *envelope.Event) error {
		if e.Seq == 3 {
			return journal.ErrNoEvent
		}
		return nil
	}})
	if !v.Valid || v.Unreadable != 2 || len(v.FirstUnreadable) != 2 || v.FirstUnreadable[0] != (Place{0, 3}) {
		t.Fatalf("%+v", v)
	}
}

// TestAnotherHistoryIsNotContinued: the journal has lost events and used their numbers again. The backup is taken, says so,
// shares what is common, and is not valid at level 3, unless the journal was reconciled.
func TestAnotherHistoryIsNotContinued(t *testing.T) {
	s := newSource(t, 1)
	r, folder := newRepository(t)
	fill(t, s.Journal.Shards[0], 10)
	first := create(t, r, s)
	fill(t, s.Journal.Shards[0], 10)
	lost := create(t, r, s)
	// What a restore of the first backup and new commands come to, as far as the repository can see.
	r, _ = copied(t, folder)
	m := lost.Manifest
	written(t, r, &m, 0, 1, without(events(t, r, m.Shards[0].Segments[1]), 3), true)
	m.ID = first.ID[:25] + "Z"
	m.Previous = &Previous{ID: first.ID, SHA256: first.SHA256, Shards: []Position{first.Shards[0].Position}}
	m.Taken = m.Taken.Add(1)
	document, err := r.Signer.Sign(KindManifest, &m)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Store.Delete(t.Context(), manifestName(lost.ID)); err != nil {
		t.Fatal(err)
	}
	if err := r.Store.Put(t.Context(), manifestName(m.ID), document); err != nil {
		t.Fatal(err)
	}
	if v := validate(t, r, m.ID, ValidateOptions{Level: 3}); !v.Valid {
		t.Fatalf("the other history: %+v", v)
	}
	entry := create(t, r, s) // of the journal, which has other events behind the common ones
	if len(entry.Warnings) != 1 || entry.Previous.ID != m.ID || entry.Shards[0].Segments[0] != first.Shards[0].Segments[0] {
		t.Fatalf("%+v", entry)
	}
	v := validate(t, r, entry.ID, ValidateOptions{Level: 3})
	if v.Valid || len(v.Levels) != 4 || v.Findings[0].Level != 3 {
		t.Fatalf("want a fault at level 3: %+v", v)
	}
	reconciled := entry.Manifest
	reconciled.Incarnation = 2
	sign(t, r, r.Signer, &reconciled)
	if v := validate(t, r, entry.ID, ValidateOptions{Level: 3}); !v.Valid || len(v.Warnings) != 2 {
		t.Fatalf("after a reconciliation: %+v", v)
	}
}
