package edition

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/refold-dev/refold/events/envelope"
	"github.com/refold-dev/refold/internal/failpoint"
	"github.com/refold-dev/refold/internal/journal"
	"github.com/refold-dev/refold/internal/postgres"
	"github.com/refold-dev/refold/internal/postgres/db"
	"github.com/refold-dev/refold/internal/rows"
)

// Progress is where a build stands. Done and Total are of the phase: Done is Total only once the phase is done for good.
type Progress struct {
	Edition int64
	Phase   string // "replay", "load", "index", "catch up"
	Shard   int
	Pass    int // 1..Passes
	Passes  int
	Done    uint64 // events read in this pass, entities loaded, or the checkpoint
	Total   uint64 // the head captured at the start, all entities of the pass, or the head of the journal now
	Rows    int64  // rows handed to the database in this pass
	// Part is how much of the whole build is done, or of what there was to catch up; 1 only when all of it is.
	Part float64
	Rate float64 // events a second, of late; 0 while it is not known
	// Left is how long the rest of the build, or of catching up, will take; 0 while it is not known.
	Left     time.Duration
	HeldBack time.Duration // how long the build was made to wait for the live edition
	Note     string        // what an operator should know; empty = nothing
}

// gentlePull is how many events a replay asks for at once while it makes way for somebody: the journal's server sends half
// of it at a stretch.
const gentlePull = 1000

// progressEvery is how often a running phase reports.
const progressEvery = 200 * time.Millisecond

// eventBytesEstimate is what an event adds to the working set at most, on average.
const eventBytesEstimate = 700

// Build makes a new edition by replaying all shards, or goes on with the one that was begun and not finished. On
// return it has keys, policies and a checkpoint at the head captured at the start, and is ready to be kept level by
// projectors; it is not live. A build can be cancelled or killed at any point and repeated: whole passes are kept.
// It makes way for the live edition (LagMax) and is refused before anything is made when the disk will not suffice
// (ErrDisk). progress is called from one goroutine at a time.
func (m *Editions) Build(ctx context.Context, progress func(Progress)) (int64, error) {
	if progress == nil {
		progress = func(Progress) {}
	}
	note, err := m.preflight(ctx)
	if err != nil {
		return 0, fmt.Errorf("build an edition: %w", err)
	}
	if note != "" {
		m.logger().Info(note)
	}
	number, epoch, err := m.begin(ctx)
	if err != nil {
		return 0, err
	}
	b := &build{Editions: m, number: number, epoch: epoch, throttle: newThrottle(m.Rate)}
	b.track = tracker{report: progress, throttle: b.throttle, number: number, note: note}
	if err := b.governed(ctx); err != nil {
		return number, fmt.Errorf("build edition %d: %w", number, b.because(ctx, err))
	}
	return number, nil
}

// governed runs the build, and beside it what holds it back.
func (b *build) governed(ctx context.Context) error {
	governing, stop := context.WithCancel(ctx)
	var governor sync.WaitGroup
	if !b.NotHeldBack {
		b.throttle.setShare(shareFirst)
	}
	governor.Go(func() { b.govern(governing, b.throttle) })
	defer governor.Wait()
	defer stop()
	return b.run(ctx)
}

// because finds the cause of a failure: a builder that was overtaken may stumble over its successor's work first.
func (b *build) because(ctx context.Context, err error) error {
	ctx = context.WithoutCancel(ctx)
	if postgres.IsFull(err) {
		err = fmt.Errorf("%w: %w", ErrDisk, err)
		if reclaimErr := b.DB.Reclaim(ctx, b.number); reclaimErr != nil {
			b.logger().Warn("cannot give back the space of what was rolled back", "edition", b.number, "error", reclaimErr)
		}
	}
	pool, poolErr := b.DB.Operator(ctx)
	if poolErr != nil {
		return err
	}
	e, getErr := db.New(pool).EditionByNumber(ctx, b.number)
	switch {
	case getErr != nil || e.Epoch == b.epoch:
		return err
	case e.State == "retired":
		// What this builder made behind the back of the one who gave the edition up, it takes away again.
		if dropErr := b.DB.DropEdition(ctx, b.number); dropErr != nil {
			b.logger().Warn("cannot remove what is left of an aborted edition: abort it again", "edition", b.number, "error", dropErr)
		}
		return fmt.Errorf("%w (%w)", ErrAborted, err)
	case errors.Is(err, ErrOvertaken):
		return err
	}
	return fmt.Errorf("%w: %w", ErrOvertaken, err)
}

