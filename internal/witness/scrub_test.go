package witness_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/refold-dev/refold/internal/journal"
	"github.com/refold-dev/refold/internal/witness"
)

// known is what is kept of the copies.
func (s *stand) known(t *testing.T) string {
	t.Helper()
	copies, err := witness.Copies(t.Context(), s.DB, s.facts(t).JournalID)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, c := range copies {
		text := c.Server + " " + c.State
		if c.FirstBad > 0 {
			text += fmt.Sprintf(" %d", c.FirstBad)
		}
		if c.Bad() != (c.Since != nil) || !c.Bad() && c.WholeAt == nil {
			t.Errorf("found since %v, whole at %v: %+v", c.Since, c.WholeAt, c)
		}
		out = append(out, text)
	}
	return strings.Join(out, ", ")
}

// TestTheScrubberNamesAReplica round after round, until a whole round finds nothing.
func TestTheScrubberNamesAReplica(t *testing.T) {
	t.Parallel()
	s := newStand(t)
	s.append(t, 400) // 41 pages of 10: several reads a round
	config, original := s.messages(t)
	whole := forge(t, config, original)
	altered := append([]message{}, original...)
	altered[299].data = append([]byte{' '}, altered[299].data...)
	wrong, short := forge(t, config, altered), forge(t, config, original[:320])
	all := &servers{journals: []*journal.Journal{whole, whole, whole}, silentAfter: map[string]uint64{}}
	scrubber := &witness.ReplicaScrubber{DB: s.DB, Shards: whole.Shards, Journal: all, Rate: 1 << 30, RoundMin: time.Nanosecond, IdleMax: time.Second}
	round := func(want string) {
		t.Helper()
		for range 4 { // 16 pages a turn, and one that begins the round
			if err := scrubber.Turn(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if got := s.known(t); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	round("") // no digests are kept yet
	s.advance(t)
	round("n1 whole, n2 whole, n3 whole")
	all.journals[1] = wrong
	round("n1 whole, n2 changed 300, n3 whole")
	all.journals[2] = short
	round("n1 whole, n2 changed 300, n3 behind 321")
	all.journals[2], all.silentAfter["n3"] = whole, 250
	round("n1 whole, n2 changed 300, n3 unreadable 251")
	all.journals[1] = whole
	delete(all.silentAfter, "n3")
	round("n1 whole, n2 whole, n3 whole")

	// A check by hand is taken over.
	all.journals[0] = wrong
	check := witness.ReplicaCheck{DB: s.DB, Journal: all}
	result, err := check.Shard(t.Context(), whole.Shards[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := witness.RecordReplicas(t.Context(), s.DB, []*witness.Result{result}); err != nil {
		t.Fatal(err)
	}
	if got, want := s.known(t), "n1 changed 300, n2 whole, n3 whole"; got != want {
		t.Errorf("after a check by hand: got %s, want %s", got, want)
	}
}
