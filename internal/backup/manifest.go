package backup

import (
	"cmp"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/refold-dev/refold/events/envelope"
	"github.com/refold-dev/refold/internal/journal"
	"github.com/refold-dev/refold/internal/rows"
)

// Kinds of the signed documents.
const (
	KindManifest   = "backup"
	KindValidation = "backup-validation"
)

// manifestFormat is the version of the form of a manifest and of the repository.
const manifestFormat = 1

// ErrManifest: a manifest is signed, but what it says cannot be: it was made by another version, or by a defect.
var ErrManifest = errors.New("the manifest contradicts itself")

// Manifest names everything that belongs to one backup. It is the body of a report of KindManifest.
type Manifest struct {
	Format      int       `json:"format"`
	ID          string    `json:"id"` // ULID
	JournalID   string    `json:"journal_id"`
	Incarnation int64     `json:"incarnation"`
	Taken       time.Time `json:"taken"` // the time of the snapshot of Postgres; the journal goes on until a little later
	Finished    time.Time `json:"finished"`
	Tool        string    `json:"tool"`  // version of the program
	Shape       string    `json:"shape"` // of that program's editions
	// Previous is the newest backup of this journal at the time; its history is continued unless Warnings say otherwise.
	Previous *Previous `json:"previous,omitempty"`
	Shards   []Shard   `json:"shards"`
	Control  Control   `json:"control"`
	// Checkpoints of all editions in the snapshot: each edition was proven or not at exactly this position.
	Checkpoints []Checkpoint `json:"checkpoints"`
	// Editions have their rows in this backup.
	Editions []EditionRows `json:"editions"`
	// Digests of live tables at the positions of Checkpoints: what a restored and refolded copy is compared with.
	Digests []EditionDigests `json:"digests"`
	// AddedBytes is what this backup takes beside the one before.
	AddedBytes int64 `json:"added_bytes"`
	// Warnings are what an operator must know of this backup.
	Warnings []string `json:"warnings"`
}

// Previous is what a manifest keeps of the one before it, so that continuity can be checked even when that was pruned.
type Previous struct {
	ID     string     `json:"id"`
	SHA256 string     `json:"sha256"` // of the signed document
	Shards []Position `json:"shards"`
}

// Position is a place in a shard, bound to all events up to it.
type Position struct {
	Shard       int    `json:"shard"`
	Seq         int64  `json:"seq"`
	EventDigest string `json:"event_digest"`
	Chain       string `json:"chain"`
}

// Shard is one shard of the journal.
type Shard struct {
	Position
	Stream     string    `json:"stream"`
	BytesMax   int64     `json:"bytes_max"` // disk budget, 0 = none
	Replicas   int       `json:"replicas"`
	DedupeMs   int64     `json:"dedupe_ms"`
	Segments   []Segment `json:"segments"`
	NewSeq     int64     `json:"new_seq"`     // segments behind this sequence were written by this backup
	StoreBytes int64     `json:"store_bytes"` // size of the stream in the server
}

// Segment is one object with consecutive messages.
type Segment struct {
	Object      string `json:"object"`
	First       int64  `json:"first"`
	Last        int64  `json:"last"`
	Bytes       int64  `json:"bytes"`
	RawBytes    int64  `json:"raw_bytes"`
	SHA256      string `json:"sha256"`
	EventDigest string `json:"event_digest"` // of the last event
	Chain       string `json:"chain"`        // behind the last event
}

// Control is the dump of the control tables.
type Control struct {
	SchemaVersion int64   `json:"schema_version"`
	Tables        []Table `json:"tables"`
}

// Table is the content of one table, in the order of Columns, as COPY writes it.
type Table struct {
	Name    string   `json:"name"`
	Columns []string `json:"columns"`
	Binary  bool     `json:"binary"` // COPY's binary form, else its text form
	Rows    int64    `json:"rows"`
	Pieces  []Piece  `json:"pieces"` // consecutive parts of one stream

	key []string // columns of the primary key, while it is dumped
}

// Piece is an object with a part of a table.
type Piece struct {
	Object   string `json:"object"`
	Bytes    int64  `json:"bytes"`
	RawBytes int64  `json:"raw_bytes"`
	SHA256   string `json:"sha256"`
}

