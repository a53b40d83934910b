package rows

import (
	"bytes"
	"context"
	"fmt"
	"slices"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/refold-dev/refold/events/envelope"
)

// Owned are all rows of some entities, in whatever tables: as events say they must be, or as the tables have them.
// Rows are held by table and owner, in the order in which they were met.
type Owned struct {
	schema *Schema
	keys   []envelope.Key
	tables []map[envelope.Key][][]byte // by table index
	bytes  int
}

func (o *Owned) add(d *Description, owner envelope.Key, tuple []byte) {
	o.tables[d.index][owner] = append(o.tables[d.index][owner], bytes.Clone(tuple))
	o.bytes += len(tuple)
}

// Bytes is how much the rows take.
func (o *Owned) Bytes() int { return o.bytes }

// NewOwned returns no rows of some entities: what Refold adds to.
func NewOwned(s *Schema, keys []envelope.Key) *Owned {
	o := &Owned{schema: s, keys: slices.SortedFunc(slices.Values(keys), compareKeys), tables: make([]map[envelope.Key][][]byte, len(s.all))}
	for i := range o.tables {
		o.tables[i] = map[envelope.Key][][]byte{}
	}
	return o
}

// Refold adds the rows of one of the entities as its events say they must be: all of them up to the position, oldest
// first. An entity without events has no rows.
func (o *Owned) Refold(key envelope.Key, history []envelope.Event, fold Fold) error {
	w := NewReplay(o.schema, o.add)
	for i := range history {
		if err := w.Apply(&history[i], fold); err != nil {
			return fmt.Errorf("event %d of %s: %w", history[i].Seq, key, err)
		}
	}
	if ent := w.entities[key]; ent != nil {
		for slot, r := range ent.tables {
			if r != nil {
				d := o.schema.tablesOf(key.Entity)[slot].describe()
				r.each(&w.tuple, func(uint64) { o.add(d, key, w.tuple.b) })
			}
		}
	}
	return nil
}

// LoadOwned reads the rows of entities from the tables, in tx. Rows that stand twice, in a table that has lost its key,
// are there twice.
func LoadOwned(ctx context.Context, s *Schema, tx pgx.Tx, keys []envelope.Key) (*Owned, error) {
	o := NewOwned(s, keys)
	for _, t := range s.all {
		d := t.describe()
		owners := d.owners(o.keys)
		if owners.n == 0 {
			continue
		}
		values, err := owners.arrays(d.ownerColumns())
		if err != nil {
			return nil, err
		}
		sql := "SELECT " + d.qualified("t", d.Columns) + " FROM " + d.Name + " AS t JOIN " + d.unnest(d.ownerColumns()) + " AS k (" +
			d.columnNames(d.ownerColumns()) + ") ON " + d.sameOwner()
		reader := tx.Conn().PgConn().ExecParams(ctx, sql, values, nil, binaryFormats(len(values)), []int16{1})
		for reader.NextRow() {
			tuple := tupleOf(reader.Values())
			var f Fields
			f.own(tuple)
			o.add(d, t.ownerOf(f), tuple)
		}
		if _, err := reader.Close(); err != nil {
			return nil, fmt.Errorf("read rows of table %s: %w", d.Name, err)
		}
	}
	return o, nil
}

func tupleOf(values [][]byte) []byte {
	var t Tuple
	t.begin()
	for _, v := range values {
		if v == nil {
			t.Null()
		} else {
			t.Bytes(v)
		}
	}
	t.end()
	return t.b
}

func binaryFormats(n int) []int16 {
	out := make([]int16, n)
	for i := range out {
		out[i] = 1
	}
	return out
}

// ownerColumns name the entity: tenant and id, and the kind of entity between them where a table has rows of any.
func (d *Description) ownerColumns() []Column {
	if d.Entity == "" {
		return d.Columns[:3]
	}
	return d.Columns[:2]
}

