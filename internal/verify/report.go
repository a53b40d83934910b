package verify

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/refold-dev/refold/internal/postgres"
	"github.com/refold-dev/refold/internal/rows"
	"github.com/refold-dev/refold/internal/witness"
)

// Report is the result of a verification.
type Report struct {
	Edition   int64  `json:"edition"`
	Shard     int    `json:"shard"`
	JournalID string `json:"journal_id"`
	// Seq is the position: where several parts stand at different ones, the lowest.
	Seq   uint64 `json:"seq"`
	Shape string `json:"shape"`
	// Clean: nothing differs in what was looked at. Complete: nothing was left out.
	Clean      bool     `json:"clean"`
	Complete   bool     `json:"complete"`
	Scope      Scope    `json:"scope"`
	NotChecked []string `json:"not_checked"`
	// Positions has more than one entry where parts have taken snapshots of their own.
	Positions []PartsAt      `json:"positions"`
	Resumed   bool           `json:"resumed"` // parts of an earlier run, cut short, are among them
	Events    uint64         `json:"events"`  // read, up to the highest position
	Rows      int64          `json:"rows"`
	Tenants   []TenantEvents `json:"tenants"`
	// Digests are of the rows that were compared, by tenant and table or, where there are too many tenants, by table; none
	// where positions differ: DigestsBy says which.
	Digests   []rows.TableDigest `json:"digests"`
	DigestsBy string             `json:"digests_by"`
	// Chain is that of the highest position; Equal speaks for all of them.
	Chain ChainResult `json:"chain"`
	// Journal is what became of the events themselves since they were first read; nil: not compared.
	Journal *witness.Result `json:"journal,omitempty"`
	// Schema is how the database differs from a freshly made one: who else could act on the rows, and what holds them to
	// the rules. The report is not clean unless all of it is minor. nil: it could not be audited, see NotChecked.
	Schema      *postgres.Audit   `json:"schema,omitempty"`
	Held        int               `json:"held_entities"`
	Differences []rows.Difference `json:"differences"`
	Total       int               `json:"differences_total"`
	// Entities counts those with a row that differs; a repair can refold all of them, see Run.
	Entities   int64     `json:"entities_differing"`
	Run        int64     `json:"run"`
	Isolation  string    `json:"isolation"`
	Parts      int       `json:"parts"`
	Started    time.Time `json:"started"`
	DurationMs int64     `json:"duration_ms"`
}

// PartsAt is a sequence at which parts of the key space were compared.
type PartsAt struct {
	Seq   uint64      `json:"seq"`
	Parts []Part      `json:"parts"`
	Chain ChainResult `json:"chain"`
}

// Part is the entities whose hash is Number modulo Of, compared in a snapshot that was taken at Taken and held for HeldMs.
type Part struct {
	Number int       `json:"part"`
	Of     int       `json:"of"`
	Taken  time.Time `json:"taken"`
	HeldMs int64     `json:"held_ms"`
}

// TenantEvents counts the events of a tenant up to the highest position.
type TenantEvents struct {
	Tenant string `json:"tenant"`
	Events uint64 `json:"events"`
}

// ChainResult tells whether the projector consumed exactly these events in this order: the chain in the checkpoint
// against the one computed anew. A run that reads the events of one tenant alone checks none.
type ChainResult struct {
	Checked  bool   `json:"checked"`
	Equal    bool   `json:"equal"`
	Expected string `json:"expected"`
	Actual   string `json:"actual"`
}

// What digests are by.
const (
	digestsByTenant = "tenant and table"
	digestsByTable  = "table"
	digestsByNone   = "none: parts stand at different positions"
)

func (v *verification) report(ctx context.Context) *Report {
	r := &Report{
		Edition: v.Edition, Shard: v.Shard.Number(), JournalID: v.facts.JournalID, Shape: v.Shape,
		Complete: v.Scope.whole(), Scope: v.Scope, NotChecked: v.Scope.leftOut(v.Schema), Resumed: v.log.resumed,
		Events: v.seen.events, Tenants: []TenantEvents{}, Differences: append(v.found, v.Control...), Total: len(v.Control), Entities: v.log.entities, Run: v.log.id,
		Isolation: isolation, Parts: len(v.parts), Digests: v.digests.List(), DigestsBy: digestsByTenant,
		Started: v.started.UTC(), DurationMs: time.Since(v.started).Milliseconds(),
	}
	for _, p := range v.parts {
		r.Rows, r.Held, r.Total = r.Rows+p.Rows, r.Held+p.Held, r.Total+p.Total
	}
	r.Positions = v.positions()
	last := r.Positions[len(r.Positions)-1]
	r.Seq, r.Chain = r.Positions[0].Seq, last.Chain
	for _, p := range r.Positions {
		r.Chain.Equal = r.Chain.Equal && p.Chain.Equal
	}
	switch {
	case len(r.Positions) > 1:
		r.Isolation, r.Digests, r.DigestsBy = isolationParts, []rows.TableDigest{}, digestsByNone
	case v.digests.Totals():
		r.DigestsBy = digestsByTable
	}
	for tenant, n := range v.seen.tenants {
		r.Tenants = append(r.Tenants, TenantEvents{tenant, n})
	}
	sortTenants(r.Tenants)
	r.Clean = r.Total == 0
	if !v.Scope.filtered() {
		r.Clean = r.Clean && r.Chain.Equal && r.Events == last.Seq
		if v.Journal != nil {
			r.Journal = v.Journal.Stop()
			r.Clean = r.Clean && r.Journal.Clean
		}
	}
	var left string
	if r.Schema, left = auditSchema(ctx, v.DB, v.Edition); left != "" {
		r.Complete, r.NotChecked = false, append(r.NotChecked, left)
	}
	r.Clean = r.Clean && (r.Schema == nil || r.Schema.Safe)
	return r
}

// auditSchema audits the database of an edition, or says why not.
func auditSchema(ctx context.Context, d *postgres.DB, number int64) (found *postgres.Audit, left string) {
	found, err := d.Audit(ctx, number)
	if err != nil {
		return nil, "the schema: " + err.Error()
	}
	return found, ""
}

// positions groups the parts by where they were compared, lowest first.
func (v *verification) positions() []PartsAt {
	var out []PartsAt
	for _, p := range v.parts {
		i := slices.IndexFunc(out, func(at PartsAt) bool { return at.Seq == p.Seq })
		if i < 0 {
			i = len(out)
			out = append(out, PartsAt{Seq: p.Seq, Chain: v.chainAt(p)})
		}
		if out[i].Chain.Actual != fmt.Sprintf("%x", p.chain) {
			out[i].Chain.Equal = false // two checkpoints at one position
		}
		out[i].Parts = append(out[i].Parts, Part{p.Number, p.Of, p.Taken, p.HeldMs})
	}
	slices.SortFunc(out, func(a, b PartsAt) int { return cmp.Compare(a.Seq, b.Seq) })
	return out
}

func (v *verification) chainAt(p partResult) ChainResult {
	if v.Scope.filtered() {
		return ChainResult{Actual: fmt.Sprintf("%x", p.chain)}
	}
	m := v.seen.marks[p.Seq]
	return ChainResult{Checked: true, Equal: m.equal, Expected: fmt.Sprintf("%x", m.found), Actual: fmt.Sprintf("%x", p.chain)}
}
