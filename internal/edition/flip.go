package edition

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/refold-dev/refold/internal/failpoint"
	"github.com/refold-dev/refold/internal/postgres"
	"github.com/refold-dev/refold/internal/postgres/db"
)

func schemaName(number int64) string { return postgres.SchemaName(number) }

// Bounds of a flip. Nothing is held while an edition comes near the live one; then the live projector is held back
// for a moment, again and again until the rest is folded in that moment.
const (
	nearWait   = time.Minute
	nearEnough = 500 // events
	holdMax    = time.Second
	holdsMax   = 10
	levelPoll  = 2 * time.Millisecond
	nearPoll   = 20 * time.Millisecond
)

// Flip is one change of a live pointer.
type Flip struct {
	Shard    int    `json:"shard"`
	Tenant   string `json:"tenant,omitempty"` // empty: all tenants of the shard without a pointer of their own
	Edition  int64  `json:"edition"`
	Previous int64  `json:"previous"`
	Seq      int64  `json:"seq"`
	Reason   string `json:"reason"`
}

// Reasons of a flip.
const (
	reasonFirst    = "first"
	reasonCutover  = "cutover"
	reasonRollback = "rollback"
	reasonCanary   = "canary"
)

// First makes the first edition of a plane live. It does nothing where one is live already.
func (m *Editions) First(ctx context.Context, number int64) error {
	pool, err := m.DB.Operator(ctx)
	if err != nil {
		return err
	}
	for _, shard := range m.Shards {
		err := pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error { return m.first(ctx, tx, number, int32(shard.Number())) })
		if err != nil {
			return fmt.Errorf("make edition %d live in shard %d: %w", number, shard.Number(), err)
		}
	}
	return nil
}

func (m *Editions) first(ctx context.Context, tx pgx.Tx, number int64, shard int32) error {
	q := db.New(tx)
	n, err := q.LiveInsert(ctx, db.LiveInsertParams{Shard: shard, TenantID: "", Edition: number})
	if err != nil || n == 0 {
		return err
	}
	cp, err := q.CheckpointGet(ctx, db.CheckpointGetParams{Edition: number, Shard: shard})
	if err != nil {
		return err
	}
	if err := q.FlipInsert(ctx, db.FlipInsertParams{Shard: shard, TenantID: "", Edition: number, Seq: cp.Seq, Reason: reasonFirst}); err != nil {
		return err
	}
	if err := q.EditionShardCaughtUp(ctx, db.EditionShardCaughtUpParams{Edition: number, Shard: shard}); err != nil {
		return err
	}
	return postgres.FollowLive(ctx, tx)
}

// Cutover makes an edition live, each shard in a transaction of its own. It is refused (see the errors of this
// package) unless the edition is of our shape, serving, verified with a bounded tail behind it, level with the live
// one and holds back no more entities. A shard where it is live already is left alone, so a cutover that stopped
// half-way is simply repeated.
func (m *Editions) Cutover(ctx context.Context, number int64) ([]Flip, error) {
	if err := m.mayServe(ctx, number); err != nil {
		return nil, err
	}
	return m.flipAll(ctx, reasonCutover, func(db.ControlLive) (int64, error) { return number, nil })
}

// Rollback makes the previously live edition live again, shard by shard. It needs no new verification: that edition
// was live, and is kept level until it is retired. It is refused when the newest verification of that edition found
// rows that differ, and with a *HoldsMoreError when it holds back entities that the live one serves, because the
// journal has kinds of events by now which the code of that edition cannot fold. One that stopped half-way is simply
// repeated; a cutover that stopped half-way is undone.
func (m *Editions) Rollback(ctx context.Context) ([]Flip, error) {
	number, err := m.Standby(ctx)
	if err != nil {
		return nil, fmt.Errorf("rollback: %w", err)
	}
	if err := m.mayServe(ctx, number); err != nil {
		return nil, fmt.Errorf("rollback: %w", err)
	}
	return m.flipAll(ctx, reasonRollback, func(live db.ControlLive) (int64, error) {
		if live.Edition == number {
			return number, nil
		}
		return number, m.notProvenWrong(ctx, number, live.Shard)
	})
}

