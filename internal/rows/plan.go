package rows

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/refold-dev/refold/events/envelope"
)

// Plan collects how the rows that the journal folds to differ from those of an edition that another binary may have
// made: its tables and columns need not be ours. Rows are matched by key and compared in the columns that both
// editions have with equal type. The key space may be folded in parts; each adds to the plan.
type Plan struct {
	schema *Schema
	tables []*tablePlan // by index in the schema
	gone   []*tablePlan
	held   map[string]*HeldKind
}

// TableKind says what becomes of a table.
type TableKind string

// The kinds of tables in a plan.
const (
	SharedTable  TableKind = "shared"
	NewTable     TableKind = "new"
	GoneTable    TableKind = "goes away"
	RekeyedTable TableKind = "rekeyed" // the columns of our key are not there: no row can be matched
)

// TablePlan says what becomes of one table.
type TablePlan struct {
	Table   string         `json:"table"`
	Kind    TableKind      `json:"kind"`
	Columns []ColumnPlan   `json:"columns"` // those that are not the same; empty for a table that is new or goes away
	Rows    RowCounts      `json:"rows"`
	Tenants []TenantCounts `json:"tenants"`
	// Examples are the first keys of each sort of change, in the order of the keys.
	Examples []Example `json:"examples"`
	// Bytes is what the next edition's rows take in binary form.
	Bytes int64 `json:"encoded_bytes"`
}

// ColumnPlan is a column that is not the same in both editions. Its values are compared only where the type is.
type ColumnPlan struct {
	Column string `json:"column"`
	Change string `json:"change"`         // added, removed, altered
	Live   string `json:"live,omitempty"` // type in the live edition
	Next   string `json:"next,omitempty"`
}

// RowCounts compares the rows of the live edition with those of the next one: Next = Live - Removed + Added.
type RowCounts struct {
	Live    int64 `json:"live"`
	Next    int64 `json:"next"`
	Added   int64 `json:"added"`
	Removed int64 `json:"removed"`
	Changed int64 `json:"changed"`
	// Columns counts the changed rows in which a column has another value.
	Columns map[string]int64 `json:"changed_columns,omitempty"`
}

// Differ reports whether any row does.
func (c RowCounts) Differ() bool { return c.Added+c.Removed+c.Changed > 0 }

// TenantCounts are the counts of one tenant.
type TenantCounts struct {
	Tenant string `json:"tenant"`
	RowCounts
}

// Example is one row that will be added, removed or changed.
type Example struct {
	Did     string    `json:"did"`
	Tenant  string    `json:"tenant"`
	Key     []KeyPart `json:"key"`
	Columns []string  `json:"columns,omitempty"` // those that change
	Seq     uint64    `json:"seq,omitempty"`     // the event that wrote the next edition's row last

	order string
}

// HeldKind counts the entities held because of events of one kind.
type HeldKind struct {
	Kind string `json:"kind"`
	Live int64  `json:"live"`
	Next int64  `json:"next"`
	// More are held in the next edition only, Fewer in the live one only.
	More  int64 `json:"more"`
	Fewer int64 `json:"fewer"`
}

// examplesMax bounds the examples of one table and sort of change.
const examplesMax = 3

type tablePlan struct {
	*Description // nil for a table that goes away
	name         string
	kind         TableKind
	live         []Column
	shared       []bool // by column of ours
	tenants      map[string]*RowCounts
	examples     map[string][]Example
	bytes        int64
}

// NewPlan returns a plan without rows. live maps each table of the other edition to its columns; nil means that there
// is no such edition, and everything is new.
func NewPlan(s *Schema, live map[string][]Column) *Plan {
	p := &Plan{schema: s, held: map[string]*HeldKind{}}
	for _, d := range s.Tables() {
		p.tables = append(p.tables, newTablePlan(d, live[d.Name]))
	}
	for _, name := range slices.Sorted(maps.Keys(live)) {
		if !slices.ContainsFunc(p.tables, func(t *tablePlan) bool { return t.name == name }) {
			p.gone = append(p.gone, &tablePlan{name: name, kind: GoneTable, live: live[name], tenants: map[string]*RowCounts{}})
		}
	}
	return p
}

