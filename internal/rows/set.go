// Package rows is the working set: the rows that a fold reads and writes, in memory, with what is needed to bring
// them to the tables or to compare them with the tables. Live projection, replay and verification all run the
// same fold over it, so they cannot drift apart:
//
//	live     Prefetch loads the entities of a batch, Flush writes what changed, in the batch's transaction
//	replay   everything is absent at the start, Copy writes all rows at the end
//	verify   everything is absent at the start, Compare holds all rows against the table
//	plan     as verify, against the tables of an edition that another binary may have made
//
// An event touches the rows of its own entity and no others. That is checked, and it is what allows the key space
// to be folded in parts.
package rows

import (
	"errors"
	"fmt"
	"runtime"
	"strings"

	"github.com/refold-dev/refold/events/envelope"
)

// Fold applies one event to the rows of its entity. It is pure but for w. An error holds the entity.
type Fold func(w *Set, e *envelope.Event) error

// Set is the working set of one edition and shard (or of a part of its key space). It belongs to one goroutine.
type Set struct {
	schema   *Schema
	entities map[envelope.Key]*entity
	loading  bool // entities are to be loaded before use; otherwise what is not there is absent
	appended func(d *Description, key envelope.Key, tuple []byte)

	current *entity
	event   *envelope.Event
	undo    []reverter    // by table index; nil where nothing was ever replaced
	touched []int         // tables in which the current event has replaced rows
	pending []appendedRow // log rows of the current event
	dirty   []*entity
	tuple   Tuple
	bytes   int
	scratch []byte
	held    int
	keeper  *keeper // of a live set that keeps digests; nil = none
}

type appendedRow struct {
	table *Description
	tuple []byte
}

type entity struct {
	key    envelope.Key
	tables []entityRows
	dirty  bool
}

// entityRows are the rows of one entity in one table.
type entityRows interface {
	empty() bool
	// changes hands over what Flush has to write: tuples to upsert, keys to delete; clean marks it as written. was is the
	// hash of the stored row, nil where none is stored or none is kept; upsert returns the new one.
	changes(t *Tuple, upsert func(was *lanes) *lanes, remove func(was *lanes))
	clean()
	// each hands over every row, encoded in t.
	each(t *Tuple, row func(seq uint64))
	// match compares a row of the table with its counterpart and marks that as seen.
	match(t *Tuple, f Fields, actual []byte) (verdict, uint64)
	unseen(t *Tuple, row func(seq uint64))
}

type verdict int

const (
	equal verdict = iota
	different
	extra
)

// Overhead is a rough figure for the memory an entity, and a row, take beside their values.
const (
	entityOverhead = 250
	rowOverhead    = 150
)

// NewReplay returns a set in which everything is absent at the start. appended is called with each row of an
// append-only table, in the order of events; the tuple is valid only during the call.
func NewReplay(s *Schema, appended func(d *Description, key envelope.Key, tuple []byte)) *Set {
	return &Set{schema: s, entities: map[envelope.Key]*entity{}, appended: appended}
}

// Bytes estimates the memory the set takes.
func (w *Set) Bytes() int { return w.bytes }

// Entities counts the entities in the set.
func (w *Set) Entities() int { return len(w.entities) }

// ErrNotLoaded is a defect of the caller: a live set got an event of an entity that was not prefetched.
var ErrNotLoaded = errors.New("entity is not in the working set")

// Apply folds one event. An event that fold cannot apply leaves no trace but the quarantine of its entity; the
// events behind it wait there. The returned error is never about the event.
func (w *Set) Apply(e *envelope.Event, fold Fold) error {
	ent := w.entities[e.Key]
	if ent == nil {
		if w.loading {
			return fmt.Errorf("%w: %s", ErrNotLoaded, e.Key)
		}
		ent = w.add(e.Key)
	}
	w.current, w.event = ent, e
	w.pending = w.pending[:0]
	if ent.tables[heldEntities.slot] != nil {
		if held, ok := heldEntities.Get(w, One{}); ok {
			return w.hold(e, held.Reason, true)
		}
	}
	if err := safely(fold, w, e); err != nil {
		w.revert()
		return w.hold(e, err.Error(), false)
	}
	w.commit()
	return nil
}

func (w *Set) add(key envelope.Key) *entity {
	key.ID = strings.Clone(key.ID) // it may be a part of all that was read with it
	ent := &entity{key: key, tables: make([]entityRows, len(w.schema.tablesOf(key.Entity)))}
	w.entities[key] = ent
	w.bytes += entityOverhead
	return ent
}

// safely turns a panic of the fold into an error that depends on the event and the rows alone.
func safely(fold Fold, w *Set, e *envelope.Event) (err error) {
	defer func() {
		if p := recover(); p != nil {
			if fault, ok := p.(runtime.Error); ok {
				err = fmt.Errorf("fold panicked: %s", fault.Error())
				return
			}
			err = fmt.Errorf("fold panicked: %v", p)
		}
	}()
	return fold(w, e)
}

// reverter takes back what the current event has done to one table.
type reverter interface {
	revert()
	forget()
}

func (w *Set) revert() {
	for _, table := range w.touched {
		w.undo[table].revert()
	}
	w.touched, w.pending = w.touched[:0], w.pending[:0]
}

func (w *Set) commit() {
	for _, p := range w.pending {
		w.appended(p.table, w.current.key, p.tuple)
	}
	if len(w.touched) > 0 && w.loading && !w.current.dirty {
		w.current.dirty = true
		w.dirty = append(w.dirty, w.current)
	}
	for _, table := range w.touched {
		w.undo[table].forget()
	}
	w.touched, w.pending = w.touched[:0], w.pending[:0]
}

// Forget drops everything, for instance after a transaction whose outcome is not known.
func (w *Set) Forget() {
	clear(w.entities)
	w.dirty, w.bytes = w.dirty[:0], 0
}
