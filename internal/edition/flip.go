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

// levelWait bounds how long a flip holds the live projector back while the new edition comes level.
const levelWait = 5 * time.Second

// Flip is one shard's change of its live edition.
type Flip struct {
	Shard    int    `json:"shard"`
	Edition  int64  `json:"edition"`
	Previous int64  `json:"previous"`
	Seq      int64  `json:"seq"`
	Reason   string `json:"reason"`
}

// First makes the first edition of a plane live. It does nothing where one is live already.
func (m *Editions) First(ctx context.Context, number int64) error {
	pool, err := m.DB.Operator(ctx)
	if err != nil {
		return err
	}
	for _, shard := range m.Shards {
		_, err := db.New(pool).LiveInsert(ctx, db.LiveInsertParams{Shard: int32(shard.Number()), TenantID: "", Edition: number})
		if err != nil {
			return fmt.Errorf("make edition %d live: %w", number, err)
		}
		err = db.New(pool).EditionShardCaughtUp(ctx, db.EditionShardCaughtUpParams{Edition: number, Shard: int32(shard.Number())})
		if err != nil {
			return fmt.Errorf("make edition %d live: %w", number, err)
		}
	}
	return nil
}

// Cutover makes an edition live, each shard in a transaction of its own. It is refused (see the errors of this
// package) unless the edition is of our shape, serving, verified with a bounded tail behind it, level with the live
// one and holds back no more entities. A shard where it is live already is left alone, so a cutover that stopped
// half-way is simply repeated.
func (m *Editions) Cutover(ctx context.Context, number int64) ([]Flip, error) {
	if err := m.mayServe(ctx, number); err != nil {
		return nil, err
	}
	return m.flipAll(ctx, func(live db.ControlLive) (int64, bool, error) { return number, true, nil }, "cutover")
}

// Rollback makes the previously live edition live again, shard by shard. It needs no new verification: that edition
// was live, and has been kept level since. It is refused when the newest verification of that edition found rows
// that differ.
func (m *Editions) Rollback(ctx context.Context) ([]Flip, error) {
	return m.flipAll(ctx, func(live db.ControlLive) (int64, bool, error) {
		if live.Previous == nil {
			return 0, false, ErrNoStandby
		}
		if err := m.mayServe(ctx, *live.Previous); err != nil {
			return 0, false, err
		}
		return *live.Previous, false, m.notProvenWrong(ctx, *live.Previous, live.Shard)
	}, "rollback")
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

func (m *Editions) flipAll(ctx context.Context, target func(db.ControlLive) (to int64, verified bool, err error), reason string) ([]Flip, error) {
	pool, err := m.DB.Operator(ctx)
	if err != nil {
		return nil, err
	}
	var done []Flip
	for _, shard := range m.Shards {
		var flip *Flip
		err := pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
			live, err := db.New(tx).LiveLock(ctx, db.LiveLockParams{Shard: int32(shard.Number()), TenantID: ""})
			if err != nil {
				return err
			}
			to, mustBeVerified, err := target(live)
			if err != nil || to == live.Edition {
				return err
			}
			flip, err = m.flip(ctx, tx, live, to, mustBeVerified, reason)
			return err
		})
		if err != nil {
			return done, fmt.Errorf("%s of shard %d: %w", reason, shard.Number(), err)
		}
		if flip != nil {
			done = append(done, *flip)
			m.logger().Info(reason, "shard", flip.Shard, "edition", flip.Edition, "previous", flip.Previous, "seq", flip.Seq)
		}
		if err := failpoint.Hit("edition.flipped"); err != nil {
			return done, err
		}
	}
	return done, nil
}

// flip holds the live edition's checkpoint, so that its projector waits for a moment, until the new one is level
// with it, then holds that too and moves the pointer.
func (m *Editions) flip(ctx context.Context, tx pgx.Tx, live db.ControlLive, to int64, mustBeVerified bool, reason string) (*Flip, error) {
	q := db.New(tx)
	verified, err := m.verifiedAt(ctx, q, to, live.Shard)
	if err != nil {
		return nil, err
	}
	if mustBeVerified && verified == nil && m.VerifyMigrations {
		return nil, ErrNotVerified
	}
	old, err := q.CheckpointLock(ctx, db.CheckpointLockParams{Edition: live.Edition, Shard: live.Shard})
	if err != nil {
		return nil, fmt.Errorf("checkpoint of edition %d: %w", live.Edition, err)
	}
	level, err := awaitLevel(ctx, q, to, live.Shard, old.Seq)
	if err != nil {
		return nil, err
	}
	// Both are held still now: what is counted is what is flipped to.
	if err := m.holdsNoMore(ctx, to, live.Edition); err != nil {
		return nil, err
	}
	if mustBeVerified && verified != nil && level.Seq-*verified > m.tailMax() {
		return nil, fmt.Errorf("%w (verified at %d, now at %d)", ErrTail, *verified, level.Seq)
	}
	n, err := q.LiveFlip(ctx, db.LiveFlipParams{Edition: to, Shard: live.Shard, TenantID: live.TenantID, Epoch: live.Epoch})
	if err != nil {
		return nil, err
	}
	if n != 1 {
		return nil, fmt.Errorf("the live edition changed meanwhile: %w", ErrState)
	}
	if err := failpoint.Hit("edition.before-flip-commit"); err != nil {
		return nil, err
	}
	if mustBeVerified && verified == nil {
		err = q.SettingSet(ctx, db.SettingSetParams{Name: "unverified_cutover", Value: fmt.Sprintf("edition %d", to)})
		if err != nil {
			return nil, err
		}
	}
	previous := live.Edition
	err = q.FlipInsert(ctx, db.FlipInsertParams{
		Shard: live.Shard, TenantID: live.TenantID, Edition: to, Previous: &previous, Seq: level.Seq, Verified: verified != nil, Reason: reason,
	})
	return &Flip{int(live.Shard), to, previous, level.Seq, reason}, err
}

