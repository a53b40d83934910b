package backup

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/refold-dev/refold/events/envelope"
	"github.com/refold-dev/refold/internal/backup/objects"
	"github.com/refold-dev/refold/internal/journal"
	"github.com/refold-dev/refold/internal/report"
)

// LevelMax is the highest level of a validation.
const LevelMax = 4

// proves says, for each level, what it shows and what it leaves open.
var proves = [LevelMax + 1]struct{ proved, open string }{
	{"every object is there, with the size and SHA-256 of the manifest, and the manifest carries a trusted signature",
		"whether the content means anything"},
	{"every segment and table can be unpacked, sequences are dense from 1 to the end, counts are those declared",
		"whether the messages are the journal's events"},
	{"every message was decoded, lies in its own shard, and the chain of all event digests is the manifest's, and at every checkpoint the one the edition stood on",
		"whether this history continues the one before"},
	{"the backup before, if there is one, is a beginning of this one",
		"whether a plane can be restored from it"},
	{"a scratch plane was restored from it, its rows folded anew, compared with the digests of the manifest as far as it has them, verified against its journal and read through the HTTP edge",
		"the plane's own secrets and keys, which are not in a backup"},
}

// Finding is one thing that is wrong.
type Finding struct {
	Level   int    `json:"level"`
	Object  string `json:"object,omitempty"`
	Problem string `json:"problem"`
}

// Level is the outcome of one level.
type Level struct {
	Level  int    `json:"level"`
	Passed bool   `json:"passed"`
	Proved string `json:"proved,omitempty"`
	Open   string `json:"open,omitempty"`
	Millis int64  `json:"duration_ms"`
}

// Validation is the result of Validate, and the body of a report of KindValidation.
type Validation struct {
	Backup string `json:"backup"`
	// Manifest is the SHA-256 of the signed document that was validated.
	Manifest  string    `json:"manifest_sha256"`
	JournalID string    `json:"journal_id"`
	Level     int       `json:"level"` // asked for
	Valid     bool      `json:"valid"` // every level up to it has passed
	Levels    []Level   `json:"levels"`
	Findings  []Finding `json:"findings"`
	Total     int       `json:"findings_total"`
	Events    int64     `json:"events"`
	// Unreadable counts events that this program cannot decode. The backup holds them as the journal does, where their
	// entities are held back: that is no fault of the backup.
	Unreadable      int64     `json:"unreadable_events"`
	FirstUnreadable []Place   `json:"first_unreadable,omitempty"`
	Warnings        []string  `json:"warnings"` // of the manifest
	Tool            string    `json:"tool"`
	Started         time.Time `json:"started"`
	DurationMs      int64     `json:"duration_ms"`
	Drill           *Drill    `json:"drill,omitempty"`
}

// Place is an event in the journal.
type Place struct {
	Shard int   `json:"shard"`
	Seq   int64 `json:"seq"`
}

// Drill is what a restore drill has measured.
type Drill struct {
	RestoreMs int64  `json:"restore_ms"` // journal and control tables
	BuildMs   int64  `json:"build_ms"`
	VerifyMs  int64  `json:"verify_ms"`
	Compared  int64  `json:"digests_compared"`
	Method    string `json:"digest_method,omitempty"`
	Rows      int64  `json:"rows_verified"`
	Tenant    string `json:"tenant_opened,omitempty"`
}

const (
	findingsMax   = 100
	unreadableMax = 20
)

// ValidateOptions say how deep to look.
type ValidateOptions struct {
	Level int
	// JournalID is the journal that the backup must be of; empty = whichever the manifest names.
	JournalID string
	// Decode reads the payload of an event, or fails; nil = payloads are not looked into.
	Decode func(e *envelope.Event) error
	// Drill restores into a scratch plane and looks at it. It is needed for level 4. Faults are what it finds wrong with
	// the backup; the error is for what kept it from looking.
	Drill    func(ctx context.Context, m *Entry) (drill *Drill, faults []string, err error)
	Progress func(Progress)
}

