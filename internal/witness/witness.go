// Package witness remembers what the journal looked like. As events arrive it keeps a digest of each, and now and then
// a signed head (where each shard ends, and the chain of all events up to there), both outside the journal's store. A
// check reads the whole journal anew and finds what has changed since: which event, lost, moved or rewritten.
//
// The rows of an edition tell the same in their way, but only for what they hold, and they fold whatever the journal
// says today. A witness of its own tells a damaged journal from damaged rows.
package witness

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/refold-dev/refold/events/envelope"
	"github.com/refold-dev/refold/internal/journal"
	"github.com/refold-dev/refold/internal/postgres"
	"github.com/refold-dev/refold/internal/postgres/db"
	"github.com/refold-dev/refold/internal/report"
)

// digestBytes is how much of each event's digest is kept: nobody finds another event of the same first 128 bits.
const digestBytes = 16

const (
	pageEventsDefault = 1000
	everyDefault      = 10 * time.Second
	headEveryDefault  = 24 * time.Hour
	lockName          = "refold witness"
)

// HeadKind is the kind of report that a head is recorded as.
const HeadKind = "journal-head"

// Head says where a journal ended at some moment. Whoever keeps one elsewhere can prove later that nothing before it
// was changed or lost.
type Head struct {
	JournalID   string      `json:"journal_id"`
	Incarnation uint64      `json:"incarnation"`
	Shards      []ShardHead `json:"shards"`
}

// ShardHead is the end of one shard.
type ShardHead struct {
	Shard  int    `json:"shard"`
	Stream string `json:"stream"`
	Seq    uint64 `json:"seq"`
	Chain  string `json:"chain"` // digest of all events up to Seq (see envelope.Digest.Chain), in hex
}

// Witness keeps digests and heads of one journal.
type Witness struct {
	DB      *postgres.DB
	Shards  []journal.Shard
	Reports *report.Log
	Logger  *slog.Logger
	// HeadsDir takes a copy of each signed head as a file; empty = no files.
	HeadsDir string
	// Every is how often Run looks for new events, 0 = 10 s; HeadEvery how often it signs a head, 0 = a day.
	Every, HeadEvery time.Duration
	// PageEvents is how many digests one row of the database holds; 0 = 1000. Pages made before keep their size.
	PageEvents int
}

// ErrChanged: the journal is not the one that was read before. `refold journal check` finds out what has changed.
var ErrChanged = errors.New("the journal is not what it was")

// Run keeps up with the journal until ctx ends. Of several processes one does the work. A journal that is not what it
// was is logged as an error and left alone; nothing is kept of it.
func (w *Witness) Run(ctx context.Context) error {
	logger := w.Logger
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	tick := time.NewTicker(or(w.Every, everyDefault))
	defer tick.Stop()
	var release func()
	defer func() {
		if release != nil {
			release()
		}
	}()
	for ctx.Err() == nil {
		err := error(nil)
		if release == nil {
			release, _, err = w.DB.TryLock(ctx, lockName)
		}
		if release != nil {
			err = w.turn(ctx)
		}
		if err != nil && ctx.Err() == nil {
			logger.Error("witness of the journal", "error", err)
		}
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
	}
	return nil
}

func or[T comparable](value, otherwise T) T {
	var zero T
	if value == zero {
		return otherwise
	}
	return value
}

// turn does what is due. That another process believes to have the lock as well does no harm: pages only grow at their
// end, and only from where they were read.
func (w *Witness) turn(ctx context.Context) error {
	if err := w.Advance(ctx); err != nil {
		return err
	}
	due, err := w.headDue(ctx)
	if err != nil || !due {
		return err
	}
	_, err = w.SignHead(ctx)
	return err
}

// Advance reads what is new in every shard and keeps the digests. It fails with ErrChanged where a shard no longer
// continues what was read before; the other shards are read all the same.
func (w *Witness) Advance(ctx context.Context) error {
	var faults []error
	for _, shard := range w.Shards {
		err := w.advance(ctx, shard)
		for errors.Is(err, errQuicker) && ctx.Err() == nil {
			err = w.advance(ctx, shard)
		}
		if err != nil {
			faults = append(faults, fmt.Errorf("shard %d: %w", shard.Number(), err))
		}
	}
	return errors.Join(faults...)
}

// page is a row in the making.
type page struct {
	facts journal.Facts
	first uint64
	last  uint64 // of what is in the database; first-1 = nothing
	chain envelope.Digest
	more  []byte // digests behind last
	read  time.Time
	mark  *report.Mark // how far digests were kept once; nil = not known
}

