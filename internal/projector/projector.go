// Package projector keeps one edition level with one shard. Rows and checkpoint move in one transaction, whose
// first statement is the guarded move of the checkpoint: all of "exactly once" is that line. Whoever claimed the
// checkpoint last is the projector; anyone before is fenced by the epoch.
package projector

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/refold-dev/refold/events/envelope"
	"github.com/refold-dev/refold/internal/failpoint"
	"github.com/refold-dev/refold/internal/journal"
	"github.com/refold-dev/refold/internal/ledger"
	"github.com/refold-dev/refold/internal/postgres"
	"github.com/refold-dev/refold/internal/postgres/db"
	"github.com/refold-dev/refold/internal/rows"
)

// Bounds of a batch and of time.
const (
	BatchEventsMax  = 2000
	BatchBytesMax   = 8 << 20
	cacheBytesMax   = 256 << 20
	checkEvery      = 10 * time.Second
	aheadStable     = 30 * time.Second // an election may show an old end of the journal for a while
	claimWait       = 2 * time.Second
	aheadRetryDelay = time.Second
)

// ErrFenced: another projector has claimed the checkpoint. This one must stop; claiming again is the supervisor's
// decision.
var ErrFenced = errors.New("fenced: another projector has taken over")

// Config says what is projected where.
type Config struct {
	DB      *postgres.DB
	Shard   journal.Shard
	Edition int64
	Schema  *rows.Schema
	Fold    rows.Fold
	Logger  *slog.Logger
	// OnBatch is called after each committed batch, in order; nil = nobody listens.
	OnBatch func(Batch)
	// InTx is called for each batch in its transaction, after the rows were written and before the commit; an error
	// rolls all of it back. It is the seam for side tables that must move with the rows, exactly once; nil = none.
	InTx func(ctx context.Context, tx pgx.Tx, events []envelope.Event) error
	// Barrier tells barriers from other events: a batch ends with each of them, and whoever has raised it may hold the
	// projector there for BarrierWait at most (see BarrierLock); nil = there are none.
	Barrier func(*envelope.Event) bool
	// LedgerEvents is how many of the newest events the ledger names, about; 0 = ledger.KeepDefault, negative = there is none,
	// and what a restore of the journal has lost cannot be named.
	LedgerEvents int
	// StableFor overrides how long PROJECTION_AHEAD must hold before it is latched; 0 = 30 s.
	StableFor time.Duration
	// KeepNoDigests leaves the kept digests of the edition behind, as a binary does that knows none: they are void from the
	// first batch on. It is there to measure what keeping them costs.
	KeepNoDigests bool
}

// Batch is a committed batch.
type Batch struct {
	Seq    uint64 // the checkpoint now
	Events []envelope.Event
}

// Run claims the checkpoint of an edition's shard and projects until ctx ends (nil), until another projector takes
// over (ErrFenced), until journal and edition turn out to disagree (*StoppedError, latched), or until something
// fails; after a failure it may be run again at once: everything resumes from the checkpoint.
func Run(ctx context.Context, c Config) error {
	p := &projector{Config: c, set: rows.NewLive(c.Schema, cacheBytesMax)}
	if p.Logger == nil {
		p.Logger = slog.New(slog.DiscardHandler)
	}
	if p.StableFor == 0 {
		p.StableFor = aheadStable
	}
	if p.LedgerEvents == 0 {
		p.LedgerEvents = ledger.KeepDefault
	}
	err := p.run(ctx)
	if ctx.Err() != nil {
		return nil
	}
	return err
}

type projector struct {
	Config
	set     *rows.Live
	conn    *pgxpool.Conn
	cp      db.ControlCheckpoint // as committed last
	digests []envelope.Digest    // of the events of the current batch
	scratch []byte
	applied ledger.Packer // the batch under way
	pruned  int64         // the checkpoint at the last pruning of the ledger
}

