// Package verify proves that the rows of an edition are the fold of the journal: for every tenant, at an exact
// sequence, while writes go on. It also explains rows by the events behind them, repairs rows, and plans what another
// fold would change.
//
// The journal is folded to near its head first. Then one snapshot on the primary gives checkpoint and rows of the
// same instant; the journal is folded on to exactly that checkpoint, and every row is held against it. There is
// nothing to wait for and no false alarm.
//
// What does not fit into memory is verified in parts of the key space, one after the other. All of them share the
// first snapshot while it is young; parts that would keep it for too long take one of their own, at a later position.
// Each part then proves its entities at its own position. Behind a position rows are moved only by projectors, whose
// checkpoint is guarded, so the whole counts as verified at the lowest one.
//
// Quick verification holds the rows against the digests that were kept when they were written, without a replay; the
// Scrubber does so all the time, one tenant after another. That finds every change by others, not a wrong fold.
package verify

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/refold-dev/refold/events/envelope"
	"github.com/refold-dev/refold/internal/edition"
	"github.com/refold-dev/refold/internal/failpoint"
	"github.com/refold-dev/refold/internal/journal"
	"github.com/refold-dev/refold/internal/postgres"
	"github.com/refold-dev/refold/internal/postgres/db"
	"github.com/refold-dev/refold/internal/report"
	"github.com/refold-dev/refold/internal/rows"
	"github.com/refold-dev/refold/internal/witness"
)

// Config says what is to be verified.
type Config struct {
	DB      *postgres.DB
	Shard   journal.Shard
	Edition int64
	Schema  *rows.Schema
	Fold    rows.Fold
	Shape   string
	// MemoryBytes bounds the working set and the digests; beyond it the key space is folded in parts. 0 = 1 GiB. What
	// is left is some hundred bytes for each tenant.
	MemoryBytes int
	// Progress is called from one goroutine at a time; nil = nobody looks.
	Progress func(Progress)
	// Pause is called between small pieces of the work and may wait, to make way for others; nil = never.
	Pause func(context.Context) error
	// Readers is how many connections of one snapshot read the tables at a time; 0 = 2.
	Readers int
	// SnapshotMax is how long parts share a snapshot, which keeps the database from cleaning up; 0 = 5 min. A part that
	// is compared when it ends is finished in it.
	SnapshotMax time.Duration
	// Scope narrows the run; the zero value is everything.
	Scope Scope
	// Resume goes on behind the parts that a run of the same edition, shard and scope had finished when it was cut
	// short, unless that is longer ago than a day.
	Resume bool
	// Journal compares every event up to the highest position with what is known of it from elsewhere; what it finds goes
	// into the report, and makes that unclean. Runs that Scope narrows to one tenant do not read the journal, and do not
	// ask it. nil = nothing is known.
	Journal JournalCheck
	// Control are rows of control tables that are not the fold of this shard's events, found by whoever folds those. They
	// are reported as rows of the edition are, and a repair is told their entities.
	Control []rows.Difference
	// Homes says in which shard each tenant lives; nil = control.tenant says so. It is asked after the snapshot is taken:
	// a tenant is known before its first event is, so every row of the snapshot finds its home.
	Homes func(context.Context) (map[string]int, error)

	// Signer signs that the edition is verified; nil = it is recorded unsigned, and no cutover of a plane goes to it.
	Signer *report.Signer

	barrier *sharedSnapshot // taken by Barrier: all parts share it, however old it becomes
}

// JournalCheck compares the events of a shard with what is known of them; *witness.Checker is one. It is handed every
// event once and in order, with the digest that the chain is made of, and is asked for the result when all are read.
type JournalCheck interface {
	AddDigest(ctx context.Context, e *envelope.Event, digest envelope.Digest) error
	Stop() *witness.Result
}

const (
	// MemoryBytesDefault is what a verification or a plan takes where nobody says otherwise.
	MemoryBytesDefault = 1 << 30
	// eventBytesEstimate is what an event adds to the working set, on average; a part that turns out bigger is split.
	eventBytesEstimate = 350
	// digestsShare is which part of the memory digests may take, and digestsMin how many there may be at least.
	digestsShare       = 8
	digestsMin         = 256
	snapshotMaxDefault = 5 * time.Minute
	readersDefault     = 2
	progressEvery      = 200 * time.Millisecond
	pauseEvery         = 64 // events are a small piece of work
	isolation          = "REPEATABLE READ READ ONLY, one snapshot"
	isolationParts     = "REPEATABLE READ READ ONLY, one snapshot for each position"
)

// Progress is where a verification stands.
type Progress struct {
	Phase string // "fold", "compare"
	Part  int
	Parts int
	Done  uint64
	Total uint64
}

