package verify

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"time"

	"github.com/refold-dev/refold/internal/postgres"
	"github.com/refold-dev/refold/internal/rows"
)

// QuickConfig says what is to be held against the kept digests. Its one snapshot holds back vacuum in the whole database
// until the last row is read.
type QuickConfig struct {
	DB      *postgres.DB
	Edition int64
	// Tenants and Tables restrict what is read; empty = all. The report says what was left out.
	Tenants []string
	Tables  []string
	// Readers is how many connections read at a time; 0 = one more than there are processors.
	Readers int
	// MemoryBytes bounds the digests that are held at a time; with more tenants than fit the tables are read more than
	// once. 0 = 1 GiB. The report itself takes some 500 bytes for each tenant and table beside that.
	MemoryBytes int
	// Progress is called by one goroutine at a time; nil = nobody listens.
	Progress func(QuickProgress)
	// Pause is called between small pieces of the work, by one goroutine at a time, and may wait; nil = never.
	Pause func(context.Context) error
}

// QuickProgress is where a scan stands, in blocks of the tables that are read.
type QuickProgress struct {
	Table       string
	Done, Total int64
}

// QuickReport is the result of a quick verification: the rows of an edition held against the digests that were kept of
// them when they were written, in one snapshot. It is the body of a signed report of kind QuickKind.
type QuickReport struct {
	Digests
	Clean bool `json:"clean"`
	// Rows counts the rows that were held against digests.
	Rows             int64             `json:"rows"`
	Differences      []QuickDifference `json:"differences"`
	Total            int               `json:"differences_total"` // described or not
	TablesNotChecked []string          `json:"tables_not_checked"`
	Proves           string            `json:"proves"`
	ProvesNot        string            `json:"proves_not"`
	Isolation        string            `json:"isolation"`
	Started          time.Time         `json:"started"`
	DurationMs       int64             `json:"duration_ms"`
	// Control are rows of control tables that are not the fold of the journal: those are few, and are folded every time.
	Control []rows.Difference `json:"control,omitempty"`
	// Schema is as in Report; SchemaNotChecked says why it is nil.
	Schema           *postgres.Audit `json:"schema,omitempty"`
	SchemaNotChecked string          `json:"schema_not_checked,omitempty"`
}

// QuickKind is the kind of a signed report of a quick verification.
const QuickKind = "quick-verification"

const (
	quickProves    = "the tables that were checked hold the rows that were written there by folding events up to these positions: nothing was added, changed, lost or moved by anybody else"
	quickProvesNot = "that those rows are what the journal folds to (a full verification does), and it is no proof against somebody who has the key of the kept digests"
)

// QuickFault classes what a quick verification finds.
type QuickFault string

// What a quick verification finds. Which side is wrong, rows or digests, a full verification tells.
const (
	// DigestDiffers: the rows are not those that were written.
	DigestDiffers QuickFault = "differs"
	// DigestMissing: there are rows, and no digest of this table is kept of the tenant.
	DigestMissing QuickFault = "no_digest"
	// TenantUnknown: there are rows of a tenant of which no event was applied.
	TenantUnknown QuickFault = "unknown_tenant"
	// DigestMalformed: the digests kept of the tenant do not decode.
	DigestMalformed QuickFault = "malformed_digests"
	// EventsDiffer: the events that were counted by tenant do not add up to the position of the shard.
	EventsDiffer QuickFault = "events"
)

// QuickDifference is a table of a tenant whose rows are not those that were written.
type QuickDifference struct {
	Fault  QuickFault `json:"fault"`
	Tenant string     `json:"tenant,omitempty"`
	Table  string     `json:"table,omitempty"`
	Shard  int        `json:"shard,omitempty"` // of EventsDiffer
	// Found and Kept count rows; of EventsDiffer they count events: the sequence, and those that were counted.
	Found int64 `json:"found"`
	Kept  int64 `json:"kept"`
}

