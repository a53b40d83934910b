package edition

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/refold-dev/refold/events/envelope"
	"github.com/refold-dev/refold/internal/failpoint"
	"github.com/refold-dev/refold/internal/journal"
	"github.com/refold-dev/refold/internal/postgres/db"
	"github.com/refold-dev/refold/internal/rows"
)

// Progress is where a build stands. Total is known from the start of a phase and never moves.
type Progress struct {
	Edition int64
	Phase   string // "replay", "index", "catch up"
	Shard   int
	Pass    int // 1..Passes
	Passes  int
	Done    uint64 // events read in this pass, or the checkpoint
	Total   uint64 // the head captured at the start
	Rows    int64  // rows handed to the database in this pass
}

// replayPull is how many events a replay asks for at once.
const replayPull = 5000

// progressEvery is how often a running phase reports.
const progressEvery = 200 * time.Millisecond

// eventBytesEstimate is what an event adds to the working set at most, on average.
const eventBytesEstimate = 700

// Build makes a new edition by replaying all shards, or goes on with the one that was begun and not finished. On
// return it has keys, policies and a checkpoint at the head captured at the start, and is ready to be kept level by
// projectors; it is not live. A build can be cancelled or killed at any point and repeated: whole passes are kept.
func (m *Editions) Build(ctx context.Context, progress func(Progress)) (int64, error) {
	if progress == nil {
		progress = func(Progress) {}
	}
	number, epoch, err := m.begin(ctx)
	if err != nil {
		return 0, err
	}
	b := &build{Editions: m, number: number, epoch: epoch, progress: progress}
	if err := b.run(ctx); err != nil {
		return number, fmt.Errorf("build edition %d: %w", number, b.because(ctx, err))
	}
	return number, nil
}

// because finds the cause of a failure: a builder that was overtaken may stumble over its successor's work first.
func (b *build) because(ctx context.Context, err error) error {
	pool, poolErr := b.DB.Operator(ctx)
	if poolErr != nil || errors.Is(err, ErrOvertaken) {
		return err
	}
	e, getErr := db.New(pool).EditionByNumber(ctx, b.number)
	if getErr != nil || e.Epoch == b.epoch {
		return err
	}
	return fmt.Errorf("%w: %w", ErrOvertaken, err)
}

// begin resumes the newest unfinished edition of our shape, or adds one.
func (m *Editions) begin(ctx context.Context) (number, epoch int64, err error) {
	pool, err := m.DB.Operator(ctx)
	if err != nil {
		return 0, 0, err
	}
	err = pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		q := db.New(tx)
		if _, err := tx.Exec(ctx, "LOCK TABLE control.edition IN SHARE ROW EXCLUSIVE MODE"); err != nil {
			return err
		}
		editions, err := q.EditionList(ctx)
		if err != nil {
			return err
		}
		for _, e := range editions {
			if e.State == "building" && e.Shape == m.Shape {
				number = e.Number
			}
		}
		if number == 0 {
			if number, err = q.EditionNext(ctx); err != nil {
				return err
			}
			if err := q.EditionInsert(ctx, db.EditionInsertParams{Number: number, SchemaName: schemaName(number), Shape: m.Shape}); err != nil {
				return err
			}
		}
		epoch, err = q.EditionClaim(ctx, number)
		return err
	})
	if err != nil {
		return 0, 0, fmt.Errorf("begin a build: %w", err)
	}
	return number, epoch, failpoint.Hit("edition.begun")
}

type build struct {
	*Editions
	number   int64
	epoch    int64
	progress func(Progress)
}

func (b *build) run(ctx context.Context) error {
	if err := b.DB.CreateEdition(ctx, b.number); err != nil {
		return err
	}
	if err := failpoint.Hit("edition.created"); err != nil {
		return err
	}
	for _, shard := range b.Shards {
		if err := b.replay(ctx, shard); err != nil {
			return fmt.Errorf("shard %d: %w", shard.Number(), err)
		}
	}
	b.progress(Progress{Edition: b.number, Phase: "index"})
	if err := failpoint.Hit("edition.loaded"); err != nil {
		return err
	}
	if err := b.DB.FinishEdition(ctx, b.number); err != nil {
		return err
	}
	if err := failpoint.Hit("edition.indexed"); err != nil {
		return err
	}
	if err := b.sound(ctx); err != nil {
		return err
	}
	if err := b.publish(ctx); err != nil {
		return err
	}
	b.progress(Progress{Edition: b.number, Phase: "index", Done: 1, Total: 1})
	return failpoint.Hit("edition.published")
}

