package rows

import (
	"errors"
	"fmt"
	"reflect"
	"testing"
)

// someDigests are digests of the quarantine's tables, which every schema has.
func someDigests(tenants int) *Digests {
	g := NewDigests(Define())
	for i := range tenants {
		for table := range 2 {
			sumOf(g.sums, sumID{fmt.Sprintf("tenant %d", i), table}).Add(fmt.Appendf(nil, "row %d %d", i, table))
		}
	}
	return g
}

func TestDigestsOfPartsAreReadBackAndAddUp(t *testing.T) {
	g := someDigests(5)
	again := NewDigests(g.schema)
	if err := again.Restore(g.Store()); err != nil || !reflect.DeepEqual(again.List(), g.List()) {
		t.Fatalf("read back: %v\n%v\nwant\n%v", err, again.List(), g.List())
	}
	// With too many tenants those of a table are what remains, whichever side had too many first.
	want := map[string]string{}
	totals := someDigests(5)
	totals.addUp()
	for _, d := range totals.List() {
		want[d.Table] = d.Digest
	}
	few := NewDigests(g.schema)
	few.Bound(4)
	few.Merge(g)
	late := someDigests(5)
	late.sums[sumID{"tenant 0", 0}], late.sums[sumID{"tenant 0", 1}] = new(LtHash), new(LtHash)
	only := &Digests{schema: g.schema, totals: true, sums: map[sumID]*LtHash{}}
	for table := range 2 {
		sumOf(only.sums, sumID{"", table}).Add(fmt.Appendf(nil, "row 0 %d", table))
	}
	late.Merge(only)
	for name, got := range map[string]*Digests{"bound": few, "merged with totals": late} {
		if !got.Totals() || len(got.List()) != 2 {
			t.Fatalf("%s: %v", name, got.List())
		}
		for _, d := range got.List() {
			if d.Tenant != "" || d.Digest != want[d.Table] || d.Rows != 5 {
				t.Errorf("%s: %+v, want %s", name, d, want[d.Table])
			}
		}
	}
}

func FuzzDigestsRestore(f *testing.F) {
	whole := someDigests(2).Store()
	for _, b := range [][]byte{nil, {0}, {1}, {2}, whole, whole[:len(whole)-1], append([]byte{1}, whole[1:]...), {0, 0, 0, 0, 1}, {0, 255, 255, 255, 255}} {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		g := NewDigests(Define())
		if err := g.Restore(b); err != nil {
			if !errors.Is(err, errDigests) {
				t.Fatal(err)
			}
			return
		}
		again := NewDigests(g.schema)
		if err := again.Restore(g.Store()); err != nil || !reflect.DeepEqual(again.List(), g.List()) {
			t.Fatalf("read back: %v", err)
		}
	})
}