// owners are the entities that may have rows in a table. One whose id is no uuid as the table writes it has none: its
// rows would be those of another entity.
func (d *Description) owners(keys []envelope.Key) *batch {
	var b batch
	var t Tuple
	for _, key := range keys {
		if d.Entity != "" && d.Entity != key.Entity {
			continue
		}
		t.reset()
		t.begin()
		t.Text(key.Tenant)
		switch {
		case d.Entity == "":
			t.Text(key.Entity)
			t.Text(key.ID)
		case d.Columns[1].Type == "uuid":
			id, err := uuid.Parse(key.ID)
			if err != nil || id.String() != key.ID {
				continue
			}
			t.UUID(id)
		default:
			t.Text(key.ID)
		}
		t.end()
		if t.err == nil {
			b.add(t.b)
		}
	}
	return &b
}

func (d *Description) qualified(name string, columns []Column) string {
	var b bytes.Buffer
	for i, c := range columns {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(name + "." + c.Name)
	}
	return b.String()
}

func (d *Description) sameOwner() string {
	var b bytes.Buffer
	for i, c := range d.ownerColumns() {
		if i > 0 {
			b.WriteString(" AND ")
		}
		b.WriteString("t." + c.Name + " = k." + c.Name)
	}
	return b.String()
}

// Replaced counts what Replace did to a table.
type Replaced struct {
	Table    string `json:"table"`
	Inserted int64  `json:"inserted"`
	Updated  int64  `json:"updated"`
	Deleted  int64  `json:"deleted"`
}

// Differ counts what Replace would do, and does nothing.
func Differ(have, want *Owned) []Replaced {
	var out []Replaced
	for _, t := range want.schema.all {
		d := t.describe()
		if wrong := d.wrong(have, want); len(wrong) > 0 {
			out = append(out, d.replaced(have, want, wrong))
		}
	}
	return out
}

// wrong are the entities of which a row differs in a table.
func (d *Description) wrong(have, want *Owned) []envelope.Key {
	var out []envelope.Key
	for _, key := range want.keys {
		if !sameRows(have.tables[d.index][key], want.tables[d.index][key]) {
			out = append(out, key)
		}
	}
	return out
}

func (d *Description) replaced(have, want *Owned, wrong []envelope.Key) Replaced {
	out := Replaced{Table: d.Name}
	for _, key := range wrong {
		d.count(&out, have.tables[d.index][key], want.tables[d.index][key])
	}
	return out
}

// Replace makes the tables hold want where they hold have; both are of the same entities. Every row of an entity of
// which one differs in a table is written anew there. It returns what was changed, by table, and nothing where have is
// want.
func Replace(ctx context.Context, tx pgx.Tx, have, want *Owned) ([]Replaced, error) {
	var out []Replaced
	for _, t := range want.schema.all {
		d := t.describe()
		wrong := d.wrong(have, want)
		if len(wrong) == 0 {
			continue
		}
		var fresh batch
		for _, key := range wrong {
			for _, tuple := range want.tables[d.index][key] {
				fresh.add(tuple)
			}
		}
		sql := "DELETE FROM " + d.Name + " AS t USING " + d.unnest(d.ownerColumns()) + " AS k (" + d.columnNames(d.ownerColumns()) + ") WHERE " + d.sameOwner()
		if err := d.owners(wrong).exec(ctx, tx, d.ownerColumns(), sql); err != nil {
			return nil, fmt.Errorf("delete rows of table %s: %w", d.Name, err)
		}
		if err := fresh.exec(ctx, tx, d.Columns, d.insertSQL()); err != nil {
			return nil, fmt.Errorf("insert rows into table %s: %w", d.Name, err)
		}
		out = append(out, d.replaced(have, want, wrong))
	}
	return out, nil
}

func (b *batch) exec(ctx context.Context, tx pgx.Tx, columns []Column, sql string) error {
	if b.n == 0 {
		return nil
	}
	values, err := b.arrays(columns)
	if err != nil {
		return err
	}
	return tx.Conn().PgConn().ExecParams(ctx, sql, values, nil, binaryFormats(len(values)), nil).Read().Err
}

