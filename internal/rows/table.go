package rows

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/google/uuid"
	"github.com/refold-dev/refold/events/envelope"
	"github.com/refold-dev/refold/internal/postgres/db"
	"lukechampine.com/blake3"
)

// Column is a column as the catalogue knows it.
type Column struct {
	Name    string
	Type    string // text, uuid, int8, int4, bool, timestamptz, jsonb, bytea
	NotNull bool
}

// Description is what the machinery needs to know of a table; it holds no functions of rows.
type Description struct {
	Name    string
	Entity  string   // the kind of entity that owns its rows; empty: any
	Columns []Column // in the order of the table; the first KeyColumns of them are the primary key
	// KeyColumns counts the columns of the key: tenant, entity, and what tells rows of one entity apart.
	KeyColumns int
	AppendOnly bool

	index       int // in the Schema
	slot        int // among the tables of its entity
	fingerprint [32]byte
	head        [8]uint32 // see headOf
}

// Table declares a table of rows R that belong to one kind of entity each; S tells the rows of one entity apart
// (struct{} where an entity has one row).
type Table[S, R any] struct {
	Description
	// Owner returns the entity a row belongs to, Sub what tells it apart there.
	Owner func(*R) envelope.Key
	Sub   func(*R) S
	// OwnerOf and SubOf do the same for a row as the database sends it.
	OwnerOf func(Fields) envelope.Key
	SubOf   func(Fields) S
	// Compare orders S as its binary form in the database is ordered.
	Compare func(a, b S) int
	// Encode writes all columns in order.
	Encode func(*Tuple, *R)
	// Check refuses what the table's constraints would refuse, so that a bad event is held and never stops the
	// shard; nil where the types say it all.
	Check func(*R) error
	// Load returns all rows of the given entities.
	Load func(ctx context.Context, tx db.DBTX, keys []envelope.Key) ([]R, error)
}

// Log declares an append-only table. Its rows carry the sequence of their event and are never read by a fold.
type Log[R any] struct {
	Description
	Owner   func(*R) envelope.Key
	OwnerOf func(Fields) envelope.Key
	Encode  func(*Tuple, *R)
	Check   func(*R) error
}

// AnyTable is a *Table or a *Log.
type AnyTable interface {
	describe() *Description
	ownerOf(Fields) envelope.Key
}

// stateful is an AnyTable whose rows live in the working set.
type stateful interface {
	AnyTable
	newRows() entityRows
	load(ctx context.Context, tx db.DBTX, keys []envelope.Key, w *Set) error
}

func (t *Table[S, R]) describe() *Description        { return &t.Description }
func (l *Log[R]) describe() *Description             { return &l.Description }
func (t *Table[S, R]) ownerOf(f Fields) envelope.Key { return t.OwnerOf(f) }
func (l *Log[R]) ownerOf(f Fields) envelope.Key      { return l.OwnerOf(f) }
func (t *Table[S, R]) newRows() entityRows           { return &rowsOf[S, R]{table: t} }

// Schema is the set of tables of an edition, the quarantine included.
type Schema struct {
	all      []AnyTable
	byEntity map[string][]stateful // tables of one kind of entity, by slot; held entities first
	byID     []int                 // indices of all tables, ordered by TableID
	any      []stateful            // what an entity of an unknown kind has: only the quarantine
}

// Define makes a schema of the given tables. It is to be called once, from a package-level variable.
func Define(tables ...AnyTable) *Schema {
	s := &Schema{byEntity: map[string][]stateful{}, any: []stateful{heldEntities}}
	for _, t := range append([]AnyTable{heldEntities, heldEvents}, tables...) {
		d := t.describe()
		d.index = len(s.all)
		d.bind()
		s.all = append(s.all, t)
		if table, ok := t.(stateful); ok && d.Entity != "" {
			if s.byEntity[d.Entity] == nil {
				s.byEntity[d.Entity] = []stateful{heldEntities}
			}
			d.slot = len(s.byEntity[d.Entity])
			s.byEntity[d.Entity] = append(s.byEntity[d.Entity], table)
		}
	}
	for i := range s.all {
		s.byID = append(s.byID, i)
	}
	slices.SortFunc(s.byID, func(a, b int) int {
		left, right := s.all[a].describe().ID(), s.all[b].describe().ID()
		return bytes.Compare(left[:], right[:])
	})
	return s
}

// Tables describes all tables, in a fixed order.
func (s *Schema) Tables() []*Description {
	var out []*Description
	for _, t := range s.all {
		out = append(out, t.describe())
	}
	return out
}

func (s *Schema) tablesOf(entity string) []stateful {
	if tables := s.byEntity[entity]; tables != nil {
		return tables
	}
	return s.any
}

// bind computes what the digests of the table's rows begin with.
func (d *Description) bind() {
	d.fingerprint = d.fingerprintOf()
	d.head = headOf(d.element(nil, nil))
}

// fingerprintOf binds digests of rows to the form of their table.
func (d *Description) fingerprintOf() [32]byte {
	b := []byte("refold table v1\x00" + d.Name + "\x00")
	for _, c := range d.Columns {
		b = binary.BigEndian.AppendUint32(b, uint32(len(c.Name)))
		b = append(b, c.Name...)
		b = binary.BigEndian.AppendUint32(b, uint32(len(c.Type)))
		b = append(b, c.Type...)
		if c.NotNull {
			b = append(b, 1)
		} else {
			b = append(b, 0)
		}
	}
	return blake3.Sum256(b)
}

// columnNames lists the columns for SQL. Names are constants of the code and need no quoting.
func (d *Description) columnNames(columns []Column) string {
	var b []byte
	for i, c := range columns {
		if i > 0 {
			b = append(b, ", "...)
		}
		b = append(b, c.Name...)
	}
	return string(b)
}

func (d *Description) key() []Column { return d.Columns[:d.KeyColumns] }

// Diff says how the catalogue differs from the schema; empty when edition and code fit. actual maps a table to
// its columns.
func (s *Schema) Diff(actual map[string][]Column) []string {
	var out []string
	for _, d := range s.Tables() {
		if !slices.Equal(actual[d.Name], d.Columns) {
			out = append(out, fmt.Sprintf("table %s: code has %v, database has %v", d.Name, d.Columns, actual[d.Name]))
		}
	}
	for name := range actual {
		if !slices.ContainsFunc(s.all, func(t AnyTable) bool { return t.describe().Name == name }) {
			out = append(out, fmt.Sprintf("table %s: unknown to the code", name))
		}
	}
	slices.Sort(out)
	return out
}

// OwnedBy returns the owner of a row whose first two columns are the tenant and the entity's uuid.
func OwnedBy(entity string) func(Fields) envelope.Key {
	return func(f Fields) envelope.Key {
		return envelope.Key{Tenant: f.Text(0), Entity: entity, ID: f.UUID(1).String()}
	}
}

// Owner is the entity of a row with a tenant and a uuid.
func Owner(tenant, entity string, id uuid.UUID) envelope.Key {
	return envelope.Key{Tenant: tenant, Entity: entity, ID: id.String()}
}

// One is the S of tables that hold one row an entity.
type One struct{}

// CompareOne orders One.
func CompareOne(One, One) int { return 0 }