// Standby returns the edition that a rollback goes to: the one that was live before in all shards. While shards stand
// on different editions, a flip has stopped half-way: a rollback is then finished, a cutover undone.
func (m *Editions) Standby(ctx context.Context) (int64, error) {
	pool, err := m.DB.Operator(ctx)
	if err != nil {
		return 0, err
	}
	q := db.New(pool)
	all, err := q.LiveList(ctx)
	if err != nil {
		return 0, fmt.Errorf("live editions: %w", err)
	}
	lives, previous := map[int64]bool{}, map[int64]bool{}
	for _, l := range all {
		if l.TenantID == "" && l.Previous != nil {
			previous[*l.Previous] = true
		}
		if l.TenantID == "" {
			lives[l.Edition] = true
		}
	}
	if len(lives) == 1 {
		for number := range previous {
			if len(previous) == 1 {
				return number, nil
			}
			return 0, fmt.Errorf("the shards did not stand on one edition before: cut over to one by its number: %w", ErrState)
		}
		return 0, ErrNoStandby
	}
	last, err := q.FlipLast(ctx)
	switch {
	case errors.Is(err, pgx.ErrNoRows), err == nil && last.Previous == nil:
		return 0, ErrNoStandby
	case err != nil:
		return 0, fmt.Errorf("last flip: %w", err)
	case last.Reason == reasonRollback:
		return last.Edition, nil
	}
	return *last.Previous, nil
}

// notProvenWrong refuses an edition whose newest verification was not clean.
func (m *Editions) notProvenWrong(ctx context.Context, number int64, shard int32) error {
	pool, err := m.DB.Operator(ctx)
	if err != nil {
		return err
	}
	latest, err := db.New(pool).VerificationLatest(ctx, db.VerificationLatestParams{Edition: number, Shard: shard})
	if errors.Is(err, pgx.ErrNoRows) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("verification of edition %d: %w", number, err)
	}
	if !latest.Clean {
		return fmt.Errorf("edition %d was found to differ from the journal at %d: %w", number, latest.Seq, ErrNotVerified)
	}
	return nil
}

func (m *Editions) mayServe(ctx context.Context, number int64) error {
	pool, err := m.DB.Operator(ctx)
	if err != nil {
		return err
	}
	e, err := db.New(pool).EditionByNumber(ctx, number)
	if errors.Is(err, pgx.ErrNoRows) {
		return fmt.Errorf("%w: %d", ErrNoEdition, number)
	}
	switch {
	case err != nil:
		return fmt.Errorf("edition %d: %w", number, err)
	case e.Shape != m.Shape:
		return fmt.Errorf("edition %d: %w", number, ErrShape)
	case e.State != "serving":
		return fmt.Errorf("edition %d is %s: %w", number, e.State, ErrState)
	}
	return nil
}

// flipAll moves the pointer of every shard to what target says, given the pointer as it is. What is refused in one shard
// is refused in all: half of the tenants on another edition is what nobody asked for.
func (m *Editions) flipAll(ctx context.Context, reason string, target func(db.ControlLive) (int64, error)) ([]Flip, error) {
	var done []Flip
	var changes []change
	for _, shard := range m.Shards {
		one := change{Editions: m, shard: int32(shard.Number()), reason: reason, target: target}
		if _, _, err := one.admitted(ctx); err != nil {
			return nil, fmt.Errorf("%s of shard %d: %w", reason, shard.Number(), err)
		}
		changes = append(changes, one)
	}
	for i, shard := range m.Shards {
		flip, err := changes[i].run(ctx)
		if err != nil {
			return done, fmt.Errorf("%s of shard %d: %w", reason, shard.Number(), err)
		}
		if flip != nil {
			done = append(done, *flip)
		}
		if err := failpoint.Hit("edition.flipped"); err != nil {
			return done, err
		}
	}
	return done, nil
}

// change is a flip under way: of a shard, or of one tenant in it.
type change struct {
	*Editions
	shard  int32
	tenant string
	reason string
	target func(db.ControlLive) (int64, error)
}

