package rows

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"
	"github.com/refold-dev/refold/events/envelope"
)

// DifferencesMax bounds the differences that are described; all are counted.
const DifferencesMax = 1000

// Fault classes a difference.
type Fault string

// The ways a row can differ from the fold of the journal.
const (
	Missing   Fault = "missing"   // the journal says there is such a row, the table has none
	Extra     Fault = "extra"     // the table has a row that no event explains
	Different Fault = "different" // both have it, with other values
)

// Difference is one row that is not what the journal folds to.
type Difference struct {
	Fault   Fault        `json:"fault"`
	Tenant  string       `json:"tenant"`
	Table   string       `json:"table"`
	Key     []KeyPart    `json:"key"`
	Columns []ColumnDiff `json:"columns,omitempty"`
	Entity  envelope.Key `json:"-"`
	Seq     uint64       `json:"seq,omitempty"` // the event that wrote the expected row last; 0 = no event explains the row
}

// KeyPart is a column of a row's key behind the tenant.
type KeyPart struct {
	Column string `json:"column"`
	Value  string `json:"value"`
}

// ColumnDiff is a column whose value is not what the journal says. A nil value is NULL.
type ColumnDiff struct {
	Column   string  `json:"column"`
	Expected *string `json:"expected"`
	Actual   *string `json:"actual"`
	Seq      uint64  `json:"seq,omitempty"` // the first event since which the expected value stands
}

// TableDigest is the digest of one tenant's rows in one table.
type TableDigest struct {
	Tenant string `json:"tenant"`
	Table  string `json:"table"`
	Rows   int64  `json:"rows"`
	Digest string `json:"digest"`
}

// Comparison holds what the journal folds to against the tables. Rows of append-only tables are not kept: both
// sides are summed per tenant, and Doubtful names the sums that differ, for Drill to look at.
type Comparison struct {
	*Set
	Differences []Difference
	Total       int // of differences, described or not
	Rows        int64
	// Pause is called between small pieces of Compare and may wait; nil = never.
	Pause func(context.Context) error

	part     func(envelope.Key) bool
	key      tallyKey
	expected map[sumID]*tally
	actual   map[sumID]*tally
	digests  *Digests
	element  []byte
}

// Digests collects the digests of the rows found in the tables, over all parts of a comparison.
type Digests struct {
	schema *Schema
	sums   map[sumID]*LtHash
}

// NewDigests returns the digests of no rows.
func NewDigests(s *Schema) *Digests { return &Digests{s, map[sumID]*LtHash{}} }

// List returns the digests, ordered by tenant and table.
func (g *Digests) List() []TableDigest {
	out := []TableDigest{}
	for id, h := range g.sums {
		out = append(out, TableDigest{id.tenant, g.schema.all[id.table].describe().Name, h.Count, h.Sum()})
	}
	slices.SortFunc(out, func(a, b TableDigest) int {
		return cmp.Or(cmp.Compare(a.Tenant, b.Tenant), cmp.Compare(a.Table, b.Table))
	})
	return out
}

type sumID struct {
	tenant string
	table  int
}

// NewComparison returns an empty comparison for the entities that part selects (nil = all). Apply events to it,
// then call Compare, which adds the rows it finds to digests.
func NewComparison(s *Schema, part func(envelope.Key) bool, digests *Digests) *Comparison {
	c := &Comparison{part: part, key: newTallyKey(), expected: map[sumID]*tally{}, actual: map[sumID]*tally{}, digests: digests}
	c.Set = NewReplay(s, func(d *Description, key envelope.Key, tuple []byte) {
		c.element = d.element(c.element, tuple)
		sumOf(c.expected, sumID{key.Tenant, d.index}).add(&c.key, c.element)
	})
	return c
}

func sumOf[T any](sums map[sumID]*T, id sumID) *T {
	s := sums[id]
	if s == nil {
		s = new(T)
		sums[id] = s
	}
	return s
}

// Compare reads every table in tx, which must be one snapshot at the position the events were applied to, and
// notes what differs.
func (c *Comparison) Compare(ctx context.Context, tx pgx.Tx) error {
	hashers := newHashers(c)
	defer hashers.stop()
	for _, t := range c.schema.all {
		d := t.describe()
		scan := &tableScan{row: func(f Fields, tuple []byte) { c.compareRow(t, d, f, tuple, hashers) }}
		if c.Pause != nil {
			scan.pause = func() error { return c.Pause(ctx) }
		}
		sql := "COPY (SELECT " + d.columnNames(d.Columns) + " FROM " + d.Name + ") TO STDOUT (FORMAT binary)"
		if _, err := tx.Conn().PgConn().CopyTo(ctx, scan, sql); err != nil {
			return fmt.Errorf("read table %s: %w", d.Name, err)
		}
		if err := scan.finish(); err != nil {
			return fmt.Errorf("read table %s: %w", d.Name, err)
		}
	}
	c.findMissing()
	hashers.collect()
	slices.SortStableFunc(c.Differences, func(a, b Difference) int {
		return cmp.Or(cmp.Compare(a.Tenant, b.Tenant), cmp.Compare(a.Table, b.Table), cmp.Compare(a.Seq, b.Seq))
	})
	return nil
}

