package main

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
)

// recorded is a small campaign as it should end: what was told, what three nodes hold, what is read.
type recorded struct {
	commands []*command
	copies   []copyOfShard
	rows     map[key]memory
}

// record makes two memories in each of two shards. Each is created, changed and paused; one is deleted; one change is refused.
func record() recorded {
	r := recorded{rows: map[key]memory{}}
	journal := map[int][]event{}
	say := func(shard int, c command) {
		c.Key = fmt.Sprintf("key-%d", len(r.commands)+1)
		if c.Outcome == accepted {
			journal[shard] = append(journal[shard], event{c.Tenant, "memory", c.Memory, c.Version, c.Key, "event-" + c.Key})
			c.Position = fmt.Sprintf("%d/%d", shard, len(journal[shard]))
		}
		r.commands = append(r.commands, &c)
	}
	for shard := range 2 {
		tenant := fmt.Sprintf("t%d", shard)
		for i := range 2 {
			id := fmt.Sprintf("m%d", i)
			say(shard, command{Tenant: tenant, Memory: id, Kind: "create", Content: "a", Outcome: accepted, Version: 1})
			say(shard, command{Tenant: tenant, Memory: id, Kind: "change", Content: "b", Outcome: accepted, Version: 2, Expect: 1})
			say(shard, command{Tenant: tenant, Memory: id, Kind: "change", Content: "c", Outcome: refused, Expect: 1})
			say(shard, command{Tenant: tenant, Memory: id, Kind: "pause", Outcome: accepted, Version: 3})
			r.rows[key{tenant, id}] = memory{id, 3, "b", paused}
		}
		say(shard, command{Tenant: tenant, Memory: "m1", Kind: "delete", Outcome: accepted, Version: 4})
		delete(r.rows, key{tenant, "m1"})
	}
	for shard, events := range journal {
		for _, node := range []string{"n1", "n2", "n3"} {
			c := copyOfShard{Shard: shard, Node: node, Events: slices.Clone(events)}
			for _, e := range events {
				c.Digests = append(c.Digests, digestOf(e.ID, nil, []byte(e.Command)))
			}
			r.copies = append(r.copies, c)
		}
	}
	return r
}

func open(_, position string) (at place, err error) {
	_, err = fmt.Sscanf(position, "%d/%d", &at.Shard, &at.Seq)
	return at, err
}

// audit is what a campaign does at its end.
func (r recorded) audit() (found violations) {
	v, _ := auditReplicas(r.copies)
	found.take(v)
	v, _, _ = auditJournal(r.commands, longest(r.copies), open)
	found.take(v)
	rows, v := fold(r.commands)
	found.take(v)
	found.take(auditRows(rows, r.rows))
	return found
}

// everywhere changes what all nodes hold of shard 0, alike.
func (r *recorded) everywhere(change func(*copyOfShard)) {
	for i := range r.copies {
		if r.copies[i].Shard == 0 {
			change(&r.copies[i])
		}
	}
}

