package rows

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/jackc/pgx/v5"
	"github.com/refold-dev/refold/events/envelope"
	"golang.org/x/sync/errgroup"
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
	Differences []Difference // the first DifferencesMax
	Total       int          // of differences, described or not
	Rows        int64
	// Pause is called between small pieces of Compare and may wait; nil = never. It may be called by several
	// goroutines at a time.
	Pause func(context.Context) error
	// Found is told about every difference, one at a time; an error of it ends the comparison. nil = nobody listens.
	Found func(*Difference) error
	// Only narrows what Compare reads; the zero value is everything.
	Only Only

	part     func(envelope.Key) bool
	key      tallyKey
	expected map[sumID]*tally
	actual   map[sumID]*tally
	digests  *Digests
	element  []byte
	mu       sync.Mutex // guards Differences, Total and what Found does, while several scans run
	refused  error      // of Found
	stripes  [64]sync.Mutex
}

// Only narrows a comparison. What it leaves out is not looked at, on neither side.
type Only struct {
	Tenants []string // rows of these tenants; nil = of all
	Tables  []string // these tables; nil = all
}

func (o Only) table(d *Description) bool { return o.Tables == nil || slices.Contains(o.Tables, d.Name) }

// Digests collects the digests of the rows found in the tables, over all parts of a comparison.
type Digests struct {
	schema *Schema
	sums   map[sumID]*LtHash
	max    int  // sums that are kept; 0 = no bound
	totals bool // one for each table, over all tenants
}

// NewDigests returns the digests of no rows.
func NewDigests(s *Schema) *Digests { return &Digests{schema: s, sums: map[sumID]*LtHash{}} }

// Bound keeps at most so many digests, of 2 KiB each. Where there are more pairs of tenant and table, the digests are
// added up to one for each table, over all tenants: that of a table is never lost.
func (g *Digests) Bound(max int) { g.max = max }

// Totals reports whether the digests are over all tenants of a table, as there were too many.
func (g *Digests) Totals() bool { return g.totals }

func (g *Digests) merge(id sumID, h *LtHash) {
	if g.totals {
		id.tenant = ""
	}
	sumOf(g.sums, id).Merge(h)
	if g.max > 0 && !g.totals && len(g.sums) > g.max {
		g.addUp()
	}
}

func (g *Digests) addUp() {
	sums := map[sumID]*LtHash{}
	for id, h := range g.sums {
		sumOf(sums, sumID{"", id.table}).Merge(h)
	}
	g.sums, g.totals = sums, true
}

// Merge adds the digests of other rows.
func (g *Digests) Merge(other *Digests) {
	if other.totals && !g.totals {
		g.addUp()
	}
	for id, h := range other.sums {
		g.merge(id, h)
	}
}

// digestsStoredMax bounds the digests that are kept of a part: 8 MiB. Beyond it, only those over all tenants are.
const digestsStoredMax = 4096

// Store returns the digests in a form that Restore reads: a byte that says whether they are totals, then for each the
// length of the tenant, the tenant, the length of the table's name, the name, the count and the lanes.
func (g *Digests) Store() []byte {
	if len(g.sums) > digestsStoredMax && !g.totals {
		all := &Digests{schema: g.schema, totals: true, sums: map[sumID]*LtHash{}}
		for id, h := range g.sums {
			all.merge(id, h)
		}
		return all.Store()
	}
	b := []byte{0}
	if g.totals {
		b[0] = 1
	}
	for id, h := range g.sums {
		name := g.schema.all[id.table].describe().Name
		b = append(binary.BigEndian.AppendUint32(b, uint32(len(id.tenant))), id.tenant...)
		b = append(binary.BigEndian.AppendUint32(b, uint32(len(name))), name...)
		b = binary.BigEndian.AppendUint64(b, uint64(h.Count))
		for _, word := range h.lanes {
			b = binary.BigEndian.AppendUint64(b, word)
		}
	}
	return b
}

var errDigests = errors.New("malformed digests")

