package rows

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/refold-dev/refold/events/envelope"
)

// NewLive returns a set that works on the tables of an edition: entities are loaded by Prefetch, changes written
// by Flush. It keeps what it has loaded, up to bytesMax, as a write-through cache; that is right only while no
// one else writes to the tables, which the caller's guarded checkpoint proves.
func NewLive(s *Schema, bytesMax int) *Live {
	l := &Live{bytesMax: bytesMax, appended: make([]batch, len(s.all)), upserts: make([]batch, len(s.all)), removals: make([]batch, len(s.all))}
	l.Set = &Set{schema: s, entities: map[envelope.Key]*entity{}, loading: true}
	l.Set.appended = func(d *Description, key envelope.Key, tuple []byte) {
		l.appended[d.index].add(tuple)
		if l.keeper != nil {
			l.keeper.put(l.keeper.tenant(key.Tenant), d, tuple)
		}
	}
	return l
}

// Live is the working set of a projector.
type Live struct {
	*Set
	bytesMax int
	appended []batch // of append-only tables, by index
	upserts  []batch
	removals []batch
}

// batch collects tuples for one statement.
type batch struct {
	b []byte
	n int
}

func (b *batch) add(tuple []byte) { b.b = append(b.b, tuple...); b.n++ }
func (b *batch) reset()           { b.b, b.n = b.b[:0], 0 }

// Prefetch makes sure that the entities of all events are in the set, reading those that are not, one query a
// table. It must run in the transaction that Flush will run in.
func (l *Live) Prefetch(ctx context.Context, tx pgx.Tx, events []envelope.Event) error {
	if l.bytes > l.bytesMax {
		l.Forget()
	}
	missing := map[string][]envelope.Key{}
	for i := range events {
		key := events[i].Key
		if l.entities[key] == nil {
			l.add(key)
			missing[key.Entity] = append(missing[key.Entity], key)
		}
	}
	for kind, keys := range missing {
		for _, table := range l.schema.tablesOf(kind) {
			if err := table.load(ctx, tx, keys, l.Set); err != nil {
				return err
			}
		}
	}
	return nil
}

// Discard forgets everything, also what waits to be written.
func (l *Live) Discard() {
	l.Forget()
	for i := range l.appended {
		l.appended[i].reset()
	}
	if l.keeper != nil {
		l.keeper.forget()
	}
}

// Flush writes all changes since the last one in tx. When it fails, or when the commit of tx is not certain, the
// caller must Discard the set.
func (l *Live) Flush(ctx context.Context, tx pgx.Tx) error {
	l.collect()
	for i, t := range l.schema.all {
		d := t.describe()
		if err := l.write(ctx, tx, d, &l.removals[i], d.key(), d.deleteSQL); err != nil {
			return err
		}
		if err := l.write(ctx, tx, d, &l.upserts[i], d.Columns, d.upsertSQL); err != nil {
			return err
		}
		if err := l.write(ctx, tx, d, &l.appended[i], d.Columns, d.insertSQL); err != nil {
			return err
		}
	}
	for _, ent := range l.dirty {
		ent.dirty = false
		for _, r := range ent.tables {
			if r != nil {
				r.clean()
			}
		}
	}
	l.dirty = l.dirty[:0]
	return nil
}

func (l *Live) collect() {
	for i := range l.upserts {
		l.upserts[i].reset()
		l.removals[i].reset()
	}
	for _, ent := range l.dirty {
		for slot, r := range ent.tables {
			if r == nil {
				continue
			}
			d := l.schema.tablesOf(ent.key.Entity)[slot].describe()
			r.changes(&l.tuple,
				func(was *lanes) *lanes {
					l.upserts[d.index].add(l.tuple.b)
					return l.replaced(ent.key.Tenant, d, was)
				},
				func(was *lanes) {
					l.removals[d.index].add(l.tuple.b)
					l.removed(ent.key.Tenant, d, was)
				})
		}
	}
}

