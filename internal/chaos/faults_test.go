package main

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// TestASeedDecides: one seed gives one order, another seed another, and every kind comes in each round.
func TestASeedDecides(t *testing.T) {
	draw := func(seed uint64, count int) (all []string) {
		next := schedule(faultKinds, rand.New(rand.NewPCG(seed, 1)))
		for range count {
			all = append(all, next().kind.name)
		}
		return all
	}
	round := 0
	for _, kind := range faultKinds {
		round += kind.weight
	}
	if round < 30 {
		t.Errorf("a round has %d faults, want at least 30", round)
	}
	one := draw(7, round)
	if !slices.Equal(one, draw(7, round)) || slices.Equal(one, draw(8, round)) {
		t.Error("the seed does not decide the order")
	}
	for _, kind := range names(faultKinds) {
		if !slices.Contains(one, kind) {
			t.Errorf("a round is without %s", kind)
		}
	}
}

// TestEachNodeIsMeant: over a round every node and every process is drawn.
func TestEachNodeIsMeant(t *testing.T) {
	next := schedule(faultKinds, rand.New(rand.NewPCG(7, 1)))
	nodes, processes := map[int]bool{}, map[int]bool{}
	for range 30 {
		f := next()
		nodes[f.node], processes[f.server] = true, true
	}
	if len(nodes) != natsNodes || len(processes) != servers {
		t.Errorf("nodes %v and processes %v were drawn", nodes, processes)
	}
}

func TestChosen(t *testing.T) {
	if got := names(chosen([]string{"postgres", "refold-kill-both"})); !slices.Equal(got, []string{"refold-kill-both", "postgres-kill", "postgres-failover"}) {
		t.Errorf("got %v", got)
	}
	if len(chosen(nil)) != len(faultKinds) || len(chosen([]string{"x"})) != 0 {
		t.Error("no prefix is all kinds, an unknown one is none")
	}
}
