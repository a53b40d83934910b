package openmemory

import (
	"cmp"
	"slices"
	"testing"

	"github.com/refold-dev/refold/events"
	"github.com/refold-dev/refold/events/envelope"
	"github.com/refold-dev/refold/internal/journal/journaltest"
	"github.com/refold-dev/refold/internal/memory"
)

// stored is what an event says, without what differs between two runs: its place and time.
type stored struct {
	Key       envelope.Key
	Version   uint64
	Kind      string
	CommandID string
	EventID   string
	Data      string
}

// eventsOf returns the events of a tenant, in the order of the journal.
func eventsOf(t testing.TB, shard *journaltest.Fake, tenant string) []envelope.Event {
	t.Helper()
	facts, err := shard.Facts(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var out []envelope.Event
	for seq := uint64(1); seq <= facts.LastSeq; seq++ {
		e, err := shard.At(t.Context(), seq)
		if err != nil {
			t.Fatal(err)
		}
		if e.Tenant == tenant {
			out = append(out, *e)
		}
	}
	return out
}

// contentsOf returns what the events of a tenant say, sorted by entity and version.
func contentsOf(t testing.TB, shard *journaltest.Fake, tenant string) []stored {
	t.Helper()
	var out []stored
	for _, e := range eventsOf(t, shard, tenant) {
		out = append(out, stored{e.Key, e.Version, e.Kind, e.CommandID, e.EventID, string(e.Data)})
	}
	slices.SortFunc(out, func(a, b stored) int {
		return cmp.Or(cmp.Compare(a.Key.String(), b.Key.String()), cmp.Compare(a.Version, b.Version))
	})
	return out
}

// decoded returns the payload of an event.
func decoded(t testing.TB, e envelope.Event) events.Payload {
	t.Helper()
	p, err := events.Decode(e.Kind, e.Data)
	if err != nil {
		t.Fatalf("event %d: %v", e.Seq, err)
	}
	return p
}

// memoryState folds one memory.
func memoryState(t testing.TB, shard *journaltest.Fake, tenant, id string) memory.State {
	t.Helper()
	history, err := shard.History(t.Context(), envelope.Key{Tenant: tenant, Entity: memory.Entity, ID: id})
	if err != nil {
		t.Fatal(err)
	}
	var s memory.State
	for i := range history {
		if s, err = memory.Evolve(s, &history[i]); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// mustImport imports the whole file.
func mustImport(t testing.TB, config Config) *Report {
	t.Helper()
	report, err := Import(t.Context(), config)
	if err != nil || !report.Complete || report.Refused != 0 {
		t.Fatalf("import: %v, report %+v", err, report)
	}
	return report
}

func lastSeq(t testing.TB, shard *journaltest.Fake) uint64 {
	t.Helper()
	facts, err := shard.Facts(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return facts.LastSeq
}
