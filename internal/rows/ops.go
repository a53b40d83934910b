package rows

import (
	"bytes"
	"context"
	"fmt"
	"sort"

	"github.com/refold-dev/refold/events/envelope"
	"github.com/refold-dev/refold/internal/postgres/db"
)

// rowsOf holds the rows of one entity in one table, ordered by what tells them apart. Removed rows stay as slots
// until they have been flushed.
type rowsOf[S, R any] struct {
	table *Table[S, R]
	slots []slot[R]
}

type slot[R any] struct {
	row     R
	seq     uint64 // of the event that wrote it last
	size    int32  // encoded, as counted in the set's bytes
	present bool
	stored  bool // the table holds a row of this key
	dirty   bool
	seen    bool
	kept    *lanes // hash of the row that is stored; nil = not known
}

func (r *rowsOf[S, R]) find(sub S) (int, bool) {
	if len(r.slots) == 1 { // the common case by far
		switch c := r.table.Compare(r.table.Sub(&r.slots[0].row), sub); {
		case c == 0:
			return 0, true
		case c < 0:
			return 1, false
		default:
			return 0, false
		}
	}
	i := sort.Search(len(r.slots), func(i int) bool { return r.table.Compare(r.table.Sub(&r.slots[i].row), sub) >= 0 })
	return i, i < len(r.slots) && r.table.Compare(r.table.Sub(&r.slots[i].row), sub) == 0
}

// of checks that the current event may touch this table and returns its rows.
func (t *Table[S, R]) of(w *Set) *rowsOf[S, R] {
	if t.Entity != "" && t.Entity != w.current.key.Entity {
		panic(fmt.Sprintf("an event of entity %s touched table %s of entity %s", w.current.key.Entity, t.Name, t.Entity))
	}
	if r := w.current.tables[t.slot]; r != nil {
		return r.(*rowsOf[S, R])
	}
	r := &rowsOf[S, R]{table: t}
	w.current.tables[t.slot] = r
	return r
}

// undoLog remembers what the current event has replaced in one table. It is kept for the next event, so that an
// ordinary event allocates nothing for it.
type undoLog[S, R any] struct{ replaced []replaced[S, R] }

type replaced[S, R any] struct {
	rows *rowsOf[S, R]
	sub  S
	old  slot[R]
}

func (u *undoLog[S, R]) forget() { u.replaced = u.replaced[:0] }

func (u *undoLog[S, R]) revert() {
	for i := len(u.replaced) - 1; i >= 0; i-- {
		r := &u.replaced[i]
		at, _ := r.rows.find(r.sub)
		r.rows.slots[at] = r.old
	}
	u.forget()
}

func (t *Table[S, R]) remember(w *Set, r *rowsOf[S, R], sub S, old slot[R]) {
	if w.undo == nil {
		w.undo = make([]reverter, len(w.schema.all))
	}
	log, _ := w.undo[t.index].(*undoLog[S, R])
	if log == nil {
		log = &undoLog[S, R]{}
		w.undo[t.index] = log
	}
	if len(log.replaced) == 0 {
		w.touched = append(w.touched, t.index)
	}
	log.replaced = append(log.replaced, replaced[S, R]{r, sub, old})
}

// Get returns a copy of the row of the event's entity that sub names.
func (t *Table[S, R]) Get(w *Set, sub S) (R, bool) {
	r := t.of(w)
	if i, ok := r.find(sub); ok && r.slots[i].present {
		return r.slots[i].row, true
	}
	var none R
	return none, false
}

// All returns the rows of the event's entity, ordered by what tells them apart.
func (t *Table[S, R]) All(w *Set) []R {
	var out []R
	for _, s := range t.of(w).slots {
		if s.present {
			out = append(out, s.row)
		}
	}
	return out
}

// Put inserts or replaces a row. It refuses a row that belongs to another entity or tenant than the event, and
// what the table's constraints would refuse.
func (t *Table[S, R]) Put(w *Set, row R) error {
	r := t.of(w)
	if owner := t.Owner(&row); owner != w.current.key {
		return fmt.Errorf("row of table %s belongs to %s, the event to %s", t.Name, owner, w.current.key)
	}
	size, err := check(w, t.Name, &row, t.Check, t.Encode)
	if err != nil {
		return err
	}
	i, found := r.find(t.Sub(&row))
	if !found {
		var empty slot[R]
		empty.row = row // keeps the order even while absent
		r.slots = append(r.slots, empty)
		copy(r.slots[i+1:], r.slots[i:])
		r.slots[i] = empty
	}
	t.keepOld(w, &r.slots[i])
	t.remember(w, r, t.Sub(&row), r.slots[i])
	w.bytes += size + rowOverhead - int(r.slots[i].size)
	r.slots[i].row, r.slots[i].seq, r.slots[i].size = row, w.event.Seq, int32(size+rowOverhead)
	r.slots[i].present, r.slots[i].dirty = true, true
	return nil
}

