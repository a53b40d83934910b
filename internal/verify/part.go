package verify

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/refold-dev/refold/events/envelope"
	"github.com/refold-dev/refold/internal/edition"
	"github.com/refold-dev/refold/internal/journal"
	"github.com/refold-dev/refold/internal/postgres/db"
	"github.com/refold-dev/refold/internal/rows"
)

// piece is one part of the key space: the entities of part number of so many.
type piece struct{ number, of int }

// piecesMax bounds into how many pieces the key space is split.
const piecesMax = 1 << 12

func (p piece) has(key envelope.Key) bool { return p.of == 1 || edition.Part(key, p.of) == p.number }

// errBudget: the rows of a piece do not fit into memory.
var errBudget = errors.New("the rows do not fit into the memory budget: raise it")

// overBudget: the rows of a piece do not fit into memory, those of a piece of so many might.
type overBudget struct{ into int }

func (e *overBudget) Error() string { return errBudget.Error() }

func (e *overBudget) Unwrap() error { return errBudget }

// partResult is what a part has found, as it is kept until the run is finished.
type partResult struct {
	Number      int               `json:"part"`
	Of          int               `json:"parts"`
	Seq         uint64            `json:"seq"`
	Rows        int64             `json:"rows"`
	Held        int               `json:"held"`
	Total       int               `json:"total"`
	Taken       time.Time         `json:"taken"`
	HeldMs      int64             `json:"held_ms"`
	Differences []rows.Difference `json:"differences"`
	chain       []byte            // of the checkpoint
	last        []byte            // its event
	digests     *rows.Digests     // nil once they were added up
}

// part folds and compares one part of the key space.
type part struct {
	*verification
	piece
	c        *rows.Comparison
	goal     uint64                  // about where the fold will end
	versions map[envelope.Key]uint64 // of a filtered read
}

func (p *part) run(ctx context.Context) (*partResult, error) {
	p.age(ctx)
	if p.barrier != nil && p.snap == nil {
		p.snap = p.barrier
		if err := p.settleHomes(ctx); err != nil {
			return nil, err
		}
	}
	digests := rows.NewDigests(p.Schema)
	digests.Bound(max(p.MemoryBytes/digestsShare/digestBytes, digestsMin))
	p.c = rows.NewComparison(p.Schema, func(key envelope.Key) bool { return p.selects(key, p.piece) }, digests)
	p.c.Pause, p.c.Only = p.Pause, p.Scope.only()
	p.c.Found = func(d *rows.Difference) error { return p.log.found(ctx, d.Entity) }
	if p.Scope.filtered() {
		p.versions = map[envelope.Key]uint64{}
	}
	near, err := p.near(ctx)
	if err != nil {
		return nil, err
	}
	if err := p.events(ctx, 0, near, func(e *envelope.Event) error { return p.fold(ctx, e) }); err != nil {
		return nil, err
	}
	snap, err := p.snapshotFor(ctx)
	if err != nil {
		return nil, err
	}
	if snap.seq() < near {
		return nil, fmt.Errorf("the checkpoint went back from %d to %d meanwhile", near, snap.seq())
	}
	p.goal = snap.seq()
	if err := p.events(ctx, near, snap.seq(), func(e *envelope.Event) error { return p.fold(ctx, e) }); err != nil {
		return nil, err
	}
	p.seen.mark(snap.seq(), snap.cp.Chain, snap.cp.EventDigest)
	return p.compare(ctx, snap, digests)
}

// near is how far the part may be folded before it has its snapshot: as far as the edition is already, since the
// snapshot may not be behind what was folded.
func (p *part) near(ctx context.Context) (uint64, error) {
	if p.snap != nil {
		p.goal = p.snap.seq()
		return 0, nil
	}
	pool, err := p.DB.Verifier(ctx, p.Edition)
	if err != nil {
		return 0, err
	}
	cp, err := db.New(pool).CheckpointGet(ctx, db.CheckpointGetParams{Edition: p.Edition, Shard: int32(p.Shard.Number())})
	if err != nil {
		return 0, fmt.Errorf("checkpoint: %w (has the edition been built?)", err)
	}
	facts, err := p.Shard.Facts(ctx)
	if err != nil {
		return 0, err
	}
	p.goal = min(uint64(cp.Seq), facts.LastSeq) // a checkpoint ahead of the journal would be waited for without end
	return p.goal, nil
}

func (p *part) fold(ctx context.Context, e *envelope.Event) error {
	if err := p.observe(ctx, e); err != nil {
		return err
	}
	if !p.Scope.selects(e.Key) || !p.has(e.Key) {
		return nil
	}
	if err := p.dense(e); err != nil {
		return err
	}
	if err := p.c.Apply(e, p.Fold); err != nil {
		return err
	}
	if used := p.c.Bytes() + len(p.versions)*versionBytes; used > p.budget() {
		return p.over(used, e.Seq)
	}
	return nil
}