// replaced keeps that the row in l.tuple takes the place of another one, if there was one, and returns its hash.
func (l *Live) replaced(tenant string, d *Description, was *lanes) *lanes {
	if l.keeper == nil {
		return nil
	}
	l.removed(tenant, d, was)
	return l.keeper.put(l.keeper.tenant(tenant), d, l.tuple.b)
}

func (l *Live) removed(tenant string, d *Description, was *lanes) {
	if was != nil {
		l.keeper.tenant(tenant).tables[d.index].take(was)
	}
}

func (l *Live) write(ctx context.Context, tx pgx.Tx, d *Description, b *batch, columns []Column, sql func() string) error {
	if b.n == 0 {
		return nil
	}
	values, err := b.arrays(columns)
	if err != nil {
		return fmt.Errorf("write %d rows of table %s: %w", b.n, d.Name, err)
	}
	binaryFormat := make([]int16, len(columns))
	for i := range binaryFormat {
		binaryFormat[i] = 1
	}
	result := tx.Conn().PgConn().ExecParams(ctx, sql(), values, nil, binaryFormat, nil).Read()
	if result.Err != nil {
		return fmt.Errorf("write %d rows of table %s: %w", b.n, d.Name, result.Err)
	}
	if got := int(result.CommandTag.RowsAffected()); got != b.n {
		return fmt.Errorf("write rows of table %s: %d of %d were taken", d.Name, got, b.n)
	}
	b.reset()
	return nil
}

// arrays turns tuples into one binary array a column: the form unnest takes.
func (b *batch) arrays(columns []Column) ([][]byte, error) {
	out := make([][]byte, len(columns))
	for i, c := range columns {
		oid, ok := typeOID[c.Type]
		if !ok {
			return nil, fmt.Errorf("column %s: type %s is not supported in a projection", c.Name, c.Type)
		}
		a := binary.BigEndian.AppendUint32(nil, 1)           // dimensions
		a = binary.BigEndian.AppendUint32(a, 1)              // may hold NULL
		a = binary.BigEndian.AppendUint32(a, oid)            // element type
		a = binary.BigEndian.AppendUint32(a, uint32(b.n))    // length
		out[i] = binary.BigEndian.AppendUint32(a, uint32(1)) // lower bound
	}
	var fields Fields
	for rest := b.b; len(rest) > 0; {
		var complete bool
		var err error
		if rest, complete, err = fields.parse(rest); err != nil || !complete {
			return nil, errTuple
		}
		for i := range columns {
			if fields[i] == nil {
				out[i] = append(out[i], 0xff, 0xff, 0xff, 0xff)
				continue
			}
			out[i] = binary.BigEndian.AppendUint32(out[i], uint32(len(fields[i])))
			out[i] = append(out[i], fields[i]...)
		}
	}
	return out, nil
}

// typeOID lists the types a projection may use (pg_type; these numbers are fixed).
var typeOID = map[string]uint32{
	"bool": 16, "bytea": 17, "int8": 20, "int4": 23, "text": 25, "timestamptz": 1184, "uuid": 2950, "jsonb": 3802,
}

func (d *Description) unnest(columns []Column) string {
	var b bytes.Buffer
	for i, c := range columns {
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "$%d::%s[]", i+1, c.Type)
	}
	return "unnest(" + b.String() + ")"
}

func (d *Description) insertSQL() string {
	names := d.columnNames(d.Columns)
	return "INSERT INTO " + d.Name + " (" + names + ") SELECT * FROM " + d.unnest(d.Columns) + " AS v (" + names + ")"
}

func (d *Description) upsertSQL() string {
	var set []string
	for _, c := range d.Columns[d.KeyColumns:] {
		set = append(set, c.Name+" = excluded."+c.Name)
	}
	return d.insertSQL() + " ON CONFLICT (" + d.columnNames(d.key()) + ") DO UPDATE SET " + strings.Join(set, ", ")
}

func (d *Description) deleteSQL() string {
	var where []string
	for _, c := range d.key() {
		where = append(where, "t."+c.Name+" = k."+c.Name)
	}
	return "DELETE FROM " + d.Name + " AS t USING " + d.unnest(d.key()) + " AS k (" + d.columnNames(d.key()) + ") WHERE " +
		strings.Join(where, " AND ")
}