func (w *Witness) advance(ctx context.Context, shard journal.Shard) error {
	facts, err := shard.Facts(ctx)
	if err != nil {
		return err
	}
	p, err := w.lastPage(ctx, shard, facts)
	if err != nil {
		return err
	}
	if p.mark, err = w.mark(ctx, facts); err != nil {
		return err
	}
	size := uint64(or(w.PageEvents, pageEventsDefault))
	var scratch []byte
	err = journal.Read(ctx, shard, p.last, facts.LastSeq, func(e *envelope.Event) error {
		var digest envelope.Digest
		digest, scratch = e.Digest(scratch)
		p.chain = p.chain.Chain(digest)
		if p.mark != nil && int64(e.Seq) == p.mark.Number && hex.EncodeToString(p.chain[:]) != p.mark.Digest {
			return fmt.Errorf("%w: the events up to %d are not those of which digests were kept once", ErrChanged, e.Seq)
		}
		p.more = append(p.more, digest[:digestBytes]...)
		if e.Seq+1-p.first < size && e.Seq < facts.LastSeq {
			return nil
		}
		if err := w.keep(ctx, p, e.Seq); err != nil {
			return err
		}
		p.last, p.more = e.Seq, p.more[:0]
		if e.Seq+1-p.first >= size {
			p.first = e.Seq + 1
		}
		return nil
	})
	return err
}

// lastPage is where to go on, after a look that the journal still holds what it held there.
func (w *Witness) lastPage(ctx context.Context, shard journal.Shard, facts journal.Facts) (*page, error) {
	pool, err := w.DB.Operator(ctx)
	if err != nil {
		return nil, err
	}
	pages, err := db.New(pool).JournalPageLast(ctx, db.JournalPageLastParams{
		JournalID: facts.JournalID, Incarnation: int64(facts.Incarnation), Shard: int32(facts.Shard),
	})
	if err != nil {
		return nil, fmt.Errorf("newest page: %w", err)
	}
	if len(pages) == 0 {
		return &page{facts: facts, first: 1}, nil
	}
	row := pages[0]
	if err := sound(row); err != nil {
		return nil, err
	}
	p := &page{facts: facts, first: uint64(row.FirstSeq), last: uint64(row.LastSeq), chain: envelope.Digest(row.Chain), read: row.ReadAt.UTC()}
	if facts.LastSeq < p.last {
		return nil, fmt.Errorf("%w: it ends at %d, events up to %d have been read", ErrChanged, facts.LastSeq, p.last)
	}
	e, err := shard.At(ctx, p.last)
	if errors.Is(err, journal.ErrNoEvent) {
		return nil, fmt.Errorf("%w: event %d is gone", ErrChanged, p.last)
	}
	if err != nil {
		return nil, err
	}
	if digest, _ := e.Digest(nil); !bytes.Equal(digest[:digestBytes], row.EventDigests[len(row.EventDigests)-digestBytes:]) {
		return nil, fmt.Errorf("%w: event %d is another one", ErrChanged, p.last)
	}
	if p.last+1-p.first >= uint64(or(w.PageEvents, pageEventsDefault)) {
		p.first = p.last + 1
	}
	return p, nil
}

// sound refuses a page that this package cannot have written.
func sound(row db.ControlJournalPage) error {
	events := row.LastSeq - row.FirstSeq + 1
	if row.FirstSeq < 1 || events < 1 || int64(len(row.EventDigests)) != events*digestBytes || len(row.Chain) != len(envelope.Digest{}) {
		return fmt.Errorf("%w: the page of events %d to %d holds %d bytes of digests", ErrPages, row.FirstSeq, row.LastSeq, len(row.EventDigests))
	}
	return nil
}

// ErrPages: what was kept about the journal is damaged itself. `refold journal check` says where.
var ErrPages = errors.New("the kept digests are damaged")

// errQuicker: somebody else has kept the same events meanwhile.
var errQuicker = errors.New("another process was quicker")

func (w *Witness) keep(ctx context.Context, p *page, seq uint64) error {
	pool, err := w.DB.Operator(ctx)
	if err != nil {
		return err
	}
	q, id := db.New(pool), p.facts
	var n int64
	if p.last < p.first {
		n, err = q.JournalPageInsert(ctx, db.JournalPageInsertParams{
			JournalID: id.JournalID, Incarnation: int64(id.Incarnation), Shard: int32(id.Shard),
			FirstSeq: int64(p.first), LastSeq: int64(seq), EventDigests: p.more, Chain: p.chain[:],
		})
	} else {
		n, err = q.JournalPageExtend(ctx, db.JournalPageExtendParams{
			JournalID: id.JournalID, Incarnation: int64(id.Incarnation), Shard: int32(id.Shard),
			FirstSeq: int64(p.first), OldLastSeq: int64(p.last), LastSeq: int64(seq), More: p.more, Chain: p.chain[:],
		})
	}
	if err == nil && n != 1 {
		err = errQuicker
	}
	if err != nil {
		return fmt.Errorf("keep digests up to event %d: %w", seq, err)
	}
	if p.mark != nil && p.mark.Number >= int64(seq) {
		return nil // digests that were lost are kept again
	}
	mark := report.Mark{JournalID: id.JournalID, Incarnation: id.Incarnation, Number: int64(seq), Digest: hex.EncodeToString(p.chain[:])}
	return w.Reports.Signer.PutMark(ctx, q, markName(id.Shard), mark)
}

