// Package edition builds, flips and retires editions. An edition is a complete copy of the projection tables in a
// schema of its own:
//
//	building -> caught up -> verified (at a position) -> retired      per edition and shard
//
// Which one is live stands in control.live alone. Every step is idempotent and can be repeated after a crash at any
// point; a builder that was overtaken is fenced by the edition's epoch.
package edition

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/refold-dev/refold/internal/journal"
	"github.com/refold-dev/refold/internal/postgres"
	"github.com/refold-dev/refold/internal/postgres/db"
	"github.com/refold-dev/refold/internal/rows"
)

// Refusals of a step. Each says what to do in its text.
var (
	// ErrNotVerified: cut over only to rows that were proven; run `refold edition verify`.
	ErrNotVerified = errors.New("the edition is not verified: run `refold edition verify` first")
	// ErrTail: too many events were folded since the verification; verify again.
	ErrTail = errors.New("too many events since the verification: verify again")
	// ErrBehind: the edition did not come level with the live one in time.
	ErrBehind = errors.New("the edition is behind the live one: is its projector running?")
	// ErrHoldsMore: the edition holds back more entities than the live one; a *HoldsMoreError says which kinds of events.
	ErrHoldsMore = errors.New("the edition has more entities in quarantine than the live one")
	// ErrShape: the edition was made by another version of the code.
	ErrShape = errors.New("the edition has another shape than this binary: use the binary that built it")
	// ErrState: the edition is not in a state for this step.
	ErrState = errors.New("the edition is not in a state for this")
	// ErrLive: a live edition cannot be retired.
	ErrLive = errors.New("the edition is live: cut over to another one first")
	// ErrCursors: readers may still hold cursors into the edition.
	ErrCursors = errors.New("cursors into the edition may still be in use")
	// ErrAnswering: a process still answers readers from the edition; end it first.
	ErrAnswering = errors.New("a process still answers readers from this edition: end it first")
	// ErrOvertaken: another builder has claimed the edition.
	ErrOvertaken = errors.New("another builder has taken over this edition")
	// ErrNoStandby: there is nothing to roll back to.
	ErrNoStandby = errors.New("there is no previous edition to roll back to")
	// ErrNoEdition: no edition has this number.
	ErrNoEdition = errors.New("no such edition")
)

// Editions is the life of all editions of one plane.
type Editions struct {
	DB     *postgres.DB
	Shards []journal.Shard
	Schema *rows.Schema
	Fold   rows.Fold
	Shape  string
	Logger *slog.Logger
	// MemoryBytes bounds the working set of a build; 0 = 1 GiB.
	MemoryBytes int
	// TailMax bounds how many events may follow the verified position at a cutover; 0 = 1,000,000.
	TailMax int64
	// HoldMore allows a flip to an edition that holds back more entities than the live one; that is recorded.
	HoldMore bool
	// VerifyMigrations false allows a cutover to an edition that was not verified; that is recorded.
	VerifyMigrations bool
}

const (
	memoryBytesDefault = 1 << 30
	tailMaxDefault     = 1_000_000
)

// Shard is the progress of an edition in one shard.
type Shard struct {
	Shard       int        `json:"shard"`
	State       string     `json:"state"`
	Live        bool       `json:"live"`
	Seq         int64      `json:"seq"`
	BuildHead   int64      `json:"build_head"`
	Passes      int        `json:"passes"`
	PassesDone  int        `json:"passes_done"`
	VerifiedSeq *int64     `json:"verified_seq,omitempty"`
	VerifiedAt  *time.Time `json:"verified_at,omitempty"`
	Stopped     *string    `json:"stopped,omitempty"`
	Detail      *string    `json:"stopped_detail,omitempty"`
	Held        int64      `json:"held_entities"`
}

// Info describes one edition.
type Info struct {
	Number  int64     `json:"edition"`
	State   string    `json:"state"`
	Shape   string    `json:"shape"`
	Ours    bool      `json:"shape_of_this_binary"`
	Created time.Time `json:"created"`
	Shards  []Shard   `json:"shards"`
}

// List describes all editions, oldest first.
func (m *Editions) List(ctx context.Context) ([]Info, error) {
	pool, err := m.DB.Operator(ctx)
	if err != nil {
		return nil, err
	}
	q := db.New(pool)
	editions, err := q.EditionList(ctx)
	if err != nil {
		return nil, fmt.Errorf("list editions: %w", err)
	}
	lives, err := q.LiveList(ctx)
	if err != nil {
		return nil, fmt.Errorf("live editions: %w", err)
	}
	checkpoints, err := q.CheckpointList(ctx)
	if err != nil {
		return nil, fmt.Errorf("checkpoints: %w", err)
	}
	var out []Info
	for _, e := range editions {
		info := Info{Number: e.Number, State: e.State, Shape: e.Shape, Ours: e.Shape == m.Shape, Created: e.CreatedAt.UTC()}
		shards, err := q.EditionShardList(ctx, e.Number)
		if err != nil {
			return nil, fmt.Errorf("shards of edition %d: %w", e.Number, err)
		}
		for _, s := range shards {
			info.Shards = append(info.Shards, describe(s, lives, checkpoints))
		}
		if err := m.countHeld(ctx, &info); err != nil {
			return nil, err
		}
		out = append(out, info)
	}
	return out, nil
}

func describe(s db.ControlEditionShard, lives []db.ControlLive, checkpoints []db.ControlCheckpoint) Shard {
	out := Shard{
		Shard: int(s.Shard), State: s.State, BuildHead: s.Head, Passes: int(s.Passes), PassesDone: int(s.PassesDone),
		VerifiedSeq: s.VerifiedSeq, VerifiedAt: s.VerifiedAt,
	}
	for _, l := range lives {
		if l.Shard == s.Shard && l.Edition == s.Edition && l.TenantID == "" {
			out.Live = true
		}
	}
	for _, c := range checkpoints {
		if c.Edition == s.Edition && c.Shard == s.Shard {
			out.Seq, out.Stopped, out.Detail = c.Seq, c.Stopped, c.StoppedDetail
		}
	}
	return out
}

// countHeld counts quarantined entities; they are not kept by shard, so an edition's count stands at its first.
func (m *Editions) countHeld(ctx context.Context, info *Info) error {
	if info.State != "serving" || len(info.Shards) == 0 {
		return nil
	}
	held, err := m.held(ctx, info.Number)
	info.Shards[0].Held = held
	return err
}

func (m *Editions) held(ctx context.Context, edition int64) (int64, error) {
	pool, err := m.DB.Verifier(ctx, edition)
	if err != nil {
		return 0, err
	}
	held, err := db.New(pool).HeldEntityCount(ctx)
	if err != nil {
		return 0, fmt.Errorf("count held entities of edition %d: %w", edition, err)
	}
	return held, nil
}

func (m *Editions) logger() *slog.Logger {
	if m.Logger == nil {
		return slog.New(slog.DiscardHandler)
	}
	return m.Logger
}
