// Package reader answers questions from the rows of the live edition: as one tenant, through the one door
// postgres.WithTenant, in one snapshot together with the checkpoint that the rows stand on. It can wait until the
// rows have reached a position, and it alone knows how what is handed out (positions, cursors) is sealed.
package reader

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/refold-dev/refold/internal/activity"
	"github.com/refold-dev/refold/internal/postgres"
	"github.com/refold-dev/refold/internal/postgres/db"
)

// WaitMax bounds how long a question waits for a position.
const WaitMax = 30 * time.Second

var (
	// ErrNotFound: there is no such thing, it is deleted, or it is somebody else's; nobody can tell which.
	ErrNotFound = errors.New("not found")
	// ErrNoEdition: no edition of this shard is live yet. Build one, or wait for it.
	ErrNoEdition = errors.New("no edition is live")
	// ErrEditionGone: the edition that a question began on is not there any more. Begin again.
	ErrEditionGone = errors.New("the edition that this began on is gone")
	// ErrNotYet: the rows have not reached the position in the time given. Ask again.
	ErrNotYet = errors.New("the rows have not reached this position yet")
	// ErrSlow: the question took longer than questions of its cost may, on a plane that is busy or of a user who has much.
	// Ask for less, or again later.
	ErrSlow = errors.New("the question took too long")
	// ErrPositionLost: the position belongs to a journal, or to a time of it, that was given up in a restore. Drop it.
	ErrPositionLost = errors.New("this position was lost in a restore")
)

// Editions knows from which edition a tenant is answered, and which others can still be read; *edition.Live is one.
type Editions interface {
	Edition(shard int, tenant string) (number int64, ok bool)
	Serves(shard int, number int64) bool
}

// Pools hands out the connections that may read an edition; *postgres.DB is one.
type Pools interface {
	Reader(ctx context.Context, edition int64) (*pgxpool.Pool, error)
}

// Cost is how much of the database a question takes, and for how long at most.
type Cost int

// The costs.
const (
	Point    Cost = iota // some rows by their keys
	List                 // a page, in the order of an index
	Scan                 // what looks at much that it does not answer with: searches, counts, other orders
	Snapshot             // what goes on for as long as its reader takes; each statement of it as long as a Scan
	CostCount
)

// statementMax bounds each statement of a question.
var statementMax = [CostCount]time.Duration{Point: 5 * time.Second, List: 10 * time.Second, Scan: 20 * time.Second, Snapshot: 30 * time.Second}

// Shares decides when a question may take a connection; *quota.Questions is one.
type Shares interface {
	// Take waits until the caller may have one. An error is returned to the caller as it is; without one leave must be called
	// when the question is over.
	Take(ctx context.Context, c Caller, cost Cost) (leave func(), err error)
}

// Reader answers questions. It is safe for concurrent use.
type Reader struct {
	// Activity takes what is read; nil = that is not noted. Set it before the first question.
	Activity *activity.Recorder
	// Shares lets questions have connections; nil = all at once. Set it before the first question.
	Shares Shares
	// LookedAtMax bounds how many memories a search looks at; 0 = 10,000. Set it before the first question.
	LookedAtMax int

	editions Editions
	pools    Pools
	waits    waits
	gates    gates
}

// New returns a Reader.
func New(editions Editions, pools Pools) *Reader {
	return &Reader{editions: editions, pools: pools}
}

// Caller is for whom a question is answered.
type Caller struct {
	Tenant string
	Shard  int // the tenant's
	User   uuid.UUID
	// App, when not nil, is the app of the user through which is read: only what its access rules allow, and nothing while it
	// is paused or when it is not an app of the user.
	App *uuid.UUID
	// Edition is the one that a question of several pages began on; 0 = the one that answers now. When it is gone the
	// answer is ErrEditionGone: no two pages of one question are of two editions.
	Edition int64
}

// Freshness says how new an answer must be. The zero value takes the rows as they are.
type Freshness struct {
	Least *Position     // nil = whatever is there
	Wait  time.Duration // how long to wait for it, up to WaitMax
}

// Stamp says what an answer rests on.
type Stamp struct {
	Edition  int64
	Position Position
	Age      time.Duration // since the rows last moved; on an idle shard that is no lag
}

// ask runs fn in the snapshot of the live edition, once that is as new as the caller wants it. The snapshot itself is
// compared once more: whatever happened since the wait, no answer is older than asked for.
func (r *Reader) ask(ctx context.Context, c Caller, f Freshness, fn func(*db.Queries) error) (Stamp, error) {
	return r.through(ctx, postgres.Entry{}, Point, c, f, fn)
}

