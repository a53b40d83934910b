package witness

import (
	"bytes"
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/refold-dev/refold/events/envelope"
	"github.com/refold-dev/refold/internal/journal"
	"github.com/refold-dev/refold/internal/postgres"
	"github.com/refold-dev/refold/internal/postgres/db"
)

// FaultsMax bounds the faults that are described; all are counted.
const FaultsMax = 1000

// What is wrong with an event or with what was kept about it.
const (
	Changed    = "changed"    // another event stands at this sequence
	Moved      = "moved"      // the event of sequence From stands here
	Lost       = "lost"       // the journal holds nothing at this sequence any more
	Unreadable = "unreadable" // the journal fails to hand this event over
	Rewritten  = "rewritten"  // a signed head says that something from From to Seq is not what it was, and the kept digests do not: they were rewritten, too
	BadPage    = "bad page"   // what was kept about the events From to Seq is damaged; the journal may be right
	BadHead    = "bad head"   // a signed head is not as it was signed; the journal may be right
)

// Fault is one thing that is not as it was.
type Fault struct {
	What   string `json:"what"`
	Seq    uint64 `json:"seq"`
	From   uint64 `json:"from,omitempty"`
	Entity string `json:"entity,omitempty"` // of the event that stands there now
	Detail string `json:"detail,omitempty"`
}

func (f Fault) String() string {
	switch f.What {
	case Moved:
		return fmt.Sprintf("event %d: the event that was at %d stands here (%s)", f.Seq, f.From, f.Entity)
	case Changed:
		return fmt.Sprintf("event %d is not the one that was read before (now of %s)", f.Seq, f.Entity)
	case BadHead:
		return "bad head: " + f.Detail
	case Rewritten, BadPage:
		return fmt.Sprintf("events %d to %d: %s: %s", f.From, f.Seq, f.What, f.Detail)
	}
	if f.Detail == "" {
		return fmt.Sprintf("event %d is %s", f.Seq, f.What)
	}
	return fmt.Sprintf("event %d is %s: %s", f.Seq, f.What, f.Detail)
}

// Result is what a check of one shard found.
type Result struct {
	Shard       int     `json:"shard"`
	Stream      string  `json:"stream"`
	JournalID   string  `json:"journal_id"`
	Incarnation uint64  `json:"incarnation"`
	Seq         uint64  `json:"seq"` // read up to here
	Events      uint64  `json:"events"`
	Chain       string  `json:"chain"`             // of all events up to Seq; empty when some could not be read
	Witnessed   uint64  `json:"witnessed"`         // events up to here were compared one by one
	Heads       int     `json:"heads"`             // signed heads that were compared
	PassedOver  int     `json:"heads_passed_over"` // signed with keys that nobody vouched for
	Clean       bool    `json:"clean"`
	Faults      []Fault `json:"faults"`
	Total       int     `json:"faults_total"`
	DurationMs  int64   `json:"duration_ms"`
	// Compressed says what the compression of the stream risks and what to do; empty when it is not compressed. It is no fault.
	Compressed string `json:"compressed,omitempty"`
	// Replicas are all copies of the shard, and Verdict says which are right, where each was read by itself.
	Replicas []Replica `json:"replicas,omitempty"`
	Verdict  string    `json:"verdict,omitempty"`
}

// Heads are the signed heads to compare with.
type Heads struct {
	Known   []Head
	Damaged []string // what is wrong with those that are not as they were signed; a fault of the first shard
	Foreign int      // those signed with keys that nobody vouched for
	Kept    []Kept   // how far digests must be there, see Witness.Kept
}

// Checker compares events, handed over in order, with what was kept about them.
type Checker struct {
	db     *postgres.DB
	facts  journal.Facts
	heads  []ShardHead // of this shard, by sequence
	began  time.Time
	result Result

	pages    []db.ControlJournalPage // the next ones, in order
	ended    bool                    // there are no more pages
	next     int64                   // first sequence of the next page to ask for
	chain    envelope.Digest
	broken   bool // the chain cannot be followed any more
	seq      uint64
	anchored uint64 // the newest head that fits
	signed   uint64 // the newest head of all
	must     uint64 // up to here digests must be there
	suspects []suspect
	missing  map[[digestBytes]byte]uint64 // kept digests of lost events
	scratch  []byte
}