// Validate proves a backup up to a level, and records the signed result in the repository. Whatever is wrong with the
// backup is in the result; it fails only when it could not look.
func (r *Repository) Validate(ctx context.Context, id string, o ValidateOptions) (*Validation, error) {
	if o.Level < 0 || o.Level > LevelMax {
		return nil, fmt.Errorf("level %d: there are levels 0 to %d", o.Level, LevelMax)
	}
	if o.Level == LevelMax && o.Drill == nil {
		return nil, errors.New("level 4 needs a restore drill")
	}
	if o.Progress == nil {
		o.Progress = func(Progress) {}
	}
	started := time.Now()
	v := &validating{Repository: r, options: o, result: Validation{
		Backup: id, Level: o.Level, Tool: r.Tool, Started: started.UTC().Truncate(time.Microsecond), Levels: []Level{}, Findings: []Finding{}, Warnings: []string{},
	}}
	if err := v.run(ctx, id); err != nil {
		return nil, fmt.Errorf("validate backup %s: %w", id, err)
	}
	v.result.DurationMs = time.Since(started).Milliseconds()
	v.result.Valid = len(v.result.Levels) == o.Level+1 && v.result.Levels[o.Level].Passed
	if r.Signer != nil && v.entry != nil {
		if err := r.record(ctx, &v.result); err != nil {
			return nil, err
		}
	}
	return &v.result, nil
}

func (r *Repository) record(ctx context.Context, v *Validation) error {
	document, err := r.Signer.Sign(KindValidation, v)
	if err == nil {
		err = r.Store.Put(ctx, validationsPrefix+v.Backup+"/"+ulid.Make().String()+".json", document)
	}
	if err != nil {
		return fmt.Errorf("record the validation of backup %s: %w", v.Backup, err)
	}
	return nil
}

type validating struct {
	*Repository
	options ValidateOptions
	entry   *Entry // nil: the manifest itself is no good
	result  Validation
}

func (v *validating) fault(level int, object, format string, args ...any) {
	v.result.Total++
	if len(v.result.Findings) < findingsMax {
		v.result.Findings = append(v.result.Findings, Finding{level, object, fmt.Sprintf(format, args...)})
	}
}

// run takes level after level, and ends behind the first that fails: what stands on it would prove nothing.
func (v *validating) run(ctx context.Context, id string) error {
	levels := []func(context.Context) error{
		func(ctx context.Context) error { return v.present(ctx, id) },
		v.structure, v.history, v.continuity, v.drill,
	}
	for level := range v.options.Level + 1 {
		started := time.Now()
		if err := levels[level](ctx); err != nil {
			return err
		}
		l := Level{Level: level, Passed: v.result.Total == 0, Millis: time.Since(started).Milliseconds()}
		if l.Passed {
			l.Proved, l.Open = proves[level].proved, proves[level].open
			if d := v.result.Drill; level == LevelMax && d.Method == "" {
				l.Open = "whether its rows are those that were served when it was made: the manifest has no digests that this program can compare; " + l.Open
			}
		}
		v.result.Levels = append(v.result.Levels, l)
		if !l.Passed {
			return nil
		}
	}
	return nil
}

// present is level 0.
func (v *validating) present(ctx context.Context, id string) error {
	entry, err := v.Read(ctx, id)
	if errors.Is(err, ErrUnreadable) {
		v.fault(0, manifestName(id), "%s", err)
		return nil
	}
	if err != nil {
		return err
	}
	v.entry = entry
	v.result.Manifest, v.result.JournalID = entry.SHA256, entry.JournalID
	v.result.Warnings = append(v.result.Warnings, entry.Warnings...)
	if v.options.JournalID != "" && v.options.JournalID != entry.JournalID {
		v.fault(0, manifestName(id), "it is a backup of journal %s, not of %s", entry.JournalID, v.options.JournalID)
		return nil
	}
	total := entry.Bytes()
	done := int64(0)
	seen := map[string]bool{}
	entry.objects(func(name string, size int64, sum string) {
		if err != nil || seen[name] {
			return
		}
		seen[name] = true
		_, fetchErr := v.fetch(ctx, name, size, sum)
		switch {
		case ctx.Err() != nil:
			err = ctx.Err()
		case fetchErr != nil && (errors.Is(fetchErr, objects.ErrNotFound) || errors.Is(fetchErr, objects.ErrTooLarge) || isDamage(fetchErr)):
			v.fault(0, name, "%s", fetchErr)
		case fetchErr != nil:
			err = fetchErr
		}
		done += size
		v.options.Progress(Progress{Phase: "check bytes", Done: done, Total: total})
	})
	return err
}