// markName names the mark of how far digests of a shard are kept. It is written after them, so that it never says more.
func markName(shard int) string { return fmt.Sprintf("kept_digests_%d", shard) }

// mark is how far digests of a shard of this journal were kept once; nil where that is not known.
func (w *Witness) mark(ctx context.Context, facts journal.Facts) (*report.Mark, error) {
	pool, err := w.DB.Operator(ctx)
	if err != nil {
		return nil, err
	}
	m, err := w.Reports.Signer.GetMark(ctx, db.New(pool), markName(facts.Shard))
	if errors.Is(err, report.ErrMark) || err == nil && (m == nil || m.JournalID != facts.JournalID || m.Incarnation != facts.Incarnation) {
		return nil, nil
	}
	return m, err
}

// Kept says that digests of the events of a shard up to Seq were kept.
type Kept struct {
	Shard       int
	JournalID   string
	Incarnation uint64
	Seq         uint64
}

// Kept returns how far digests were kept, shard by shard, and what is wrong with marks that cannot be used. Digests that
// are not there up to these positions are lost.
func (w *Witness) Kept(ctx context.Context) (kept []Kept, damage []string, err error) {
	pool, err := w.DB.Operator(ctx)
	if err != nil {
		return nil, nil, err
	}
	for _, shard := range w.Shards {
		m, err := w.Reports.Signer.GetMark(ctx, db.New(pool), markName(shard.Number()))
		switch {
		case errors.Is(err, report.ErrMark):
			damage = append(damage, err.Error())
		case err != nil:
			return nil, nil, err
		case m != nil:
			kept = append(kept, Kept{shard.Number(), m.JournalID, m.Incarnation, uint64(m.Number)})
		}
	}
	return kept, damage, nil
}

func (w *Witness) headDue(ctx context.Context) (bool, error) {
	last, err := w.Reports.Newest(ctx, HeadKind, 1)
	if err != nil {
		return false, err
	}
	return len(last) == 0 || time.Since(last[0].Made) >= or(w.HeadEvery, headEveryDefault), nil
}

// SignHead records a signed head of what has been read so far, and writes it to HeadsDir too.
func (w *Witness) SignHead(ctx context.Context) (*report.Recorded, error) {
	head := Head{Shards: []ShardHead{}}
	for _, shard := range w.Shards {
		facts, err := shard.Facts(ctx)
		if err != nil {
			return nil, err
		}
		p, err := w.lastPage(ctx, shard, facts)
		if err != nil {
			return nil, fmt.Errorf("head of shard %d: %w", shard.Number(), err)
		}
		head.JournalID, head.Incarnation = facts.JournalID, facts.Incarnation
		head.Shards = append(head.Shards, ShardHead{shard.Number(), facts.Stream, p.last, hex.EncodeToString(p.chain[:])})
	}
	recorded, err := w.Reports.Append(ctx, HeadKind, head)
	if err != nil || w.HeadsDir == "" {
		return recorded, err
	}
	return recorded, writeFile(w.HeadsDir, fmt.Sprintf("journal-head-%06d.json", recorded.Number), append(recorded.Document, '\n'))
}

// writeFile leaves either the whole file or none.
func writeFile(dir, name string, content []byte) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	temporary, err := os.CreateTemp(dir, "."+name+".*")
	if err != nil {
		return err
	}
	_, err = temporary.Write(content)
	err = errors.Join(err, temporary.Chmod(0o644), temporary.Sync(), temporary.Close())
	if err == nil {
		err = os.Rename(temporary.Name(), filepath.Join(dir, name))
	}
	if err != nil {
		_ = os.Remove(temporary.Name())
	}
	return err
}

// Standing is how far the witness has come with one shard.
type Standing struct {
	Shard int        `json:"shard"`
	Seq   uint64     `json:"seq"`
	Read  *time.Time `json:"read,omitempty"`
}

// Standing tells how far a shard has been read. It fails with ErrChanged when the journal does not continue that.
func (w *Witness) Standing(ctx context.Context, shard journal.Shard) (Standing, error) {
	s := Standing{Shard: shard.Number()}
	facts, err := shard.Facts(ctx)
	if err != nil {
		return s, err
	}
	p, err := w.lastPage(ctx, shard, facts)
	if err != nil {
		return s, err
	}
	s.Seq = p.last
	if !p.read.IsZero() {
		s.Read = &p.read
	}
	return s, nil
}
