// Package verify proves that the rows of an edition are the fold of the journal: for every tenant, at an exact
// sequence, while writes go on. It also explains rows by the events behind them, and plans what another fold would change.
//
// The journal is folded to near its head first. Then one snapshot on the primary gives checkpoint and rows of the
// same instant; the journal is folded on to exactly that checkpoint, and every row is held against it. There is
// nothing to wait for and no false alarm.
//
// Quick verification holds the rows against the digests that were kept when they were written, without a replay; the
// Scrubber does so all the time, one tenant after another. That finds every change by others, not a wrong fold.
package verify

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/refold-dev/refold/events/envelope"
	"github.com/refold-dev/refold/internal/edition"
	"github.com/refold-dev/refold/internal/failpoint"
	"github.com/refold-dev/refold/internal/journal"
	"github.com/refold-dev/refold/internal/postgres"
	"github.com/refold-dev/refold/internal/postgres/db"
	"github.com/refold-dev/refold/internal/rows"
)

// Config says what is to be verified.
type Config struct {
	DB      *postgres.DB
	Shard   journal.Shard
	Edition int64
	Schema  *rows.Schema
	Fold    rows.Fold
	Shape   string
	// MemoryBytes bounds the working set; beyond it the key space is folded in parts. 0 = 1 GiB.
	MemoryBytes int
	Progress    func(Progress)
	// Pause is called between small pieces of the work and may wait, to make way for others; nil = never.
	Pause func(context.Context) error
}

// pauseEvery is how many events are a small piece of work.
const pauseEvery = 64

// Progress is where a verification stands.
type Progress struct {
	Phase string // "fold", "compare"
	Part  int
	Parts int
	Done  uint64
	Total uint64
}

// Report is the result of a verification.
type Report struct {
	Edition     int64              `json:"edition"`
	Shard       int                `json:"shard"`
	JournalID   string             `json:"journal_id"`
	Seq         uint64             `json:"seq"`
	Shape       string             `json:"shape"`
	Clean       bool               `json:"clean"`
	Events      uint64             `json:"events"`
	Rows        int64              `json:"rows"`
	Tenants     []TenantEvents     `json:"tenants"`
	Digests     []rows.TableDigest `json:"digests"`
	Chain       ChainResult        `json:"chain"`
	Held        int                `json:"held_entities"`
	Differences []rows.Difference  `json:"differences"`
	Total       int                `json:"differences_total"`
	Isolation   string             `json:"isolation"`
	Parts       int                `json:"parts"`
	Started     time.Time          `json:"started"`
	DurationMs  int64              `json:"duration_ms"`
}

// TenantEvents counts the events of a tenant up to the position.
type TenantEvents struct {
	Tenant string `json:"tenant"`
	Events uint64 `json:"events"`
}

// ChainResult tells whether the projector consumed exactly these events in this order: the chain in the checkpoint
// against the one computed anew.
type ChainResult struct {
	Equal    bool   `json:"equal"`
	Expected string `json:"expected"`
	Actual   string `json:"actual"`
}

const (
	memoryBytesDefault = 1 << 30
	eventBytesEstimate = 700
	progressEvery      = 200 * time.Millisecond
	isolation          = "REPEATABLE READ READ ONLY, one snapshot"
)

// Run verifies one shard of an edition and records the report. It fails only when it could not finish; what it
// found is in the report.
func Run(ctx context.Context, c Config) (*Report, error) {
	if c.Progress == nil {
		c.Progress = func(Progress) {}
	}
	if c.Pause == nil {
		c.Pause = func(context.Context) error { return nil }
	}
	if c.MemoryBytes == 0 {
		c.MemoryBytes = memoryBytesDefault
	}
	v := &verification{Config: c, tenants: map[string]uint64{}, found: []rows.Difference{}, history: edition.History{Chained: true}, digests: rows.NewDigests(c.Schema)}
	report, err := v.run(ctx)
	if err != nil {
		return nil, fmt.Errorf("verify edition %d shard %d: %w", c.Edition, c.Shard.Number(), err)
	}
	if err := v.record(ctx, report); err != nil {
		return nil, err
	}
	return report, failpoint.Hit("verify.recorded")
}

type verification struct {
	Config
	parts    int
	tenants  map[string]uint64
	history  edition.History
	tx       pgx.Tx // the snapshot
	cp       db.ControlCheckpoint
	rows     int64
	held     int
	digests  *rows.Digests
	found    []rows.Difference
	total    int
	reported time.Time
	shards   int            // of the journal
	homes    map[string]int // in which shard each tenant lives; nil with one shard
}

