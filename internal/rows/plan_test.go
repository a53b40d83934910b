package rows

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/refold-dev/refold/events/envelope"
)

// sides are the rows of table item (or log) of one tenant in both editions, "sub=content" each; ~ is NULL.
type sides struct {
	live, next []string
	columns    []Column // of the live edition; nil = ours
}

// planOf puts both sides into a plan, all in one part or in two.
func planOf(t *testing.T, table string, s sides, parts int) *Plan {
	t.Helper()
	columns := s.columns
	if columns == nil {
		columns = itemColumns
	}
	live := map[string][]Column{table: columns}
	for _, d := range []*Description{&heldEntities.Description, &heldEvents.Description} {
		live[d.Name] = d.Columns
	}
	p := NewPlan(things, live)
	for number := range parts {
		part := p.Part(func(key envelope.Key) bool { return int(key.ID[0])%parts == number })
		for i, row := range s.next {
			sub, content, _ := strings.Cut(row, "=")
			e := &envelope.Event{Key: envelope.Key{Tenant: "acme", Entity: "thing", ID: sub}, Seq: uint64(i + 1), Version: 1, Kind: "thing.done.v1"}
			if part.part(e.Key) {
				if err := part.Apply(e, func(w *Set, e *envelope.Event) error { return write(w, table, item{e.Tenant, e.ID, sub, content}) }); err != nil {
					t.Fatal(err)
				}
			}
		}
		of := p.tables[slices.IndexFunc(p.tables, func(t *tablePlan) bool { return t.name == table })]
		for _, row := range s.live {
			sub, content, _ := strings.Cut(row, "=")
			var tuple Tuple
			tuple.begin()
			tuple.Text("acme")
			tuple.Text(sub)
			tuple.Text(sub)
			if content == "~" {
				tuple.Null()
			} else {
				tuple.Text(content)
			}
			tuple.end()
			var f Fields
			f.own(tuple.b)
			if owner := items.OwnerOf(f); part.part(owner) && of.kind == SharedTable {
				part.compareRow(of, owner, f, tuple.b)
			}
		}
		part.addUnseen()
	}
	return p
}

func write(w *Set, table string, i item) error {
	switch {
	case i.text == "held":
		return errors.New("cannot be folded")
	case table == "log":
		return log.Append(w, i)
	}
	return items.Put(w, i)
}

func TestPlanCountsRows(t *testing.T) {
	without := itemColumns[:3]
	for what, c := range map[string]struct {
		sides
		want RowCounts
	}{
		"nothing":       {sides{}, RowCounts{}},
		"same":          {sides{live: []string{"a=1", "b=2"}, next: []string{"a=1", "b=2"}}, RowCounts{Live: 2, Next: 2}},
		"changed":       {sides{live: []string{"a=1", "b=2"}, next: []string{"a=1", "b=3"}}, RowCounts{Live: 2, Next: 2, Changed: 1, Columns: map[string]int64{"content": 1}}},
		"NULL is no ''": {sides{live: []string{"a=~"}, next: []string{"a="}}, RowCounts{Live: 1, Next: 1, Changed: 1, Columns: map[string]int64{"content": 1}}},
		"added":         {sides{live: []string{"a=1"}, next: []string{"a=1", "b=2"}}, RowCounts{Live: 1, Next: 2, Added: 1}},
		"removed":       {sides{live: []string{"a=1", "b=2"}, next: []string{"b=2"}}, RowCounts{Live: 2, Next: 1, Removed: 1}},
		"another key":   {sides{live: []string{"a=1"}, next: []string{"b=1"}}, RowCounts{Live: 1, Next: 1, Added: 1, Removed: 1}},
		"twice":         {sides{live: []string{"a=1", "a=1"}, next: []string{"a=1"}}, RowCounts{Live: 2, Next: 1, Removed: 1}},
		"a new column":  {sides{live: []string{"a=~", "b=~"}, next: []string{"a=1", "c=1"}, columns: without}, RowCounts{Live: 2, Next: 2, Added: 1, Removed: 1}},
		"another type": {sides{live: []string{"a=~"}, next: []string{"a=1"}, columns: append(slices.Clone(without), Column{"content", "int8", true})},
			RowCounts{Live: 1, Next: 1}},
	} {
		for _, table := range []string{"item", "log"} {
			for parts := 1; parts <= 2; parts++ {
				p := planOf(t, table, c.sides, parts)
				got := p.result(t, table)
				if diff := cmp.Diff(c.want, got.Rows); diff != "" {
					t.Errorf("%s, table %s, %d parts (-want +got):\n%s", what, table, parts, diff)
				}
				if len(got.Tenants) > 1 || len(got.Tenants) == 1 && (got.Tenants[0].Tenant != "acme" || cmp.Diff(got.Rows, got.Tenants[0].RowCounts) != "") {
					t.Errorf("%s: tenants %+v", what, got.Tenants)
				}
			}
		}
	}
}