func newTablePlan(d *Description, live []Column) *tablePlan {
	t := &tablePlan{Description: d, name: d.Name, kind: NewTable, live: live, tenants: map[string]*RowCounts{}, examples: map[string][]Example{}}
	if live == nil {
		return t
	}
	t.kind = SharedTable
	for i, c := range d.Columns {
		same := slices.ContainsFunc(live, func(l Column) bool { return l.Name == c.Name && l.Type == c.Type })
		t.shared = append(t.shared, same)
		if !same && i < d.KeyColumns {
			t.kind = RekeyedTable
		}
	}
	return t
}

// PlanPart folds one part of the key space. Apply events to it, then call Compare.
type PlanPart struct {
	*Set
	plan   *Plan
	part   func(envelope.Key) bool
	logs   map[string]*logged // rows of append-only tables, by table and key
	logged int                // bytes they take
	key    []byte
	want   Fields
}

// logged is a row of an append-only table.
type logged struct {
	tuple []byte
	seq   uint64
	table int
	seen  bool
}

// Part returns an empty part for the entities that part selects (nil = all).
func (p *Plan) Part(part func(envelope.Key) bool) *PlanPart {
	c := &PlanPart{plan: p, part: part, logs: map[string]*logged{}}
	var f Fields
	c.Set = NewReplay(p.schema, func(d *Description, _ envelope.Key, tuple []byte) {
		f.own(tuple)
		c.key = d.appendKey(c.key[:0], f)
		c.logs[string(c.key)] = &logged{tuple: bytes.Clone(tuple), seq: c.event.Seq, table: d.index}
		c.logged += len(c.key) + len(tuple) + rowOverhead
	})
	return c
}

// Bytes estimates the memory the part takes.
func (c *PlanPart) Bytes() int { return c.Set.Bytes() + c.logged }

// Compare reads the tables in tx, one snapshot of the live edition at the position the events were applied to, and
// adds to the plan. tx is not used where there is no live edition.
func (c *PlanPart) Compare(ctx context.Context, tx pgx.Tx) error {
	for i, t := range c.plan.tables {
		if t.kind != SharedTable {
			continue
		}
		owner := c.schema.all[i].ownerOf
		scan := &tableScan{row: func(f Fields, tuple []byte) {
			if key := owner(f); c.part == nil || c.part(key) {
				c.compareRow(t, key, f, tuple)
			}
		}}
		sql := "COPY (SELECT " + t.selection() + " FROM " + t.name + ") TO STDOUT (FORMAT binary)"
		if _, err := tx.Conn().PgConn().CopyTo(ctx, scan, sql); err != nil {
			return fmt.Errorf("read table %s: %w", t.name, err)
		}
		if err := scan.finish(); err != nil {
			return fmt.Errorf("read table %s: %w", t.name, err)
		}
	}
	c.addUnseen()
	return nil
}

// selection names our columns, with NULL in place of those that cannot be compared.
func (t *tablePlan) selection() string {
	var names []string
	for i, c := range t.Columns {
		if t.shared[i] {
			names = append(names, c.Name)
		} else {
			names = append(names, "NULL::"+c.Type)
		}
	}
	return strings.Join(names, ", ")
}

func (c *PlanPart) compareRow(t *tablePlan, owner envelope.Key, f Fields, tuple []byte) {
	counts := t.of(owner.Tenant)
	counts.Live++
	c.plan.holds(t, f, func(k *HeldKind) { k.Live++ })
	next, seq := c.find(t, owner, f, tuple)
	if next == nil {
		counts.Removed++
		c.plan.holds(t, f, func(k *HeldKind) { k.Fewer++ })
		t.example("removed", f, nil, 0)
		return
	}
	c.want.own(next)
	c.addNext(t, counts, next)
	if bytes.Equal(next, tuple) {
		return
	}
	if changed := t.changed(c.want, f); len(changed) > 0 {
		counts.Changed++
		if counts.Columns == nil {
			counts.Columns = map[string]int64{}
		}
		for _, name := range changed {
			counts.Columns[name]++
		}
		t.example("changed", f, changed, seq)
	}
}