func (c *Config) withDefaults() {
	if c.Progress == nil {
		c.Progress = func(Progress) {}
	}
	if c.MemoryBytes == 0 {
		c.MemoryBytes = MemoryBytesDefault
	}
	if c.SnapshotMax == 0 {
		c.SnapshotMax = snapshotMaxDefault
	}
	if c.Readers == 0 {
		c.Readers = readersDefault
	}
	if c.Pause == nil {
		c.Pause = func(context.Context) error { return nil }
		return
	}
	// Whoever makes way does so for all of the run.
	pause, mu := c.Pause, &sync.Mutex{}
	c.Pause = func(ctx context.Context) error {
		mu.Lock()
		defer mu.Unlock()
		return pause(ctx)
	}
}

// Run verifies one shard of an edition and records the report. It fails only when it could not finish; what it
// found is in the report. Cut short, it leaves nothing that could be taken for a result.
func Run(ctx context.Context, c Config) (*Report, error) {
	c.withDefaults()
	if err := c.Scope.check(c.Schema); err != nil {
		return nil, err
	}
	v := &verification{Config: c, found: []rows.Difference{}, seen: newObserved(c.Journal), digests: rows.NewDigests(c.Schema)}
	v.digests.Bound(max(c.MemoryBytes/digestsShare/digestBytes, digestsMin))
	report, err := v.run(ctx)
	if err != nil {
		return nil, fmt.Errorf("verify edition %d shard %d: %w", c.Edition, c.Shard.Number(), err)
	}
	return report, failpoint.Hit("verify.recorded")
}

// verification is a run in the making.
type verification struct {
	Config
	started  time.Time
	facts    journal.Facts
	log      runLog
	seen     *observed // of the whole journal
	snap     *sharedSnapshot
	homes    map[string]int // in which shard each tenant lives; nil with one shard
	parts    []partResult
	pending  []piece
	took     time.Duration // by the last part
	digests  *rows.Digests
	found    []rows.Difference
	read     int // events, also those that were read before
	reported time.Time
}

func (v *verification) run(ctx context.Context) (*Report, error) {
	v.started = time.Now()
	var err error
	if v.facts, err = v.Shard.Facts(ctx); err != nil {
		return nil, err
	}
	if err := v.begin(ctx); err != nil {
		return nil, err
	}
	defer func() { v.drop(ctx) }()
	for len(v.pending) > 0 {
		if err := v.next(ctx); err != nil {
			return nil, err
		}
	}
	if err := v.observeRest(ctx); err != nil {
		return nil, err
	}
	v.drop(ctx)
	for i := range v.Control {
		if err := v.log.found(ctx, v.Control[i].Entity); err != nil {
			return nil, err
		}
	}
	if err := v.log.count(ctx); err != nil {
		return nil, err
	}
	report := v.report(ctx)
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return report, v.record(ctx, report)
}

// begin goes on with a run that was cut short, or begins a new one.
func (v *verification) begin(ctx context.Context) error {
	resumed, err := v.log.open(ctx, v)
	if err != nil {
		return err
	}
	if resumed {
		return v.takeUp()
	}
	of := 1
	if n := int64(v.facts.Messages) * eventBytesEstimate / int64(v.budget()) / int64(max(v.Scope.Sample, 1)); len(v.Scope.Tenants) == 0 {
		of = int(min(n, piecesMax-1)) + 1
	}
	for i := range of {
		v.pending = append(v.pending, piece{i, of})
	}
	return nil
}

// budget is what the working set may take. As much as the digests is left for the collector: with next to nothing to
// spare it would do nothing but collect.
func (v *verification) budget() int { return max(v.MemoryBytes-2*(v.MemoryBytes/digestsShare), 1) }

// next verifies the first pending part, or splits it where it does not fit into memory.
func (v *verification) next(ctx context.Context) error {
	at, began := v.pending[0], time.Now()
	part := &part{verification: v, piece: at}
	result, err := part.run(ctx)
	if over, ok := errors.AsType[*overBudget](err); ok && at.of*over.into <= piecesMax {
		// What belongs to part i of n belongs to one of the parts i, i+n, i+2n, ... of a multiple of n.
		var split []piece
		for j := range over.into {
			split = append(split, piece{at.number + j*at.of, at.of * over.into})
		}
		v.pending = append(split, v.pending[1:]...)
		return nil
	}
	if err != nil {
		return fmt.Errorf("part %d of %d: %w", at.number+1, at.of, err)
	}
	if err := v.log.part(ctx, result); err != nil {
		return err
	}
	v.parts, v.pending, v.took = append(v.parts, *result), v.pending[1:], time.Since(began)
	return failpoint.Hit("verify.part-recorded")
}

// snapshot returns the snapshot for the next part: the one there is while it is young.
func (v *verification) snapshotFor(ctx context.Context) (*sharedSnapshot, error) {
	if v.snap != nil {
		return v.snap, nil
	}
	s, err := takeSnapshot(ctx, v.DB, v.Edition, v.Shard, v.Readers)
	if err != nil {
		return nil, err
	}
	v.snap = s
	if err := s.continues(ctx, v.Shard, v.facts); err != nil {
		return nil, err
	}
	return s, v.settleHomes(ctx)
}

