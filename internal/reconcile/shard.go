package reconcile

import (
	"bytes"
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"

	"github.com/refold-dev/refold/events/envelope"
	"github.com/refold-dev/refold/internal/journal"
	"github.com/refold-dev/refold/internal/ledger"
	"github.com/refold-dev/refold/internal/postgres/db"
	"github.com/refold-dev/refold/internal/projector"
)

// ledgerRows is how many rows of a ledger are read at once, each a batch.
const ledgerRows = 16

// scan is one read of a shard's journal, and everything that is held against it on the way.
type scan struct {
	*look
	shard   journal.Shard
	facts   journal.Facts
	points  []*point
	heads   []*headPoint
	lost    map[lostKey]lostEntry
	related map[[2]*point]bool // editions that have folded the same lost event, or the same events up to somewhere
	proofs  map[proof]*point   // whose history this is first
	again   int
	chain   envelope.Digest
	scratch []byte
}

type lostKey struct {
	seq    uint64
	digest ledger.Digest
}

// proof says which events were folded up to a sequence.
type proof struct {
	seq   uint64
	chain string
}

// prove relates editions that have folded the same events up to somewhere.
func (s *scan) prove(p *point, seq uint64, chain []byte) {
	key := proof{seq, string(chain)}
	if known, ok := s.proofs[key]; ok {
		s.related[[2]*point{known, p}] = true
		return
	}
	s.proofs[key] = p
}

type lostEntry struct {
	ledger.Entry
	by *point // whose ledger has it first
}

// point is a checkpoint, or the head of a build that is under way.
type point struct {
	edition     int64
	build       bool
	seq         uint64
	digest      []byte
	chain       []byte
	met         bool // the journal reaches it
	same        bool // and has the same event there, behind the same events
	cursor      *cursor
	finding     EditionFinding
	sameEvent   bool
	live        bool
	journalID   string
	stream      string
	incarnation uint64
	stopped     string
}

type headPoint struct {
	Head
	met, same bool
}

// cursor reads an edition's ledger beside the journal.
type cursor struct {
	q       *db.Queries
	edition int64
	shard   int32
	rows    []db.ControlApplied
	entries []ledger.Entry // of rows[0]
	after   int64
	done    bool
	from    uint64 // the first sequence that it names
	upto    uint64 // up to here the journal holds the same events; 0 = not known
	broken  bool   // an event differed
}

// peek returns the next entry, or nil at the end.
func (c *cursor) peek(ctx context.Context) (*ledger.Entry, error) {
	for len(c.entries) == 0 {
		if len(c.rows) == 0 {
			if c.done {
				return nil, nil
			}
			rows, err := c.q.AppliedAfter(ctx, db.AppliedAfterParams{Edition: c.edition, Shard: c.shard, After: c.after, Rows: ledgerRows})
			if err != nil {
				return nil, fmt.Errorf("ledger of edition %d: %w", c.edition, err)
			}
			c.rows, c.done = rows, len(rows) < ledgerRows
			continue
		}
		entries, err := ledger.Unpack(c.rows[0].Events)
		if err == nil && (entries[0].Seq != uint64(c.rows[0].FirstSeq) || entries[len(entries)-1].Seq != uint64(c.rows[0].LastSeq)) {
			err = ledger.ErrMalformed
		}
		if err != nil {
			return nil, fmt.Errorf("ledger of edition %d shard %d at %d: %w", c.edition, c.shard, c.rows[0].LastSeq, err)
		}
		if c.from == 0 {
			c.from = entries[0].Seq
		}
		c.entries = entries
	}
	return &c.entries[0], nil
}

// next goes on behind the entry that was peeked at.
func (c *cursor) next() {
	c.entries = c.entries[1:]
	if len(c.entries) == 0 {
		c.after = c.rows[0].LastSeq
		c.rows = c.rows[1:]
	}
}

// run reads the journal. It fails only when it could not finish.
func (s *scan) run(ctx context.Context) error {
	err := journal.Read(ctx, s.shard, 0, s.facts.LastSeq, func(e *envelope.Event) error {
		var digest envelope.Digest
		digest, s.scratch = e.Digest(s.scratch)
		s.chain = s.chain.Chain(digest)
		s.progress(s.shard.Number(), e.Seq, s.facts.LastSeq)
		if err := s.tenant(e); err != nil {
			return err
		}
		return s.meet(ctx, e.Seq, digest)
	})
	if err != nil {
		return err
	}
	for _, p := range s.points { // what the journal ends before
		for p.cursor != nil {
			entry, err := p.cursor.peek(ctx)
			if err != nil {
				return err
			}
			if entry == nil || entry.Seq > p.seq { // a projector has gone on since the checkpoint was read
				break
			}
			p.cursor.broken = true
			s.lose(*entry, p)
			s.pass(p)
		}
	}
	return nil
}