// find returns the next edition's row of the same key, and the event that wrote it last; nil when there is none, or
// when another row of the live edition had this key before.
func (c *PlanPart) find(t *tablePlan, owner envelope.Key, f Fields, tuple []byte) ([]byte, uint64) {
	if t.AppendOnly {
		c.key = t.appendKey(c.key[:0], f)
		row := c.logs[string(c.key)]
		if row == nil || row.seen {
			return nil, 0
		}
		row.seen = true
		return row.tuple, row.seq
	}
	ent := c.entities[owner]
	if ent == nil || ent.tables[t.slot] == nil {
		return nil, 0
	}
	verdict, seq := ent.tables[t.slot].match(&c.tuple, f, tuple)
	if verdict == extra {
		return nil, 0
	}
	return c.tuple.b, seq
}

// addUnseen counts the rows that only the next edition has.
func (c *PlanPart) addUnseen() {
	for key, ent := range c.entities {
		for slot, r := range ent.tables {
			if r != nil {
				t := c.plan.tables[c.schema.tablesOf(key.Entity)[slot].describe().index]
				r.unseen(&c.tuple, func(seq uint64) { c.addRow(t, c.tuple.b, seq) })
			}
		}
	}
	for _, row := range c.logs {
		if !row.seen {
			c.addRow(c.plan.tables[row.table], row.tuple, row.seq)
		}
	}
}

func (c *PlanPart) addRow(t *tablePlan, tuple []byte, seq uint64) {
	c.want.own(tuple)
	counts := t.of(c.want.Text(0))
	c.addNext(t, counts, tuple)
	counts.Added++
	c.plan.holds(t, c.want, func(k *HeldKind) { k.More++ })
	t.example("added", c.want, nil, seq)
}

// addNext counts a row of the next edition, whose fields are in want.
func (c *PlanPart) addNext(t *tablePlan, counts *RowCounts, tuple []byte) {
	counts.Next++
	t.bytes += int64(len(tuple))
	c.plan.holds(t, c.want, func(k *HeldKind) { k.Next++ })
}

// holds counts a row of the quarantine by the kind of its event.
func (p *Plan) holds(t *tablePlan, f Fields, count func(*HeldKind)) {
	if t.Description != &heldEntities.Description {
		return
	}
	kind := f.Text(heldKindColumn)
	k := p.held[kind]
	if k == nil {
		k = &HeldKind{Kind: kind}
		p.held[kind] = k
	}
	count(k)
}

func (t *tablePlan) changed(want, got Fields) []string {
	var names []string
	for i, c := range t.Columns {
		if t.shared[i] && (!bytes.Equal(want[i], got[i]) || (want[i] == nil) != (got[i] == nil)) {
			names = append(names, c.Name)
		}
	}
	return names
}

func (t *tablePlan) of(tenant string) *RowCounts {
	c := t.tenants[tenant]
	if c == nil {
		c = &RowCounts{}
		t.tenants[tenant] = c
	}
	return c
}

// example keeps the first keys of each sort, so that they do not depend on the order of reading.
func (t *tablePlan) example(did string, f Fields, columns []string, seq uint64) {
	kept := t.examples[did]
	order := string(t.appendKey(nil, f))
	if len(kept) == examplesMax && order >= kept[examplesMax-1].order {
		return
	}
	e := Example{Did: did, Tenant: f.Text(0), Columns: columns, Seq: seq, order: order}
	for i, c := range t.key()[1:] {
		part := KeyPart{Column: c.Name}
		if v := format(c.Type, f[i+1]); v != nil {
			part.Value = *v
		}
		e.Key = append(e.Key, part)
	}
	at, _ := slices.BinarySearchFunc(kept, order, func(k Example, order string) int { return cmp.Compare(k.order, order) })
	kept = slices.Insert(kept, at, e)
	t.examples[did] = kept[:min(len(kept), examplesMax)]
}