// mine reports whether the rows of a tenant are this shard's to explain. The tables hold those of all shards; rows
// of a tenant that nobody knows fall to the first.
func (v *verification) mine(tenant string) bool {
	if v.shards <= 1 {
		return true
	}
	home, known := v.homes[tenant]
	if !known {
		home = 0
	}
	return home == v.Shard.Number()
}

// settleHomes reads where tenants live. It is called after the snapshot was taken: a tenant is known before its first
// event is, so every row of the snapshot finds its home.
func (v *verification) settleHomes(ctx context.Context) error {
	if v.shards <= 1 {
		return nil
	}
	pool, err := v.DB.Operator(ctx)
	if err != nil {
		return err
	}
	all, err := db.New(pool).TenantList(ctx)
	if err != nil {
		return fmt.Errorf("homes of the tenants: %w", err)
	}
	v.homes = map[string]int{}
	for _, t := range all {
		v.homes[t.TenantID] = int(t.Shard)
	}
	return nil
}

func (v *verification) run(ctx context.Context) (*Report, error) {
	started := time.Now()
	facts, err := v.Shard.Facts(ctx)
	if err != nil {
		return nil, err
	}
	v.shards = facts.Shards
	v.parts = int(int64(facts.Messages)*eventBytesEstimate/int64(v.MemoryBytes)) + 1
	defer func() {
		if v.tx != nil {
			_ = v.tx.Rollback(context.WithoutCancel(ctx))
		}
	}()
	for part := range v.parts {
		if err := v.part(ctx, part, facts); err != nil {
			return nil, err
		}
	}
	if err := v.explain(ctx); err != nil {
		return nil, err
	}
	return v.report(started), nil
}

// part folds and compares one part of the key space. The first one also opens the snapshot.
func (v *verification) part(ctx context.Context, part int, facts journal.Facts) error {
	var inPart func(envelope.Key) bool
	if v.parts > 1 {
		inPart = func(key envelope.Key) bool { return edition.Part(key, v.parts) == part }
	}
	c := rows.NewComparison(v.Schema, func(key envelope.Key) bool { return v.mine(key.Tenant) && (inPart == nil || inPart(key)) }, v.digests)
	each := func(e *envelope.Event) error { return v.fold(ctx, c, e, part, inPart) }
	c.Pause = v.Pause
	near := uint64(0)
	if v.tx == nil {
		// Only as far as the edition is already: the snapshot may not be behind what was folded.
		var err error
		if near, err = v.checkpointNow(ctx); err != nil {
			return err
		}
		near = min(near, facts.LastSeq) // a checkpoint ahead of the journal would be waited for without end
		if err := edition.Read(ctx, v.Shard, 0, near, each); err != nil {
			return err
		}
		if err := v.open(ctx, facts); err != nil {
			return err
		}
		if err := v.settleHomes(ctx); err != nil {
			return err
		}
	}
	if err := edition.Read(ctx, v.Shard, near, uint64(v.cp.Seq), each); err != nil {
		return err
	}
	v.Progress(Progress{Phase: "compare", Part: part + 1, Parts: v.parts, Done: uint64(v.cp.Seq), Total: uint64(v.cp.Seq)})
	if err := c.Compare(ctx, v.tx); err != nil {
		return err
	}
	for tenant, tables := range c.Doubtful() {
		if err := v.drill(ctx, c, tenant, tables, inPart); err != nil {
			return err
		}
	}
	v.rows, v.held, v.total = v.rows+c.Rows, v.held+c.Held(), v.total+c.Total
	if room := rows.DifferencesMax - len(v.found); room > 0 {
		v.found = append(v.found, c.Differences[:min(room, len(c.Differences))]...)
	}
	return nil
}

func (v *verification) fold(ctx context.Context, c *rows.Comparison, e *envelope.Event, part int, inPart func(envelope.Key) bool) error {
	if part == 0 {
		v.history.Add(e)
		v.tenants[e.Tenant]++
	}
	if e.Seq%1024 == 0 && time.Since(v.reported) > progressEvery {
		v.Progress(Progress{Phase: "fold", Part: part + 1, Parts: v.parts, Done: e.Seq, Total: max(e.Seq, uint64(v.cp.Seq))})
		v.reported = time.Now()
	}
	if e.Seq%pauseEvery == 0 {
		if err := v.Pause(ctx); err != nil {
			return err
		}
	}
	if inPart != nil && !inPart(e.Key) {
		return nil
	}
	return c.Apply(e, v.Fold)
}

func (v *verification) checkpointNow(ctx context.Context) (uint64, error) {
	pool, err := v.DB.Verifier(ctx, v.Edition)
	if err != nil {
		return 0, err
	}
	cp, err := db.New(pool).CheckpointGet(ctx, db.CheckpointGetParams{Edition: v.Edition, Shard: int32(v.Shard.Number())})
	if err != nil {
		return 0, fmt.Errorf("checkpoint: %w (has the edition been built?)", err)
	}
	return uint64(cp.Seq), nil
}

