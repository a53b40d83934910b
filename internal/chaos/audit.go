package main

import (
	"cmp"
	"maps"
	"slices"
)

// This file decides from records alone: what clients were told, what the journal has on each node, what rows say.

// key names a memory.
type key struct{ Tenant, ID string }

// place is where an event stands in the journal.
type place struct {
	Shard int
	Seq   uint64
}

// auditReplicas fails for each shard whose nodes do not all have the same messages.
func auditReplicas(copies []copyOfShard) (v violations, compared int) {
	first := map[int]copyOfShard{}
	for _, c := range copies { // the longest one that could be read, so that what a node lacks is named as its lack
		if len(c.Digests) > len(first[c.Shard].Digests) {
			first[c.Shard] = c
		}
	}
	for _, c := range copies {
		reference := first[c.Shard]
		if c.Err != nil {
			v.add("replica unreadable", "shard %d on %s: %v", c.Shard, c.Node, c.Err)
		}
		compared += len(c.Digests)
		if len(c.Digests) < len(reference.Digests) {
			v.add("replica short", "shard %d on %s ends at sequence %d, on %s at %d", c.Shard, c.Node, len(c.Digests), reference.Node, len(reference.Digests))
		}
		differing := 0
		for i := range c.Digests {
			if c.Digests[i] == reference.Digests[i] {
				continue
			}
			if differing++; differing == 1 {
				v.add("replica differs", "shard %d: sequence %d on %s is not that on %s", c.Shard, i+1, c.Node, reference.Node)
			}
		}
	}
	return v, compared
}

// longest is the journal as the node has it that has most of it, by shard.
func longest(copies []copyOfShard) map[int][]event {
	out := map[int][]event{}
	for _, c := range copies {
		if len(c.Events) > len(out[c.Shard]) {
			out[c.Shard] = c.Events
		}
	}
	return out
}

// auditJournal holds the journal against what clients were told: every accepted command once, at the position and
// version it was acknowledged with, and nothing that was refused or never sent. open reads a sealed position.
func auditJournal(commands []*command, journal map[int][]event, open func(tenant, position string) (place, error)) (v violations, lost, doubled int) {
	sent := map[string]*command{}
	for _, c := range commands {
		sent[c.Key] = c
	}
	found := map[string][]place{}
	ids := map[string]place{}
	versions := map[string]int64{}
	for _, shard := range slices.Sorted(maps.Keys(journal)) {
		for i, e := range journal[shard] {
			at := place{shard, uint64(i + 1)}
			if other, twice := ids[e.EventID]; twice {
				v.add("event twice", "event %s is at %+v and at %+v", e.EventID, other, at)
			}
			ids[e.EventID] = at
			entity := e.Tenant + "/" + e.Entity + "/" + e.ID
			if versions[entity]++; e.Version != versions[entity] {
				v.add("versions", "%s at %+v has version %d, want %d", entity, at, e.Version, versions[entity])
			}
			if e.Entity != "memory" {
				continue // made on first use by a command about a memory, or by the plane
			}
			c := sent[e.Command]
			switch {
			case c == nil:
				v.add("phantom", "%s at %+v is of command %q, which nobody sent", entity, at, e.Command)
			case c.Outcome == refused:
				v.add("refused but stored", "%s %s was refused (%s) and is at %+v", c.Kind, c.Key, c.Code, at)
			case c.Outcome == accepted && (c.Memory != e.ID || c.Version != e.Version || c.Tenant != e.Tenant):
				v.add("acknowledged otherwise", "%s %s was acknowledged as %s version %d and is %s version %d at %+v", c.Kind, c.Key, c.Memory, c.Version, entity, e.Version, at)
			}
			found[e.Command] = append(found[e.Command], at)
		}
	}
	for _, c := range commands {
		places := found[c.Key]
		if len(places) > 1 {
			doubled++
			v.add("doubled", "%s %s is at %v", c.Kind, c.Key, places)
		}
		if c.Outcome != accepted {
			continue
		}
		if len(places) == 0 {
			lost++
			v.add("lost", "%s %s of %s was acknowledged as %s version %d", c.Kind, c.Key, c.Tenant, c.Memory, c.Version)
			continue
		}
		if at, err := open(c.Tenant, c.Position); err != nil || at != places[0] {
			v.add("position", "%s %s was acknowledged at %+v (%v) and is at %+v", c.Kind, c.Key, at, err, places[0])
		}
	}
	return v, lost, doubled
}

// fold is what rows must be: the accepted commands of each memory in the order of their versions.
func fold(commands []*command) (map[key]memory, violations) {
	var v violations
	of := map[key][]*command{}
	for _, c := range commands {
		if c.Outcome == accepted {
			of[key{c.Tenant, c.Memory}] = append(of[key{c.Tenant, c.Memory}], c)
		}
	}
	rows := map[key]memory{}
	for k, all := range of {
		slices.SortStableFunc(all, func(a, b *command) int { return cmp.Compare(a.Version, b.Version) })
		m := memory{ID: k.ID, State: active}
		for i, c := range all {
			if c.Version != int64(i+1) {
				v.add("versions", "%s %s was acknowledged as version %d of %s, want %d", c.Kind, c.Key, c.Version, k.ID, i+1)
			}
			m.Version = c.Version
			switch c.Kind {
			case "create", "change":
				m.Content = c.Content
			case "pause":
				m.State = paused
			case "archive":
				m.State = archived
			case "activate":
				m.State = active
			case "delete":
				m.State = deleted
			}
		}
		rows[k] = m
	}
	return rows, v
}

// auditRows holds the rows that were read against those that must be there; deleted ones must not.
func auditRows(want, got map[key]memory) (v violations) {
	for k, m := range want {
		row, there := got[k]
		switch {
		case m.State == deleted && there:
			v.add("row", "%s of %s was deleted and is read", k.ID, k.Tenant)
		case m.State != deleted && !there:
			v.add("row", "%s of %s is not read", k.ID, k.Tenant)
		case m.State != deleted && row != m:
			v.add("row", "%s of %s reads %+v, want %+v", k.ID, k.Tenant, row, m)
		}
	}
	for k := range got {
		if _, known := want[k]; !known {
			v.add("row", "%s of %s is read, and nobody was told of it", k.ID, k.Tenant)
		}
	}
	return v
}