// begin resumes the newest unfinished edition of our shape, or adds one. Who worked on it before is fenced, and its
// sessions are ended: frozen, they would hold locks that the keys have to wait for.
func (m *Editions) begin(ctx context.Context) (number, epoch int64, err error) {
	err = m.DB.Unblocked(ctx, func(tx pgx.Tx) error {
		number = 0
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
		if epoch, err = q.EditionClaim(ctx, number); err != nil {
			return err
		}
		// Before the commit: nobody else can have claimed it meanwhile, so nobody but predecessors is ended.
		_, err = m.DB.Evict(ctx, number)
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
	throttle *throttle
	track    tracker
	indexing time.Duration
}

func (b *build) run(ctx context.Context) error {
	if err := b.DB.CreateEdition(ctx, b.number); err != nil {
		return err
	}
	if err := failpoint.Hit("edition.created"); err != nil {
		return err
	}
	if err := b.plan(ctx); err != nil {
		return err
	}
	for _, shard := range b.Shards {
		if err := b.replay(ctx, shard); err != nil {
			return fmt.Errorf("shard %d: %w", shard.Number(), err)
		}
	}
	if err := failpoint.Hit("edition.loaded"); err != nil {
		return err
	}
	if err := b.index(ctx); err != nil {
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
	b.track.finish()
	return failpoint.Hit("edition.published")
}

// plan captures the heads of all shards, so that what there is to do is known from the start.
func (b *build) plan(ctx context.Context) error {
	var all []db.ControlEditionShard
	for _, shard := range b.Shards {
		state, err := b.shardState(ctx, shard)
		if err != nil {
			return fmt.Errorf("shard %d: %w", shard.Number(), err)
		}
		if err := continues(ctx, shard, state); err != nil {
			return fmt.Errorf("shard %d: %w", shard.Number(), err)
		}
		all = append(all, state)
	}
	last, err := b.lastFigures(ctx)
	if err != nil {
		return err
	}
	b.track.plan(all, last)
	return nil
}

// continues refuses to go on with a build whose head the journal does not hold: what was loaded is of another past, and
// its end would never come.
func continues(ctx context.Context, shard journal.Shard, s db.ControlEditionShard) error {
	facts, err := shard.Facts(ctx)
	if err != nil {
		return err
	}
	if uint64(s.Head) > facts.LastSeq {
		return fmt.Errorf("it builds up to %d, the journal ends at %d: %w, or abort it", s.Head, facts.LastSeq, ErrPast)
	}
	if s.PassesDone == 0 || s.Head == 0 {
		return nil
	}
	e, err := shard.At(ctx, uint64(s.Head))
	if err != nil {
		return err
	}
	if digest, _ := e.Digest(nil); !bytes.Equal(digest[:], s.EventDigest) {
		return fmt.Errorf("the journal holds another event at %d than the one it has loaded: %w, or abort it", s.Head, ErrPast)
	}
	return nil
}

// indexAttempts bounds how often the keys are begun anew because somebody withheld a lock.
const indexAttempts = 5

// index makes keys, indexes and policies. A builder that was overtaken between two passes may hold locks once more.
func (b *build) index(ctx context.Context) error {
	live, err := b.isLive(ctx)
	if err != nil {
		return err
	}
	if err := b.owned(ctx); err != nil {
		return err
	}
	started := time.Now()
	stop := b.track.index()
	defer stop()
	for range indexAttempts {
		err = b.DB.FinishEdition(ctx, b.number, live && !b.NotHeldBack)
		if !postgres.IsLockTimeout(err) {
			break
		}
		if _, err := b.DB.Evict(ctx, b.number); err != nil {
			return err
		}
	}
	b.indexing = time.Since(started)
	return err
}

// owned returns ErrOvertaken when somebody else has claimed the edition.
func (b *build) owned(ctx context.Context) error {
	pool, err := b.DB.Operator(ctx)
	if err != nil {
		return err
	}
	e, err := db.New(pool).EditionByNumber(ctx, b.number)
	if err == nil && e.Epoch != b.epoch {
		err = ErrOvertaken
	}
	return err
}

// sound refuses an edition whose tables are not those of the code or not protected.
func (b *build) sound(ctx context.Context) error {
	if err := b.CheckShape(ctx, b.number); err != nil {
		return err
	}
	audit, err := b.DB.Audit(ctx, b.number)
	if err != nil {
		return err
	}
	return safe(audit)
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
	size, err := b.DB.Size(ctx, b.number)
	if err != nil {
		return err
	}
	return pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		q := db.New(tx)
		if err := q.BuildFinish(ctx, db.BuildFinishParams{Edition: b.number, IndexMs: b.indexing.Milliseconds(), Bytes: size}); err != nil {
			return err
		}
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
			if err := b.publishKept(ctx, q, s); err != nil {
				return err
			}
		}
		n, err := q.EditionSetState(ctx, db.EditionSetStateParams{State: "serving", Number: b.number, Epoch: b.epoch})
		if err == nil && n != 1 {
			err = ErrOvertaken
		}
		if err != nil {
			return err
		}
		return failpoint.Hit("edition.before-publish")
	})
}