// suspect is an event whose digest is not the one that was kept.
type suspect struct {
	seq           uint64
	entity        string
	want, got     [digestBytes]byte
	page          int64 // its first sequence
	chainAtItsEnd bool  // the chain at the end of its page is the one that was kept
}

// NewChecker begins a check of the shard that facts describe. Heads of another journal or incarnation are passed over.
func NewChecker(d *postgres.DB, facts journal.Facts, heads Heads) *Checker {
	c := &Checker{db: d, facts: facts, began: time.Now(), next: 1, missing: map[[digestBytes]byte]uint64{}}
	for _, head := range heads.Known {
		for _, s := range head.Shards {
			if head.JournalID == facts.JournalID && head.Incarnation == facts.Incarnation && s.Shard == facts.Shard && s.Seq > 0 {
				c.heads = append(c.heads, s)
			}
		}
	}
	slices.SortFunc(c.heads, func(a, b ShardHead) int { return cmp.Compare(a.Seq, b.Seq) })
	for _, head := range c.heads {
		c.signed = max(c.signed, head.Seq)
	}
	c.must = c.signed
	for _, k := range heads.Kept {
		if k.JournalID == facts.JournalID && k.Incarnation == facts.Incarnation && k.Shard == facts.Shard {
			c.must = max(c.must, k.Seq)
		}
	}
	c.result = Result{
		Shard: facts.Shard, Stream: facts.Stream, JournalID: facts.JournalID, Incarnation: facts.Incarnation, Faults: []Fault{},
		PassedOver: heads.Foreign, Compressed: facts.CompressionRisk(),
	}
	if facts.Shard == 0 {
		for _, detail := range heads.Damaged {
			c.fault(Fault{What: BadHead, Detail: detail})
		}
	}
	return c
}

func (c *Checker) fault(f Fault) {
	c.result.Total++
	if len(c.result.Faults) < FaultsMax {
		c.result.Faults = append(c.result.Faults, f)
	}
}

// Add takes in the event behind the one before. Sequences in between are lost.
func (c *Checker) Add(ctx context.Context, e *envelope.Event) error {
	var digest envelope.Digest
	digest, c.scratch = e.Digest(c.scratch)
	return c.AddDigest(ctx, e, digest)
}

// AddDigest is Add for a caller who has computed the digest of the event.
func (c *Checker) AddDigest(ctx context.Context, e *envelope.Event, digest envelope.Digest) error {
	if err := c.lose(ctx, e.Seq, Lost, ""); err != nil {
		return err
	}
	c.result.Events++
	c.seq = e.Seq
	c.chain = c.chain.Chain(digest)
	row, err := c.page(ctx, e.Seq)
	if err != nil {
		return err
	}
	if row != nil {
		if want := kept(row, e.Seq); want != [digestBytes]byte(digest[:digestBytes]) {
			c.suspect(e, row, want, digest)
		}
		if int64(e.Seq) == row.LastSeq {
			c.endPage(row)
		}
	}
	c.compareHead()
	return nil
}

// kept is what a page holds of an event.
func kept(row *db.ControlJournalPage, seq uint64) [digestBytes]byte {
	at := (int64(seq) - row.FirstSeq) * digestBytes
	return [digestBytes]byte(row.EventDigests[at : at+digestBytes])
}

// lose notes everything between the last event and seq.
func (c *Checker) lose(ctx context.Context, seq uint64, what, detail string) error {
	for c.seq+1 < seq {
		c.seq++
		c.broken = true
		c.fault(Fault{What: what, Seq: c.seq, Detail: detail})
		row, err := c.page(ctx, c.seq)
		if err != nil {
			return err
		}
		if row != nil && len(c.missing) < FaultsMax {
			c.missing[kept(row, c.seq)] = c.seq
		}
		c.compareHead()
	}
	return nil
}

func (c *Checker) suspect(e *envelope.Event, row *db.ControlJournalPage, want [digestBytes]byte, got envelope.Digest) {
	if len(c.suspects) >= FaultsMax {
		c.fault(Fault{What: Changed, Seq: e.Seq, Entity: e.String()})
		return
	}
	got16 := [digestBytes]byte(got[:digestBytes])
	c.suspects = append(c.suspects, suspect{seq: e.Seq, entity: e.String(), want: want, got: got16, page: row.FirstSeq})
}