func (m *Editions) tailMax() int64 {
	if m.TailMax > 0 {
		return m.TailMax
	}
	return tailMaxDefault
}

func (m *Editions) verifiedAt(ctx context.Context, q *db.Queries, edition int64, shard int32) (*int64, error) {
	all, err := q.EditionShardList(ctx, edition)
	if err != nil {
		return nil, err
	}
	for _, s := range all {
		if s.Shard == shard && s.State == "verified" {
			return s.VerifiedSeq, nil
		}
	}
	return nil, nil
}

func (m *Editions) holdsNoMore(ctx context.Context, to, live int64) error {
	heldNew, err := m.held(ctx, to)
	if err != nil {
		return err
	}
	heldLive, err := m.held(ctx, live)
	if err != nil {
		return err
	}
	if heldNew > heldLive {
		return fmt.Errorf("%w: %d against %d", ErrHoldsMore, heldNew, heldLive)
	}
	return nil
}

// awaitLevel waits until an edition is at least at seq and returns its checkpoint, locked.
func awaitLevel(ctx context.Context, q *db.Queries, edition int64, shard int32, seq int64) (db.ControlCheckpoint, error) {
	ctx, cancel := context.WithTimeout(ctx, levelWait)
	defer cancel()
	params := db.CheckpointGetParams{Edition: edition, Shard: shard}
	for {
		cp, err := q.CheckpointGet(ctx, params)
		if err != nil {
			return cp, fmt.Errorf("checkpoint of edition %d: %w", edition, err)
		}
		if cp.Stopped != nil {
			return cp, fmt.Errorf("edition %d is stopped (%s): %w", edition, *cp.Stopped, ErrState)
		}
		if cp.Seq >= seq {
			return q.CheckpointLock(ctx, db.CheckpointLockParams(params))
		}
		select {
		case <-ctx.Done():
			return cp, fmt.Errorf("%w: at %d, the live one at %d", ErrBehind, cp.Seq, seq)
		case <-time.After(2 * time.Millisecond):
		}
	}
}

// Resume takes a stop state off an edition's checkpoints, by its name: an operator has found out what happened to
// the journal or to the database and says that it may go on. The continuity check runs again at once, so a state
// that still holds comes back. It is refused when no shard of the edition is in that state.
func (m *Editions) Resume(ctx context.Context, number int64, state string) error {
	pool, err := m.DB.Operator(ctx)
	if err != nil {
		return err
	}
	resumed := int64(0)
	for _, shard := range m.Shards {
		n, err := db.New(pool).CheckpointResume(ctx, db.CheckpointResumeParams{Edition: number, Shard: int32(shard.Number()), Stopped: state})
		if err != nil {
			return fmt.Errorf("resume edition %d: %w", number, err)
		}
		resumed += n
	}
	if resumed == 0 {
		return fmt.Errorf("edition %d is not stopped by %q, see `refold status`: %w", number, state, ErrState)
	}
	return nil
}

// Retire removes an edition for good. It is refused while the edition is live anywhere, and until cursorLife has
// passed since it last was. After a crash it is simply repeated.
func (m *Editions) Retire(ctx context.Context, number int64, cursorLife time.Duration) error {
	pool, err := m.DB.Operator(ctx)
	if err != nil {
		return err
	}
	err = pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error { return m.markRetired(ctx, tx, number, cursorLife) })
	if err != nil {
		return fmt.Errorf("retire edition %d: %w", number, err)
	}
	if err := failpoint.Hit("edition.retired"); err != nil {
		return err
	}
	return m.DB.DropEdition(ctx, number)
}

func (m *Editions) markRetired(ctx context.Context, tx pgx.Tx, number int64, cursorLife time.Duration) error {
	q := db.New(tx)
	if _, err := tx.Exec(ctx, "LOCK TABLE control.live IN SHARE ROW EXCLUSIVE MODE"); err != nil {
		return err
	}
	e, err := q.EditionByNumber(ctx, number)
	if errors.Is(err, pgx.ErrNoRows) {
		return ErrNoEdition
	}
	if err != nil || e.State == "retired" {
		return err
	}
	lives, err := q.LiveList(ctx)
	if err != nil {
		return err
	}
	for _, l := range lives {
		if l.Edition == number {
			return ErrLive
		}
	}
	left, err := q.FlipLastAway(ctx, number)
	if err != nil {
		return err
	}
	if wait := cursorLife - time.Since(left); wait > 0 {
		return fmt.Errorf("%w for another %s", ErrCursors, wait.Round(time.Second))
	}
	epoch, err := q.EditionClaim(ctx, number) // a builder that still works on it is fenced
	if err != nil {
		return err
	}
	if _, err := q.EditionSetState(ctx, db.EditionSetStateParams{State: "retired", Number: number, Epoch: epoch}); err != nil {
		return err
	}
	if err := q.CheckpointDelete(ctx, number); err != nil {
		return err
	}
	for _, shard := range m.Shards {
		params := db.EditionShardSetStateParams{State: "retired", Edition: number, Shard: int32(shard.Number())}
		if _, err := q.EditionShardSetState(ctx, params); err != nil {
			return err
		}
	}
	_, err = tx.Exec(ctx, "UPDATE control.live SET previous = NULL WHERE previous = $1", number)
	return err
}