func (p *projector) run(ctx context.Context) error {
	pool, err := p.DB.Projector(ctx, p.Edition)
	if err != nil {
		return err
	}
	if p.conn, err = pool.Acquire(ctx); err != nil {
		return fmt.Errorf("projector of edition %d: %w", p.Edition, err)
	}
	defer func() { p.conn.Release() }() // claim may replace it
	if err := p.claim(ctx); err != nil {
		return err
	}
	if err := p.keep(ctx); err != nil {
		return err
	}
	if err := p.check(ctx); err != nil {
		return err
	}
	follower, err := p.Shard.Follow(ctx, journal.FollowOptions{After: uint64(p.cp.Seq)})
	if err != nil {
		return fmt.Errorf("follow shard %d from %d: %w", p.Shard.Number(), p.cp.Seq, err)
	}
	defer follower.Close()
	checked, connected := time.Now(), p.Shard.Reconnects()
	for {
		events, err := p.next(ctx, follower)
		if err != nil {
			return err
		}
		// Behind a new connection there may be another past: look before anything from there is folded.
		if now := p.Shard.Reconnects(); now != connected || time.Since(checked) > checkEvery {
			if err := p.check(ctx); err != nil {
				return err
			}
			checked, connected = time.Now(), now
		}
		if len(events) == 0 {
			continue
		}
		if err := p.all(ctx, events); err != nil {
			return err
		}
	}
}

// all projects what has arrived: one batch, and more where there are barriers in it.
func (p *projector) all(ctx context.Context, events []envelope.Event) error {
	for len(events) > 0 {
		batch, barrier := p.untilBarrier(events)
		if err := p.project(ctx, batch); err != nil {
			return fmt.Errorf("project %d..%d: %w", batch[0].Seq, batch[len(batch)-1].Seq, err)
		}
		if barrier {
			if err := p.hold(ctx, batch[len(batch)-1].ID); err != nil {
				return err
			}
		}
		events = events[len(batch):]
	}
	return nil
}

// next returns the next batch, or nothing when it is time for a continuity check.
func (p *projector) next(ctx context.Context, f journal.Follower) ([]envelope.Event, error) {
	waiting, cancel := context.WithTimeout(ctx, checkEvery)
	defer cancel()
	events, err := f.Next(waiting, BatchEventsMax, BatchBytesMax)
	// A follower that has ended may give a deadline of its own as the reason: only ours is no failure.
	if err != nil && errors.Is(err, waiting.Err()) && ctx.Err() == nil {
		return nil, nil
	}
	var gap *journal.GapError
	if errors.As(err, &gap) {
		return nil, p.latch(ctx, &StoppedError{p.Edition, p.cp.Shard, Truncated, gap.Error()})
	}
	return events, err
}

// claim makes this the projector of the checkpoint. A holder that sits on the row for too long is ended.
func (p *projector) claim(ctx context.Context) error {
	host, _ := os.Hostname()
	params := db.CheckpointClaimParams{Holder: fmt.Sprintf("%s/%d", host, os.Getpid()), Edition: p.Edition, Shard: int32(p.Shard.Number())}
	for {
		attempt, cancel := context.WithTimeout(ctx, claimWait)
		cp, err := db.New(p.conn).CheckpointClaim(attempt, params)
		cancel()
		if err == nil {
			p.cp = cp
			break
		}
		if errors.Is(err, pgx.ErrNoRows) {
			return fmt.Errorf("edition %d shard %d has no checkpoint: it has not been built", p.Edition, p.Shard.Number())
		}
		if !errors.Is(err, context.DeadlineExceeded) || ctx.Err() != nil {
			return fmt.Errorf("claim checkpoint of edition %d: %w", p.Edition, err)
		}
		if err := p.evict(ctx); err != nil {
			return err
		}
	}
	if p.cp.Stopped != nil {
		detail := ""
		if p.cp.StoppedDetail != nil {
			detail = *p.cp.StoppedDetail
		}
		return &StoppedError{p.Edition, p.cp.Shard, Stop(*p.cp.Stopped), detail}
	}
	return nil
}

