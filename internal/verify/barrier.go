package verify

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/refold-dev/refold/internal/failpoint"
	"github.com/refold-dev/refold/internal/postgres/db"
	"github.com/refold-dev/refold/internal/projector"
	"github.com/refold-dev/refold/internal/rows"
)

// ErrNotLevel: an edition did not come to a barrier in time, or did not stop there. Is its projector running, and is
// it of this release?
var ErrNotLevel = errors.New("an edition did not stop at the barrier: is its projector running, and of this release?")

// BarrierConfig says which editions of a shard are to be proven at one position.
type BarrierConfig struct {
	Config   // of each verification; Edition and Resume mean nothing here
	Editions []int64
	// Raise appends a barrier of this id to the shard and returns its sequence.
	Raise func(ctx context.Context, id string) (uint64, error)
}

// BarrierReport is the proof of several editions at one sequence of one shard.
type BarrierReport struct {
	Barrier   string    `json:"barrier"`
	Shard     int       `json:"shard"`
	JournalID string    `json:"journal_id"`
	Seq       uint64    `json:"seq"`
	Reports   []*Report `json:"reports"`
	// Equal: all editions have the same digests. Unequal names the first one that has not, and where.
	Equal   bool   `json:"equal"`
	Unequal string `json:"unequal,omitempty"`
	Clean   bool   `json:"clean"` // all reports are, and Equal
}

const (
	barrierAttempts = 5
	// barrierNear is how many events an edition may be behind when a barrier is raised, and barrierPatience how long it
	// may take to come so near.
	barrierNear     = 500
	barrierPatience = time.Minute
	barrierPoll     = 2 * time.Millisecond
	// barrierWait is less than projectors wait at a barrier.
	barrierWait = projector.BarrierWait * 4 / 5
)

// Barrier proves editions of a shard at exactly one position: a barrier event is appended, each projector ends a batch
// there and waits for a moment, and one snapshot of all editions is taken. Then they go on, and each edition is verified
// in that snapshot, which is kept open until the last one is. Should this process die, projectors go on by themselves.
func Barrier(ctx context.Context, c BarrierConfig) (*BarrierReport, error) {
	if len(c.Editions) == 0 {
		return nil, errors.New("no edition to prove at a barrier")
	}
	c.withDefaults()
	b := &barrier{BarrierConfig: c}
	defer func() { b.close(ctx) }()
	if err := b.take(ctx); err != nil {
		return nil, fmt.Errorf("barrier in shard %d: %w", c.Shard.Number(), err)
	}
	out := &BarrierReport{Barrier: b.id, Shard: c.Shard.Number(), Seq: b.seq, Equal: true, Clean: true}
	for i, number := range c.Editions {
		one := c.Config
		one.Edition, one.Resume, one.barrier = number, false, b.snaps[i]
		report, err := Run(ctx, one)
		if err != nil {
			return nil, err
		}
		out.JournalID = report.JournalID
		out.Reports = append(out.Reports, report)
		out.Clean = out.Clean && report.Clean
	}
	out.compare()
	return out, nil
}

type barrier struct {
	BarrierConfig
	id    string
	seq   uint64
	snaps []*sharedSnapshot // by edition
}

func (b *barrier) close(ctx context.Context) {
	for _, s := range b.snaps {
		s.close(ctx)
	}
	b.snaps = nil
}

// take raises barriers until all editions stand at one of them.
func (b *barrier) take(ctx context.Context) error {
	var err error
	for range barrierAttempts {
		if err = b.near(ctx); err != nil {
			return err
		}
		if err = b.try(ctx); !errors.Is(err, ErrNotLevel) {
			return err
		}
	}
	return err
}

// near waits until no edition has so far to go that the others would have to wait for it.
func (b *barrier) near(ctx context.Context) error {
	facts, err := b.Shard.Facts(ctx)
	if err != nil {
		return err
	}
	return b.reach(ctx, facts.LastSeq-min(facts.LastSeq, barrierNear), barrierPatience)
}

// reach waits until every edition is at a sequence, or behind it.
func (b *barrier) reach(ctx context.Context, seq uint64, patience time.Duration) error {
	pool, err := b.DB.Operator(ctx)
	if err != nil {
		return err
	}
	q := db.New(pool)
	deadline := time.Now().Add(patience)
	for _, number := range b.Editions {
		for {
			cp, err := q.CheckpointGet(ctx, db.CheckpointGetParams{Edition: number, Shard: int32(b.Shard.Number())})
			switch {
			case err != nil:
				return fmt.Errorf("checkpoint of edition %d: %w (has it been built?)", number, err)
			case cp.Stopped != nil:
				return fmt.Errorf("edition %d is stopped (%s)", number, *cp.Stopped)
			}
			if uint64(cp.Seq) >= seq {
				break
			}
			if time.Now().After(deadline) {
				return fmt.Errorf("%w (edition %d is at %d, the barrier at %d)", ErrNotLevel, number, cp.Seq, seq)
			}
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(barrierPoll):
			}
		}
	}
	return nil
}

// try raises one barrier and takes the snapshot there. The lock is what projectors wait for: it ends with us.
func (b *barrier) try(ctx context.Context) error {
	b.id = uuid.NewString()
	release, _, err := b.DB.TryLock(ctx, projector.BarrierLock(b.id)) // nobody else knows the id
	if err != nil {
		return err
	}
	defer release()
	if b.seq, err = b.Raise(ctx, b.id); err != nil {
		return fmt.Errorf("raise the barrier: %w", err)
	}
	if err := failpoint.Hit("barrier.raised"); err != nil {
		return err
	}
	if err := b.reach(ctx, b.seq, barrierWait); err != nil {
		return err
	}
	for _, number := range b.Editions {
		var s *sharedSnapshot
		if len(b.snaps) == 0 {
			s, err = takeSnapshot(ctx, b.DB, number, b.Shard, b.Readers)
		} else {
			s, err = b.snaps[0].join(ctx, b.DB, number, b.Shard, b.Readers)
		}
		if err != nil {
			b.close(ctx)
			return err
		}
		b.snaps = append(b.snaps, s)
		if s.seq() != b.seq {
			b.close(ctx)
			return fmt.Errorf("%w (edition %d is at %d, the barrier at %d)", ErrNotLevel, number, s.seq(), b.seq)
		}
	}
	return nil
}

// compare holds the digests of all editions against those of the first.
func (r *BarrierReport) compare() {
	first := r.Reports[0]
	for _, other := range r.Reports[1:] {
		if where := unequal(first, other); where != "" && r.Equal {
			r.Equal, r.Clean, r.Unequal = false, false, fmt.Sprintf("edition %d and edition %d: %s", first.Edition, other.Edition, where)
		}
	}
}

// unequal names the first digest that differs; empty = none.
func unequal(a, b *Report) string {
	if a.DigestsBy != b.DigestsBy {
		return fmt.Sprintf("digests are by %s and by %s", a.DigestsBy, b.DigestsBy)
	}
	there := make(map[rows.TableDigest]bool, len(a.Digests))
	for _, d := range a.Digests {
		there[d] = true
	}
	for _, d := range b.Digests {
		if !there[d] {
			return nameOf(d)
		}
		delete(there, d)
	}
	for d := range there {
		return nameOf(d)
	}
	return ""
}

func nameOf(d rows.TableDigest) string {
	if d.Tenant == "" {
		return "table " + d.Table
	}
	return fmt.Sprintf("tenant %s table %s", d.Tenant, d.Table)
}
