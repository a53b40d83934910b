package verify

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/refold-dev/refold/events/envelope"
	"github.com/refold-dev/refold/internal/postgres"
	"github.com/refold-dev/refold/internal/postgres/db"
	"github.com/refold-dev/refold/internal/rows"
)

// ErrTakenUp: another process goes on with this verification.
var ErrTakenUp = errors.New("another process has gone on with this verification")

const (
	resumeMinutes = 24 * 60
	runsKept      = 20
	// foundMax is how many entities are collected before they are written.
	foundMax = 500
)

// runLog keeps what a run has finished in the control tables, so that another process can go on behind it.
type runLog struct {
	db       *postgres.DB
	id       int64
	epoch    int64
	resumed  bool
	finished []db.ControlVerificationPart
	began    time.Time
	pending  []envelope.Key // entities that differ, not written yet
	last     envelope.Key
	entities int64 // after count
}

// open takes up the run that was cut short, if that is wanted and there is one, else it adds one.
func (l *runLog) open(ctx context.Context, v *verification) (resumed bool, err error) {
	l.db = v.DB
	scope, err := v.Scope.text()
	if err != nil {
		return false, err
	}
	pool, err := v.DB.Operator(ctx)
	if err != nil {
		return false, err
	}
	q, shard := db.New(pool), int32(v.Shard.Number())
	if v.Resume {
		run, err := q.VerificationRunResume(ctx, db.VerificationRunResumeParams{
			AgeMinutes: resumeMinutes, Edition: v.Edition, Shard: shard, JournalID: v.facts.JournalID,
			Incarnation: int64(v.facts.Incarnation), Shape: v.Shape, Scope: scope,
		})
		if err == nil {
			l.id, l.epoch, l.began = run.ID, run.Epoch, run.StartedAt
			l.finished, err = q.VerificationPartList(ctx, run.ID)
		}
		if err == nil && len(l.finished) > 0 {
			l.resumed = true
			return true, nil
		}
		if err == nil || !errors.Is(err, pgx.ErrNoRows) {
			return false, err
		}
	}
	l.epoch = 1
	l.id, err = q.VerificationRunInsert(ctx, db.VerificationRunInsertParams{
		Edition: v.Edition, Shard: shard, JournalID: v.facts.JournalID, Incarnation: int64(v.facts.Incarnation), Shape: v.Shape, Scope: scope,
	})
	if err != nil {
		return false, fmt.Errorf("record the run: %w", err)
	}
	return false, q.VerificationRunPrune(ctx, db.VerificationRunPruneParams{Edition: v.Edition, Shard: shard, AgeMinutes: resumeMinutes, Keep: runsKept})
}

// takeUp takes over the parts that an earlier process has finished; the rest is pending.
func (v *verification) takeUp() error {
	v.started = v.log.began
	for _, row := range v.log.finished {
		var r partResult
		if err := json.Unmarshal(row.Result, &r); err != nil {
			return fmt.Errorf("part %d of %d of run %d: %w", row.Number, row.Parts, v.log.id, err)
		}
		r.chain, r.digests = row.Chain, rows.NewDigests(v.Schema)
		if err := r.digests.Restore(row.Digests); err != nil {
			return fmt.Errorf("digests of part %d of %d of run %d: %w", row.Number, row.Parts, v.log.id, err)
		}
		v.take(&r)
		r.digests = nil
		v.parts = append(v.parts, r)
		v.seen.mark(r.Seq, r.chain, nil)
	}
	v.pending = rest(v.parts)
	return nil
}

// rest are the pieces of the key space that no part covers. Parts were split by multiples, so every finished one is a
// node of a tree whose root is everything.
func rest(done []partResult) []piece {
	most := 1
	for _, p := range done {
		most = lcm(most, p.Of)
	}
	covered := make([]bool, most)
	for _, p := range done {
		for i := p.Number; i < most; i += p.Of {
			covered[i] = true
		}
	}
	var out []piece
	for i, yes := range covered {
		if !yes {
			out = append(out, piece{i, most})
		}
	}
	return join(out, most)
}

// join puts pieces together again where all of a coarser one are open.
func join(open []piece, of int) []piece {
	for half := of / 2; of%2 == 0 && half >= 1; half = of / 2 {
		there := map[int]bool{}
		for _, p := range open {
			there[p.number] = true
		}
		var coarser []piece
		for _, p := range open {
			if !there[(p.number+half)%of] {
				return open
			}
			if p.number < half {
				coarser = append(coarser, piece{p.number, half})
			}
		}
		open, of = coarser, half
	}
	return open
}

func lcm(a, b int) int {
	x, y := a, b
	for y != 0 {
		x, y = y, x%y
	}
	return a / x * b
}

// part records that a part was compared.
func (l *runLog) part(ctx context.Context, r *partResult) error {
	body, err := json.Marshal(r)
	if err != nil {
		return err
	}
	pool, err := l.db.Operator(ctx)
	if err != nil {
		return err
	}
	err = pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		q := db.New(tx)
		if err := l.touch(ctx, q); err != nil {
			return err
		}
		return q.VerificationPartInsert(ctx, db.VerificationPartInsertParams{
			Run: l.id, Number: int32(r.Number), Parts: int32(r.Of), Seq: int64(r.Seq), Chain: r.chain, Result: body, Digests: r.digests.Store(),
		})
	})
	r.digests = nil
	return err
}

func (l *runLog) touch(ctx context.Context, q *db.Queries) error {
	n, err := q.VerificationRunTouch(ctx, db.VerificationRunTouchParams{ID: l.id, Epoch: l.epoch})
	if err == nil && n != 1 {
		err = ErrTakenUp
	}
	return err
}

// found notes an entity of which a row differs.
func (l *runLog) found(ctx context.Context, key envelope.Key) error {
	if key == l.last {
		return nil
	}
	l.last = key
	l.pending = append(l.pending, key)
	if len(l.pending) < foundMax {
		return nil
	}
	return l.flush(ctx)
}

func (l *runLog) flush(ctx context.Context) error {
	if len(l.pending) == 0 {
		return nil
	}
	pool, err := l.db.Operator(ctx)
	if err != nil {
		return err
	}
	p := db.VerificationEntityInsertParams{Run: l.id}
	for _, k := range l.pending {
		p.TenantIds, p.Entities, p.Ids = append(p.TenantIds, k.Tenant), append(p.Entities, k.Entity), append(p.Ids, k.ID)
	}
	l.pending, l.last = l.pending[:0], envelope.Key{}
	return db.New(pool).VerificationEntityInsert(ctx, p)
}

// count reads how many entities differ.
func (l *runLog) count(ctx context.Context) error {
	if err := l.flush(ctx); err != nil {
		return err
	}
	pool, err := l.db.Operator(ctx)
	if err != nil {
		return err
	}
	l.entities, err = db.New(pool).VerificationEntityCount(ctx, l.id)
	return err
}

// finish closes the run with its report.
func (l *runLog) finish(ctx context.Context, q *db.Queries, clean bool, report []byte) error {
	n, err := q.VerificationRunFinish(ctx, db.VerificationRunFinishParams{Clean: clean, Report: report, ID: l.id, Epoch: l.epoch})
	if err == nil && n != 1 {
		err = ErrTakenUp
	}
	return err
}