// run flips; nil when the pointer is there already.
func (c *change) run(ctx context.Context) (*Flip, error) {
	pool, err := c.DB.Operator(ctx)
	if err != nil {
		return nil, err
	}
	// What takes time and what may be refused comes first, while nothing is held.
	from, to, err := c.admitted(ctx)
	if err != nil || to == from {
		return nil, err
	}
	if err := c.near(ctx, db.New(pool), to, from); err != nil {
		return nil, err
	}
	var flip *Flip
	for range holdsMax {
		err = pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) (err error) {
			flip, err = c.try(ctx, tx)
			return err
		})
		if !errors.Is(err, ErrBehind) {
			break
		}
	}
	if err != nil {
		return nil, err
	}
	if flip != nil {
		c.logger().Info(c.reason, "shard", flip.Shard, "tenant", flip.Tenant, "edition", flip.Edition, "previous", flip.Previous, "seq", flip.Seq)
	}
	return flip, nil
}

// admitted says from which edition to which the change goes, unless that is refused; the same twice when the pointer is
// there already.
func (c *change) admitted(ctx context.Context) (from, to int64, err error) {
	pool, err := c.DB.Operator(ctx)
	if err != nil {
		return 0, 0, err
	}
	live, err := c.pointer(ctx, db.New(pool))
	if err != nil {
		return 0, 0, err
	}
	to, err = c.target(live)
	if err != nil || to == live.Edition {
		return live.Edition, live.Edition, err
	}
	return live.Edition, to, c.admits(ctx, to, live.Edition)
}

// yardstick is what an edition is held against to take over from the live one.
type yardstick struct {
	// seq is with what it must be level.
	seq int64
	// past: the live edition is of an incarnation that was given up, and counts events that the journal does not hold.
	// The end of the journal takes its place, and it is no measure for anything else: not even a rollback from it goes to
	// rows that were not verified.
	past bool
}

// yardstick compares what two checkpoints stand on. An edition of an earlier incarnation than the live one, or of another
// journal, never takes over.
func (c *change) yardstick(ctx context.Context, live, to db.ControlCheckpoint) (yardstick, error) {
	switch {
	case live.JournalID != to.JournalID || to.Incarnation < live.Incarnation:
		return yardstick{}, fmt.Errorf("edition %d: %w", to.Edition, ErrPast)
	case to.Incarnation == live.Incarnation:
		return yardstick{seq: live.Seq}, nil
	}
	facts, err := c.Shards[c.shard].Facts(ctx)
	if err != nil {
		return yardstick{}, err
	}
	if facts.JournalID != to.JournalID || int64(facts.Incarnation) != to.Incarnation {
		return yardstick{}, fmt.Errorf("edition %d: %w", to.Edition, ErrPast)
	}
	return yardstick{seq: int64(facts.LastSeq), past: true}, nil
}

// yardstickNow is the yardstick of two editions, with nothing held.
func (c *change) yardstickNow(ctx context.Context, q *db.Queries, live, to int64) (yardstick, error) {
	from, err := q.CheckpointGet(ctx, db.CheckpointGetParams{Edition: live, Shard: c.shard})
	if err != nil {
		return yardstick{}, fmt.Errorf("checkpoint of edition %d: %w", live, err)
	}
	cp, err := checkpointOf(ctx, q, to, c.shard)
	if err != nil {
		return yardstick{}, err
	}
	return c.yardstick(ctx, from, cp)
}

// pointer is the row that the change begins from: the tenant's own, else the one of its shard.
func (c *change) pointer(ctx context.Context, q *db.Queries) (db.ControlLive, error) {
	all, err := q.LiveList(ctx)
	if err != nil {
		return db.ControlLive{}, err
	}
	var found *db.ControlLive
	for i, l := range all { // the shard's own row comes before those of its tenants
		if l.Shard == c.shard && (l.TenantID == "" || l.TenantID == c.tenant) {
			found = &all[i]
		}
	}
	if found == nil {
		return db.ControlLive{}, fmt.Errorf("no edition is live yet: %w", ErrState)
	}
	return *found, nil
}