// Delete removes a row; it is no error when there is none.
func (t *Table[S, R]) Delete(w *Set, sub S) {
	r := t.of(w)
	i, found := r.find(sub)
	if !found || !r.slots[i].present {
		return
	}
	t.keepOld(w, &r.slots[i])
	t.remember(w, r, sub, r.slots[i])
	r.slots[i].present, r.slots[i].dirty, r.slots[i].seq = false, true, w.event.Seq
}

// keepOld hashes a stored row before it is replaced: the kept digest loses it when the change is written.
func (t *Table[S, R]) keepOld(w *Set, s *slot[R]) {
	if w.keeper == nil || !s.stored || s.kept != nil {
		return
	}
	w.tuple.reset()
	encodeRow(&w.tuple, &s.row, t.Encode)
	h := w.keeper.hash(w.keeper.tenant(w.current.key.Tenant), &t.Description, w.tuple.b)
	s.kept = &h
}

// Append adds a row to an append-only table, with the same refusals as Put.
func (l *Log[R]) Append(w *Set, row R) error {
	if owner := l.Owner(&row); owner != w.current.key {
		return fmt.Errorf("row of table %s belongs to %s, the event to %s", l.Name, owner, w.current.key)
	}
	if _, err := check(w, l.Name, &row, l.Check, l.Encode); err != nil {
		return err
	}
	w.pending = append(w.pending, appendedRow{&l.Description, bytes.Clone(w.tuple.b)})
	return nil
}

// check leaves the encoded row in w.tuple and returns its size.
func check[R any](w *Set, table string, row *R, rules func(*R) error, encode func(*Tuple, *R)) (int, error) {
	if rules != nil {
		if err := rules(row); err != nil {
			return 0, fmt.Errorf("row of table %s: %w", table, err)
		}
	}
	w.tuple.reset()
	encodeRow(&w.tuple, row, encode)
	if w.tuple.err != nil {
		return 0, fmt.Errorf("row of table %s: %w", table, w.tuple.err)
	}
	return len(w.tuple.b), nil
}

func encodeRow[R any](t *Tuple, row *R, encode func(*Tuple, *R)) {
	t.begin()
	encode(t, row)
	t.end()
}

func (r *rowsOf[S, R]) empty() bool { return len(r.slots) == 0 }

func (r *rowsOf[S, R]) changes(t *Tuple, upsert func(*lanes) *lanes, remove func(*lanes)) {
	for i := range r.slots {
		s := &r.slots[i]
		if !s.dirty || (!s.present && !s.stored) {
			continue
		}
		t.reset()
		encodeRow(t, &s.row, r.table.Encode)
		if s.present {
			s.kept = upsert(s.kept)
		} else {
			remove(s.kept)
		}
	}
}

func (r *rowsOf[S, R]) clean() {
	kept := r.slots[:0]
	for _, s := range r.slots {
		if s.present {
			s.dirty, s.stored = false, true
			kept = append(kept, s)
		}
	}
	r.slots = kept
}

func (r *rowsOf[S, R]) each(t *Tuple, row func(seq uint64)) {
	for i := range r.slots {
		if s := &r.slots[i]; s.present {
			t.reset()
			encodeRow(t, &s.row, r.table.Encode)
			row(s.seq)
		}
	}
}

func (r *rowsOf[S, R]) match(t *Tuple, f Fields, actual []byte) (verdict, uint64) {
	i, ok := r.find(r.table.SubOf(f))
	if !ok || !r.slots[i].present || r.slots[i].seen {
		return extra, 0 // also a second row of the same key, in a table that has lost its own
	}
	s := &r.slots[i]
	s.seen = true
	t.reset()
	encodeRow(t, &s.row, r.table.Encode)
	if bytes.Equal(t.b, actual) {
		return equal, s.seq
	}
	return different, s.seq
}

func (r *rowsOf[S, R]) unseen(t *Tuple, row func(seq uint64)) {
	for i := range r.slots {
		if s := &r.slots[i]; s.present && !s.seen {
			t.reset()
			encodeRow(t, &s.row, r.table.Encode)
			row(s.seq)
		}
	}
}

func (t *Table[S, R]) load(ctx context.Context, tx db.DBTX, keys []envelope.Key, w *Set) error {
	loaded, err := t.Load(ctx, tx, keys)
	if err != nil {
		return fmt.Errorf("load rows of table %s: %w", t.Name, err)
	}
	for _, row := range loaded {
		key := t.Owner(&row)
		ent := w.entities[key]
		if ent == nil {
			return fmt.Errorf("load rows of table %s: got a row of %s, which was not asked for", t.Name, key)
		}
		if ent.tables[t.slot] == nil {
			ent.tables[t.slot] = t.newRows()
		}
		r := ent.tables[t.slot].(*rowsOf[S, R])
		i, _ := r.find(t.Sub(&row))
		r.slots = append(r.slots, slot[R]{})
		copy(r.slots[i+1:], r.slots[i:])
		r.slots[i] = slot[R]{row: row, present: true, stored: true}
		w.bytes += rowOverhead
	}
	return nil
}