// TestTheAuditSees plants one fault at a time. Each must be called by its name, and a campaign without one is clean.
func TestTheAuditSees(t *testing.T) {
	last := func(c *copyOfShard) int { return len(c.Events) - 1 }
	for _, c := range []struct {
		planted string
		plant   func(*recorded)
		want    string // kinds of violations
	}{
		{"nothing", func(*recorded) {}, ""},
		{"a loss", func(r *recorded) {
			r.everywhere(func(c *copyOfShard) { c.Events, c.Digests = c.Events[:last(c)], c.Digests[:last(c)] })
		}, "lost"},
		{"a loss within", func(r *recorded) {
			r.everywhere(func(c *copyOfShard) {
				c.Events, c.Digests = slices.Delete(c.Events, 4, 5), slices.Delete(c.Digests, 4, 5)
			})
		}, "lost,position,versions"},
		{"a double", func(r *recorded) {
			r.everywhere(func(c *copyOfShard) {
				e := c.Events[last(c)]
				e.Version, e.EventID = e.Version+1, "another"
				c.Events, c.Digests = append(c.Events, e), append(c.Digests, digest{1})
			})
		}, "acknowledged otherwise,doubled"},
		{"an event twice", func(r *recorded) {
			r.everywhere(func(c *copyOfShard) { c.Events[last(c)].EventID = c.Events[0].EventID })
		}, "event twice"},
		{"a refused command in the journal", func(r *recorded) {
			i := slices.IndexFunc(r.commands, func(c *command) bool { return c.Outcome == refused })
			c := r.commands[i]
			r.everywhere(func(copied *copyOfShard) {
				copied.Events = append(copied.Events, event{c.Tenant, "memory", c.Memory, 4, c.Key, "event"})
				copied.Digests = append(copied.Digests, digest{1})
			})
		}, "refused but stored"},
		{"a command that nobody sent", func(r *recorded) {
			r.everywhere(func(c *copyOfShard) {
				c.Events, c.Digests = append(c.Events, event{"t0", "memory", "m9", 1, "stranger", "event"}), append(c.Digests, digest{1})
			})
		}, "phantom"},
		{"another position", func(r *recorded) { r.commands[0].Position = "0/2" }, "position"},
		{"another version", func(r *recorded) { r.commands[1].Version = 1 }, "acknowledged otherwise,versions"},
		{"an event of another tenant", func(r *recorded) {
			r.everywhere(func(c *copyOfShard) { c.Events[last(c)].Tenant = "t1" })
		}, "acknowledged otherwise,versions"},
		{"a replica with another byte", func(r *recorded) { r.copies[1].Digests[3][7] ^= 1 }, "replica differs"},
		{"a replica that ends early", func(r *recorded) {
			c := &r.copies[2]
			c.Events, c.Digests = c.Events[:last(c)], c.Digests[:last(c)]
		}, "replica short"},
		{"a replica with a hole", func(r *recorded) {
			c := &r.copies[0]
			c.Err = errors.New("sequence 4 where 3 is due")
			c.Events, c.Digests = c.Events[:2], c.Digests[:2]
		}, "replica short,replica unreadable"},
		{"a replica with nothing", func(r *recorded) {
			r.copies[0].Events, r.copies[0].Digests = nil, nil
		}, "replica short"},
		{"an old row", func(r *recorded) { r.rows[key{"t0", "m0"}] = memory{"m0", 2, "b", active} }, "row"},
		{"another content", func(r *recorded) { r.rows[key{"t0", "m0"}] = memory{"m0", 3, "a", paused} }, "row"},
		{"a missing row", func(r *recorded) { delete(r.rows, key{"t1", "m0"}) }, "row"},
		{"a deleted row", func(r *recorded) { r.rows[key{"t0", "m1"}] = memory{"m1", 3, "b", paused} }, "row"},
		{"a row of nobody", func(r *recorded) { r.rows[key{"t1", "m7"}] = memory{"m7", 1, "b", active} }, "row"},
	} {
		t.Run(c.planted, func(t *testing.T) {
			r := record()
			c.plant(&r)
			found := r.audit()
			if got := strings.Join(slices.Sorted(maps.Keys(found.Counts)), ","); got != c.want {
				t.Errorf("found %q, want %q:\n%s", got, c.want, strings.Join(found.Texts, "\n"))
			}
		})
	}
}

// TestTheAuditCounts holds the two figures that the report leads with.
func TestTheAuditCounts(t *testing.T) {
	r := record()
	journal := longest(r.copies)
	journal[0] = append(journal[0][1:], journal[0][3])
	if _, lost, doubled := auditJournal(r.commands, journal, open); lost != 1 || doubled != 1 {
		t.Errorf("%d lost and %d doubled, want 1 and 1", lost, doubled)
	}
}

// TestUnknownMayBeStoredOrNot: a command that nothing settled is neither lost nor a phantom.
func TestUnknownMayBeStoredOrNot(t *testing.T) {
	r := record()
	stored := *r.commands[len(r.commands)-1]
	stored.Outcome = unknown
	r.commands[len(r.commands)-1] = &stored
	r.commands = append(r.commands, &command{Key: "never stored", Outcome: unknown})
	if v, _, _ := auditJournal(r.commands, longest(r.copies), open); v.any() {
		t.Errorf("found %v", v.Texts)
	}
}

func TestLedger(t *testing.T) {
	l := &ledger{}
	l.settled(&command{Outcome: accepted, Doubts: 1})
	l.settled(&command{Outcome: accepted})
	l.settled(&command{Outcome: refused, Doubts: 2})
	l.settled(&command{Outcome: unknown, Doubts: 9})
	want := tally{Accepted: 2, Refused: 1, Unknown: 3, SettledAccepted: 1, SettledRefused: 1, Unsettled: 1}
	if l.counts != want || l.violations.Counts["unsettled"] != 1 {
		t.Errorf("got %+v, want %+v; violations %v", l.counts, want, l.violations)
	}
}

// TestAnswers: only these statuses settle a command, and only a full house settles nothing and stores nothing.
func TestAnswers(t *testing.T) {
	for status, want := range map[int][2]bool{
		0: {false, true}, 200: {true, false}, 201: {true, false}, 202: {true, false}, 400: {true, false}, 404: {true, false}, 408: {false, true}, 409: {true, false},
		412: {true, false}, 422: {true, false}, 425: {false, true}, 429: {false, false}, 500: {false, true}, 502: {false, true}, 503: {false, true}, 507: {false, true},
	} {
		if a := (answer{status: status}); a.definite() != want[0] || a.doubtful() != want[1] {
			t.Errorf("%d: definite %v, doubtful %v, want %v", status, a.definite(), a.doubtful(), want)
		}
	}
}