// admits refuses what needs no position to be refused.
func (c *change) admits(ctx context.Context, to, live int64) error {
	pool, err := c.DB.Operator(ctx)
	if err != nil {
		return err
	}
	by, err := c.yardstickNow(ctx, db.New(pool), live, to)
	if err != nil {
		return err
	}
	if (c.reason != reasonRollback || by.past) && c.VerifyMigrations {
		verified, err := c.verifiedAt(ctx, db.New(pool), to, c.shard)
		if errors.Is(err, ErrUnsigned) {
			return fmt.Errorf("%w (%w)", ErrNotVerified, err)
		}
		if err != nil {
			return err
		}
		if verified == nil {
			return ErrNotVerified
		}
	}
	if by.past {
		return nil
	}
	return c.holdsNoMore(ctx, to, live)
}

// near waits until an edition is about level with the live one.
func (c *change) near(ctx context.Context, q *db.Queries, to, live int64) error {
	ctx, cancel := context.WithTimeout(ctx, nearWait)
	defer cancel()
	var behind error // as it was found last: a time-out in the middle of a question is no other answer
	for {
		by, err := c.yardstickNow(ctx, q, live, to)
		var cp db.ControlCheckpoint
		if err == nil {
			cp, err = checkpointOf(ctx, q, to, c.shard)
		}
		if err != nil {
			if ctx.Err() != nil && behind != nil {
				return behind
			}
			return err
		}
		if cp.Seq+nearEnough >= by.seq {
			return nil
		}
		behind = fmt.Errorf("%w: at %d, the live one at %d", ErrBehind, cp.Seq, by.seq)
		select {
		case <-ctx.Done():
			return behind
		case <-time.After(nearPoll):
		}
	}
}

// try holds the live edition's checkpoint, so that its projector waits for a moment, until the new one is level
// with it, then holds that too and moves the pointer. ErrBehind when the moment was too short.
func (c *change) try(ctx context.Context, tx pgx.Tx) (*Flip, error) {
	q := db.New(tx)
	// Every change in a shard goes through the row of the shard, a tenant's own as well.
	if _, err := q.LiveLock(ctx, db.LiveLockParams{Shard: c.shard, TenantID: ""}); err != nil {
		return nil, err
	}
	live, err := c.pointer(ctx, q)
	if err != nil {
		return nil, err
	}
	to, err := c.target(live)
	if err != nil || to == live.Edition {
		return nil, err
	}
	old, err := q.CheckpointLock(ctx, db.CheckpointLockParams{Edition: live.Edition, Shard: c.shard})
	if err != nil {
		return nil, fmt.Errorf("checkpoint of edition %d: %w", live.Edition, err)
	}
	cp, err := checkpointOf(ctx, q, to, c.shard)
	if err != nil {
		return nil, err
	}
	by, err := c.yardstick(ctx, old, cp)
	if err != nil {
		return nil, err
	}
	level, err := awaitLevel(ctx, q, to, c.shard, by.seq)
	if err != nil {
		return nil, err
	}
	if level.Incarnation != cp.Incarnation {
		return nil, fmt.Errorf("edition %d was reconciled meanwhile: %w", to, ErrState)
	}
	// Both are held still now: what is counted is what is flipped to.
	if !by.past {
		if err := c.holdsNoMore(ctx, to, live.Edition); err != nil {
			return nil, err
		}
	}
	verified, err := c.verifiedAt(ctx, q, to, c.shard)
	if err != nil && !errors.Is(err, ErrUnsigned) { // which is not verified
		return nil, err
	}
	if err := c.proven(verified, level.Seq, by.past); err != nil {
		return nil, err
	}
	if err := c.move(ctx, q, live, to); err != nil {
		return nil, err
	}
	if err := failpoint.Hit("edition.before-flip-commit"); err != nil {
		return nil, err
	}
	return c.record(ctx, tx, live.Edition, to, level.Seq, verified != nil)
}

// proven refuses rows that were not verified, or too long ago. A rollback goes to rows that were live, unless it is from
// a past that was given up.
func (c *change) proven(verified *int64, seq int64, past bool) error {
	switch {
	case c.reason == reasonRollback && !past:
		return nil
	case verified == nil && c.VerifyMigrations:
		return ErrNotVerified
	case verified != nil && seq-*verified > c.tailMax():
		return fmt.Errorf("%w (verified at %d, now at %d)", ErrTail, *verified, seq)
	}
	return nil
}

