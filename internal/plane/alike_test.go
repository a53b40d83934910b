package plane_test

import (
	"testing"

	"github.com/google/uuid"
	"github.com/refold-dev/refold/events"
)

// TestRowsThatLookAlikeAreFound: values that are told apart only by where one ends and the next begins, or by what
// stands for NULL, in the words of tools that join values to a text.
func TestRowsThatLookAlikeAreFound(t *testing.T) {
	p := open(t)
	tenant := tenantFor(t, p, "acme")
	pool, err := p.DB.OwnerOf(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	text := func(s string) *string { return &s }
	type pair struct {
		name        string
		description *string
	}
	for _, c := range []struct{ is, becomes pair }{
		{pair{"ab", text("c")}, pair{"a", text("bc")}},
		{pair{"a|b", text("c")}, pair{"a", text("b|c")}},
		{pair{"a,b", text("c")}, pair{"a", text("b,c")}},
		{pair{"a\x1fb", text("c")}, pair{"a", text("b\x1fc")}},
		{pair{"a\tb", text("c")}, pair{"a", text("b\tc")}},
		{pair{"a\nb", text("c")}, pair{"a", text("b\nc")}},
		{pair{`a","b`, text("c")}, pair{"a", text(`b","c`)}},
		{pair{"n", nil}, pair{"n", text("None")}},
		{pair{"n", nil}, pair{"n", text("NULL")}},
		{pair{"n", nil}, pair{"n", text("null")}},
		{pair{"n", nil}, pair{"n", text(`\N`)}},
		{pair{"n", nil}, pair{"n", text("")}},
		{pair{"n", text("")}, pair{"n", nil}},
		{pair{"n", text("None")}, pair{"n", nil}},
		{pair{"a", text("b")}, pair{"b", text("a")}},
		{pair{"n", text("x ")}, pair{"n", text("x")}},
		{pair{"n", text("\u00e9")}, pair{"n", text("e\u0301")}},
	} {
		id := uuid.New()
		publish(t, p, tenant, "category", id, 1, 0, &events.CategoryDefined{Private: events.CategoryPrivate{Name: c.is.name, Description: c.is.description}})
		settle(t, p, 1)
		if _, err := pool.Exec(t.Context(), "UPDATE category SET name = $1, description = $2 WHERE id = $3", c.becomes.name, c.becomes.description, id); err != nil {
			t.Fatal(err)
		}
		report := verifyEdition(t, p, 1)
		changed := 0
		if c.is.name != c.becomes.name {
			changed++
		}
		if show(c.is.description) != show(c.becomes.description) {
			changed++
		}
		if report.Total != 1 || len(report.Differences[0].Columns) != changed || report.Differences[0].Key[0].Value != id.String() {
			t.Errorf("%q %s became %q %s: %+v", c.is.name, show(c.is.description), c.becomes.name, show(c.becomes.description), report.Differences)
		}
		mustRepair(t, p, repairOf(1))
	}
	mustBeClean(t, verifyEdition(t, p, 1))
}