// meet holds an event of the journal against all that knows something about its sequence.
func (s *scan) meet(ctx context.Context, seq uint64, digest envelope.Digest) error {
	for _, p := range s.points {
		if p.seq == seq {
			p.met, p.sameEvent = true, bytes.Equal(p.digest, digest[:])
			p.same = p.sameEvent && bytes.Equal(p.chain, s.chain[:])
		}
		if p.cursor == nil {
			continue
		}
		entry, err := p.cursor.peek(ctx)
		for err == nil && entry != nil && entry.Seq < seq { // named twice, by batches that overlap
			p.cursor.next()
			entry, err = p.cursor.peek(ctx)
		}
		if err != nil {
			return err
		}
		if entry == nil || entry.Seq != seq {
			continue
		}
		switch {
		case entry.Digest != ledger.Short(digest):
			p.cursor.broken = true
			s.lose(*entry, p)
		case !p.cursor.broken:
			p.cursor.upto = seq
		}
		s.pass(p)
	}
	for _, h := range s.heads {
		if h.Seq == seq {
			h.met, h.same = true, h.Chain == "" || h.Chain == hex.EncodeToString(s.chain[:])
		}
	}
	return nil
}

// pass goes on behind the entry that an edition's ledger stands on.
func (s *scan) pass(p *point) {
	if c := p.cursor; len(c.entries) == 1 && c.broken {
		s.prove(p, uint64(c.rows[0].LastSeq), c.rows[0].Chain)
	}
	p.cursor.next()
}

// lose takes in an event that the journal does not hold. The journal's own records are nobody's commands.
func (s *scan) lose(e ledger.Entry, by *point) {
	if e.Tenant == envelope.PlaneTenant && e.Entity == journalEntity {
		return
	}
	key := lostKey{e.Seq, e.Digest}
	if known, ok := s.lost[key]; ok {
		s.related[[2]*point{known.by, by}] = true
		return
	}
	s.lost[key] = lostEntry{e, by}
}

// shareHistory reports whether two editions have folded the same events, as far as both go.
func (s *scan) shareHistory(a, b *point) bool {
	return s.related[[2]*point{a, b}] || s.related[[2]*point{b, a}]
}

const journalEntity = "journal"

// findAgain takes those commands off the lost ones that the journal has got again.
func (s *scan) findAgain(ctx context.Context, common uint64) error {
	type command struct {
		envelope.Key
		id string
	}
	if len(s.lost) == 0 {
		return nil
	}
	wanted := map[command][]lostKey{}
	for key, e := range s.lost {
		c := command{e.Key, e.CommandID}
		wanted[c] = append(wanted[c], key)
	}
	return journal.Read(ctx, s.shard, common, s.facts.LastSeq, func(e *envelope.Event) error {
		for _, key := range wanted[command{e.Key, e.CommandID}] {
			if _, ok := s.lost[key]; ok {
				delete(s.lost, key)
				s.again++
			}
		}
		return nil
	})
}

func (s *scan) lostList() []Lost {
	out := make([]Lost, 0, len(s.lost))
	for _, e := range s.lost {
		out = append(out, Lost{
			Shard: s.shard.Number(), Seq: e.Seq, Tenant: e.Tenant, Entity: e.Entity, ID: e.ID, Version: e.Version,
			CommandID: e.CommandID, Digest: hex.EncodeToString(e.Digest[:]),
		})
	}
	slices.SortFunc(out, func(a, b Lost) int { return cmp.Or(cmp.Compare(a.Seq, b.Seq), cmp.Compare(a.Digest, b.Digest)) })
	return out
}

// fault says why no edition can go on with the journal as it is.
func faultOf(f journal.Facts) string {
	if f.LastSeq > 0 && (f.FirstSeq != 1 || f.Deleted != 0 || f.Messages != f.LastSeq) {
		return fmt.Sprintf("it begins at %d, holds %d of %d events, %d deleted", f.FirstSeq, f.Messages, f.LastSeq, f.Deleted)
	}
	return ""
}