// Restore adds digests that Store has written.
func (g *Digests) Restore(b []byte) error {
	if len(b) == 0 || b[0] > 1 {
		return errDigests
	}
	other := &Digests{schema: g.schema, sums: map[sumID]*LtHash{}, totals: b[0] == 1}
	b = b[1:]
	text := func() (string, bool) {
		if len(b) < 4 || uint64(len(b)-4) < uint64(binary.BigEndian.Uint32(b)) {
			return "", false
		}
		n := 4 + int(binary.BigEndian.Uint32(b))
		s := string(b[4:n])
		b = b[n:]
		return s, true
	}
	for len(b) > 0 {
		tenant, ok := text()
		name, named := text()
		h := new(LtHash)
		table := slices.IndexFunc(g.schema.all, func(t AnyTable) bool { return t.describe().Name == name })
		if !ok || !named || table < 0 || len(b) < 8+8*len(h.lanes) {
			return errDigests
		}
		h.Count = int64(binary.BigEndian.Uint64(b))
		for i := range h.lanes {
			h.lanes[i] = binary.BigEndian.Uint64(b[8+8*i:])
		}
		b = b[8+8*len(h.lanes):]
		sumOf(other.sums, sumID{tenant, table}).Merge(h)
	}
	g.Merge(other)
	return nil
}

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

// sumBytes is about what a sum takes in memory, with its place in a map.
const sumBytes = 160