// ErrNoTable: a table was asked for that the edition does not have.
var ErrNoTable = errors.New("no such table")

// Quick reads the tables of an edition once and holds them against its kept digests, while writes go on. It fails with
// ErrNoDigests where none are kept; what it finds is in the report.
func Quick(ctx context.Context, c QuickConfig) (*QuickReport, error) {
	started := time.Now()
	s, err := scan(ctx, c)
	if err == nil && s.kept.key == nil {
		err = ErrNoDigests
	}
	if err != nil {
		return nil, fmt.Errorf("quick verification of edition %d: %w", c.Edition, err)
	}
	r := &QuickReport{
		Digests: *s.digests(), Differences: []QuickDifference{}, TablesNotChecked: s.left,
		Proves: quickProves, ProvesNot: quickProvesNot, Isolation: isolation, Started: started.UTC(), Rows: s.rows,
	}
	s.differences(func(d QuickDifference) {
		if r.Total++; len(r.Differences) < rows.DifferencesMax {
			r.Differences = append(r.Differences, d)
		}
	})
	r.Schema, r.SchemaNotChecked = auditSchema(ctx, c.DB, c.Edition)
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	r.Clean = r.Total == 0 && (r.Schema == nil || r.Schema.Safe)
	r.DurationMs = time.Since(started).Milliseconds()
	return r, nil
}

// Add takes in rows of control tables that are not the fold of the journal.
func (r *QuickReport) Add(control []rows.Difference) {
	r.Control = append(r.Control, control...)
	r.Total += len(control)
	r.Clean = r.Clean && len(control) == 0
}

// Scan reads the tables of an edition once and returns their digests beside those that are kept, if any are.
func Scan(ctx context.Context, c QuickConfig) (*Digests, error) {
	s, err := scan(ctx, c)
	if err != nil {
		return nil, fmt.Errorf("digests of edition %d: %w", c.Edition, err)
	}
	return s.digests(), nil
}

// scanned is what was found in the tables, beside what is kept.
type scanned struct {
	QuickConfig
	kept   *kept
	tables []*rows.Description
	left   []string                         // tables
	found  map[string]map[string]tableFound // by tenant and table
	rows   int64
}