// Checkpoint is how far an edition was folded.
type Checkpoint struct {
	Position
	Edition int64  `json:"edition"`
	Shape   string `json:"shape"`
	Live    bool   `json:"live"` // it was the default of its shard
	Stopped string `json:"stopped,omitempty"`
}

// EditionRows are the tables of an edition.
type EditionRows struct {
	Edition int64   `json:"edition"`
	Shape   string  `json:"shape"`
	Tables  []Table `json:"tables"`
}

// EditionDigests are the digests of an edition's rows at the positions of its checkpoints.
type EditionDigests struct {
	Edition int64 `json:"edition"`
	// Method names how the digests were made. Only digests of the same method can be compared.
	Method string             `json:"method"`
	Tables []rows.TableDigest `json:"tables"`
}

// Entry is a manifest as it lies in the repository.
type Entry struct {
	Manifest
	SHA256 string `json:"sha256"` // of the signed document
}

// Events counts the events of all shards.
func (m *Manifest) Events() (n int64) {
	for _, s := range m.Shards {
		n += s.Seq
	}
	return n
}

// objects calls each for every object that the backup needs.
func (m *Manifest) objects(each func(name string, bytes int64, sha256 string)) {
	for _, s := range m.Shards {
		for _, g := range s.Segments {
			each(g.Object, g.Bytes, g.SHA256)
		}
	}
	tables := slices.Clone(m.Control.Tables)
	for _, e := range m.Editions {
		tables = append(tables, e.Tables...)
	}
	for _, t := range tables {
		for _, p := range t.Pieces {
			each(p.Object, p.Bytes, p.SHA256)
		}
	}
}

// Bytes counts what all objects take.
func (m *Manifest) Bytes() (all int64) {
	m.objects(func(_ string, bytes int64, _ string) { all += bytes })
	return all
}

// compareAge orders backups of one journal by what they hold, the older first: later lives of a journal are newer,
// then what holds more, then what was taken later.
func compareAge(a, b *Manifest) int {
	return cmp.Or(cmp.Compare(a.JournalID, b.JournalID), cmp.Compare(a.Incarnation, b.Incarnation), cmp.Compare(a.Events(), b.Events()),
		a.Taken.Compare(b.Taken), cmp.Compare(a.ID, b.ID))
}

var (
	hashForm   = regexp.MustCompile(`^[0-9a-f]{64}$`)
	columnForm = regexp.MustCompile(`^[a-z_][a-z0-9_]{0,62}$`)
	tokenForm  = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)
)

// check holds when the parts of a manifest fit together. What it passes can be used without further thought about
// names and ranges.
func (m *Manifest) check() error {
	var faults []error
	must := func(holds bool, format string, args ...any) {
		if !holds && len(faults) < 10 {
			faults = append(faults, fmt.Errorf(format, args...))
		}
	}
	must(m.Format == manifestFormat, "it has format %d, this program knows %d: use the program that made it", m.Format, manifestFormat)
	_, err := ulid.ParseStrict(m.ID)
	must(err == nil, "id %q is no ULID", m.ID)
	must(tokenForm.MatchString(m.JournalID), "journal id %q", m.JournalID)
	must(m.Incarnation >= 1, "incarnation %d", m.Incarnation)
	must(!m.Taken.IsZero(), "it has no time")
	must(len(m.Shards) >= 1 && len(m.Shards) <= journal.ShardsMax, "it has %d shards", len(m.Shards))
	for i := range m.Shards {
		if err := m.Shards[i].check(i, m.JournalID); err != nil {
			must(false, "shard %d: %w", i, err)
		}
	}
	for i := range m.Control.Tables {
		if err := m.Control.Tables[i].check(m.JournalID); err != nil {
			must(false, "control table %d: %w", i, err)
		}
	}
	for _, e := range m.Editions {
		must(e.Edition >= 1, "edition %d", e.Edition)
		for i := range e.Tables {
			if err := e.Tables[i].check(m.JournalID); err != nil {
				must(false, "table %d of edition %d: %w", i, e.Edition, err)
			}
		}
	}
	for _, c := range m.Checkpoints {
		if c.Shard < 0 || c.Shard >= len(m.Shards) {
			must(false, "a checkpoint of shard %d", c.Shard)
			continue
		}
		must(c.Edition >= 1 && c.Seq >= 0, "checkpoint of edition %d shard %d at %d", c.Edition, c.Shard, c.Seq)
	}
	if p := m.Previous; p != nil {
		must(hashForm.MatchString(p.SHA256), "hash of the previous backup")
		for _, s := range p.Shards {
			must(s.Shard >= 0 && s.Shard < len(m.Shards), "shard %d of the previous backup", s.Shard)
		}
	}
	if len(faults) > 0 {
		return fmt.Errorf("%w: %w", ErrManifest, errors.Join(faults...))
	}
	return nil
}

