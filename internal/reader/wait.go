package reader

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/refold-dev/refold/internal/postgres/db"
)

// How often a checkpoint is looked at while somebody waits for it: quickly at first, for most waits are short.
const (
	pollMin = time.Millisecond
	pollMax = 10 * time.Millisecond
)

// place is a checkpoint: one shard of one edition.
type place struct {
	edition int64
	shard   int
}

// waits lets all who wait for one checkpoint share one poll of it.
type waits struct {
	mu      sync.Mutex
	watches map[place]*watch
}

// watch polls one checkpoint as long as somebody waits for it.
type watch struct {
	waiting int // guarded by waits.mu
	stop    context.CancelFunc

	mu      sync.Mutex
	known   *Position     // nil until the first answer
	gone    bool          // the edition was retired
	changed chan struct{} // closed and replaced when known changes
}

// wait returns nil once the rows have reached p, ErrPositionLost, ErrEditionGone, or ErrNotYet when ctx ends first.
func (w *waits) wait(ctx context.Context, at place, pool *pgxpool.Pool, p Position) error {
	shared := w.join(at, pool)
	defer w.leave(at, shared)
	for {
		known, gone, changed := shared.latest()
		if gone {
			return ErrEditionGone
		}
		if known != nil {
			if err := p.reachedBy(*known); !errors.Is(err, ErrNotYet) {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return ErrNotYet
		case <-changed:
		}
	}
}

func (w *waits) join(at place, pool *pgxpool.Pool) *watch {
	w.mu.Lock()
	defer w.mu.Unlock()
	shared := w.watches[at]
	if shared == nil {
		ctx, stop := context.WithCancel(context.Background())
		shared = &watch{stop: stop, changed: make(chan struct{})}
		if w.watches == nil {
			w.watches = map[place]*watch{}
		}
		w.watches[at] = shared
		go shared.poll(ctx, at, pool)
	}
	shared.waiting++
	return shared
}

func (w *waits) leave(at place, shared *watch) {
	w.mu.Lock()
	defer w.mu.Unlock()
	shared.waiting--
	if shared.waiting == 0 {
		shared.stop()
		delete(w.watches, at)
	}
}

func (s *watch) latest() (known *Position, gone bool, changed <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.known, s.gone, s.changed
}

// askMax bounds one question for a checkpoint.
const askMax = 5 * time.Second

// ask does not end with ctx: a query that is cut off costs its connection, and the last waiter often leaves just when the
// next question is under way.
func ask(ctx context.Context, pool *pgxpool.Pool, of db.CheckpointGetParams) (db.ControlCheckpoint, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), askMax)
	defer cancel()
	return db.New(pool).CheckpointGet(ctx, of)
}

func (s *watch) poll(ctx context.Context, at place, pool *pgxpool.Pool) {
	pause := pollMin
	for ctx.Err() == nil {
		checkpoint, err := ask(ctx, pool, db.CheckpointGetParams{Edition: at.edition, Shard: int32(at.shard)})
		// While the database does not answer there is nothing to tell; whoever waits has a deadline.
		if err == nil && s.tell(positionOf(checkpoint)) {
			pause = pollMin
		}
		if errors.Is(err, pgx.ErrNoRows) {
			s.end()
			return
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
		pause = min(2*pause, pollMax)
	}
}

// end tells that the edition has no checkpoint any more.
func (s *watch) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gone = true
	close(s.changed)
	s.changed = make(chan struct{})
}

func (s *watch) tell(p Position) (changed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.known != nil && *s.known == p {
		return false
	}
	s.known = &p
	close(s.changed)
	s.changed = make(chan struct{})
	return true
}
