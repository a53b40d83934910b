package edition

import (
	"context"
	"fmt"
	"time"

	"github.com/refold-dev/refold/internal/postgres/db"
)

// seenWithin is how fresh a replica's row must be to count. A replica renews it every BeatEvery.
const (
	seenWithin = 5 * time.Second
	BeatEvery  = time.Second
)

// Replica is a process that answers readers.
type Replica struct {
	ID       string    `json:"replica"`
	Shape    string    `json:"shape"`
	Editions []int64   `json:"answers_from"`
	Ready    bool      `json:"ready"`
	Started  time.Time `json:"started"`
}

// Beat says that a replica is there. It must be repeated every BeatEvery.
func (m *Editions) Beat(ctx context.Context, r Replica) error {
	pool, err := m.DB.Operator(ctx)
	if err != nil {
		return err
	}
	q := db.New(pool)
	if err := q.ReplicaAnswered(ctx, r.Editions); err != nil {
		return fmt.Errorf("beat of replica %s: %w", r.ID, err)
	}
	if err := q.ReplicaBeat(ctx, db.ReplicaBeatParams{ID: r.ID, Shape: r.Shape, Editions: r.Editions, Ready: r.Ready}); err != nil {
		return fmt.Errorf("beat of replica %s: %w", r.ID, err)
	}
	return nil
}

// Gone says that a replica has ended, and forgets those that ended without saying so.
func (m *Editions) Gone(ctx context.Context, id string) error {
	pool, err := m.DB.Operator(ctx)
	if err != nil {
		return err
	}
	if err := db.New(pool).ReplicaGone(ctx, id); err != nil {
		return fmt.Errorf("end of replica %s: %w", id, err)
	}
	return nil
}

// Replicas lists the processes that answer readers at the moment, of whatever shape.
func (m *Editions) Replicas(ctx context.Context) ([]Replica, error) {
	pool, err := m.DB.Operator(ctx)
	if err != nil {
		return nil, err
	}
	found, err := db.New(pool).ReplicaList(ctx, seenWithin.Seconds())
	if err != nil {
		return nil, fmt.Errorf("list replicas: %w", err)
	}
	out := []Replica{}
	for _, r := range found {
		out = append(out, Replica{r.ID, r.Shape, r.Editions, r.Ready, r.StartedAt.UTC()})
	}
	return out, nil
}

// WasLive reports whether editions of our shape have ever been live in all shards, retired ones included. A binary that
// comes back does not take over by itself; one whose first cutover stopped half-way goes on with it.
func (m *Editions) WasLive(ctx context.Context) (bool, error) {
	pool, err := m.DB.Operator(ctx)
	if err != nil {
		return false, err
	}
	shards, err := db.New(pool).ShapeWasLive(ctx, m.Shape)
	if err != nil {
		return false, fmt.Errorf("past of shape %s: %w", m.Shape, err)
	}
	return int(shards) >= len(m.Shards), nil
}

// Admits returns why an edition may not become live in a shard, or nil: the part of a cutover's conditions that needs
// no position.
func (m *Editions) Admits(ctx context.Context, number int64, shard int) error {
	if err := m.mayServe(ctx, number); err != nil {
		return err
	}
	pool, err := m.DB.Operator(ctx)
	if err != nil {
		return err
	}
	c := change{Editions: m, shard: int32(shard), reason: reasonCutover}
	live, err := c.pointer(ctx, db.New(pool))
	if err != nil || live.Edition == number {
		return err
	}
	return c.admits(ctx, number, live.Edition)
}
