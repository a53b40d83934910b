package rows

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"
	"github.com/refold-dev/refold/events/envelope"
)

// Drill names the rows behind a doubtful sum: one tenant, some append-only tables. Apply the tenant's events up to
// the position of the comparison to it, then call Compare. It holds the rows in memory that
// part selects (see Bytes).
type Drill struct {
	*Set
	tenant   string
	tables   []string
	part     func(envelope.Key) bool
	bytesMax int
	expected map[string]drilled // by table index and key
}

type drilled struct {
	tuple []byte
	owner envelope.Key
	seq   uint64
}

// ErrBudget: the rows do not fit into the memory they may take; look at fewer entities at a time.
var ErrBudget = errors.New("the rows do not fit into the memory budget")

// NewDrill returns a drill for the entities of one tenant that part selects (nil = all). It fails with ErrBudget, and
// has noted nothing, when the rows of either side take more than bytesMax.
func NewDrill(s *Schema, tenant string, tables []string, part func(envelope.Key) bool, bytesMax int) *Drill {
	g := &Drill{tenant: tenant, tables: tables, part: part, bytesMax: bytesMax, expected: map[string]drilled{}}
	g.Set = NewReplay(s, func(d *Description, key envelope.Key, tuple []byte) {
		if slices.Contains(tables, d.Name) {
			var f Fields
			f.own(tuple)
			id := string(d.appendKey(nil, f))
			g.expected[id] = drilled{bytes.Clone(tuple), key, g.event.Seq}
			g.bytes += len(id) + len(tuple) + rowOverhead
		}
	})
	return g
}

// appendKey appends a text that no other row has, in this table or another: the table and the values of the key, with
// their lengths.
func (d *Description) appendKey(b []byte, f Fields) []byte {
	b = append(b, byte(d.index))
	for i := range d.KeyColumns {
		b = append(append(b, byte(len(f[i])>>8), byte(len(f[i]))), f[i]...)
	}
	return b
}

// Apply folds one event.
func (g *Drill) Apply(e *envelope.Event, fold Fold) error {
	if err := g.Set.Apply(e, fold); err != nil {
		return err
	}
	if g.bytes > g.bytesMax {
		return ErrBudget
	}
	return nil
}

// Compare reads the tenant's rows in tx and notes every difference in c.
func (g *Drill) Compare(ctx context.Context, tx pgx.Tx, c *Comparison) error {
	where := whereTenants([]string{g.tenant})
	var notes []func()
	for _, t := range g.schema.all {
		d := t.describe()
		if !slices.Contains(g.tables, d.Name) {
			continue
		}
		found, err := g.scan(ctx, tx, t, where, c)
		if err != nil {
			return fmt.Errorf("tenant %s: %w", g.tenant, err)
		}
		notes = append(notes, found...)
	}
	for _, note := range notes {
		note()
	}
	return c.refused
}

// scan reads one table and returns what there is to note.
func (g *Drill) scan(ctx context.Context, tx pgx.Tx, t AnyTable, where string, c *Comparison) (notes []func(), err error) {
	d := t.describe()
	seen := map[string]bool{}
	over := false
	note := func(owner envelope.Key, fault Fault, expected, actual []byte, seq uint64) {
		actual = bytes.Clone(actual)
		g.bytes += len(actual) + rowOverhead
		notes = append(notes, func() { c.note(d, owner, fault, expected, actual, seq) })
	}
	scan := &tableScan{}
	scan.row = func(f Fields, tuple []byte) {
		owner := t.ownerOf(f)
		if over || g.part != nil && !g.part(owner) {
			return
		}
		key := string(d.appendKey(nil, f))
		want, ok := g.expected[key]
		switch {
		case !ok || seen[key]:
			note(owner, Extra, nil, tuple, 0)
		case !bytes.Equal(want.tuple, tuple):
			note(want.owner, Different, want.tuple, tuple, want.seq)
		}
		if ok {
			seen[key] = true
		}
		over = g.bytes > g.bytesMax
	}
	// The table is read to its end in any case: a connection does not survive a read that is broken off.
	if err := scanTable(ctx, tx, d, where, scan); err != nil {
		return nil, err
	}
	if over {
		return nil, ErrBudget
	}
	for key, want := range g.expected {
		if key[0] == byte(d.index) && !seen[key] {
			note(want.owner, Missing, want.tuple, nil, want.seq)
		}
	}
	return notes, nil
}
