package plane_test

import (
	"fmt"
	"testing"

	"github.com/refold-dev/refold/internal/plane"
)

// generators makes one generator for each of n new tenants.
func generators(t testing.TB, p *plane.Plane, seed uint64, n int) []*generator {
	t.Helper()
	var out []*generator
	for i := range n {
		out = append(out, newGenerator(seed, i, tenantFor(t, p, fmt.Sprintf("tenant-%d", i))))
	}
	return out
}

// write appends n events of each generator, one tenant after another.
func write(t testing.TB, p *plane.Plane, n int, all ...*generator) {
	t.Helper()
	for range n {
		for _, g := range all {
			s := g.next()
			if _, err := p.Journal.Shard(g.tenant.Shard).Append(t.Context(), s.event, s.last); err != nil {
				t.Fatal(err)
			}
			g.accept(s)
		}
	}
}

func modelOf(all []*generator) *model {
	var models []*model
	for _, g := range all {
		models = append(models, g.model)
	}
	return merge(models...)
}

// TestRowsAreThoseOfTheModel folds random events of every kind live and by replay.
func TestRowsAreThoseOfTheModel(t *testing.T) {
	p := open(t)
	all := generators(t, p, seed(t), 3)
	all[0].poison = 20
	write(t, p, 400, all...)
	settle(t, p, 1)
	live := verifyEdition(t, p, 1)
	mustBeClean(t, live)
	number, err := p.Editions.Build(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, edition := range []int64{1, number} {
		pool, err := p.DB.OwnerOf(t.Context(), edition)
		if err != nil {
			t.Fatal(err)
		}
		mustEqualModel(t, pool, modelOf(all))
	}
	settle(t, p, number)
	replayed := verifyEdition(t, p, number)
	mustBeClean(t, replayed)
	if fmt.Sprint(live.Digests) != fmt.Sprint(replayed.Digests) {
		t.Fatalf("digests differ:\n%v\n%v", live.Digests, replayed.Digests)
	}
}