// publishKept hands the digests of a shard over to projectors, if they are complete: a builder that knows none may have
// loaded some of the passes.
func (b *build) publishKept(ctx context.Context, q *db.Queries, s db.ControlEditionShard) error {
	events, err := q.KeptEvents(ctx, db.KeptEventsParams{Edition: b.number, Shard: s.Shard})
	if err != nil {
		return err
	}
	if events != s.Head {
		b.logger().Warn("no digests are kept: another binary has loaded a part", "edition", b.number, "shard", s.Shard, "events", events, "of", s.Head)
		return nil
	}
	return q.KeptShardInsert(ctx, db.KeptShardInsertParams{Edition: b.number, Shard: s.Shard, Seq: s.Head})
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
	passes := int64(facts.Messages)*eventBytesEstimate/int64(b.rowsBytes()) + 1
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

// rowsBytes is the part of the budget that is meant for rows. The rest is for what is read and written meanwhile, and
// for the collector: with next to nothing to spare it would do nothing but collect.
func (m *Editions) rowsBytes() int { return max(m.memoryBytes()-m.memoryBytes()/4, 1) }

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
		if err := b.owned(ctx); err != nil {
			return err
		}
		return fmt.Errorf("%w with %d passes, of which %d are loaded; raise the budget", errBudget, s.Passes, s.PassesDone)
	}
	b.track.replan(s, s.Passes*2)
	b.logger().Info("rows do not fit into the memory budget, going on in more passes", "edition", b.number, "passes", s.Passes*2)
	return nil
}

// pass folds one part of the key space from the first event to the head; its rows and its progress commit together.
func (b *build) pass(ctx context.Context, shard journal.Shard, s db.ControlEditionShard) error {
	if err := b.owned(ctx); err != nil {
		return err
	}
	pool, err := b.DB.OwnerOf(ctx, b.number)
	if err != nil {
		return err
	}
	p := &pass{build: b, shard: shard, state: s, pacer: b.throttle.pacer(), started: time.Now(), waited: b.throttle.waited.time()}
	b.track.pass(s)
	err = pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error { return p.run(ctx, tx) })
	if err == nil {
		b.track.passDone()
	}
	return err
}

// pass is one replay of a shard, for one part of the key space.
type pass struct {
	*build
	shard   journal.Shard
	state   db.ControlEditionShard
	pacer   *pacer
	history History
	ledger  recorder
	started time.Time
	folded  time.Time
	waited  time.Duration // before it
}