// open takes the snapshot: checkpoint and rows of one instant. A checkpoint that the journal does not continue is
// an error, not a difference.
func (v *verification) open(ctx context.Context, facts journal.Facts) error {
	pool, err := v.DB.Verifier(ctx, v.Edition)
	if err != nil {
		return err
	}
	v.tx, err = pool.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly})
	if err != nil {
		return fmt.Errorf("open the snapshot: %w", err)
	}
	v.cp, err = db.New(v.tx).CheckpointGet(ctx, db.CheckpointGetParams{Edition: v.Edition, Shard: int32(v.Shard.Number())})
	if err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	if v.cp.JournalID != facts.JournalID || v.cp.Stream != facts.Stream {
		return fmt.Errorf("the checkpoint is of journal %s (%s), this one is %s (%s)", v.cp.JournalID, v.cp.Stream, facts.JournalID, facts.Stream)
	}
	now, err := v.Shard.Facts(ctx)
	if err != nil {
		return err
	}
	if now.LastSeq < uint64(v.cp.Seq) {
		return fmt.Errorf("the checkpoint is at %d, the journal ends at %d", v.cp.Seq, now.LastSeq)
	}
	return nil
}

// drill names the rows behind a sum of an append-only table that differs.
func (v *verification) drill(ctx context.Context, c *rows.Comparison, tenant string, tables []string, inPart func(envelope.Key) bool) error {
	drill := rows.NewDrill(v.Schema, tenant, tables, inPart)
	if envelope.ValidToken(tenant) {
		follower, err := v.Shard.Follow(ctx, journal.FollowOptions{Tenant: tenant})
		if err != nil {
			return err
		}
		defer follower.Close()
		for read := uint64(0); read < v.tenants[tenant]; {
			batch, err := follower.Next(ctx, 0, 0)
			if err != nil {
				return err
			}
			for i := range batch {
				if read++; read > v.tenants[tenant] {
					break
				}
				if inPart == nil || inPart(batch[i].Key) {
					if err := drill.Apply(&batch[i], v.Fold); err != nil {
						return err
					}
				}
			}
		}
	}
	return drill.Compare(ctx, v.tx, c)
}

// explain finds, for each difference, the event since which the expected value stands.
func (v *verification) explain(ctx context.Context) error {
	for i := range v.found {
		d := &v.found[i]
		if len(d.Columns) == 0 || d.Seq == 0 {
			continue
		}
		steps, err := Explain(ctx, v.Shard, v.Schema, v.Fold, d.Entity, uint64(v.cp.Seq))
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

func (v *verification) report(started time.Time) *Report {
	r := &Report{
		Edition: v.Edition, Shard: v.Shard.Number(), JournalID: v.cp.JournalID, Seq: uint64(v.cp.Seq), Shape: v.Shape,
		Rows: v.rows, Digests: v.digests.List(), Held: v.held, Differences: v.found, Total: v.total,
		Isolation: isolation, Parts: v.parts,
		Started: started.UTC(), DurationMs: time.Since(started).Milliseconds(),
		Chain: ChainResult{
			Equal:    bytes.Equal(v.history.Chain[:], v.cp.Chain) && bytes.Equal(v.history.Last[:], v.cp.EventDigest),
			Expected: fmt.Sprintf("%x", v.history.Chain[:]), Actual: fmt.Sprintf("%x", v.cp.Chain),
		},
	}
	for tenant, n := range v.tenants {
		r.Events += n
		r.Tenants = append(r.Tenants, TenantEvents{tenant, n})
	}
	sortTenants(r.Tenants)
	r.Clean = r.Total == 0 && r.Chain.Equal && r.Events == r.Seq
	return r
}

// record keeps the report, and the verified position when it is clean.
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
		_, err := q.VerificationInsert(ctx, db.VerificationInsertParams{Edition: r.Edition, Shard: int32(r.Shard), Seq: int64(r.Seq), Clean: r.Clean, Report: body})
		if err != nil {
			return fmt.Errorf("record the verification: %w", err)
		}
		if r.Clean {
			_, err = q.EditionShardVerified(ctx, db.EditionShardVerifiedParams{Seq: int64(r.Seq), Edition: r.Edition, Shard: int32(r.Shard)})
			return err
		}
		// An edition that was proven once and is not any more must not be cut over to.
		_, err = q.EditionShardUnverified(ctx, db.EditionShardUnverifiedParams{Edition: r.Edition, Shard: int32(r.Shard)})
		return err
	})
}