// endPage compares the chain at the end of a page. An honest page whose digests differ has another chain, too.
func (c *Checker) endPage(row *db.ControlJournalPage) {
	if c.broken {
		return
	}
	fits, here := bytes.Equal(row.Chain, c.chain[:]), false
	for i := range c.suspects {
		if c.suspects[i].page == row.FirstSeq {
			c.suspects[i].chainAtItsEnd, here = fits, true
		}
	}
	if !fits && !here && len(c.suspects) == 0 {
		c.fault(Fault{What: BadPage, From: uint64(row.FirstSeq), Seq: uint64(row.LastSeq), Detail: "its digests fit the events and its chain does not"})
	}
}

// page returns the page that holds a sequence, or nil when none does.
func (c *Checker) page(ctx context.Context, seq uint64) (*db.ControlJournalPage, error) {
	for {
		for len(c.pages) > 0 && uint64(c.pages[0].LastSeq) < seq {
			c.pages = c.pages[1:]
		}
		if len(c.pages) > 0 {
			if uint64(c.pages[0].FirstSeq) > seq {
				return nil, nil // a page is missing; that was noted
			}
			return &c.pages[0], nil
		}
		if c.ended {
			return nil, nil
		}
		if err := c.load(ctx); err != nil {
			return nil, err
		}
	}
}

const pagesAtOnce = 16

func (c *Checker) load(ctx context.Context) error {
	pool, err := c.db.Operator(ctx)
	if err != nil {
		return err
	}
	rows, err := db.New(pool).JournalPagesFrom(ctx, db.JournalPagesFromParams{
		JournalID: c.facts.JournalID, Incarnation: int64(c.facts.Incarnation), Shard: int32(c.facts.Shard), FirstSeq: c.next, CountMax: pagesAtOnce,
	})
	if err != nil {
		return fmt.Errorf("kept digests from event %d: %w", c.next, err)
	}
	c.ended = len(rows) < pagesAtOnce
	for _, row := range rows {
		if err := sound(row); err != nil {
			c.fault(Fault{What: BadPage, From: uint64(max(row.FirstSeq, 0)), Seq: uint64(max(row.LastSeq, 0)), Detail: err.Error()})
			continue
		}
		if row.FirstSeq != c.next {
			c.fault(Fault{What: BadPage, From: uint64(c.next), Seq: uint64(row.FirstSeq - 1), Detail: "it is missing"})
		}
		c.next = row.LastSeq + 1
		c.pages = append(c.pages, row)
		c.result.Witnessed = uint64(row.LastSeq)
	}
	return nil
}

// compareHead holds the chain against the heads at the current sequence.
func (c *Checker) compareHead() {
	for len(c.heads) > 0 && c.heads[0].Seq <= c.seq {
		head := c.heads[0]
		c.heads = c.heads[1:]
		c.result.Heads++
		switch {
		case c.broken:
		case head.Chain == hex.EncodeToString(c.chain[:]):
			c.anchored = head.Seq
		case len(c.suspects) == 0 && c.result.Total == 0:
			c.fault(Fault{What: Rewritten, From: c.anchored + 1, Seq: head.Seq, Detail: "the signed head at its end has another chain, the kept digests fit"})
		}
	}
}

// End finishes the check when the journal has been read to its end: what was kept or signed behind that is lost. kept is
// the last event that anything was kept about before the end was looked for; the journal goes on meanwhile.
func (c *Checker) End(ctx context.Context, kept uint64) (*Result, error) {
	c.stopped()
	if err := c.lose(ctx, max(kept, c.must)+1, Lost, "the journal ends before it"); err != nil {
		return nil, err
	}
	for !c.ended { // pages that no event has asked for
		c.pages = nil
		if err := c.load(ctx); err != nil {
			return nil, err
		}
	}
	if c.result.Witnessed < c.must {
		c.missingPage(c.must)
	}
	return c.judged(), nil
}

// Stop finishes the check of a journal that goes on behind the last event.
func (c *Checker) Stop() *Result {
	c.stopped()
	if must := min(c.must, c.seq); c.ended && c.result.Witnessed < must {
		c.missingPage(must)
	}
	c.result.Witnessed = min(c.result.Witnessed, c.seq)
	return c.judged()
}

func (c *Checker) stopped() {
	c.result.Seq = c.seq
	if !c.broken {
		c.result.Chain = hex.EncodeToString(c.chain[:])
	}
}