// keep finds out whether there are digests to be kept: those of the checkpoint that was claimed. Others are void and stay
// so, because what was written meanwhile cannot be added any more.
func (p *projector) keep(ctx context.Context) error {
	if p.KeepNoDigests {
		return nil
	}
	shards, err := db.New(p.conn).KeptShards(ctx, p.Edition)
	if err != nil {
		return fmt.Errorf("kept digests of edition %d: %w", p.Edition, err)
	}
	for _, s := range shards {
		switch {
		case s.Shard != p.cp.Shard:
		case s.Seq != p.cp.Seq:
			p.Logger.Warn("the kept digests are void: something that knows none has projected; the next build makes new ones",
				"edition", p.Edition, "shard", s.Shard, "kept", s.Seq, "checkpoint", p.cp.Seq)
		default:
			key, err := rows.ReadKeptKey(ctx, p.conn)
			if err != nil {
				return err
			}
			p.set.Keep(key, p.Edition, s.Shard)
		}
	}
	return nil
}

// evict ends the session that holds the checkpoint, and replaces our own connection, which the timed-out claim has
// broken.
func (p *projector) evict(ctx context.Context) error {
	owner, err := p.DB.Owner(ctx)
	if err != nil {
		return err
	}
	_, err = owner.Exec(ctx, `SELECT pg_terminate_backend(holder_pid) FROM control.checkpoint c
		JOIN pg_stat_activity a ON a.pid = c.holder_pid AND a.application_name = 'refold' AND a.xact_start < clock_timestamp() - interval '1 second'
		WHERE c.edition = $1 AND c.shard = $2`, p.Edition, p.Shard.Number())
	if err != nil {
		return fmt.Errorf("end the previous projector of edition %d: %w", p.Edition, err)
	}
	pool, err := p.DB.Projector(ctx, p.Edition)
	if err != nil {
		return err
	}
	conn, err := pool.Acquire(ctx)
	if err != nil {
		return fmt.Errorf("projector of edition %d: %w", p.Edition, err)
	}
	p.conn.Release()
	p.conn = conn
	return nil
}

// check runs the continuity check and latches what it finds. PROJECTION_AHEAD must hold for a while first.
func (p *projector) check(ctx context.Context) error {
	since := time.Now()
	for {
		err := Continuity(ctx, p.Shard, p.cp)
		var stopped *StoppedError
		if !errors.As(err, &stopped) {
			return err
		}
		if stopped.State != Ahead || time.Since(since) >= p.StableFor {
			return p.latch(ctx, stopped)
		}
		p.Logger.Warn("the journal ends before the checkpoint; waiting for it to settle", "edition", p.Edition, "detail", stopped.Detail)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(min(aheadRetryDelay, p.StableFor)):
		}
	}
}

func (p *projector) latch(ctx context.Context, stopped *StoppedError) error {
	operator, err := p.DB.Operator(ctx)
	if err != nil {
		return err
	}
	_, err = db.New(operator).CheckpointStop(ctx, db.CheckpointStopParams{
		Stopped: string(stopped.State), Detail: stopped.Detail, Edition: p.Edition, Shard: p.cp.Shard,
	})
	if err != nil {
		return fmt.Errorf("%w (and it could not be recorded: %w)", stopped, err)
	}
	return stopped
}