// structure is level 1.
func (v *validating) structure(ctx context.Context) error {
	for i := range v.entry.Shards {
		s := &v.entry.Shards[i]
		for _, g := range s.Segments {
			if err := v.segment(ctx, 1, s, g, nil, func(*journal.Raw) error { return nil }); err != nil {
				return err
			}
			v.options.Progress(Progress{Phase: "check structure", Shard: i, Done: g.Last, Total: s.Seq})
		}
	}
	for i := range v.entry.Control.Tables {
		if err := v.table(ctx, &v.entry.Control.Tables[i]); err != nil {
			return err
		}
	}
	for _, e := range v.entry.Editions {
		for i := range e.Tables {
			if err := v.table(ctx, &e.Tables[i]); err != nil {
				return err
			}
		}
	}
	return nil
}

// segment reads one segment and holds what it says of itself against the manifest. before is the chain that it must
// continue; nil = not known.
func (v *validating) segment(ctx context.Context, level int, s *Shard, g Segment, before *envelope.Digest, each func(*journal.Raw) error) error {
	body, err := v.fetch(ctx, g.Object, g.Bytes, g.SHA256)
	if err != nil {
		return err
	}
	tail, err := readSegment(body, func(h segmentHead) error {
		switch {
		case h.JournalID != v.entry.JournalID || h.Shard != s.Shard || int64(h.First) != g.First:
			return fmt.Errorf("%w: it is of journal %s shard %d from %d, not of %s shard %d from %d", ErrSegment, h.JournalID, h.Shard, h.First, v.entry.JournalID, s.Shard, g.First)
		case before != nil && h.Before != *before:
			return fmt.Errorf("%w: it continues the chain %.8x, the events before end with %.8x", ErrSegment, h.Before, *before)
		}
		return nil
	}, each)
	switch {
	case errors.Is(err, ErrSegment):
		v.fault(level, g.Object, "%s", err)
	case err != nil:
		return err
	case int64(tail.Last) != g.Last || digestHex(tail.Chain) != g.Chain:
		v.fault(level, g.Object, "it ends at %d with chain %.8x, the manifest says %d and %.8s", tail.Last, tail.Chain, g.Last, g.Chain)
	}
	return nil
}

func (v *validating) table(ctx context.Context, t *Table) error {
	counter := &rowCounter{binary: t.Binary}
	_, err := io.Copy(counter, v.openTable(ctx, t, func(int64) {}))
	name := t.Name
	if len(t.Pieces) > 0 {
		name = t.Pieces[0].Object + " (table " + t.Name + ")"
	}
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		v.fault(1, name, "%s", err)
	case counter.incomplete() || counter.rows != t.Rows:
		v.fault(1, name, "it holds %d rows (whole: %v), %d were written", counter.rows, !counter.incomplete(), t.Rows)
	}
	return nil
}

// rowCounter counts the rows in a stream of COPY.
type rowCounter struct {
	binary bool
	rows   int64
	left   []byte // of a binary stream: what is not a whole row yet; of a text stream: the last byte
	header bool
	ended  bool
}

var copyHeader = []byte("PGCOPY\n\xff\r\n\x00\x00\x00\x00\x00\x00\x00\x00\x00")