// sound refuses an edition whose tables are not those of the code or not protected.
func (b *build) sound(ctx context.Context) error {
	if err := b.CheckShape(ctx, b.number); err != nil {
		return err
	}
	faults, err := b.DB.Audit(ctx, b.number)
	if err != nil {
		return err
	}
	if len(faults) > 0 {
		return fmt.Errorf("the schema is not safe: %v", faults)
	}
	return nil
}

// CheckShape compares the tables of an edition, as the catalogue has them, with those of the code.
func (m *Editions) CheckShape(ctx context.Context, edition int64) error {
	columns, err := m.DB.Columns(ctx, edition)
	if err != nil {
		return err
	}
	actual := map[string][]rows.Column{}
	for _, c := range columns {
		actual[c.Table] = append(actual[c.Table], rows.Column{Name: c.Name, Type: c.Type, NotNull: c.NotNull})
	}
	if diff := m.Schema.Diff(actual); len(diff) > 0 {
		return fmt.Errorf("%w: %v", ErrShape, diff)
	}
	return nil
}

// publish gives every shard its checkpoint and lets projectors take over, in one transaction.
func (b *build) publish(ctx context.Context) error {
	pool, err := b.DB.Operator(ctx)
	if err != nil {
		return err
	}
	return pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		q := db.New(tx)
		loaded, err := q.EditionShardList(ctx, b.number)
		if err != nil {
			return err
		}
		for _, s := range loaded {
			facts, err := b.Shards[s.Shard].Facts(ctx)
			if err != nil {
				return err
			}
			err = q.CheckpointInsert(ctx, db.CheckpointInsertParams{
				Edition: b.number, Shard: s.Shard, JournalID: facts.JournalID, Incarnation: int64(facts.Incarnation),
				Stream: facts.Stream, Seq: s.Head, EventDigest: s.EventDigest, Chain: s.Chain,
			})
			if err != nil {
				return err
			}
		}
		n, err := q.EditionSetState(ctx, db.EditionSetStateParams{State: "serving", Number: b.number, Epoch: b.epoch})
		if err == nil && n != 1 {
			err = ErrOvertaken
		}
		return err
	})
}

// replay loads one shard in as many passes as the memory budget asks for.
func (b *build) replay(ctx context.Context, shard journal.Shard) error {
	for {
		state, err := b.shardState(ctx, shard)
		if err != nil {
			return err
		}
		if state.PassesDone >= state.Passes {
			return nil
		}
		err = b.pass(ctx, shard, state)
		if errors.Is(err, errBudget) {
			err = b.morePasses(ctx, state)
		}
		if err != nil {
			return err
		}
	}
}

// shardState captures the head and the number of passes at the first call.
func (b *build) shardState(ctx context.Context, shard journal.Shard) (db.ControlEditionShard, error) {
	pool, err := b.DB.Operator(ctx)
	if err != nil {
		return db.ControlEditionShard{}, err
	}
	facts, err := shard.Facts(ctx)
	if err != nil {
		return db.ControlEditionShard{}, err
	}
	q := db.New(pool)
	passes := int64(facts.Messages)*eventBytesEstimate/int64(b.memoryBytes()) + 1
	err = q.EditionShardInsert(ctx, db.EditionShardInsertParams{
		Edition: b.number, Shard: int32(shard.Number()), Head: int64(facts.LastSeq), Passes: int32(passes),
	})
	if err != nil {
		return db.ControlEditionShard{}, err
	}
	all, err := q.EditionShardList(ctx, b.number)
	if err != nil {
		return db.ControlEditionShard{}, err
	}
	for _, s := range all {
		if int(s.Shard) == shard.Number() {
			return s, nil
		}
	}
	return db.ControlEditionShard{}, fmt.Errorf("no row for shard %d", shard.Number())
}

func (m *Editions) memoryBytes() int {
	if m.MemoryBytes > 0 {
		return m.MemoryBytes
	}
	return memoryBytesDefault
}

// errBudget: the rows of a pass do not fit into memory.
var errBudget = errors.New("memory budget exceeded")

func (b *build) morePasses(ctx context.Context, s db.ControlEditionShard) error {
	pool, err := b.DB.Operator(ctx)
	if err != nil {
		return err
	}
	n, err := db.New(pool).EditionShardSetPasses(ctx, db.EditionShardSetPassesParams{
		Passes: s.Passes * 2, Edition: b.number, Shard: s.Shard, Epoch: b.epoch,
	})
	if err != nil {
		return err
	}
	if n != 1 {
		return fmt.Errorf("%w with %d passes, of which %d are loaded; raise the budget", errBudget, s.Passes, s.PassesDone)
	}
	b.logger().Info("rows do not fit into the memory budget, going on in more passes", "edition", b.number, "passes", s.Passes*2)
	return nil
}