// project folds one batch in one transaction.
func (p *projector) project(ctx context.Context, events []envelope.Event) error {
	next := p.advance(events)
	err := pgx.BeginFunc(ctx, p.conn, func(tx pgx.Tx) error {
		if err := p.move(ctx, tx, next); err != nil {
			return err
		}
		if err := p.set.Prefetch(ctx, tx, events); err != nil {
			return err
		}
		for i := range events {
			if err := p.set.Apply(&events[i], p.Fold); err != nil {
				return err
			}
			p.set.Count(&events[i], &p.digests[i])
		}
		if err := failpoint.Hit("projector.before-flush"); err != nil {
			return err
		}
		if err := p.set.Flush(ctx, tx); err != nil {
			return err
		}
		if err := p.set.FlushKept(ctx, tx, p.cp.Seq, next.Seq); err != nil {
			return err
		}
		if p.InTx != nil {
			if err := p.InTx(ctx, tx, events); err != nil {
				return err
			}
		}
		return failpoint.Hit("projector.before-commit")
	})
	if err != nil {
		// The commit may have happened all the same: whoever runs next starts from the checkpoint in the database.
		p.set.Discard()
		return err
	}
	if err := failpoint.Hit("projector.committed"); err != nil {
		return err
	}
	p.cp = next
	if p.OnBatch != nil {
		p.OnBatch(Batch{uint64(next.Seq), events})
	}
	return nil
}

// advance returns the checkpoint behind a batch.
func (p *projector) advance(events []envelope.Event) db.ControlCheckpoint {
	next := p.cp
	chain := envelope.Digest(p.cp.Chain)
	var digest envelope.Digest
	p.digests = p.digests[:0]
	p.applied.Reset()
	for i := range events {
		digest, p.scratch = events[i].Digest(p.scratch)
		chain = chain.Chain(digest)
		p.digests = append(p.digests, digest)
		if p.LedgerEvents > 0 {
			p.applied.Add(&events[i], digest)
		}
	}
	next.Seq, next.EventDigest, next.Chain = int64(events[len(events)-1].Seq), digest[:], chain[:]
	return next
}

// move is the first statement of a batch; the ledger's row of the batch goes with it, in the same round trip.
func (p *projector) move(ctx context.Context, tx pgx.Tx, next db.ControlCheckpoint) error {
	var moved int64
	var err error
	if p.LedgerEvents > 0 {
		moved, err = db.New(tx).CheckpointMoveApplied(ctx, db.CheckpointMoveAppliedParams{
			NewSeq: next.Seq, EventDigest: next.EventDigest, Chain: next.Chain,
			Edition: p.cp.Edition, Shard: p.cp.Shard, OldSeq: p.cp.Seq, OldDigest: p.cp.EventDigest, Epoch: p.cp.Epoch,
			JournalID: p.cp.JournalID, Incarnation: p.cp.Incarnation, FirstSeq: int64(p.applied.First()), Events: p.applied.Bytes(),
		})
	} else {
		moved, err = db.New(tx).CheckpointMove(ctx, db.CheckpointMoveParams{
			NewSeq: next.Seq, EventDigest: next.EventDigest, Chain: next.Chain,
			Edition: p.cp.Edition, Shard: p.cp.Shard, OldSeq: p.cp.Seq, OldDigest: p.cp.EventDigest, Epoch: p.cp.Epoch,
			JournalID: p.cp.JournalID, Incarnation: p.cp.Incarnation,
		})
	}
	if err != nil {
		return fmt.Errorf("move checkpoint: %w", err)
	}
	if moved != 1 {
		return ErrFenced
	}
	return p.prune(ctx, tx, next.Seq)
}

// pruneParts: the ledger is pruned each time it has grown by such a part of what it keeps.
const pruneParts = 32

func (p *projector) prune(ctx context.Context, tx pgx.Tx, seq int64) error {
	if p.LedgerEvents < 0 || seq-p.pruned < int64(max(p.LedgerEvents/pruneParts, 1)) || seq <= int64(p.LedgerEvents) {
		return nil
	}
	err := db.New(tx).AppliedPrune(ctx, db.AppliedPruneParams{Edition: p.cp.Edition, Shard: p.cp.Shard, Upto: seq - int64(p.LedgerEvents)})
	if err != nil {
		return fmt.Errorf("prune the ledger: %w", err)
	}
	p.pruned = seq
	return nil
}