func (c *rowCounter) Write(p []byte) (int, error) {
	if !c.binary {
		c.rows += int64(bytes.Count(p, []byte{'\n'}))
		if len(p) > 0 {
			c.left = append(c.left[:0], p[len(p)-1])
		}
		return len(p), nil
	}
	c.left = append(c.left, p...)
	b := c.left
	if !c.header {
		if len(b) < len(copyHeader) {
			return len(p), nil
		}
		if !bytes.Equal(b[:len(copyHeader)], copyHeader) {
			return 0, fmt.Errorf("%w: it does not begin as COPY does", ErrPiece)
		}
		b, c.header = b[len(copyHeader):], true
	}
	for {
		n, end, err := tupleBytes(b)
		if err != nil {
			return 0, err
		}
		if n == 0 {
			break
		}
		if c.ended {
			return 0, fmt.Errorf("%w: something follows its end", ErrPiece)
		}
		if end {
			c.ended = true
		} else {
			c.rows++
		}
		b = b[n:]
	}
	c.left = append(c.left[:0], b...)
	return len(p), nil
}

func (c *rowCounter) incomplete() bool {
	if c.binary {
		return !c.ended || len(c.left) > 0
	}
	return c.rows > 0 && (len(c.left) == 0 || c.left[0] != '\n')
}

// tupleBytes is the length of the first tuple, 0 when it is not whole; end is true for the trailer.
func tupleBytes(b []byte) (n int, end bool, err error) {
	if len(b) < 2 {
		return 0, false, nil
	}
	fields := int(int16(binary.BigEndian.Uint16(b)))
	if fields == -1 {
		return 2, true, nil
	}
	if fields < 0 {
		return 0, false, fmt.Errorf("%w: a row of %d fields", ErrPiece, fields)
	}
	n = 2
	for range fields {
		if len(b) < n+4 {
			return 0, false, nil
		}
		size := int(int32(binary.BigEndian.Uint32(b[n:])))
		n += 4
		if size < -1 {
			return 0, false, fmt.Errorf("%w: a field of %d bytes", ErrPiece, size)
		}
		n += max(size, 0)
		if len(b) < n {
			return 0, false, nil
		}
	}
	return n, false, nil
}

// history is level 2.
func (v *validating) history(ctx context.Context) error {
	for i := range v.entry.Shards {
		if err := v.shardHistory(ctx, &v.entry.Shards[i]); err != nil {
			return err
		}
	}
	return nil
}

