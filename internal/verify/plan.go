package verify

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/refold-dev/refold/internal/journal"
	"github.com/refold-dev/refold/internal/postgres"
	"github.com/refold-dev/refold/internal/rows"
)

// PlanConfig says what a new edition would be made of.
type PlanConfig struct {
	DB     *postgres.DB
	Shards []journal.Shard // all of the journal
	Schema *rows.Schema
	Fold   rows.Fold
	Shape  string
	// MemoryBytes bounds the working set; beyond it the key space is folded in parts. 0 = 1 GiB.
	MemoryBytes int
	Progress    func(Progress)
}

// PlanReport says what a new edition of this code would hold, against the live one at the same position.
type PlanReport struct {
	JournalID string `json:"journal_id"`
	// Edition is the live one, by default of the shards: tenants that answer from another one do so for a while only.
	// 0: none is live, so every row is added and the position is the end of the journal.
	Edition    int64            `json:"live_edition"`
	LiveShape  string           `json:"live_shape,omitempty"`
	Shape      string           `json:"shape"`
	SameShape  bool             `json:"same_shape"` // nothing to migrate; rows that differ are damage
	Shards     []PlanShard      `json:"shards"`
	Events     uint64           `json:"events"`
	Tables     []rows.TablePlan `json:"tables"`
	HeldKinds  []rows.HeldKind  `json:"held_entities"`
	Parts      int              `json:"parts"`
	FoldMs     int64            `json:"fold_ms"` // reading and folding, comparisons left out
	Build      Estimate         `json:"build"`
	Isolation  string           `json:"isolation,omitempty"`
	Started    time.Time        `json:"started"`
	DurationMs int64            `json:"duration_ms"`
}

// PlanShard is the position in one shard.
type PlanShard struct {
	Shard int    `json:"shard"`
	Seq   uint64 `json:"seq"`
	Head  uint64 `json:"head"` // end of the journal
}

// Rows counts the rows of all tables, without their columns.
func (r *PlanReport) Rows() rows.RowCounts {
	var all rows.RowCounts
	for _, t := range r.Tables {
		all.Live, all.Next = all.Live+t.Rows.Live, all.Next+t.Rows.Next
		all.Added, all.Removed, all.Changed = all.Added+t.Rows.Added, all.Removed+t.Rows.Removed, all.Changed+t.Rows.Changed
	}
	return all
}

// Held counts the entities under quarantine in both editions. A cutover to an edition that holds more is refused.
func (r *PlanReport) Held() (live, next int64) {
	for _, h := range r.HeldKinds {
		live, next = live+h.Live, next+h.Next
	}
	return live, next
}

// Differ reports whether any row, column or table does.
func (r *PlanReport) Differ() bool {
	return slices.ContainsFunc(r.Tables, func(t rows.TablePlan) bool {
		return t.Rows.Differ() || len(t.Columns) > 0 || t.Kind == rows.NewTable || t.Kind == rows.GoneTable
	})
}

// ErrLiveMixed: shards answer from different editions, so there is no one edition to compare with. Finish the
// cutover first.
var ErrLiveMixed = errors.New("the shards answer from different editions: finish the cutover first")

// Plan folds the journal in memory, up to the checkpoint of the live edition, and compares with its rows in one
// snapshot. It writes nothing, and needs no control migration that the live edition's binary did not need.
func Plan(ctx context.Context, c PlanConfig) (*PlanReport, error) {
	if c.Progress == nil {
		c.Progress = func(Progress) {}
	}
	if c.MemoryBytes == 0 {
		c.MemoryBytes = MemoryBytesDefault
	}
	p := &planning{PlanConfig: c, report: &PlanReport{Shape: c.Shape, Started: time.Now().UTC()}}
	if err := p.run(ctx); err != nil {
		return nil, fmt.Errorf("plan an edition: %w", err)
	}
	return p.report, nil
}