func (s *Shard) check(number int, journalID string) error {
	switch {
	case s.Shard != number:
		return fmt.Errorf("it says it is shard %d", s.Shard)
	case s.Seq < 1 || len(s.Segments) == 0:
		return errors.New("it is empty: every shard has its genesis event")
	case s.NewSeq < 0 || s.NewSeq > s.Seq || s.BytesMax < 0 || s.DedupeMs < 0:
		return errors.New("a number is out of range")
	}
	last := int64(0)
	for _, g := range s.Segments {
		switch {
		case g.First != last+1 || g.Last < g.First:
			return fmt.Errorf("a segment from %d to %d follows sequence %d", g.First, g.Last, last)
		case !hashForm.MatchString(g.SHA256) || g.Object != segmentName(journalID, number, g.First, g.Last, g.SHA256):
			return fmt.Errorf("object %q is not the segment from %d to %d", g.Object, g.First, g.Last)
		case g.Bytes < 1 || g.Bytes > SegmentBytesMax:
			return fmt.Errorf("object %q has %d bytes", g.Object, g.Bytes)
		case !hashForm.MatchString(g.Chain) || !hashForm.MatchString(g.EventDigest):
			return fmt.Errorf("chain of object %q", g.Object)
		}
		last = g.Last
	}
	end := s.Segments[len(s.Segments)-1]
	if last != s.Seq || end.Chain != s.Chain || end.EventDigest != s.EventDigest {
		return fmt.Errorf("its segments end at %d with chain %.8s, it says %d and %.8s", last, end.Chain, s.Seq, s.Chain)
	}
	return nil
}

func (t *Table) check(journalID string) error {
	if !columnForm.MatchString(t.Name) || len(t.Columns) == 0 || t.Rows < 0 {
		return fmt.Errorf("table %q with %d columns and %d rows", t.Name, len(t.Columns), t.Rows)
	}
	for _, c := range t.Columns {
		if !columnForm.MatchString(c) {
			return fmt.Errorf("column %q of table %s", c, t.Name)
		}
	}
	for _, p := range t.Pieces {
		if !hashForm.MatchString(p.SHA256) || p.Object != pieceName(journalID, t.Binary, p.SHA256) || p.Bytes < 1 || p.Bytes > pieceBytesMax || p.RawBytes < 1 || p.RawBytes > pieceBytesMax {
			return fmt.Errorf("object %q is no piece of table %s", p.Object, t.Name)
		}
	}
	return nil
}

// Names of objects.

const (
	backupsPrefix     = "backups/"
	validationsPrefix = "validations/"
	pendingPrefix     = "pending/"
	dataPrefix        = "data/"
)

func manifestName(id string) string { return backupsPrefix + id + ".json" }
func pendingName(id string) string  { return pendingPrefix + id + ".json" }

func segmentName(journalID string, shard int, first, last int64, sha256 string) string {
	return fmt.Sprintf("%s%s/%d/%020d-%020d-%s.seg", dataPrefix, journalID, shard, first, last, sha256)
}

func pieceName(journalID string, isRows bool, sha256 string) string {
	kind := "control"
	if isRows {
		kind = "rows"
	}
	return dataPrefix + journalID + "/" + kind + "/" + sha256
}

// idOf is the id in a name such as backups/<id>.json.
func idOf(name, prefix string) (string, bool) {
	rest, ok1 := strings.CutPrefix(name, prefix)
	id, ok2 := strings.CutSuffix(rest, ".json")
	_, err := ulid.ParseStrict(id)
	return id, ok1 && ok2 && err == nil
}

func digestHex(d envelope.Digest) string { return hex.EncodeToString(d[:]) }

// digestOf reads back what digestHex wrote; the zero digest for the empty string.
func digestOf(s string) (d envelope.Digest, err error) {
	if s == "" {
		return d, nil
	}
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != len(d) {
		return d, fmt.Errorf("digest %q is not %s bytes in hex", s, strconv.Itoa(len(d)))
	}
	return envelope.Digest(b), nil
}