func (v *validating) shardHistory(ctx context.Context, s *Shard) error {
	checkpoints := map[int64][]Checkpoint{}
	for _, c := range v.entry.Checkpoints {
		if c.Shard == s.Shard {
			checkpoints[c.Seq] = append(checkpoints[c.Seq], c)
			if c.Seq > s.Seq {
				v.fault(2, manifestName(v.entry.ID), "edition %d shard %d had folded up to %d, the journal in this backup ends at %d", c.Edition, c.Shard, c.Seq, s.Seq)
			}
		}
	}
	h := newHistory(s.Shard, zero)
	for _, g := range s.Segments {
		before := h.chain
		err := v.segment(ctx, 2, s, g, &before, func(m *journal.Raw) error {
			e := h.add(m)
			v.result.Events++
			v.event(s.Shard, m, &e)
			for _, c := range checkpoints[int64(m.Seq)] {
				if c.Chain != digestHex(h.chain) || c.EventDigest != digestHex(h.last) {
					v.fault(2, g.Object, "edition %d had folded other events up to %d than this backup holds", c.Edition, c.Seq)
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		if digestHex(h.chain) != g.Chain || digestHex(h.last) != g.EventDigest {
			v.fault(2, g.Object, "its events give the chain %.8x, the manifest says %.8s", h.chain, g.Chain)
			return nil // all behind it would differ as well
		}
		v.options.Progress(Progress{Phase: "decode events", Shard: s.Shard, Done: g.Last, Total: s.Seq})
	}
	return nil
}

// event looks at one message of a shard.
func (v *validating) event(shard int, m *journal.Raw, e *envelope.Event) {
	broken := e.Kind == journal.MalformedKind
	if !broken && v.options.Decode != nil {
		broken = v.options.Decode(e) != nil
	}
	if broken {
		v.result.Unreadable++
		if len(v.result.FirstUnreadable) < unreadableMax {
			v.result.FirstUnreadable = append(v.result.FirstUnreadable, Place{shard, int64(m.Seq)})
		}
	}
	if number, _, err := envelope.ParseSubject(m.Subject); err == nil && number != shard {
		v.fault(2, "", "message %d of shard %d has the subject %q of another shard", m.Seq, shard, m.Subject)
	}
}

// continuity is level 3.
func (v *validating) continuity(ctx context.Context) error {
	before := v.entry.Previous
	if before == nil {
		return nil
	}
	at := manifestName(v.entry.ID)
	stored, err := v.Read(ctx, before.ID)
	incarnation := v.entry.Incarnation
	switch {
	case errors.Is(err, ErrNoBackup): // pruned; the manifest keeps what is needed
	case errors.Is(err, ErrUnreadable):
		v.fault(3, manifestName(before.ID), "the backup before: %s", err)
		return nil
	case err != nil:
		return err
	default:
		incarnation = stored.Incarnation
		if stored.SHA256 != before.SHA256 {
			v.fault(3, manifestName(before.ID), "the backup before is not the one that this one was made after")
			return nil
		}
		if stored.JournalID != v.entry.JournalID || len(stored.Shards) != len(v.entry.Shards) {
			v.fault(3, manifestName(before.ID), "the backup before is of another journal")
			return nil
		}
	}
	for _, p := range before.Shards {
		same, err := v.beginsWith(ctx, &v.entry.Shards[p.Shard], p)
		if err != nil {
			return err
		}
		if same {
			continue
		}
		if v.entry.Incarnation > incarnation {
			v.result.Warnings = append(v.result.Warnings, fmt.Sprintf("shard %d does not continue backup %s: the journal was reconciled in between (incarnation %d, then %d)",
				p.Shard, before.ID, incarnation, v.entry.Incarnation))
			continue
		}
		v.fault(3, at, "shard %d does not continue backup %s, which ends at %d: events were lost or replaced in between", p.Shard, before.ID, p.Seq)
	}
	return nil
}

// beginsWith tells whether the first events of a shard are those up to a position.
func (v *validating) beginsWith(ctx context.Context, s *Shard, p Position) (bool, error) {
	if p.Seq > s.Seq {
		return false, nil
	}
	for _, g := range s.Segments {
		if g.Last == p.Seq {
			return g.Chain == p.Chain && g.EventDigest == p.EventDigest, nil
		}
		if g.Last < p.Seq {
			continue
		}
		body, err := v.fetch(ctx, g.Object, g.Bytes, g.SHA256)
		if err != nil {
			return false, err
		}
		var h *history
		at := ""
		_, err = readSegment(body, func(head segmentHead) error {
			h = newHistory(s.Shard, head.Before)
			return nil
		}, func(m *journal.Raw) error {
			h.add(m)
			if int64(m.Seq) == p.Seq {
				at = hex.EncodeToString(h.chain[:])
			}
			return nil
		})
		return at == p.Chain, err
	}
	return p.Seq == 0, nil
}

// drill is level 4.
func (v *validating) drill(ctx context.Context) error {
	drill, faults, err := v.options.Drill(ctx, v.entry)
	if err != nil {
		return fmt.Errorf("restore drill: %w", err)
	}
	v.result.Drill = drill
	for _, fault := range faults {
		v.fault(4, "", "%s", fault)
	}
	return nil
}

// Validated returns the best recorded validation of a backup: a valid one of the highest level, the newest of those. It
// is nil when there is none. Results that cannot be trusted, or that are about another manifest, do not count.
func (r *Repository) Validated(ctx context.Context, entry *Entry) (*Validation, error) {
	infos, err := r.Store.List(ctx, validationsPrefix+entry.ID+"/")
	if err != nil {
		return nil, err
	}
	var best *Validation
	for _, info := range infos {
		document, err := r.Store.Get(ctx, info.Name, report.DocumentBytesMax)
		if errors.Is(err, objects.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		var v Validation
		if err := r.check(document, KindValidation, &v); err != nil {
			r.logger().Warn("a validation cannot be trusted", "object", info.Name, "fault", err)
			continue
		}
		if v.Valid && v.Backup == entry.ID && v.Manifest == entry.SHA256 && (best == nil || v.Level > best.Level || v.Level == best.Level && v.Started.After(best.Started)) {
			best = &v
		}
	}
	return best, nil
}