// count tells how rows of one entity in one table become others.
func (d *Description) count(c *Replaced, have, want [][]byte) {
	were := map[string][]byte{}
	for _, tuple := range have {
		key := d.keyOfTuple(tuple)
		if _, twice := were[key]; twice {
			c.Deleted++
		}
		were[key] = tuple
	}
	for _, tuple := range want {
		key := d.keyOfTuple(tuple)
		was, ok := were[key]
		switch {
		case !ok:
			c.Inserted++
		case !bytes.Equal(was, tuple):
			c.Updated++
		}
		delete(were, key)
	}
	c.Deleted += int64(len(were))
}

func (d *Description) keyOfTuple(tuple []byte) string {
	var f Fields
	f.own(tuple)
	return string(d.appendKey(nil, f))
}

// sameRows compares two sets of rows.
func sameRows(a, b [][]byte) bool {
	if len(a) != len(b) {
		return false
	}
	a, b = slices.SortedFunc(slices.Values(a), bytes.Compare), slices.SortedFunc(slices.Values(b), bytes.Compare)
	return slices.EqualFunc(a, b, bytes.Equal)
}

// Same reports whether both hold the same rows; where they do not, which entity and table differ first.
func (o *Owned) Same(other *Owned) error {
	for i, t := range o.schema.all {
		for _, key := range o.keys {
			if !sameRows(o.tables[i][key], other.tables[i][key]) {
				return fmt.Errorf("rows of %s in table %s still differ", key, t.describe().Name)
			}
		}
	}
	return nil
}

// OwnerOf returns the entity of a row that a Difference names by its table, tenant and key.
func (s *Schema) OwnerOf(table, tenant string, key []KeyPart) (envelope.Key, error) {
	i := slices.IndexFunc(s.all, func(t AnyTable) bool { return t.describe().Name == table })
	if i < 0 {
		return envelope.Key{}, fmt.Errorf("no table %q", table)
	}
	d := s.all[i].describe()
	if len(key) != d.KeyColumns-1 {
		return envelope.Key{}, fmt.Errorf("the key of table %s has %d columns behind the tenant, got %d", table, d.KeyColumns-1, len(key))
	}
	for j, part := range key {
		if part.Column != d.Columns[j+1].Name {
			return envelope.Key{}, fmt.Errorf("column %d of the key of table %s is %s, got %s", j+1, table, d.Columns[j+1].Name, part.Column)
		}
	}
	if d.Entity == "" {
		return envelope.Key{Tenant: tenant, Entity: key[0].Value, ID: key[1].Value}, nil
	}
	return envelope.Key{Tenant: tenant, Entity: d.Entity, ID: key[0].Value}, nil
}

// Row is a row in words.
type Row struct {
	Key    []KeyPart `json:"key"`
	Values []Value   `json:"values"`
}

// Value is the value of a column; nil is NULL.
type Value struct {
	Column string  `json:"column"`
	Value  *string `json:"value"`
}

// Rows returns the rows of one table whose key begins with the parts given, in words.
func (o *Owned) Rows(table string, key []KeyPart) []Row {
	out := []Row{}
	for _, t := range o.schema.all {
		d := t.describe()
		if d.Name != table {
			continue
		}
		for _, owner := range o.keys {
			for _, tuple := range o.tables[d.index][owner] {
				if row := d.words(tuple); slices.Equal(row.Key[:len(key)], key) {
					out = append(out, row)
				}
			}
		}
	}
	return out
}

func (d *Description) words(tuple []byte) Row {
	var f Fields
	f.own(tuple)
	row := Row{}
	for i, c := range d.Columns {
		v := format(c.Type, f[i])
		row.Values = append(row.Values, Value{c.Name, v})
		if i > 0 && i < d.KeyColumns {
			part := KeyPart{Column: c.Name}
			if v != nil {
				part.Value = *v
			}
			row.Key = append(row.Key, part)
		}
	}
	return row
}
