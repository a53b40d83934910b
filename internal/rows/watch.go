package rows

import (
	"bytes"
	"slices"

	"github.com/refold-dev/refold/events/envelope"
)

// Change is what one event did to one row.
type Change struct {
	Table   string       `json:"table"`
	Key     []KeyPart    `json:"key"`
	Did     string       `json:"did"` // insert, update, delete, append
	Columns []ColumnDiff `json:"columns,omitempty"`
}

// History replays the events of one entity and reports, for each, what it does to the rows.
type History struct {
	*Set
	before   map[string]shown
	appended []Change
}

type shown struct {
	d     *Description
	tuple []byte
}

// NewHistory returns a History for the events of one entity.
func NewHistory(s *Schema) *History {
	h := &History{before: map[string]shown{}}
	h.Set = NewReplay(s, func(d *Description, key envelope.Key, tuple []byte) {
		h.appended = append(h.appended, d.change("append", key, tuple, nil))
	})
	return h
}

// Step applies one event and returns the changes it made to rows.
func (h *History) Step(e *envelope.Event, fold Fold) ([]Change, error) {
	h.appended = nil
	if err := h.Apply(e, fold); err != nil {
		return nil, err
	}
	after := h.rows(e.Key)
	var changes []Change
	for key, now := range after {
		was, ok := h.before[key]
		switch {
		case !ok:
			changes = append(changes, now.d.change("insert", e.Key, now.tuple, nil))
		case !bytes.Equal(was.tuple, now.tuple):
			changes = append(changes, now.d.change("update", e.Key, now.tuple, was.tuple))
		}
	}
	for key, was := range h.before {
		if _, ok := after[key]; !ok {
			changes = append(changes, was.d.change("delete", e.Key, nil, was.tuple))
		}
	}
	h.before = after
	return append(changes, h.appended...), nil
}

// rows are the entity's rows, by table and key.
func (h *History) rows(key envelope.Key) map[string]shown {
	out := map[string]shown{}
	ent := h.entities[key]
	for slot, r := range ent.tables {
		if r == nil {
			continue
		}
		d := h.schema.tablesOf(key.Entity)[slot].describe()
		r.each(&h.tuple, func(uint64) {
			var f Fields
			f.own(h.tuple.b)
			id := d.Name
			for i := range d.KeyColumns {
				id += "\x00" + string(f[i])
			}
			out[id] = shown{d, bytes.Clone(h.tuple.b)}
		})
	}
	return out
}

// change describes a row before and after; for a row that came into being all its columns are listed.
func (d *Description) change(did string, owner envelope.Key, now, was []byte) Change {
	diff := d.difference(owner, Different, orEmpty(d, now), orEmpty(d, was), 0)
	if now == nil {
		diff.Key = d.difference(owner, Extra, nil, was, 0).Key
	}
	return Change{Table: d.Name, Key: diff.Key, Did: did, Columns: diff.Columns}
}

func orEmpty(d *Description, tuple []byte) []byte {
	if tuple != nil {
		return tuple
	}
	var t Tuple
	t.begin()
	for range d.Columns {
		t.Null()
	}
	t.end()
	return t.b
}

// Since maps, for one row, each column to the first event since which it has the value it has now.
type Since struct {
	inserted uint64
	columns  map[string]uint64
}

// Column returns the sequence of the event since which a column has its value; 0 when the row is not there.
func (s *Since) Column(name string) uint64 {
	if seq, ok := s.columns[name]; ok {
		return seq
	}
	return s.inserted
}

// Observe follows the changes that the event at seq made to the row named by its table and the key of a
// Difference.
func (s *Since) Observe(table string, key []KeyPart, seq uint64, changes []Change) {
	for _, c := range changes {
		if c.Table != table || !slices.Equal(c.Key, key) {
			continue
		}
		if c.Did != "update" {
			s.inserted, s.columns = seq, map[string]uint64{}
		}
		for _, column := range c.Columns {
			s.columns[column.Column] = seq
		}
		if c.Did == "delete" {
			s.inserted, s.columns = 0, nil
		}
	}
}
