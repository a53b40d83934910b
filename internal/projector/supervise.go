package projector

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/refold-dev/refold/events/envelope"
	"github.com/refold-dev/refold/internal/journal"
	"github.com/refold-dev/refold/internal/postgres"
	"github.com/refold-dev/refold/internal/postgres/db"
	"github.com/refold-dev/refold/internal/rows"
)

// Supervisor keeps every serving edition of one shape level with every shard: one projector each. Processes agree
// through advisory locks on who tries; only the checkpoint's epoch decides who may.
type Supervisor struct {
	DB      *postgres.DB
	Shards  []journal.Shard
	Schema  *rows.Schema
	Fold    rows.Fold
	Shape   string
	Logger  *slog.Logger
	OnBatch func(edition int64, shard int, b Batch)
	// InTx, Barrier, LedgerEvents and StableFor are those of every projector, see Config.
	InTx         func(ctx context.Context, tx pgx.Tx, events []envelope.Event) error
	Barrier      func(*envelope.Event) bool
	LedgerEvents int
	StableFor    time.Duration
}

const (
	lookEvery  = 200 * time.Millisecond
	backoffMin = 100 * time.Millisecond
	backoffMax = 5 * time.Second
)

type unit struct {
	edition int64
	shard   int
}

// Run starts projectors as editions appear and ends them as editions are retired, until ctx ends. It returns when
// all projectors have stopped.
func (s *Supervisor) Run(ctx context.Context) error {
	if s.Logger == nil {
		s.Logger = slog.New(slog.DiscardHandler)
	}
	running := map[unit]context.CancelFunc{}
	var all sync.WaitGroup
	defer all.Wait()
	for {
		wanted, err := s.wanted(ctx)
		if err != nil && ctx.Err() == nil {
			s.Logger.Warn("cannot list editions", "error", err)
		}
		for u, stop := range running {
			if err == nil && !wanted[u] {
				stop()
				delete(running, u)
			}
		}
		for u := range wanted {
			if running[u] == nil {
				one, stop := context.WithCancel(ctx)
				running[u] = stop
				all.Go(func() { s.keep(one, u) })
			}
		}
		select {
		case <-ctx.Done():
			for _, stop := range running {
				stop()
			}
			return nil
		case <-time.After(lookEvery):
		}
	}
}

func (s *Supervisor) wanted(ctx context.Context) (map[unit]bool, error) {
	pool, err := s.DB.Operator(ctx)
	if err != nil {
		return nil, err
	}
	editions, err := db.New(pool).EditionList(ctx)
	if err != nil {
		return nil, err
	}
	out := map[unit]bool{}
	for _, e := range editions {
		if e.State == "serving" && e.Shape == s.Shape {
			for _, shard := range s.Shards {
				out[unit{e.Number, shard.Number()}] = true
			}
		}
	}
	return out, nil
}

// keep runs one projector again and again, more slowly the more often it fails.
func (s *Supervisor) keep(ctx context.Context, u unit) {
	backoff := backoffMin
	for ctx.Err() == nil {
		started := time.Now()
		err := s.project(ctx, u)
		if time.Since(started) > backoffMax {
			backoff = backoffMin
		}
		var stopped *StoppedError
		switch {
		case err == nil:
		case errors.Is(err, ErrFenced):
			// Whoever did it holds the lock next, or, as a repair does, only wants us to begin anew.
			s.Logger.Info("projector was fenced", "edition", u.edition, "shard", u.shard)
			backoff = backoffMin
		case errors.As(err, &stopped):
			s.Logger.Error("shard is stopped", "edition", u.edition, "shard", u.shard, "state", stopped.State, "detail", stopped.Detail)
			backoff = backoffMax
		default:
			s.Logger.Warn("projector will be run again", "edition", u.edition, "shard", u.shard, "error", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(backoff):
			backoff = min(2*backoff, backoffMax)
		}
	}
}

// LockName names the advisory lock that a process holds while it projects a shard into an edition.
func LockName(edition int64, shard int) string {
	return fmt.Sprintf("refold projector %d %d", edition, shard)
}

// project runs one projector while it holds the advisory lock; nil when another process has it.
func (s *Supervisor) project(ctx context.Context, u unit) error {
	release, mine, err := s.DB.TryLock(ctx, LockName(u.edition, u.shard))
	if err != nil || !mine {
		return err
	}
	defer release()
	config := Config{
		DB: s.DB, Shard: s.Shards[u.shard], Edition: u.edition, Schema: s.Schema, Fold: s.Fold, Logger: s.Logger,
		InTx: s.InTx, Barrier: s.Barrier, LedgerEvents: s.LedgerEvents, StableFor: s.StableFor,
	}
	if s.OnBatch != nil {
		config.OnBatch = func(b Batch) { s.OnBatch(u.edition, u.shard, b) }
	}
	return Run(ctx, config)
}