func (p *pass) run(ctx context.Context, tx pgx.Tx) error {
	writing := p.throttle.pacer()
	pool, err := p.DB.Operator(ctx)
	if err != nil {
		return err
	}
	key, err := rows.MakeKeptKey(ctx, pool)
	if err != nil {
		return err
	}
	loader := rows.NewLoader(ctx, p.Schema, tx, func(ctx context.Context) error {
		if err := failpoint.Hit("edition.copying"); err != nil {
			return err
		}
		return writing.pause(ctx, 0)
	})
	loader.Keep(key, p.number, p.state.Shard)
	if err := p.fold(ctx, loader); err != nil {
		loader.Abort()
		return err
	}
	if err := loader.Close(); err != nil {
		return err
	}
	if err := failpoint.Hit("edition.pass-loaded"); err != nil {
		return err
	}
	if err := p.record(ctx, db.New(tx), loader.Rows()); err != nil {
		return err
	}
	return loader.FlushKept(ctx, tx) // behind the check that nobody has taken over
}

func (p *pass) pull() int {
	if p.throttle.free() {
		return journal.ReadPull
	}
	return gentlePull
}

// record counts the pass as done, and adds what it took.
func (p *pass) record(ctx context.Context, q *db.Queries, rows int64) error {
	s := p.state
	if p.history.Chained {
		s.EventDigest, s.Chain = p.history.Last[:], p.history.Chain[:]
	}
	n, err := q.EditionShardPassDone(ctx, db.EditionShardPassDoneParams{
		EventDigest: s.EventDigest, Chain: s.Chain, Edition: p.number, Shard: s.Shard, PassesDone: s.PassesDone, Epoch: p.epoch,
	})
	if err == nil && n != 1 {
		err = ErrOvertaken
	}
	if err != nil {
		return err
	}
	if err := p.ledger.write(ctx, q, s); err != nil {
		return err
	}
	took := db.BuildAddParams{
		Edition: p.number, RowsLoaded: rows, ReplayMs: p.folded.Sub(p.started).Milliseconds(), LoadMs: time.Since(p.folded).Milliseconds(),
		HeldBackMs: (p.throttle.waited.time() - p.waited).Milliseconds(),
	}
	if p.history.Chained {
		took.Events = s.Head
	}
	return q.BuildAdd(ctx, took)
}

// fold reads the journal up to the head and hands all rows to the loader. The first pass also computes the chain; later
// ones keep it.
func (p *pass) fold(ctx context.Context, loader *rows.Loader) error {
	set := rows.NewReplay(p.Schema, loader.Append)
	p.history = History{Chained: p.state.PassesDone == 0}
	p.ledger = p.recorder()
	var digest envelope.Digest
	var scratch []byte
	passes, done, every := int(p.state.Passes), int(p.state.PassesDone), p.pacer.every()
	most := p.rowsBytes()
	if done > 0 {
		most = p.memoryBytes() // parts differ a little, and the number of passes is settled now
	}
	err := journal.ReadWith(ctx, p.shard, journal.FollowOptions{Pull: p.pull()}, uint64(p.state.Head), func(e *envelope.Event) error {
		p.history.Add(e)
		if p.history.Chained {
			p.ledger.add(e, &p.history)
		}
		if e.Seq%every == 0 {
			if err := p.pacer.pause(ctx, int(every)); err != nil {
				return err
			}
			if set.Bytes() > most {
				return errBudget
			}
			p.track.read(e.Seq, loader.Rows())
		}
		if passes > 1 && Part(e.Key, passes) != done {
			return nil
		}
		if p.history.Chained {
			digest = p.history.Last
		} else {
			digest, scratch = e.Digest(scratch)
		}
		loader.Count(e, &digest)
		return set.Apply(e, p.Fold)
	})
	if err != nil {
		return err
	}
	p.folded = time.Now()
	p.track.load()
	p.pacer.begin()
	loaded := loader.Rows()
	return loader.Copy(ctx, set, func(entities, total int) error {
		now := loader.Rows()
		err := p.pacer.pause(ctx, int(now-loaded))
		loaded = now
		p.track.loading(entities, total, loaded)
		return err
	})
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
