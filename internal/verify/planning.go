package verify

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/refold-dev/refold/events/envelope"
	"github.com/refold-dev/refold/internal/edition"
	"github.com/refold-dev/refold/internal/journal"
	"github.com/refold-dev/refold/internal/postgres/db"
	"github.com/refold-dev/refold/internal/rows"
)

// planning is a plan in the making: run looks, folds and compares piece by piece, and finishes the report.
type planning struct {
	PlanConfig
	report *PlanReport
	facts  []journal.Facts // by shard
	plan   *rows.Plan
	tx     pgx.Tx // the snapshot; nil until it is taken, and where no edition is live
	done   uint64 // events read for the current piece
	said   time.Time
	spent  time.Duration // in folding
}

func (p *planning) run(ctx context.Context) error {
	events, err := p.look(ctx)
	if err != nil {
		return err
	}
	defer func() {
		if p.tx != nil {
			_ = p.tx.Rollback(context.WithoutCancel(ctx))
		}
	}()
	var pending []piece
	of := int(int64(events)*eventBytesEstimate/int64(p.MemoryBytes)) + 1
	for i := range of {
		pending = append(pending, piece{i, of})
	}
	p.report.Parts = of
	for len(pending) > 0 {
		at := pending[0]
		err := p.piece(ctx, at)
		if errors.Is(err, errBudget) && at.of < piecesMax {
			// What belongs to part i of n belongs to part i or i+n of 2n.
			pending = append([]piece{{at.number, 2 * at.of}, {at.number + at.of, 2 * at.of}}, pending[1:]...)
			p.report.Parts++
			continue
		}
		if err != nil {
			return fmt.Errorf("part %d of %d: %w", at.number+1, at.of, err)
		}
		pending = pending[1:]
	}
	return p.finish(ctx)
}

// look finds the live edition and its tables, and where the journal ends. It returns how many events there are.
func (p *planning) look(ctx context.Context) (events uint64, err error) {
	for _, shard := range p.Shards {
		facts, err := shard.Facts(ctx)
		if err != nil {
			return 0, err
		}
		p.facts = append(p.facts, facts)
		p.report.JournalID = facts.JournalID
		p.report.Shards = append(p.report.Shards, PlanShard{Shard: shard.Number(), Seq: facts.LastSeq, Head: facts.LastSeq})
		events += facts.Messages
	}
	if err := p.live(ctx); err != nil {
		return 0, err
	}
	var tables map[string][]rows.Column
	if p.report.Edition != 0 {
		columns, err := p.DB.Columns(ctx, p.report.Edition)
		if err != nil {
			return 0, err
		}
		tables = map[string][]rows.Column{}
		for _, c := range columns {
			tables[c.Table] = append(tables[c.Table], rows.Column{Name: c.Name, Type: c.Type, NotNull: c.NotNull})
		}
	}
	p.plan = rows.NewPlan(p.Schema, tables)
	return events, nil
}

func (p *planning) live(ctx context.Context) error {
	pool, err := p.DB.Owner(ctx)
	if err != nil {
		return err
	}
	lives, err := db.New(pool).PlanLive(ctx)
	if noTable(err) {
		return nil // no control tables: nothing was ever live here
	}
	if err != nil {
		return fmt.Errorf("live editions: %w", err)
	}
	for _, l := range lives {
		if l.Edition != lives[0].Edition {
			return fmt.Errorf("%w (shard %d: %d, shard %d: %d)", ErrLiveMixed, lives[0].Shard, lives[0].Edition, l.Shard, l.Edition)
		}
	}
	if len(lives) == 0 {
		return nil
	}
	if len(lives) != len(p.Shards) {
		return fmt.Errorf("%w (edition %d is live in %d of %d shards)", ErrLiveMixed, lives[0].Edition, len(lives), len(p.Shards))
	}
	p.report.Edition, p.report.LiveShape = lives[0].Edition, lives[0].Shape
	p.report.SameShape = p.report.LiveShape == p.Shape
	return nil
}

// piece folds and compares one piece of the key space, of all shards: an entity lives in one. The first piece also
// takes the snapshot, when the journal has been folded to near it.
func (p *planning) piece(ctx context.Context, at piece) error {
	inPiece := func(key envelope.Key) bool { return edition.Part(key, at.of) == at.number }
	part := p.plan.Part(inPiece)
	p.done = 0
	near := make([]uint64, len(p.Shards))
	if p.report.Edition != 0 && p.tx == nil {
		seqs, err := p.checkpointsNow(ctx)
		if err != nil {
			return err
		}
		for i := range near {
			near[i] = min(seqs[i], p.facts[i].LastSeq)
		}
		if err := p.fold(ctx, part, at, make([]uint64, len(p.Shards)), near); err != nil {
			return err
		}
		if err := p.snapshot(ctx); err != nil {
			return err
		}
	}
	var ends []uint64
	for _, s := range p.report.Shards {
		ends = append(ends, s.Seq)
	}
	if err := p.fold(ctx, part, at, near, ends); err != nil {
		return err
	}
	p.progress("compare", at)
	return part.Compare(ctx, p.tx)
}

