package reader

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/refold-dev/refold/internal/postgres/db"
)

// gateFresh is how old the knowledge may be by which a shard is held open to commands.
const gateFresh = 200 * time.Millisecond

// StoppedError: journal and live edition of a shard disagree about the past. Commands are refused until an operator
// has decided; questions are answered all the same.
type StoppedError struct {
	Shard  int
	Reason string // PROJECTION_AHEAD, DIVERGED, LOG_TRUNCATED or LOG_REPLACED
}

func (e *StoppedError) Error() string {
	return fmt.Sprintf("shard %d is stopped: %s", e.Shard, e.Reason)
}

// gates remembers for a moment where each shard stands, so that not every command asks the database. When what is
// remembered has become too old, one asks and the others wait for it: they come by the thousand.
type gates struct {
	mu    sync.Mutex
	known map[place]gate
	turns map[place]chan struct{} // holds one for whoever asks
}

type gate struct {
	position Position
	stopped  *string
	asked    time.Time
}

// Open says whether the shard of a tenant takes commands, and where its rows stand. It fails with a *StoppedError or
// with ErrNoEdition.
func (r *Reader) Open(ctx context.Context, tenant string, shard int) (Position, error) {
	number, pool, err := r.live(ctx, Caller{Tenant: tenant, Shard: shard})
	if err != nil {
		return Position{}, err
	}
	at := place{number, shard}
	g, fresh := r.gates.get(at)
	if !fresh {
		g, err = r.gates.ask(ctx, at, func() (gate, error) {
			asked := time.Now()
			checkpoint, err := db.New(pool).CheckpointGet(ctx, db.CheckpointGetParams{Edition: number, Shard: int32(shard)})
			return gate{positionOf(checkpoint), checkpoint.Stopped, asked}, err
		})
		if err != nil {
			return Position{}, fmt.Errorf("checkpoint of edition %d, shard %d: %w", number, shard, err)
		}
	}
	if g.stopped != nil {
		return Position{}, &StoppedError{shard, *g.stopped}
	}
	return g.position, nil
}

func (g *gates) get(at place) (gate, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	known, ok := g.known[at]
	return known, ok && time.Since(known.asked) < gateFresh
}

// ask lets one caller at a time ask, unless another has done so meanwhile.
func (g *gates) ask(ctx context.Context, at place, question func() (gate, error)) (gate, error) {
	turn := g.turn(at)
	select {
	case turn <- struct{}{}:
	case <-ctx.Done():
		return gate{}, ctx.Err()
	}
	defer func() { <-turn }()
	if known, fresh := g.get(at); fresh {
		return known, nil
	}
	known, err := question()
	if err != nil {
		return gate{}, err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.known[at] = known
	return known, nil
}

func (g *gates) turn(at place) chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.known == nil {
		g.known, g.turns = map[place]gate{}, map[place]chan struct{}{}
	}
	if g.turns[at] == nil {
		g.turns[at] = make(chan struct{}, 1)
	}
	return g.turns[at]
}