func scan(ctx context.Context, c QuickConfig) (*scanned, error) {
	if c.Readers <= 0 {
		c.Readers = runtime.GOMAXPROCS(0) + 1
	}
	if c.MemoryBytes <= 0 {
		c.MemoryBytes = MemoryBytesDefault
	}
	if c.Progress == nil {
		c.Progress = func(QuickProgress) {}
	}
	s := &scanned{QuickConfig: c, found: map[string]map[string]tableFound{}, left: []string{}}
	if err := s.choose(ctx); err != nil {
		return nil, err
	}
	r, err := openReaders(ctx, &s.QuickConfig)
	if err != nil {
		return nil, err
	}
	defer r.close(ctx)
	if s.kept, err = readKept(ctx, r.all[0], c.Edition); err != nil {
		return nil, err
	}
	if err := r.plan(ctx, s.tables); err != nil {
		return nil, err
	}
	for _, d := range s.tables {
		if err := s.table(ctx, r, d); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// choose finds the tables that are to be read.
func (s *scanned) choose(ctx context.Context) error {
	all, err := tablesOf(ctx, s.DB, s.Edition)
	if err != nil {
		return err
	}
	for _, d := range all {
		if len(s.Tables) == 0 || slices.Contains(s.Tables, d.Name) {
			s.tables = append(s.tables, d)
		} else {
			s.left = append(s.left, d.Name)
		}
	}
	for _, name := range s.Tables {
		if !slices.ContainsFunc(all, func(d *rows.Description) bool { return d.Name == name }) {
			return fmt.Errorf("%w: %s", ErrNoTable, name)
		}
	}
	return nil
}

// table reads one table, once or as often as the memory for the digests of its tenants asks for.
func (s *scanned) table(ctx context.Context, r *readers, d *rows.Description) error {
	tenantsMax := max(s.MemoryBytes/(s.Readers+1)/digestBytes, 1)
	for rounds := len(s.kept.tenants)/tenantsMax + 1; ; rounds *= 2 {
		full, err := s.rounds(ctx, r, d, rounds, tenantsMax)
		if err != nil || !full {
			return err
		}
		// Rows of tenants that nobody knows take memory as well.
		for _, tables := range s.found {
			if f, ok := tables[d.Name]; ok {
				s.rows -= f.sum.Count()
				delete(tables, d.Name)
			}
		}
	}
}

// digestBytes is what the digests of one tenant in one table take while they are made.
const digestBytes = 2400

// rounds reads a table so many times, for another part of the tenants each; full = a part did not fit into memory.
func (s *scanned) rounds(ctx context.Context, r *readers, d *rows.Description, rounds, tenantsMax int) (full bool, err error) {
	for round := range rounds {
		o := rows.ScanOptions{Key: s.kept.key, LtHash: true, TenantsMax: tenantsMax}
		if rounds > 1 {
			o.Select = func(tenant string) bool { return partOfTenant(tenant, rounds) == round }
		}
		sums, err := r.read(ctx, d, o)
		if err != nil || sums.Full {
			return true, err
		}
		for tenant, found := range sums.Tenants {
			if s.found[tenant] == nil {
				s.found[tenant] = map[string]tableFound{}
			}
			s.found[tenant][d.Name] = tableFound{found.Sum, found.LtHash.Sum()}
			s.rows += found.Count()
		}
	}
	return false, nil
}

func (s *scanned) digests() *Digests {
	out := s.kept.digests(s.tables)
	out.Scanned, out.OnlyTenants = true, append(out.OnlyTenants, s.Tenants...)
	for _, tenant := range s.tenants() {
		found := s.found[tenant]
		if found == nil {
			found = map[string]tableFound{}
		}
		out.Tenants = append(out.Tenants, tenantDigests(tenant, s.kept.tenants[tenant], s.tables, found))
	}
	return out
}

// tenants are all that have rows or digests, in order, as far as they were asked for.
func (s *scanned) tenants() []string {
	var out []string
	for tenant := range s.found {
		out = append(out, tenant)
	}
	for tenant := range s.kept.tenants {
		if s.found[tenant] == nil && (len(s.Tenants) == 0 || slices.Contains(s.Tenants, tenant)) {
			out = append(out, tenant)
		}
	}
	slices.Sort(out)
	return out
}

// differences holds what was found against what is kept.
func (s *scanned) differences(note func(QuickDifference)) {
	for _, p := range s.kept.positions {
		if n := s.kept.events[p.Shard]; n != p.Seq {
			note(QuickDifference{Fault: EventsDiffer, Shard: p.Shard, Found: p.Seq, Kept: n})
		}
	}
	for _, tenant := range s.tenants() {
		compareTenant(tenant, s.kept.tenants[tenant], s.tables, func(d *rows.Description) rows.Sum { return s.found[tenant][d.Name].sum }, note)
	}
}

// compareTenant holds the rows of one tenant against what is kept of it (nil = nothing).
func compareTenant(tenant string, k *keptTenant, tables []*rows.Description, found func(*rows.Description) rows.Sum, note func(QuickDifference)) {
	if k != nil && k.malformed != "" {
		note(QuickDifference{Fault: DigestMalformed, Tenant: tenant})
		return
	}
	for _, d := range tables {
		have := found(d)
		diff := QuickDifference{Fault: DigestDiffers, Tenant: tenant, Table: d.Name, Found: have.Count()}
		var want rows.Sum
		if k == nil {
			diff.Fault = TenantUnknown
		} else if sum, ok := k.Tables[d.ID()]; ok {
			want, diff.Kept = sum, sum.Count()
		} else {
			diff.Fault = DigestMissing
		}
		if have != want {
			note(diff)
		}
	}
}
