package backup

import (
	"crypto/ed25519"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/refold-dev/refold/events/envelope"
	"github.com/refold-dev/refold/internal/backup/objects"
	"github.com/refold-dev/refold/internal/journal"
	"github.com/refold-dev/refold/internal/postgres"
	"github.com/refold-dev/refold/internal/report"
	"github.com/refold-dev/refold/internal/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m, testenv.Children{"prune": pruneChild}) }

// signerOf is a signer of its own for each number.
func signerOf(t testing.TB, number byte) *report.Signer {
	t.Helper()
	seed := make([]byte, ed25519.SeedSize)
	seed[0] = number
	signer, err := report.NewSigner(seed)
	if err != nil {
		t.Fatal(err)
	}
	return signer
}

// newRepository is an empty repository in a folder.
func newRepository(t testing.TB) (*Repository, string) {
	t.Helper()
	folder := t.TempDir()
	return openRepository(t, folder), folder
}

func openRepository(t testing.TB, folder string) *Repository {
	t.Helper()
	store, err := objects.Open(folder)
	if err != nil {
		t.Fatal(err)
	}
	return &Repository{Store: store, Signer: signerOf(t, 1), Tool: "test"}
}

// newSource is a journal with its genesis events, and a database with one empty live edition.
func newSource(t testing.TB, shards int) Source {
	t.Helper()
	j, err := journal.Create(t.Context(), testenv.NATS(t), journal.Config{Shards: shards})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(j.Close)
	db, err := postgres.Open(t.Context(), testenv.Postgres(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	if err := db.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := db.CreateEdition(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	if err := db.FinishEdition(t.Context(), 1, false); err != nil {
		t.Fatal(err)
	}
	owner, err := db.Owner(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	_, err = owner.Exec(t.Context(), `
		INSERT INTO control.edition (number, schema_name, shape, state, epoch, created_at) VALUES (1, 'edition_1', 'shape', 'serving', 1, now());
		INSERT INTO control.live (shard, tenant_id, edition, epoch, flipped_at) SELECT s, '', 1, 1, now() FROM generate_series(0, `+fmt.Sprint(shards-1)+`) s;
		INSERT INTO control.tenant (tenant_id, shard, name, id_key, seq, created_at) VALUES ('acme', 0, 'A	tab, a \ and a
line', '\x00ff', 2, now())`)
	if err != nil {
		t.Fatal(err)
	}
	return Source{DB: db, Journal: j, Shape: "shape"}
}

// fill appends n events to a shard.
func fill(t testing.TB, s journal.Shard, n int) {
	t.Helper()
	facts, err := s.Facts(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		id := fmt.Sprintf("n%d", int(facts.LastSeq)+i)
		e := &envelope.Event{
			Key: envelope.Key{Tenant: "acme", Entity: "note", ID: id}, EventID: "e" + id, Kind: "note.added.v1", Version: 1,
			Time: time.UnixMicro(int64(i)).UTC(), Actor: "a", CommandID: "c" + id, Data: envelope.Compose([]byte(`{"n":1}`), nil, "h"),
		}
		if _, err := s.Append(t.Context(), e, 0); err != nil {
			t.Fatal(err)
		}
	}
}

func create(t testing.TB, r *Repository, s Source) *Entry {
	t.Helper()
	entry, err := r.Create(t.Context(), s, CreateOptions{WithRows: true})
	if err != nil {
		t.Fatal(err)
	}
	return entry
}

// copied is a copy of a repository in a folder.
func copied(t testing.TB, folder string) (*Repository, string) {
	t.Helper()
	to := t.TempDir()
	if err := os.CopyFS(to, os.DirFS(folder)); err != nil {
		t.Fatal(err)
	}
	return openRepository(t, to), to
}

// sign replaces a manifest by one that says something else, signed with a key.
func sign(t testing.TB, r *Repository, key *report.Signer, m *Manifest) {
	t.Helper()
	document, err := key.Sign(KindManifest, m)
	if err != nil {
		t.Fatal(err)
	}
	replace(t, r, manifestName(m.ID), document)
}

func replace(t testing.TB, r *Repository, name string, body []byte) {
	t.Helper()
	if err := r.Store.Delete(t.Context(), name); err != nil {
		t.Fatal(err)
	}
	if err := r.Store.Put(t.Context(), name, body); err != nil {
		t.Fatal(err)
	}
}

// events are the messages of a segment.
func events(t testing.TB, r *Repository, g Segment) (out []journal.Raw) {
	t.Helper()
	body, err := r.fetch(t.Context(), g.Object, g.Bytes, g.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	_, err = readSegment(body, func(segmentHead) error { return nil }, func(m *journal.Raw) error {
		out = append(out, *m)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// written stores a segment with these messages under its own hash. honest recomputes the chain of the manifest as well.
func written(t testing.TB, r *Repository, m *Manifest, shard, number int, messages []journal.Raw, honest bool) {
	t.Helper()
	s := &m.Shards[shard]
	g := &s.Segments[number]
	h := newHistory(shard, zero)
	if number > 0 {
		var err error
		if h.chain, err = digestOf(s.Segments[number-1].Chain); err != nil {
			t.Fatal(err)
		}
	}
	w, err := newSegmentWriter(segmentHead{m.JournalID, shard, uint64(g.First), h.chain})
	if err != nil {
		t.Fatal(err)
	}
	for i := range messages {
		w.add(&messages[i])
		h.add(&messages[i])
	}
	chain := h.chain
	if !honest {
		if chain, err = digestOf(g.Chain); err != nil {
			t.Fatal(err)
		}
	}
	body, err := w.finish(chain)
	if err != nil {
		t.Fatal(err)
	}
	g.Bytes, g.SHA256 = int64(len(body)), sumHex(body)
	if honest {
		g.Last = int64(messages[len(messages)-1].Seq)
		g.Chain, g.EventDigest = digestHex(h.chain), digestHex(h.last)
		if number == len(s.Segments)-1 {
			s.Seq, s.Chain, s.EventDigest = g.Last, g.Chain, g.EventDigest
			s.NewSeq = min(s.NewSeq, s.Seq)
		}
	}
	g.Object = segmentName(m.JournalID, shard, g.First, g.Last, g.SHA256)
	replace(t, r, g.Object, body)
}

// without is a list of messages without one, numbered anew.
func without(messages []journal.Raw, i int) []journal.Raw {
	out := slices.Delete(slices.Clone(messages), i, i+1)
	for j := i; j < len(out); j++ {
		out[j].Seq--
	}
	return out
}

func files(t testing.TB, folder string) (names []string) {
	t.Helper()
	err := filepath.WalkDir(folder, func(name string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			names = append(names, name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func validate(t testing.TB, r *Repository, id string, o ValidateOptions) *Validation {
	t.Helper()
	v, err := r.Validate(t.Context(), id, o)
	if err != nil {
		t.Fatal(err)
	}
	return v
}
