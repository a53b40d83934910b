package backup

import (
	"context"
	"errors"
	"time"

	"github.com/refold-dev/refold/internal/failpoint"
	"github.com/refold-dev/refold/internal/journal"
)

// smallSegmentsMax is how many small segments at the end of a shard are kept before they are read again and made into
// larger ones: frequent backups would else leave a file each for ever. A segment is small below a quarter of a full one.
const (
	smallSegmentsMax  = 32
	smallSegmentBytes = segmentBytes / 4
)

// progressEvery is how often a running phase reports.
const progressEvery = 200 * time.Millisecond

// shard takes one shard: segments of the backup before as far as they hold the same events, and new ones behind.
func (c *creation) shard(ctx context.Context, facts journal.Facts) (*Shard, error) {
	out := &Shard{
		Stream: facts.Stream, BytesMax: int64(facts.BytesMax), Replicas: facts.Replicas, StoreBytes: int64(facts.Bytes),
		DedupeMs: facts.DedupeWindow.Milliseconds(),
	}
	out.Shard = facts.Shard
	kept, err := c.continued(ctx, facts)
	if err != nil {
		return nil, err
	}
	out.Segments = kept
	w := &shardWriter{creation: c, shard: out, history: newHistory(facts.Shard, zero), upto: int64(facts.LastSeq), checkpoints: map[int64][]Checkpoint{}}
	if len(kept) > 0 {
		end := kept[len(kept)-1]
		out.NewSeq = end.Last
		if w.history.chain, err = digestOf(end.Chain); err != nil {
			return nil, err
		}
		if w.history.last, err = digestOf(end.EventDigest); err != nil {
			return nil, err
		}
	}
	for _, cp := range c.manifest.Checkpoints {
		if cp.Shard == facts.Shard {
			w.expect(cp)
		}
	}
	err = c.source.Journal.ReadRaw(ctx, facts.Shard, uint64(out.NewSeq), facts.LastSeq, func(m *journal.Raw) error { return w.add(ctx, m) })
	if err == nil {
		err = w.cut(ctx)
	}
	if err != nil {
		return nil, err
	}
	out.Seq, out.EventDigest, out.Chain = int64(facts.LastSeq), digestHex(w.history.last), digestHex(w.history.chain)
	w.report(true)
	return out, nil
}

// continued returns the segments of the backup before that this journal continues.
func (c *creation) continued(ctx context.Context, facts journal.Facts) ([]Segment, error) {
	if c.base == nil || facts.Shard >= len(c.base.Shards) {
		return nil, nil
	}
	before := c.base.Shards[facts.Shard]
	segments := before.Segments
	for n := len(segments); ; n-- {
		if n == 0 {
			c.forked(facts, before.Position, 0)
			return nil, nil
		}
		same, err := c.holds(ctx, segments[n-1], facts.Shard)
		if err != nil {
			return nil, err
		}
		if same {
			if n < len(segments) {
				c.forked(facts, before.Position, segments[n-1].Last)
			}
			segments = segments[:n]
			break
		}
	}
	// One that has gone is written anew, with all behind it: nothing that was damaged is trusted again.
	sizes, err := c.sizes(ctx)
	if err != nil {
		return nil, err
	}
	for i, s := range segments {
		if sizes[s.Object] != s.Bytes {
			c.logger().Warn("a segment of the backup before is missing or cut short: it is written anew from the journal", "object", s.Object)
			segments = segments[:i]
			break
		}
	}
	small := 0
	for small < len(segments) && segments[len(segments)-1-small].RawBytes < smallSegmentBytes {
		small++
	}
	if small > smallSegmentsMax {
		segments = segments[:len(segments)-small]
	}
	return segments[:len(segments):len(segments)], nil
}

// holds tells whether the journal has the very event that a segment ends with.
func (c *creation) holds(ctx context.Context, s Segment, shard int) (bool, error) {
	e, err := c.source.Journal.Shard(shard).At(ctx, uint64(s.Last))
	if errors.Is(err, journal.ErrNoEvent) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	digest, _ := e.Digest(nil)
	return digestHex(digest) == s.EventDigest, nil
}

func (c *creation) forked(facts journal.Facts, before Position, common int64) {
	c.warn("shard %d does not continue backup %s: that ends at %d, this journal has the same events up to a place between %d and there (incarnation %d, before %d)",
		facts.Shard, c.base.ID, before.Seq, common, facts.Incarnation, c.base.Incarnation)
}

// shardWriter makes segments of a stream of messages.
type shardWriter struct {
	*creation
	shard       *Shard
	history     *history
	upto        int64
	segment     *segmentWriter // nil between two
	first       int64
	last        int64
	checkpoints map[int64][]Checkpoint // by sequence
	reported    time.Time
}

// expect has a checkpoint compared when its event comes by.
func (w *shardWriter) expect(cp Checkpoint) {
	switch {
	case cp.Seq > w.upto:
		w.warn("edition %d shard %d is at %d, but the journal ends at %d: it has lost events", cp.Edition, cp.Shard, cp.Seq, w.upto)
	case cp.Seq > 0:
		w.checkpoints[cp.Seq] = append(w.checkpoints[cp.Seq], cp)
	}
}

func (w *shardWriter) add(ctx context.Context, m *journal.Raw) error {
	if w.segment == nil {
		var err error
		head := segmentHead{JournalID: w.manifest.JournalID, Shard: w.shard.Shard, First: m.Seq, Before: w.history.chain}
		if w.segment, err = newSegmentWriter(head); err != nil {
			return err
		}
		w.first = int64(m.Seq)
	}
	w.segment.add(m)
	w.history.add(m)
	w.last = int64(m.Seq)
	for _, cp := range w.checkpoints[w.last] {
		if cp.Chain != digestHex(w.history.chain) {
			w.warn("edition %d shard %d has folded other events up to %d than the journal holds", cp.Edition, cp.Shard, cp.Seq)
		}
	}
	w.report(false)
	if w.segment.raw >= segmentBytes {
		return w.cut(ctx)
	}
	return nil
}

func (w *shardWriter) report(end bool) {
	if end || time.Since(w.reported) > progressEvery {
		w.reported = time.Now()
		w.options.Progress(Progress{Phase: "journal", Shard: w.shard.Shard, Done: max(w.last, w.shard.NewSeq), Total: w.upto})
	}
}

// cut ends the current segment and writes it.
func (w *shardWriter) cut(ctx context.Context) error {
	if w.segment == nil {
		return nil
	}
	body, err := w.segment.finish(w.history.chain)
	if err != nil {
		return err
	}
	s := Segment{
		First: w.first, Last: w.last, Bytes: int64(len(body)), RawBytes: w.segment.raw, SHA256: sumHex(body),
		EventDigest: digestHex(w.history.last), Chain: digestHex(w.history.chain),
	}
	s.Object = segmentName(w.manifest.JournalID, w.shard.Shard, s.First, s.Last, s.SHA256)
	if err := w.put(ctx, s.Object, body); err != nil {
		return err
	}
	w.shard.Segments = append(w.shard.Segments, s)
	w.segment = nil
	return failpoint.Hit("backup.segment-written")
}