// move changes the pointer.
func (c *change) move(ctx context.Context, q *db.Queries, live db.ControlLive, to int64) error {
	if c.tenant == "" {
		n, err := q.LiveFlip(ctx, db.LiveFlipParams{Edition: to, Shard: c.shard, TenantID: "", Epoch: live.Epoch})
		if err == nil && n != 1 {
			err = fmt.Errorf("the live edition changed meanwhile: %w", ErrState)
		}
		if err != nil {
			return err
		}
		return q.LiveTenantsJoin(ctx, db.LiveTenantsJoinParams{Shard: c.shard, Edition: to})
	}
	if _, err := q.LiveTenantDelete(ctx, db.LiveTenantDeleteParams{Shard: c.shard, TenantID: c.tenant}); err != nil {
		return err
	}
	if c.reason == reasonRollback {
		return nil // the tenant follows its shard again
	}
	_, err := q.LiveTenantInsert(ctx, db.LiveTenantInsertParams{Shard: c.shard, TenantID: c.tenant, Edition: to, Previous: live.Edition})
	return err
}

func (c *change) record(ctx context.Context, tx pgx.Tx, previous, to, seq int64, verified bool) (*Flip, error) {
	q := db.New(tx)
	if !verified && c.reason != reasonRollback {
		err := q.SettingSet(ctx, db.SettingSetParams{Name: "unverified_cutover", Value: fmt.Sprintf("edition %d", to)})
		if err != nil {
			return nil, err
		}
	}
	err := q.FlipInsert(ctx, db.FlipInsertParams{
		Shard: c.shard, TenantID: c.tenant, Edition: to, Previous: &previous, Seq: seq, Verified: verified, Reason: c.reason,
	})
	if err != nil {
		return nil, err
	}
	return &Flip{Shard: int(c.shard), Tenant: c.tenant, Edition: to, Previous: previous, Seq: seq, Reason: c.reason}, postgres.FollowLive(ctx, tx)
}

func (m *Editions) tailMax() int64 {
	if m.TailMax > 0 {
		return m.TailMax
	}
	return tailMaxDefault
}

// verifiedAt is up to where an edition of our shape was verified; nil = it was not. It fails with ErrUnsigned where only the
// control tables say so.
func (m *Editions) verifiedAt(ctx context.Context, q *db.Queries, edition int64, shard int32) (*int64, error) {
	all, err := q.EditionShardList(ctx, edition)
	if err != nil {
		return nil, err
	}
	for _, s := range all {
		if s.Shard == shard && s.State == "verified" {
			return signed(m.Signer, edition, shard, m.Shape, s.VerifiedSeq, s.Mac)
		}
	}
	return nil, nil
}

// checkpointOf returns the checkpoint of an edition that is not stopped.
func checkpointOf(ctx context.Context, q *db.Queries, edition int64, shard int32) (db.ControlCheckpoint, error) {
	cp, err := q.CheckpointGet(ctx, db.CheckpointGetParams{Edition: edition, Shard: shard})
	if err != nil {
		return cp, fmt.Errorf("checkpoint of edition %d: %w", edition, err)
	}
	if cp.Stopped != nil {
		return cp, fmt.Errorf("edition %d is stopped (%s): %w", edition, *cp.Stopped, ErrState)
	}
	return cp, nil
}

// awaitLevel waits until an edition is at least at seq and returns its checkpoint, locked.
func awaitLevel(ctx context.Context, q *db.Queries, edition int64, shard int32, seq int64) (db.ControlCheckpoint, error) {
	deadline := time.After(holdMax)
	for {
		cp, err := checkpointOf(ctx, q, edition, shard)
		if err != nil {
			return cp, err
		}
		if cp.Seq >= seq {
			return q.CheckpointLock(ctx, db.CheckpointLockParams{Edition: edition, Shard: shard})
		}
		select {
		case <-ctx.Done():
			return cp, ctx.Err()
		case <-deadline:
			return cp, fmt.Errorf("%w: at %d, the live one at %d", ErrBehind, cp.Seq, seq)
		case <-time.After(levelPoll):
		}
	}
}