// askOne is ask for one query.
func (r *Reader) askOne(ctx context.Context, c Caller, f Freshness, fn func(*db.Queries) error) (Stamp, error) {
	return r.through(ctx, postgres.Entry{Single: true}, Point, c, f, fn)
}

// list is ask for questions whose plan depends on what is asked. What such a plan looks at is not known before.
func (r *Reader) list(ctx context.Context, c Caller, f Freshness, fn func(*db.Queries) error) (Stamp, error) {
	return r.through(ctx, postgres.Entry{Planned: true}, Scan, c, f, fn)
}

// listOne is list for one query, unless all pages are counted as well.
func (r *Reader) listOne(ctx context.Context, c Caller, f Freshness, counted bool, fn func(*db.Queries) error) (Stamp, error) {
	return r.through(ctx, postgres.Entry{Planned: true, Single: !counted}, Scan, c, f, fn)
}

func (r *Reader) through(ctx context.Context, entry postgres.Entry, cost Cost, c Caller, f Freshness, fn func(*db.Queries) error) (Stamp, error) {
	number, pool, err := r.live(ctx, c)
	if err != nil {
		return Stamp{}, err
	}
	if f.Least != nil && f.Wait > 0 {
		if err := r.await(ctx, place{number, c.Shard}, pool, f); err != nil {
			return Stamp{}, c.retired(err)
		}
	}
	leave, err := r.share(ctx, c, cost)
	if err != nil {
		return Stamp{}, err
	}
	defer leave()
	entry.Tenant, entry.Edition, entry.Shard, entry.StatementMax = c.Tenant, number, c.Shard, statementMax[cost]
	checkpoint, err := postgres.WithTenant(ctx, pool, entry, fn)
	if postgres.IsMissing(err) || errors.Is(err, postgres.ErrNoCheckpoint) { // dropped a moment ago
		return Stamp{}, c.retired(ErrEditionGone)
	}
	if err = tooSlow(err); checkpoint.Edition == 0 {
		return Stamp{}, err
	}
	stamp := Stamp{Edition: number, Position: positionOf(checkpoint), Age: max(0, time.Since(checkpoint.UpdatedAt))}
	if f.Least != nil {
		if err := f.Least.reachedBy(stamp.Position); err != nil {
			return stamp, err
		}
	}
	return stamp, err
}

func (r *Reader) share(ctx context.Context, c Caller, cost Cost) (leave func(), err error) {
	if r.Shares == nil {
		return func() {}, nil
	}
	return r.Shares.Take(ctx, c, cost)
}

// tooSlow tells a statement that took too long from others that failed.
func tooSlow(err error) error {
	if postgres.IsTimeout(err) {
		return fmt.Errorf("%w (%w)", ErrSlow, err)
	}
	return err
}

// Await returns nil once the rows that a caller is answered from have reached f.Least; else ErrNotYet when f.Wait is
// over, or ErrPositionLost, or ErrNoEdition.
func (r *Reader) Await(ctx context.Context, c Caller, f Freshness) error {
	number, pool, err := r.live(ctx, c)
	if err != nil || f.Least == nil {
		return err
	}
	return c.retired(r.await(ctx, place{number, c.Shard}, pool, f))
}

// retired makes an edition that was retired a moment ago no matter of the caller who did not ask for it.
func (c Caller) retired(err error) error {
	if c.Edition == 0 && errors.Is(err, ErrEditionGone) {
		return ErrNoEdition
	}
	return err
}

func (r *Reader) await(ctx context.Context, at place, pool *pgxpool.Pool, f Freshness) error {
	ctx, cancel := context.WithTimeout(ctx, min(f.Wait, WaitMax))
	defer cancel()
	return r.waits.wait(ctx, at, pool, *f.Least)
}

func (r *Reader) live(ctx context.Context, c Caller) (int64, *pgxpool.Pool, error) {
	number, ok := r.editions.Edition(c.Shard, c.Tenant)
	if !ok {
		return 0, nil, ErrNoEdition
	}
	if c.Edition != 0 && c.Edition != number {
		if !r.editions.Serves(c.Shard, c.Edition) {
			return 0, nil, ErrEditionGone
		}
		number = c.Edition
	}
	pool, err := r.pools.Reader(ctx, number)
	return number, pool, err
}

func absent(err error) error {
	if errors.Is(err, pgx.ErrNoRows) {
		return ErrNotFound
	}
	return err
}