func (p *Plan) result(t *testing.T, table string) TablePlan {
	t.Helper()
	all := p.Tables()
	i := slices.IndexFunc(all, func(t TablePlan) bool { return t.Table == table })
	if i < 0 {
		t.Fatalf("the plan has no table %s", table)
	}
	return all[i]
}

func TestPlanOfTables(t *testing.T) {
	text := func(names ...string) (out []Column) {
		for _, name := range names {
			out = append(out, Column{name, "text", true})
		}
		return out
	}
	p := NewPlan(things, map[string][]Column{
		"item": {{"content", "text", false}, {"more", "int8", true}, {"tenant_id", "text", true}, {"id", "text", true}, {"sub", "text", true}},
		"log":  text("tenant_id", "id", "content"),
		"old":  text("tenant_id"),
	})
	want := []TablePlan{
		{Table: "held_entity", Kind: NewTable}, {Table: "held_event", Kind: NewTable},
		{Table: "item", Kind: SharedTable, Columns: []ColumnPlan{{"content", "altered", "text", "text not null"}, {"more", "removed", "int8 not null", ""}}},
		{Table: "log", Kind: RekeyedTable, Columns: []ColumnPlan{{"sub", "added", "", "text not null"}}},
		{Table: "old", Kind: GoneTable},
	}
	if diff := cmp.Diff(want, p.Tables(), cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for _, table := range NewPlan(things, nil).Tables() {
		if table.Kind != NewTable {
			t.Errorf("without an edition, table %s is %s", table.Table, table.Kind)
		}
	}
	// Without a table in common, no database is asked.
	if err := NewPlan(things, nil).Part(nil).Compare(context.Background(), nil); err != nil {
		t.Error(err)
	}
}

func TestPlanShowsTheFirstKeys(t *testing.T) {
	var s sides
	for i := range 9 {
		s.live = append(s.live, fmt.Sprintf("%d=1", i+1), fmt.Sprintf("x%d=1", i))
		s.next = append(s.next, fmt.Sprintf("%d=2", 9-i))
	}
	s.next = append(s.next, "z=1")
	for _, table := range []string{"item", "log"} {
		for parts := 1; parts <= 2; parts++ {
			var got []string
			for _, e := range planOf(t, table, s, parts).result(t, table).Examples {
				got = append(got, fmt.Sprintf("%s %s%v%v %d", e.Did, e.Tenant, e.Key, e.Columns, e.Seq))
			}
			want := []string{
				"added acme[{id z} {sub z}][] 10", "removed acme[{id x0} {sub x0}][] 0", "removed acme[{id x1} {sub x1}][] 0", "removed acme[{id x2} {sub x2}][] 0",
				"changed acme[{id 1} {sub 1}][content] 9", "changed acme[{id 2} {sub 2}][content] 8", "changed acme[{id 3} {sub 3}][content] 7",
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("table %s, %d parts (-want +got):\n%s", table, parts, diff)
			}
		}
	}
}

func TestPlanCountsWhatWouldBeHeld(t *testing.T) {
	p := planOf(t, "item", sides{live: []string{"a=1"}, next: []string{"a=held", "b=held"}}, 2)
	want := []HeldKind{{Kind: "thing.done.v1", Next: 2, More: 2}}
	if diff := cmp.Diff(want, p.Held()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if c := p.result(t, "held_event").Rows; c.Added != 2 {
		t.Errorf("held_event: %+v", c)
	}
}