// pass folds one part of the key space from the first event to the head; its rows and its progress commit together.
func (b *build) pass(ctx context.Context, shard journal.Shard, s db.ControlEditionShard) error {
	pool, err := b.DB.OwnerOf(ctx, b.number)
	if err != nil {
		return err
	}
	return pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		loader := rows.NewLoader(ctx, b.Schema, tx)
		digest, chain, err := b.foldPass(ctx, shard, s, loader)
		if err != nil {
			loader.Abort()
			return err
		}
		if err := loader.Close(); err != nil {
			return err
		}
		if err := failpoint.Hit("edition.pass-loaded"); err != nil {
			return err
		}
		n, err := db.New(tx).EditionShardPassDone(ctx, db.EditionShardPassDoneParams{
			EventDigest: digest, Chain: chain, Edition: b.number, Shard: s.Shard, PassesDone: s.PassesDone, Epoch: b.epoch,
		})
		if err == nil && n != 1 {
			err = ErrOvertaken
		}
		return err
	})
}

// foldPass reads the journal up to the head. The first pass also computes the chain; later ones keep it.
func (b *build) foldPass(ctx context.Context, shard journal.Shard, s db.ControlEditionShard, loader *rows.Loader) (digest, chain []byte, err error) {
	set := rows.NewReplay(b.Schema, loader.Append)
	history := History{Chained: s.PassesDone == 0}
	report := Progress{Edition: b.number, Phase: "replay", Shard: shard.Number(), Pass: int(s.PassesDone) + 1, Passes: int(s.Passes), Total: uint64(s.Head)}
	reported := time.Now()
	err = Read(ctx, shard, 0, uint64(s.Head), func(e *envelope.Event) error {
		history.Add(e)
		if e.Seq%1024 == 0 {
			if set.Bytes() > b.memoryBytes()+b.memoryBytes()/2 {
				return errBudget
			}
			if time.Since(reported) > progressEvery {
				report.Done, report.Rows, reported = e.Seq, loader.Rows(), time.Now()
				b.progress(report)
			}
		}
		if s.Passes > 1 && Part(e.Key, int(s.Passes)) != int(s.PassesDone) {
			return nil
		}
		return set.Apply(e, b.Fold)
	})
	if err != nil {
		return nil, nil, err
	}
	if err := loader.Copy(ctx, set); err != nil {
		return nil, nil, err
	}
	report.Done, report.Rows = report.Total, loader.Rows()
	b.progress(report)
	if !history.Chained {
		return s.EventDigest, s.Chain, nil
	}
	return history.Last[:], history.Chain[:], nil
}

// History is the digest of the events read so far.
type History struct {
	Chained bool // false: Add does nothing
	Last    envelope.Digest
	Chain   envelope.Digest
	scratch []byte
}

// Add takes in the next event.
func (h *History) Add(e *envelope.Event) {
	if h.Chained {
		h.Last, h.scratch = e.Digest(h.scratch)
		h.Chain = h.Chain.Chain(h.Last)
	}
}

// Read hands over the events of a shard from after+1 to upto, in order, none left out.
func Read(ctx context.Context, shard journal.Shard, after, upto uint64, each func(*envelope.Event) error) error {
	if after >= upto {
		return nil
	}
	follower, err := shard.Follow(ctx, journal.FollowOptions{After: after, Pull: replayPull})
	if err != nil {
		return fmt.Errorf("read shard %d from %d: %w", shard.Number(), after, err)
	}
	defer follower.Close()
	for {
		batch, err := follower.Next(ctx, replayPull, 0)
		if err != nil {
			return fmt.Errorf("read shard %d: %w", shard.Number(), err)
		}
		for i := range batch {
			if batch[i].Seq > upto {
				return nil
			}
			if err := each(&batch[i]); err != nil {
				return err
			}
			if batch[i].Seq == upto {
				return nil
			}
		}
	}
}

// Part places an entity in one of n parts of the key space, the same one for ever (FNV-1a).
func Part(key envelope.Key, n int) int {
	h := uint64(14695981039346656037)
	for _, s := range [3]string{key.Tenant, key.Entity, key.ID} {
		for i := 0; i < len(s); i++ {
			h = (h ^ uint64(s[i])) * 1099511628211
		}
		h = (h ^ 0xff) * 1099511628211
	}
	h ^= h >> 32
	return int(h % uint64(n))
}