// CountUnmatched counts the live edition's rows in tables that have no counterpart. Call it once, with the snapshot.
func (p *Plan) CountUnmatched(ctx context.Context, tx pgx.Tx) error {
	for _, t := range append(slices.Clone(p.gone), p.tables...) {
		if t.kind != GoneTable && t.kind != RekeyedTable {
			continue
		}
		tenant := "''"
		if slices.ContainsFunc(t.live, func(c Column) bool { return c.Name == "tenant_id" }) {
			tenant = "tenant_id::text"
		}
		found, err := tx.Query(ctx, "SELECT "+tenant+", count(*) FROM "+pgx.Identifier{t.name}.Sanitize()+" GROUP BY 1")
		if err != nil {
			return fmt.Errorf("count table %s: %w", t.name, err)
		}
		var of string
		var n int64
		_, err = pgx.ForEachRow(found, []any{&of, &n}, func() error {
			counts := t.of(of)
			counts.Live, counts.Removed = n, n
			return nil
		})
		if err != nil {
			return fmt.Errorf("count table %s: %w", t.name, err)
		}
	}
	return nil
}

// Tables returns what becomes of every table: ours in the order of the schema, then those that go away.
func (p *Plan) Tables() []TablePlan {
	var out []TablePlan
	for _, t := range append(slices.Clone(p.tables), p.gone...) {
		out = append(out, t.result())
	}
	return out
}

func (t *tablePlan) result() TablePlan {
	r := TablePlan{Table: t.name, Kind: t.kind, Columns: []ColumnPlan{}, Tenants: []TenantCounts{}, Examples: []Example{}, Bytes: t.bytes}
	if t.kind == SharedTable || t.kind == RekeyedTable {
		r.Columns = columnPlan(t.live, t.Columns)
	}
	for _, tenant := range slices.Sorted(maps.Keys(t.tenants)) {
		c := t.tenants[tenant]
		r.Tenants = append(r.Tenants, TenantCounts{tenant, *c})
		r.Rows.add(c)
	}
	for _, did := range []string{"added", "removed", "changed"} {
		r.Examples = append(r.Examples, t.examples[did]...)
	}
	return r
}

func (c *RowCounts) add(other *RowCounts) {
	c.Live, c.Next = c.Live+other.Live, c.Next+other.Next
	c.Added, c.Removed, c.Changed = c.Added+other.Added, c.Removed+other.Removed, c.Changed+other.Changed
	for name, n := range other.Columns {
		if c.Columns == nil {
			c.Columns = map[string]int64{}
		}
		c.Columns[name] += n
	}
}

func columnPlan(live, next []Column) []ColumnPlan {
	out := []ColumnPlan{}
	find := func(in []Column, name string) string {
		if i := slices.IndexFunc(in, func(c Column) bool { return c.Name == name }); i >= 0 {
			return in[i].describe()
		}
		return ""
	}
	for _, c := range next {
		switch was := find(live, c.Name); was {
		case c.describe():
		case "":
			out = append(out, ColumnPlan{Column: c.Name, Change: "added", Next: c.describe()})
		default:
			out = append(out, ColumnPlan{Column: c.Name, Change: "altered", Live: was, Next: c.describe()})
		}
	}
	for _, c := range live {
		if find(next, c.Name) == "" {
			out = append(out, ColumnPlan{Column: c.Name, Change: "removed", Live: c.describe()})
		}
	}
	return out
}

func (c Column) describe() string {
	if c.NotNull {
		return c.Type + " not null"
	}
	return c.Type
}

// Held counts the quarantine by kind of event, ordered by kind.
func (p *Plan) Held() []HeldKind {
	out := []HeldKind{}
	for _, kind := range slices.Sorted(maps.Keys(p.held)) {
		out = append(out, *p.held[kind])
	}
	return out
}