// fold applies the events of every shard between two positions.
func (p *planning) fold(ctx context.Context, part *rows.PlanPart, at piece, after, upto []uint64) error {
	begun := time.Now()
	defer func() { p.spent += time.Since(begun) }()
	for i, shard := range p.Shards {
		err := journal.Read(ctx, shard, after[i], upto[i], func(e *envelope.Event) error {
			if p.done++; p.done%1024 == 0 && time.Since(p.said) > progressEvery {
				p.progress("fold", at)
			}
			if edition.Part(e.Key, at.of) != at.number {
				return nil
			}
			err := part.Apply(e, p.Fold)
			if err == nil && part.Bytes() > p.MemoryBytes {
				err = errBudget
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (p *planning) progress(phase string, at piece) {
	var total uint64
	for _, s := range p.report.Shards {
		total += s.Seq
	}
	p.Progress(Progress{Phase: phase, Part: at.number + 1, Parts: at.of, Done: min(p.done, total), Total: total})
	p.said = time.Now()
}

// checkpointsNow reads where the live edition is, by shard.
func (p *planning) checkpointsNow(ctx context.Context) ([]uint64, error) {
	pool, err := p.DB.Verifier(ctx, p.report.Edition)
	if err != nil {
		return nil, err
	}
	return p.checkpoints(ctx, pool)
}

func (p *planning) checkpoints(ctx context.Context, tx db.DBTX) ([]uint64, error) {
	all, err := db.New(tx).PlanCheckpoints(ctx, p.report.Edition)
	if err != nil {
		return nil, fmt.Errorf("checkpoints of edition %d: %w", p.report.Edition, err)
	}
	if len(all) != len(p.Shards) {
		return nil, fmt.Errorf("edition %d has checkpoints of %d shards, the journal has %d", p.report.Edition, len(all), len(p.Shards))
	}
	var seqs []uint64
	for i, cp := range all {
		if f := p.facts[i]; cp.JournalID != f.JournalID || cp.Stream != f.Stream {
			return nil, fmt.Errorf("the checkpoint of shard %d is of journal %s (%s), this one is %s (%s)", i, cp.JournalID, cp.Stream, f.JournalID, f.Stream)
		}
		seqs = append(seqs, uint64(cp.Seq))
	}
	return seqs, nil
}

// snapshot fixes the rows and the positions to compare at.
func (p *planning) snapshot(ctx context.Context) error {
	pool, err := p.DB.Verifier(ctx, p.report.Edition)
	if err != nil {
		return err
	}
	p.tx, err = pool.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly})
	if err != nil {
		return fmt.Errorf("open the snapshot: %w", err)
	}
	seqs, err := p.checkpoints(ctx, p.tx)
	if err != nil {
		return err
	}
	for i, shard := range p.Shards {
		facts, err := shard.Facts(ctx)
		if err != nil {
			return err
		}
		if facts.LastSeq < seqs[i] {
			return fmt.Errorf("the checkpoint of shard %d is at %d, the journal ends at %d", i, seqs[i], facts.LastSeq)
		}
		p.report.Shards[i].Seq, p.report.Shards[i].Head = seqs[i], facts.LastSeq
	}
	return nil
}

func (p *planning) finish(ctx context.Context) error {
	r := p.report
	if p.tx != nil {
		r.Isolation = isolation
		if err := p.plan.CountUnmatched(ctx, p.tx); err != nil {
			return err
		}
	}
	for _, s := range r.Shards {
		r.Events += s.Seq
	}
	r.Tables, r.HeldKinds, r.FoldMs = p.plan.Tables(), p.plan.Held(), p.spent.Milliseconds()
	sizes := map[string]int64{} // of no tables, where no edition is live
	if r.Edition != 0 {
		var err error
		if sizes, err = p.DB.TableSizes(ctx, r.Edition); err != nil {
			return err
		}
	}
	pace, err := p.pace(ctx)
	if err != nil {
		return err
	}
	r.Build = r.estimate(p.spent, pace, sizes)
	r.DurationMs = time.Since(r.Started).Milliseconds()
	return nil
}