// missingPage: digests are gone that a signed head, or the mark of the witness, says were kept. The journal may be right.
func (c *Checker) missingPage(upto uint64) {
	detail := "it is missing, a head was signed on it"
	if c.signed < upto {
		detail = "it is missing, digests were kept up to there"
	}
	c.fault(Fault{What: BadPage, From: c.result.Witnessed + 1, Seq: upto, Detail: detail})
}

func (c *Checker) judged() *Result {
	c.judge()
	slices.SortStableFunc(c.result.Faults, func(a, b Fault) int { return cmp.Compare(a.Seq, b.Seq) })
	c.result.Clean = c.result.Total == 0
	c.result.DurationMs = time.Since(c.began).Milliseconds()
	return &c.result
}

// lastKept is the last event that anything was kept about.
func (c *Checker) lastKept(ctx context.Context) (uint64, error) {
	pool, err := c.db.Operator(ctx)
	if err != nil {
		return 0, err
	}
	pages, err := db.New(pool).JournalPageLast(ctx, db.JournalPageLastParams{
		JournalID: c.facts.JournalID, Incarnation: int64(c.facts.Incarnation), Shard: int32(c.facts.Shard),
	})
	if err != nil || len(pages) == 0 {
		return 0, err
	}
	return uint64(max(pages[0].LastSeq, 0)), nil
}

// judge makes faults of the suspects: an event whose digest was kept for another sequence has moved.
func (c *Checker) judge() {
	was := map[[digestBytes]byte]uint64{}
	for _, s := range c.suspects {
		was[s.want] = s.seq
	}
	for _, s := range c.suspects {
		from, moved := was[s.got]
		if !moved {
			from, moved = c.missing[s.got]
		}
		switch {
		case s.chainAtItsEnd:
			c.fault(Fault{What: BadPage, From: s.seq, Seq: s.seq, Detail: "the chain of its page fits the journal, the digest kept for this event does not"})
		case moved:
			c.fault(Fault{What: Moved, Seq: s.seq, From: from, Entity: s.entity})
		default:
			c.fault(Fault{What: Changed, Seq: s.seq, Entity: s.entity})
		}
	}
}

// Check reads a whole shard, up to where it ends now, and compares it with what was kept and with the heads. progress is
// told now and then how many events of how many were read; nil = nobody listens. It fails only when it could not finish.
func Check(ctx context.Context, d *postgres.DB, shard journal.Shard, heads Heads, progress func(done, total uint64)) (*Result, error) {
	facts, err := shard.Facts(ctx)
	if err != nil {
		return nil, err
	}
	c := NewChecker(d, facts, heads)
	kept, err := c.lastKept(ctx)
	if err != nil {
		return nil, err
	}
	if facts, err = shard.Facts(ctx); err != nil {
		return nil, err
	}
	told := time.Now()
	for c.seq < facts.LastSeq {
		err := journal.Read(ctx, shard, c.seq, facts.LastSeq, func(e *envelope.Event) error {
			if progress != nil && time.Since(told) > progressEvery {
				progress(e.Seq, facts.LastSeq)
				told = time.Now()
			}
			return c.Add(ctx, e)
		})
		var gap *journal.GapError
		switch {
		case err == nil:
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case errors.As(err, &gap):
			err = c.lose(ctx, min(gap.Got, facts.LastSeq+1), Lost, "")
		default:
			err = c.probe(ctx, shard, facts.LastSeq, err)
		}
		if err != nil {
			return nil, err
		}
	}
	return c.End(ctx, kept)
}

const progressEvery = 200 * time.Millisecond

// probe goes on behind an event that the journal fails to hand over: it asks for single events until one comes.
func (c *Checker) probe(ctx context.Context, shard journal.Shard, last uint64, because error) error {
	for seq := c.seq + 1; seq <= last; seq++ {
		_, err := shard.At(ctx, seq)
		if err == nil {
			if seq == c.seq+1 {
				return because // it can be had, and yet the journal cannot be read
			}
			return c.lose(ctx, seq, Unreadable, because.Error())
		}
		if !errors.Is(err, journal.ErrNoEvent) {
			return errors.Join(because, err)
		}
	}
	return c.lose(ctx, last+1, Unreadable, because.Error())
}
