package rows

import (
	"cmp"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/refold-dev/refold/events/envelope"
)

// item is a row of the table of these tests; its text may not be "refused".
type item struct{ tenant, id, sub, text string }

func itemOwner(i *item) envelope.Key {
	return envelope.Key{Tenant: i.tenant, Entity: "thing", ID: i.id}
}

func encodeItem(t *Tuple, i *item) {
	t.Text(i.tenant)
	t.Text(i.id)
	t.Text(i.sub)
	t.Text(i.text)
}

func checkItem(i *item) error {
	if i.text == "refused" {
		return errors.New("a constraint of the table")
	}
	return nil
}

var itemColumns = []Column{{"tenant_id", "text", true}, {"id", "text", true}, {"sub", "text", true}, {"content", "text", true}}

var items = &Table[string, item]{
	Description: Description{Name: "item", Entity: "thing", KeyColumns: 3, Columns: itemColumns},
	Owner:       itemOwner,
	OwnerOf:     func(f Fields) envelope.Key { return envelope.Key{Tenant: f.Text(0), Entity: "thing", ID: f.Text(1)} },
	Sub:         func(i *item) string { return i.sub },
	SubOf:       func(f Fields) string { return f.Text(2) },
	Compare:     cmp.Compare[string],
	Encode:      encodeItem,
	Check:       checkItem,
}

var log = &Log[item]{
	Description: Description{Name: "log", Entity: "thing", KeyColumns: 3, Columns: itemColumns, AppendOnly: true},
	Owner:       itemOwner,
	OwnerOf:     items.OwnerOf,
	Encode:      encodeItem,
	Check:       checkItem,
}

var things = Define(items, log)

// replay applies events of one entity and counts what was appended, by table.
type replay struct {
	*Set
	appended map[string]int
	seq      uint64
}

func newReplay() *replay {
	r := &replay{appended: map[string]int{}}
	r.Set = NewReplay(things, func(d *Description, _ envelope.Key, _ []byte) { r.appended[d.Name]++ })
	return r
}

func (r *replay) apply(t *testing.T, fold func(w *Set) error) {
	t.Helper()
	r.seq++
	e := &envelope.Event{Key: envelope.Key{Tenant: "acme", Entity: "thing", ID: "t1"}, Seq: r.seq, Version: r.seq, Kind: "thing.done.v1"}
	if err := r.Apply(e, func(w *Set, _ *envelope.Event) error { return fold(w) }); err != nil {
		t.Fatal(err)
	}
}

// rows are all rows of the entity, "sub=text" in order.
func (r *replay) rows() string {
	var out []string
	for _, ent := range r.entities {
		for slot, rows := range ent.tables {
			if slot > 0 && rows != nil {
				rows.each(&r.tuple, func(uint64) {
					var f Fields
					f.own(r.tuple.b)
					out = append(out, f.Text(2)+"="+f.Text(3))
				})
			}
		}
	}
	return strings.Join(out, " ")
}

func put(sub, text string) item { return item{"acme", "t1", sub, text} }

func TestAHalfAppliedEventIsUndone(t *testing.T) {
	for what, fail := range map[string]func(w *Set) error{
		"error":       func(*Set) error { return errors.New("no") },
		"panic":       func(*Set) error { panic("no") },
		"nil":         func(*Set) error { var i *item; _ = i.text; return nil },
		"constraint":  func(w *Set) error { return items.Put(w, put("z", "refused")) },
		"log":         func(w *Set) error { return log.Append(w, put("z", "refused")) },
		"NUL":         func(w *Set) error { return items.Put(w, put("z", "\x00")) },
		"foreign":     func(w *Set) error { return items.Put(w, item{"victim", "t1", "a", "x"}) },
		"neighbour":   func(w *Set) error { return items.Put(w, item{"acme", "t2", "a", "x"}) },
		"foreign log": func(w *Set) error { return log.Append(w, item{"victim", "t1", "a", "x"}) },
	} {
		t.Run(what, func(t *testing.T) {
			r := newReplay()
			r.apply(t, func(w *Set) error {
				return errors.Join(items.Put(w, put("b", "1")), items.Put(w, put("d", "1")), items.Put(w, put("e", "1")))
			})
			r.apply(t, func(w *Set) error {
				items.Delete(w, "e")
				return log.Append(w, put("b", "logged"))
			})
			want := "b=1 d=1"
			r.apply(t, func(w *Set) error {
				err := errors.Join(
					items.Put(w, put("a", "2")), items.Put(w, put("b", "2")), items.Put(w, put("b", "3")),
					items.Put(w, put("c", "2")), items.Put(w, put("e", "2")), log.Append(w, put("b", "not to be kept")))
				items.Delete(w, "d")
				items.Delete(w, "c")
				err = errors.Join(err, items.Put(w, put("d", "4")))
				if err != nil {
					t.Fatal(err)
				}
				return fail(w)
			})
			if got := r.rows(); got != want {
				t.Errorf("rows are %q, want %q", got, want)
			}
			r.apply(t, func(w *Set) error { t.Error("an event behind was folded"); return nil })
			if r.Held() != 1 || r.appended["held_event"] != 2 || r.appended["log"] != 1 {
				t.Errorf("%d held, appended %v", r.Held(), r.appended)
			}
		})
	}
}

func TestRowsOfAnEntity(t *testing.T) {
	r := newReplay()
	r.apply(t, func(w *Set) error {
		if _, ok := items.Get(w, "b"); ok {
			t.Error("a row is there before it was put")
		}
		items.Delete(w, "b")
		for _, sub := range []string{"c", "a", "b"} {
			if err := items.Put(w, put(sub, "1")); err != nil {
				return err
			}
		}
		items.Delete(w, "a")
		if _, ok := items.Get(w, "a"); ok {
			t.Error("a row is there after it was deleted")
		}
		if err := items.Put(w, put("b", "2")); err != nil {
			return err
		}
		if all := fmt.Sprint(items.All(w)); all != "[{acme t1 b 2} {acme t1 c 1}]" {
			t.Errorf("all rows are %s", all)
		}
		return nil
	})
	if got := r.rows(); got != "b=2 c=1" {
		t.Errorf("rows are %q", got)
	}
}