// versionBytes is about what the version of an entity takes in a map.
const versionBytes = 150

// over says into how many pieces this one is to be split, as far as can be seen.
func (p *part) over(used int, seq uint64) error {
	expected := float64(used) * float64(max(p.goal, seq)) / float64(seq)
	into := 2
	for into < piecesMax && expected/float64(into) > float64(p.budget()) {
		into *= 2
	}
	for into > 2 && p.of*into > piecesMax {
		into /= 2
	}
	return &overBudget{into}
}

// dense holds the versions of each entity of a filtered read: none may be left out.
func (p *part) dense(e *envelope.Event) error {
	if p.versions == nil || e.Kind == journal.MalformedKind {
		return nil
	}
	if want := p.versions[e.Key] + 1; e.Version != want {
		return fmt.Errorf("event %d of %s has version %d, where %d was expected: the read by tenant is not complete", e.Seq, e.Key, e.Version, want)
	}
	p.versions[e.Key] = e.Version
	return nil
}

func (p *part) compare(ctx context.Context, snap *sharedSnapshot, digests *rows.Digests) (*partResult, error) {
	p.Progress(Progress{Phase: "compare", Part: len(p.parts) + 1, Parts: len(p.parts) + len(p.pending), Done: snap.seq(), Total: snap.seq()})
	if err := p.c.Compare(ctx, snap.txs[0], snap.txs[1:]...); err != nil {
		return nil, err
	}
	for tenant, tables := range p.c.Doubtful() {
		if err := p.drill(ctx, snap, tenant, tables); err != nil {
			return nil, err
		}
	}
	result := &partResult{
		Number: p.number, Of: p.of, Seq: snap.seq(), Rows: p.c.Rows, Held: p.c.Held(), Total: p.c.Total, Taken: snap.taken.UTC(),
		HeldMs: time.Since(snap.taken).Milliseconds(), chain: bytes.Clone(snap.cp.Chain), last: snap.cp.EventDigest, digests: digests,
	}
	if room := rows.DifferencesMax - len(p.found); room > 0 {
		result.Differences = p.c.Differences[:min(room, len(p.c.Differences))]
	}
	if err := p.explain(ctx, result.Differences, snap.seq()); err != nil {
		return nil, err
	}
	p.take(result)
	return result, p.log.flush(ctx)
}

// take adds what a part has found to the whole.
func (v *verification) take(r *partResult) {
	v.found = append(v.found, r.Differences...)
	v.digests.Merge(r.digests)
}

// drill names the rows behind sums of append-only tables that differ, of fewer entities at a time where they do not fit
// into memory.
func (p *part) drill(ctx context.Context, snap *sharedSnapshot, tenant string, tables []string) error {
	pending := []piece{{0, 1}}
	for len(pending) > 0 {
		at := pending[0]
		err := p.drillPiece(ctx, snap, tenant, tables, at)
		if errors.Is(err, rows.ErrBudget) && at.of < piecesMax {
			pending = append([]piece{{at.number, 2 * at.of}, {at.number + at.of, 2 * at.of}}, pending[1:]...)
			continue
		}
		if err != nil {
			return err
		}
		pending = pending[1:]
	}
	return nil
}

func (p *part) drillPiece(ctx context.Context, snap *sharedSnapshot, tenant string, tables []string, at piece) error {
	selects := func(key envelope.Key) bool { return p.selects(key, p.piece) && drillPart(key, at) }
	drill := rows.NewDrill(p.Schema, tenant, tables, selects, p.budget())
	err := journal.ReadTenant(ctx, p.Shard, tenant, 0, snap.seq(), func(e *envelope.Event) error {
		if !selects(e.Key) {
			return nil
		}
		return drill.Apply(e, p.Fold)
	})
	if err != nil {
		return err
	}
	return drill.Compare(ctx, snap.txs[0], p.c)
}

// drillPart cuts finer than parts do: entities of one part may be all alike to the hash that made it.
func drillPart(key envelope.Key, at piece) bool {
	return at.of == 1 || edition.Part(envelope.Key{Tenant: key.ID, Entity: key.Tenant, ID: key.Entity}, at.of) == at.number
}

// explain finds, for each difference, the event since which the expected value stands.
func (v *verification) explain(ctx context.Context, found []rows.Difference, upto uint64) error {
	for i := range found {
		d := &found[i]
		if len(d.Columns) == 0 || d.Seq == 0 {
			continue
		}
		steps, err := Explain(ctx, v.Shard, v.Schema, v.Fold, d.Entity, upto)
		if err != nil {
			return err
		}
		var since rows.Since
		for _, step := range steps {
			since.Observe(d.Table, d.Key, step.Seq, step.Changes)
		}
		for j := range d.Columns {
			d.Columns[j].Seq = since.Column(d.Columns[j].Column)
		}
	}
	return nil
}