// find is the whole finding of a shard.
func (s *scan) find(ctx context.Context, at journal.Incarnations) (ShardFinding, []Lost, error) {
	out := ShardFinding{
		Shard: s.shard.Number(), Stream: s.facts.Stream, Incarnation: at.Metadata, EventIncarnation: at.Event, LastSeq: s.facts.LastSeq,
		Fault: faultOf(s.facts), Editions: []EditionFinding{}, Heads: []HeadFinding{}, Unnamed: []Range{},
	}
	for _, p := range s.points {
		if !p.build {
			s.prove(p, p.seq, p.chain)
		}
	}
	if out.Fault == "" {
		err := s.run(ctx)
		var gap *journal.GapError
		if errors.As(err, &gap) {
			out.Fault = gap.Error()
		} else if err != nil {
			return out, nil, fmt.Errorf("look at shard %d: %w", out.Shard, err)
		}
	}
	out.Chain = hex.EncodeToString(s.chain[:])
	out.CommonSeq = s.facts.LastSeq
	for _, p := range s.points {
		if !p.build {
			p.judge(s.facts, out.Fault)
		}
	}
	s.relate()
	for _, p := range s.points {
		if p.build {
			continue
		}
		if p.finding.State != Continues {
			out.CommonSeq = min(out.CommonSeq, p.finding.CommonSeq)
		}
		out.Editions = append(out.Editions, p.finding)
	}
	for _, h := range s.heads {
		out.Heads = append(out.Heads, HeadFinding{Head: h.Head, State: h.judge(s.facts, at.Metadata)})
	}
	if out.Fault == "" {
		if err := s.findAgain(ctx, out.CommonSeq); err != nil {
			return out, nil, fmt.Errorf("look at shard %d: %w", out.Shard, err)
		}
	}
	lost := s.lostList()
	out.Lost, out.Again, out.LostHash = len(lost), s.again, lostHash(lost)
	out.Unnamed = s.unnamed()
	return out, lost, nil
}

// of reports whether a checkpoint is of this journal, in whatever incarnation.
func (p *point) of(facts journal.Facts) bool {
	return p.journalID == facts.JournalID && p.stream == facts.Stream
}

// judge says how a checkpoint stands to the journal.
func (p *point) judge(facts journal.Facts, fault string) {
	f := &p.finding
	*f = EditionFinding{Edition: p.edition, Live: p.live, Seq: p.seq, Incarnation: p.incarnation, Stopped: p.stopped}
	if p.cursor != nil {
		f.LedgerFrom, f.CommonSeq = p.cursor.from, p.cursor.upto
	}
	switch {
	case !p.of(facts):
		f.State, f.CommonSeq = Replaced, 0
		f.Detail = fmt.Sprintf("its rows are of journal %s (%s), found %s (%s)", p.journalID, p.stream, facts.JournalID, facts.Stream)
	case fault != "":
		f.State, f.Detail = Truncated, fault
	case p.stopped == string(projector.GivenUp):
		f.State = GivenUp
	case p.seq == 0:
		f.State = Continues
	case !p.met:
		f.State, f.Detail = Ahead, fmt.Sprintf("the journal ends at %d", facts.LastSeq)
	case p.same:
		f.State, f.CommonSeq = Continues, p.seq
	case p.sameEvent:
		f.State, f.Detail = Diverged, "the journal holds the same event there, behind other events"
	default:
		f.State, f.Detail = Diverged, "the journal holds another event there"
	}
}

func (h *headPoint) judge(facts journal.Facts, incarnation uint64) string {
	switch {
	case h.JournalID != facts.JournalID:
		return "foreign"
	case h.same:
		return "holds"
	case h.Incarnation != 0 && h.Incarnation < incarnation:
		return "past"
	case !h.met:
		return "beyond"
	default:
		return "differs"
	}
}

// gone are the editions whose history is not the journal's.
func (s *scan) gone() []*point {
	var out []*point
	for _, p := range s.points {
		if state := p.finding.State; !p.build && (state == Ahead || state == Diverged || state == GivenUp) {
			out = append(out, p)
		}
	}
	return out
}

// relate tells editions of one history what their relatives know: what one has in common with the journal, all have.
func (s *scan) relate() {
	gone := s.gone()
	for range gone { // until it has come to all
		for _, p := range gone {
			for _, other := range gone {
				if p != other && s.shareHistory(p, other) {
					p.finding.CommonSeq = max(p.finding.CommonSeq, min(other.finding.CommonSeq, p.seq))
				}
			}
		}
	}
}

// unnamed lists the sequences that editions have folded, that the journal may not hold, and that no ledger names.
func (s *scan) unnamed() []Range {
	gone := s.gone()
	out := []Range{}
	for _, p := range gone {
		from, to := p.finding.CommonSeq+1, p.seq
		if p.finding.LedgerFrom != 0 {
			to = p.finding.LedgerFrom - 1
		}
		for _, other := range gone {
			if at := other.finding.LedgerFrom; other != p && at != 0 && at <= to && other.seq >= to && s.shareHistory(p, other) {
				to = at - 1
			}
		}
		last := s.facts.LastSeq
		switch {
		case from > to:
		case from <= last && last < to:
			out = append(out, Range{From: from, To: last}, Range{From: last + 1, To: to, Sure: true})
		default:
			out = append(out, Range{From: from, To: to, Sure: from > last})
		}
	}
	slices.SortFunc(out, func(a, b Range) int { return cmp.Or(cmp.Compare(a.From, b.From), cmp.Compare(a.To, b.To)) })
	return slices.Compact(out)
}
