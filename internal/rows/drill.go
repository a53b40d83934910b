package rows

import (
	"bytes"
	"context"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"
	"github.com/refold-dev/refold/events/envelope"
)

// Drill names the rows behind a doubtful sum: one tenant, some append-only tables. Apply the tenant's events up to
// the position of the comparison to it, then call Compare. It holds the tenant's rows of those tables in memory.
type Drill struct {
	*Set
	tenant   string
	tables   []string
	part     func(envelope.Key) bool
	expected map[string]drilled // by table index and key
}

type drilled struct {
	tuple []byte
	owner envelope.Key
	seq   uint64
}

// NewDrill returns a drill for the entities of one tenant that part selects (nil = all).
func NewDrill(s *Schema, tenant string, tables []string, part func(envelope.Key) bool) *Drill {
	g := &Drill{tenant: tenant, tables: tables, part: part, expected: map[string]drilled{}}
	g.Set = NewReplay(s, func(d *Description, key envelope.Key, tuple []byte) {
		if slices.Contains(tables, d.Name) {
			var f Fields
			f.own(tuple)
			g.expected[string(d.appendKey(nil, f))] = drilled{bytes.Clone(tuple), key, g.event.Seq}
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

// Compare reads the tenant's rows in tx and notes every difference in c.
func (g *Drill) Compare(ctx context.Context, tx pgx.Tx, c *Comparison) error {
	for _, t := range g.schema.all {
		d := t.describe()
		if !slices.Contains(g.tables, d.Name) {
			continue
		}
		seen := map[string]bool{}
		scan := &tableScan{row: func(f Fields, tuple []byte) {
			owner := t.ownerOf(f)
			if g.part != nil && !g.part(owner) {
				return
			}
			key := string(d.appendKey(nil, f))
			want, ok := g.expected[key]
			switch {
			case !ok || seen[key]:
				c.note(d, owner, Extra, nil, tuple, 0)
			case !bytes.Equal(want.tuple, tuple):
				c.note(d, want.owner, Different, want.tuple, tuple, want.seq)
			}
			seen[key] = true
		}}
		quoted, err := tx.Conn().PgConn().EscapeString(g.tenant)
		if err != nil {
			return fmt.Errorf("quote tenant %q: %w", g.tenant, err)
		}
		sql := "COPY (SELECT " + d.columnNames(d.Columns) + " FROM " + d.Name + " WHERE tenant_id = '" + quoted + "') TO STDOUT (FORMAT binary)"
		if _, err := tx.Conn().PgConn().CopyTo(ctx, scan, sql); err != nil {
			return fmt.Errorf("read table %s of tenant %s: %w", d.Name, g.tenant, err)
		}
		for key, want := range g.expected {
			if key[0] == byte(d.index) && !seen[key] {
				c.note(d, want.owner, Missing, want.tuple, nil, want.seq)
			}
		}
	}
	return nil
}