func (c *Comparison) compareRow(t AnyTable, d *Description, f Fields, tuple []byte, hashers *hashers) {
	owner := t.ownerOf(f)
	if c.part != nil && !c.part(owner) {
		return
	}
	c.Rows++
	hashers.add(sumID{owner.Tenant, d.index}, d, tuple)
	if d.AppendOnly {
		return
	}
	ent := c.entities[owner]
	if ent == nil || ent.tables[d.slot] == nil {
		c.note(d, owner, Extra, nil, tuple, 0)
		return
	}
	verdict, seq := ent.tables[d.slot].match(&c.tuple, f, tuple)
	switch verdict {
	case extra:
		c.note(d, owner, Extra, nil, tuple, 0)
	case different:
		c.note(d, owner, Different, c.tuple.b, tuple, seq)
	case equal:
	}
}

func (c *Comparison) findMissing() {
	for key, ent := range c.entities {
		for slot, r := range ent.tables {
			if r != nil {
				d := c.schema.tablesOf(key.Entity)[slot].describe()
				r.unseen(&c.tuple, func(seq uint64) { c.note(d, key, Missing, c.tuple.b, nil, seq) })
			}
		}
	}
}

func (c *Comparison) note(d *Description, owner envelope.Key, fault Fault, expected, actual []byte, seq uint64) {
	c.Total++
	if len(c.Differences) < DifferencesMax {
		c.Differences = append(c.Differences, d.difference(owner, fault, expected, actual, seq))
	}
}

func (d *Description) difference(owner envelope.Key, fault Fault, expected, actual []byte, seq uint64) Difference {
	var want, got Fields
	if expected != nil {
		want.own(expected)
	}
	if actual != nil {
		got.own(actual)
	}
	diff := Difference{Fault: fault, Tenant: owner.Tenant, Table: d.Name, Entity: owner, Seq: seq}
	named := want
	if named == nil {
		named = got
	}
	for i := 1; i < d.KeyColumns; i++ {
		part := KeyPart{Column: d.Columns[i].Name}
		if v := format(d.Columns[i].Type, named[i]); v != nil {
			part.Value = *v
		}
		diff.Key = append(diff.Key, part)
	}
	if fault == Different {
		for i, column := range d.Columns {
			if !bytes.Equal(want[i], got[i]) || (want[i] == nil) != (got[i] == nil) {
				diff.Columns = append(diff.Columns, ColumnDiff{Column: column.Name, Expected: format(column.Type, want[i]), Actual: format(column.Type, got[i])})
			}
		}
	}
	return diff
}

// Doubtful returns the tenants and append-only tables whose rows are not those of the journal. Call it after Compare.
func (c *Comparison) Doubtful() map[string][]string {
	out := map[string][]string{}
	for _, t := range c.schema.all {
		d := t.describe()
		if !d.AppendOnly {
			continue
		}
		tenants := map[string]bool{}
		for id := range c.expected {
			tenants[id.tenant] = tenants[id.tenant] || id.table == d.index
		}
		for id := range c.actual {
			tenants[id.tenant] = tenants[id.tenant] || id.table == d.index
		}
		for tenant := range tenants {
			id := sumID{tenant, d.index}
			if *sumOf(c.expected, id) != *sumOf(c.actual, id) {
				out[tenant] = append(out[tenant], d.Name)
			}
		}
	}
	return out
}

// tableScan cuts the stream of a binary COPY into tuples.
type tableScan struct {
	row    func(f Fields, tuple []byte)
	pause  func() error // before each piece; nil = none
	fields Fields
	left   []byte
	header bool
	ended  bool
}

func (s *tableScan) Write(p []byte) (int, error) {
	if s.pause != nil {
		if err := s.pause(); err != nil {
			return 0, err
		}
	}
	b := p
	if len(s.left) > 0 {
		s.left = append(s.left, p...)
		b = s.left
	}
	if !s.header {
		if len(b) < len(copyHeader) {
			s.left = append([]byte(nil), b...)
			return len(p), nil
		}
		if !bytes.Equal(b[:11], copyHeader[:11]) {
			return 0, errTuple
		}
		b, s.header = b[len(copyHeader):], true
	}
	for len(b) > 0 {
		if bytes.Equal(b, copyTrailer) {
			s.ended, b = true, nil
			break
		}
		rest, complete, err := s.fields.parse(b)
		if err != nil {
			return 0, err
		}
		if !complete {
			break
		}
		s.row(s.fields, b[:len(b)-len(rest)])
		b = rest
	}
	s.left = append(s.left[:0:0], b...)
	return len(p), nil
}

func (s *tableScan) finish() error {
	if !s.ended || len(s.left) > 0 {
		return fmt.Errorf("%w: the table's stream ended early", errTuple)
	}
	return nil
}