// age gives a snapshot up that would become too old with another part.
func (v *verification) age(ctx context.Context) {
	if v.snap != nil && v.barrier == nil && time.Since(v.snap.taken)+v.took > v.SnapshotMax {
		v.drop(ctx)
	}
}

func (v *verification) drop(ctx context.Context) {
	if v.snap != nil && v.snap != v.barrier {
		v.snap.close(ctx)
	}
	v.snap = nil
}

// mine reports whether the rows of a tenant are this shard's to explain. The tables hold those of all shards; rows
// of a tenant that nobody knows fall to the first.
func (v *verification) mine(tenant string) bool {
	if v.facts.Shards <= 1 {
		return true
	}
	return v.homes[tenant] == v.Shard.Number() // 0 for whom nobody knows
}

// settleHomes finds out where tenants live, once a snapshot was taken.
func (v *verification) settleHomes(ctx context.Context) (err error) {
	if v.facts.Shards <= 1 {
		return nil
	}
	homes := v.Homes
	if homes == nil {
		homes = v.homesOfTable
	}
	if v.homes, err = homes(ctx); err != nil {
		return fmt.Errorf("homes of the tenants: %w", err)
	}
	return nil
}

func (v *verification) homesOfTable(ctx context.Context) (map[string]int, error) {
	pool, err := v.DB.Operator(ctx)
	if err != nil {
		return nil, err
	}
	all, err := db.New(pool).TenantList(ctx)
	if err != nil {
		return nil, err
	}
	homes := map[string]int{}
	for _, t := range all {
		homes[t.TenantID] = int(t.Shard)
	}
	return homes, nil
}

// selects reports whether an entity belongs to a part of this run.
func (v *verification) selects(key envelope.Key, at piece) bool {
	return v.mine(key.Tenant) && v.Scope.selects(key) && at.has(key)
}

// observeRest reads what parts of earlier runs were proven against and this one has not read yet.
func (v *verification) observeRest(ctx context.Context) error {
	upto := uint64(0)
	for _, p := range v.parts {
		upto = max(upto, p.Seq)
	}
	return v.events(ctx, v.seen.seq, upto, func(e *envelope.Event) error { return v.observe(ctx, e) })
}

// observe takes in an event, whatever part it belongs to.
func (v *verification) observe(ctx context.Context, e *envelope.Event) error {
	if err := v.seen.add(ctx, e, v.Scope.filtered()); err != nil {
		return err
	}
	v.read++
	if v.read%1024 == 0 && time.Since(v.reported) > progressEvery {
		total := v.facts.LastSeq
		if v.snap != nil {
			total = v.snap.seq()
		}
		v.Progress(Progress{Phase: "fold", Part: len(v.parts) + 1, Parts: len(v.parts) + len(v.pending), Done: e.Seq, Total: max(e.Seq, total)})
		v.reported = time.Now()
	}
	if v.read%pauseEvery == 0 {
		return v.Pause(ctx)
	}
	return nil
}

// record keeps the report, and what it means for the edition. A report that leaves something out proves an edition
// wrong, but never right.
func (v *verification) record(ctx context.Context, r *Report) error {
	body, err := json.Marshal(r)
	if err != nil {
		return err
	}
	if err := failpoint.Hit("verify.before-record"); err != nil {
		return err
	}
	pool, err := v.DB.Operator(ctx)
	if err != nil {
		return err
	}
	return pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		q := db.New(tx)
		if err := v.log.finish(ctx, q, r.Clean, body); err != nil {
			return err
		}
		if r.Clean && !r.Complete {
			return nil
		}
		_, err := q.VerificationInsert(ctx, db.VerificationInsertParams{Edition: r.Edition, Shard: int32(r.Shard), Seq: int64(r.Seq), Clean: r.Clean, Report: body})
		if err != nil {
			return fmt.Errorf("record the verification: %w", err)
		}
		if r.Clean {
			verified := db.EditionShardVerifiedParams{Seq: int64(r.Seq), Edition: r.Edition, Shard: int32(r.Shard)}
			if v.Signer != nil {
				verified.Mac = edition.VerifiedMAC(v.Signer, verified.Edition, verified.Shard, v.Shape, verified.Seq)
			}
			_, err = q.EditionShardVerified(ctx, verified)
			return err
		}
		// An edition that was proven once and is not any more must not be cut over to.
		_, err = q.EditionShardUnverified(ctx, db.EditionShardUnverifiedParams{Edition: r.Edition, Shard: int32(r.Shard)})
		return err
	})
}

func sortTenants(t []TenantEvents) {
	slices.SortFunc(t, func(a, b TenantEvents) int { return cmp.Compare(a.Tenant, b.Tenant) })
}
