package edition

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/refold-dev/refold/internal/postgres/db"
)

// An edition has caught up when it is this near the end of the journal, or so little time at its own rate.
const (
	caughtUpEvents = 1000
	caughtUpTime   = time.Second
)

const (
	catchUpPoll = 20 * time.Millisecond
	// slopeWindow is the time over which the rates of folding and appending are taken, slopeFirst the least of it.
	slopeWindow     = 10 * time.Second
	slopeFirst      = 2 * time.Second
	patienceDefault = time.Minute
)

// NeverLevelError says that an edition falls behind further, or comes no nearer. It is ErrNeverLevel.
type NeverLevelError struct {
	Edition  int64
	Shard    int
	Folded   float64 // events a second, of late
	Appended float64
	Behind   uint64
}

func (e *NeverLevelError) Error() string {
	return fmt.Sprintf("edition %d shard %d: %s: %v", e.Edition, e.Shard, e.note(), ErrNeverLevel)
}

func (e *NeverLevelError) note() string {
	if e.Folded == 0 {
		return fmt.Sprintf("nothing is folded, %d events behind: is its projector running?", e.Behind)
	}
	return fmt.Sprintf("slower than the writers: %.0f/s folded, %.0f/s appended, %d events behind", e.Folded, e.Appended, e.Behind)
}

// Unwrap makes it ErrNeverLevel.
func (e *NeverLevelError) Unwrap() error { return ErrNeverLevel }

// CatchUp waits until projectors have brought every shard of an edition near the end of the journal, wherever that
// moves, and records that it has caught up. What was in the journal at the call is folded then. It does not project
// itself. It fails when a shard is stopped, when an edition came no nearer for as long as Patience says (a
// *NeverLevelError), and with ctx.
func (m *Editions) CatchUp(ctx context.Context, number int64, progress func(Progress)) error {
	pool, err := m.DB.Operator(ctx)
	if err != nil {
		return err
	}
	if progress == nil {
		progress = func(Progress) {}
	}
	q := db.New(pool)
	var all []*chase
	for _, shard := range m.Shards {
		facts, err := shard.Facts(ctx)
		if err != nil {
			return err
		}
		all = append(all, &chase{edition: number, shard: shard.Number(), goal: facts.LastSeq, head: facts.LastSeq, patience: m.patience()})
	}
	for _, c := range all {
		if err := m.chase(ctx, q, c, progress); err != nil {
			return err
		}
		if err := q.EditionShardCaughtUp(ctx, db.EditionShardCaughtUpParams{Edition: number, Shard: int32(c.shard)}); err != nil {
			return err
		}
	}
	return nil
}

func (m *Editions) patience() time.Duration {
	if m.Patience > 0 {
		return m.Patience
	}
	return patienceDefault
}

// chase waits for one shard.
func (m *Editions) chase(ctx context.Context, q *db.Queries, c *chase, progress func(Progress)) error {
	for {
		seq, err := m.checkpoint(ctx, q, c)
		if err != nil {
			return err
		}
		at := c.at(time.Now(), seq, c.head)
		progress(at.Progress)
		if at.err != nil || at.level {
			return at.err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("edition %d shard %d is at %d of %d: %w", c.edition, c.shard, seq, c.head, ctx.Err())
		case <-time.After(catchUpPoll):
		}
		facts, err := m.Shards[c.shard].Facts(ctx)
		if err != nil {
			return err
		}
		c.head = facts.LastSeq
	}
}

func (m *Editions) checkpoint(ctx context.Context, q *db.Queries, c *chase) (uint64, error) {
	cp, err := q.CheckpointGet(ctx, db.CheckpointGetParams{Edition: c.edition, Shard: int32(c.shard)})
	if errors.Is(err, pgx.ErrNoRows) {
		return 0, fmt.Errorf("edition %d shard %d has no checkpoint, it is not built or was retired: %w", c.edition, c.shard, ErrState)
	}
	if err != nil {
		return 0, fmt.Errorf("checkpoint of edition %d shard %d: %w", c.edition, c.shard, err)
	}
	if cp.Stopped != nil {
		return 0, fmt.Errorf("edition %d shard %d is stopped (%s): %w", c.edition, c.shard, *cp.Stopped, ErrState)
	}
	return uint64(cp.Seq), nil
}

// chase is an edition on its way to the end of the journal in one shard. It has no clock and no store of its own.
type chase struct {
	edition  int64
	shard    int
	goal     uint64 // end of the journal at the call
	head     uint64 // as read last
	patience time.Duration

	samples []chaseSample
	least   uint64    // events behind, the fewest so far
	nearer  time.Time // when that was
}

type chaseSample struct {
	at        time.Time
	seq, head uint64
}

// chased is where a chase is.
type chased struct {
	Progress
	level bool
	err   error
}

// at takes in where edition and journal are now.
func (c *chase) at(now time.Time, seq, head uint64) chased {
	c.add(chaseSample{now, seq, head})
	behind := head - min(seq, head)
	if c.nearer.IsZero() || behind < c.least {
		c.least, c.nearer = behind, now
	}
	folded, appended, known := c.rates()
	out := chased{Progress: Progress{
		Edition: c.edition, Phase: "catch up", Shard: c.shard, Done: min(seq, head), Total: head, Part: float64(min(seq, head)) / float64(max(head, 1)), Rate: folded,
	}}
	if near := max(caughtUpEvents, uint64(folded*caughtUpTime.Seconds())); seq >= c.goal && behind <= near {
		out.level, out.Part, out.Done, out.Total = true, 1, max(seq, 1), max(seq, 1)
		return out
	}
	out.Part = min(out.Part, partMax)
	if !known {
		return out
	}
	if folded > appended {
		out.Left = time.Duration(min(float64(behind)/(folded-appended), math.MaxInt32) * float64(time.Second))
		if c.nearing(now) {
			return out
		}
	}
	e := &NeverLevelError{Edition: c.edition, Shard: c.shard, Folded: folded, Appended: appended, Behind: behind}
	out.Note = e.note()
	if now.Sub(c.nearer) >= c.patience {
		out.err = e
	}
	return out
}

// nearing: the edition came nearer than ever not long ago.
func (c *chase) nearing(now time.Time) bool { return now.Sub(c.nearer) < slopeWindow }

func (c *chase) add(s chaseSample) {
	if n := len(c.samples); n > 1 && s.at.Sub(c.samples[n-2].at) < rateSample {
		c.samples[n-1] = s
	} else {
		c.samples = append(c.samples, s)
	}
	for len(c.samples) > 2 && s.at.Sub(c.samples[1].at) >= slopeWindow {
		c.samples = c.samples[1:]
	}
}

// rates returns how many events a second were folded and appended of late.
func (c *chase) rates() (folded, appended float64, known bool) {
	first, last := c.samples[0], c.samples[len(c.samples)-1]
	passed := last.at.Sub(first.at)
	if passed < rateSample {
		return 0, 0, false
	}
	folded = float64(last.seq-min(first.seq, last.seq)) / passed.Seconds()
	appended = float64(last.head-min(first.head, last.head)) / passed.Seconds()
	return folded, appended, passed >= slopeFirst
}