// NewComparison returns an empty comparison for the entities that part selects (nil = all). Apply events to it,
// then call Compare, which adds the rows it finds to digests. part may be called by several goroutines at a time.
func NewComparison(s *Schema, part func(envelope.Key) bool, digests *Digests) *Comparison {
	c := &Comparison{part: part, key: newTallyKey(), expected: map[sumID]*tally{}, actual: map[sumID]*tally{}, digests: digests}
	c.Set = NewReplay(s, func(d *Description, key envelope.Key, tuple []byte) {
		c.element = d.element(c.element, tuple)
		before := len(c.expected)
		sumOf(c.expected, sumID{key.Tenant, d.index}).add(&c.key, c.element)
		c.bytes += 2 * sumBytes * (len(c.expected) - before) // there will be one of the rows as well
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
// notes what differs. Further transactions of the same snapshot let it read several pieces at a time.
func (c *Comparison) Compare(ctx context.Context, tx pgx.Tx, more ...pgx.Tx) error {
	pieces, err := c.pieces(ctx, tx, len(more) > 0)
	if err != nil {
		return err
	}
	hashers := newHashers(c)
	defer hashers.stop()
	group, scanning := errgroup.WithContext(ctx)
	for _, reader := range append([]pgx.Tx{tx}, more...) {
		group.Go(func() error {
			r := &tableReader{Comparison: c, feed: hashers.feed()}
			for p := range pieces {
				if err := r.read(scanning, reader, p); err != nil {
					return err
				}
			}
			r.feed.flush()
			c.mu.Lock()
			defer c.mu.Unlock()
			c.Rows += r.rows
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	c.findMissing()
	hashers.stop()
	slices.SortStableFunc(c.Differences, func(a, b Difference) int {
		return cmp.Or(cmp.Compare(a.Tenant, b.Tenant), cmp.Compare(a.Table, b.Table), cmp.Compare(a.Seq, b.Seq))
	})
	return c.refused
}

// tablePiece is what one COPY reads: a table, or the blocks from one on, up to another.
type tablePiece struct {
	table AnyTable
	where string
}

// pieceBlocks is how many blocks of a table are read at a time where several connections share the work.
const pieceBlocks = 4096

// pieces cuts the tables into what is read at a time.
func (c *Comparison) pieces(ctx context.Context, tx pgx.Tx, cut bool) (<-chan tablePiece, error) {
	var all []tablePiece
	for _, t := range c.schema.all {
		d := t.describe()
		if !c.Only.table(d) {
			continue
		}
		where := whereTenants(c.Only.Tenants)
		from := int64(0)
		if cut && c.Only.Tenants == nil {
			var blocks int64
			if err := tx.QueryRow(ctx, "SELECT pg_relation_size($1::text::regclass) / current_setting('block_size')::bigint", d.Name).Scan(&blocks); err != nil {
				return nil, fmt.Errorf("size of table %s: %w", d.Name, err)
			}
			for ; from+pieceBlocks < blocks; from += pieceBlocks {
				all = append(all, tablePiece{t, fmt.Sprintf(" WHERE ctid >= '(%d,0)' AND ctid < '(%d,0)'", from, from+pieceBlocks)})
			}
			where = fmt.Sprintf(" WHERE ctid >= '(%d,0)'", from) // the last piece has no end: the table may have grown
		}
		all = append(all, tablePiece{t, where})
	}
	queue := make(chan tablePiece, len(all))
	for _, p := range all {
		queue <- p
	}
	close(queue)
	return queue, nil
}

// whereTenants is the condition for rows of some tenants. Parameters are not possible in a COPY.
func whereTenants(tenants []string) string {
	if tenants == nil {
		return ""
	}
	var list []string
	for _, tenant := range tenants {
		list = append(list, literal(tenant))
	}
	return " WHERE tenant_id IN (" + strings.Join(list, ", ") + ")"
}

// tableReader reads pieces of tables over one connection.
type tableReader struct {
	*Comparison
	feed  *hashFeed
	tuple Tuple
	rows  int64
}

func (r *tableReader) read(ctx context.Context, tx pgx.Tx, p tablePiece) error {
	d := p.table.describe()
	scan := &tableScan{row: func(f Fields, tuple []byte) { r.compareRow(p.table, d, f, tuple) }, pause: func() error { return r.pause(ctx) }}
	return scanTable(ctx, tx, d, p.where, scan)
}

func (r *tableReader) pause(ctx context.Context) error {
	r.mu.Lock()
	refused := r.refused
	r.mu.Unlock()
	if refused != nil || r.Pause == nil {
		return refused
	}
	return r.Pause(ctx)
}

func (r *tableReader) compareRow(t AnyTable, d *Description, f Fields, tuple []byte) {
	owner := t.ownerOf(f)
	if r.part != nil && !r.part(owner) {
		return
	}
	r.rows++
	r.feed.add(sumID{owner.Tenant, d.index}, d, tuple)
	if d.AppendOnly {
		return
	}
	ent := r.entities[owner]
	if ent == nil || ent.tables[d.slot] == nil {
		r.note(d, owner, Extra, nil, tuple, 0)
		return
	}
	// A table that has lost its key may hold a row twice, and two readers may meet it.
	stripe := &r.stripes[stripeOf(owner.ID)%uint32(len(r.stripes))]
	stripe.Lock()
	verdict, seq := ent.tables[d.slot].match(&r.tuple, f, tuple)
	stripe.Unlock()
	switch verdict {
	case extra:
		r.note(d, owner, Extra, nil, tuple, 0)
	case different:
		r.note(d, owner, Different, r.tuple.b, tuple, seq)
	case equal:
	}
}

func stripeOf(id string) uint32 {
	h := uint32(2166136261)
	for i := 0; i < len(id); i++ {
		h = (h ^ uint32(id[i])) * 16777619
	}
	return h
}

func (c *Comparison) findMissing() {
	for key, ent := range c.entities {
		for slot, r := range ent.tables {
			if r == nil {
				continue
			}
			if d := c.schema.tablesOf(key.Entity)[slot].describe(); c.Only.table(d) {
				r.unseen(&c.tuple, func(seq uint64) { c.note(d, key, Missing, c.tuple.b, nil, seq) })
			}
		}
	}
}

func (c *Comparison) note(d *Description, owner envelope.Key, fault Fault, expected, actual []byte, seq uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.Total++
	described := len(c.Differences) < DifferencesMax
	if !described && c.Found == nil || c.refused != nil {
		return
	}
	diff := d.difference(owner, fault, expected, actual, seq)
	if described {
		c.Differences = append(c.Differences, diff)
	}
	if c.Found != nil {
		c.refused = c.Found(&diff)
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
		if !d.AppendOnly || !c.Only.table(d) {
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
