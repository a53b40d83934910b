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
	"github.com/refold-dev/refold/internal/report"
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
	// ErrAborted: the edition was given up, or retired, while it was being built. It is ErrOvertaken as well.
	ErrAborted = fmt.Errorf("the edition was given up meanwhile, by `refold edition abort` or `retire`: %w", ErrOvertaken)
	// ErrWasLive: an edition that is or was live is retired, not aborted.
	ErrWasLive = errors.New("the edition is or was live: use `refold edition retire`")
	// ErrDisk: the disk of the database has not enough space for a build; a *DiskError says how much is missing. What is
	// live is untouched: free space and repeat the build, which goes on where it was, or abort it.
	ErrDisk = errors.New("not enough disk for a build")
	// ErrNeverLevel: the edition does not come level because events are appended faster than they are folded; a
	// *NeverLevelError has both rates. Write more slowly for a while, or give the machine more.
	ErrNeverLevel = errors.New("the edition will never come level")
	// ErrNoStandby: there is nothing to roll back to.
	ErrNoStandby = errors.New("there is no previous edition to roll back to")
	// ErrPast: the edition has folded events that the journal does not hold, because one of them was restored to another
	// point. See `refold reconcile`.
	ErrPast = errors.New("the edition is of a past that the journal has given up: see `refold reconcile`")
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
	// Signer signs what verifications find; nil = what the control tables say counts as it is.
	Signer *report.Signer
	// MemoryBytes bounds the working set of a build; 0 = 1 GiB.
	MemoryBytes int
	// LedgerEvents is how many of the newest events the ledger of a build names, as far as an eighth of its memory allows; 0 =
	// ledger.KeepDefault, negative = none.
	LedgerEvents int
	// Rate bounds how many events a second a build reads, and rows it loads; 0 = as many as it can.
	Rate int
	// LagMax is how many events the live edition may be behind before a build makes way for it; 0 = 500.
	LagMax int64
	// NotHeldBack lets builds run freely, whatever becomes of the live edition.
	NotHeldBack bool
	// FreeBytes returns what is free on the disk of a folder; nil = builds cannot check it.
	FreeBytes func(folder string) (int64, error)
	// SkipDiskCheck builds although the disk may not suffice.
	SkipDiskCheck bool
	// Patience is how long CatchUp watches an edition fall behind until it gives up; 0 = 1 min.
	Patience time.Duration
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
	Unsigned    bool       `json:"verified_unsigned,omitempty"` // see ErrUnsigned
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
	Build   *Figures  `json:"build,omitempty"`
}

// Figures are what a build took, over all builders that worked on it.
type Figures struct {
	Events     int64      `json:"events"`
	Rows       int64      `json:"rows"`
	ReplayMs   int64      `json:"replay_ms"` // reading and folding
	LoadMs     int64      `json:"load_ms"`   // what loading took behind the last event of each pass
	IndexMs    int64      `json:"index_ms"`
	HeldBackMs int64      `json:"held_back_ms"` // how much of all that was waiting
	Bytes      int64      `json:"bytes"`        // tables and indexes, when it was finished
	Finished   *time.Time `json:"finished,omitempty"`
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
	builds, err := q.BuildList(ctx)
	if err != nil {
		return nil, fmt.Errorf("builds: %w", err)
	}
	var out []Info
	for _, e := range editions {
		info := Info{Number: e.Number, State: e.State, Shape: e.Shape, Ours: e.Shape == m.Shape, Created: e.CreatedAt.UTC()}
		shards, err := q.EditionShardList(ctx, e.Number)
		if err != nil {
			return nil, fmt.Errorf("shards of edition %d: %w", e.Number, err)
		}
		for _, s := range shards {
			one := describe(s, lives, checkpoints)
			_, err := signed(m.Signer, s.Edition, s.Shard, e.Shape, s.VerifiedSeq, s.Mac)
			one.Unsigned = err != nil && s.State == "verified"
			info.Shards = append(info.Shards, one)
		}
		for _, b := range builds {
			if b.Edition == e.Number {
				info.Build = figuresOf(b)
			}
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

func figuresOf(b db.ControlBuild) *Figures {
	return &Figures{
		Events: b.Events, Rows: b.RowsLoaded, ReplayMs: b.ReplayMs, LoadMs: b.LoadMs, IndexMs: b.IndexMs, HeldBackMs: b.HeldBackMs,
		Bytes: b.Bytes, Finished: b.FinishedAt,
	}
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
