package journal

import (
	"errors"
	"fmt"
	"testing"

	"github.com/nats-io/nats.go/jetstream"
)

func raisedEvent(shard int) (string, []byte, []byte, error) {
	return "journal.reconciled.v1", fmt.Appendf(nil, `{"shard":%d}`, shard), []byte("{}"), nil
}

// TestRaiseIncarnation raises it twice, and cuts the raise short at every point between two of its steps.
func TestRaiseIncarnation(t *testing.T) {
	for name, before := range map[string]func(*testing.T, *Journal){
		"from the start": func(*testing.T, *Journal) {},
		"after the first event": func(t *testing.T, j *Journal) {
			must(t, j.shards[0].appendIncarnation(t.Context(), j.ID, 2, raisedEvent))
		},
		"after both events": func(t *testing.T, j *Journal) {
			must(t, j.shards[0].appendIncarnation(t.Context(), j.ID, 2, raisedEvent))
			must(t, j.shards[1].appendIncarnation(t.Context(), j.ID, 2, raisedEvent))
		},
		"after the first metadata": func(t *testing.T, j *Journal) {
			must(t, j.shards[0].appendIncarnation(t.Context(), j.ID, 2, raisedEvent))
			must(t, j.shards[1].appendIncarnation(t.Context(), j.ID, 2, raisedEvent))
			must(t, j.shards[0].setIncarnation(t.Context(), 2))
		},
	} {
		t.Run(name, func(t *testing.T) {
			nc, _ := embedded(t)
			j := opened(t, nc, Config{Shards: 2})
			before(t, j)
			half, err := Open(t.Context(), nc, Config{})
			switch {
			case err == nil && name != "from the start":
				half.Close()
				t.Fatal("a half raised journal was opened")
			case err == nil:
				half.Close()
			case !errors.Is(err, ErrHalfRaised) || !errors.Is(err, ErrForeign):
				t.Fatalf("open: %v, want %v", err, ErrHalfRaised)
			}
			for range 2 { // the second time there is nothing to do
				examined, err := Examine(t.Context(), nc)
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(examined.Close)
				must(t, examined.RaiseIncarnation(t.Context(), 2, raisedEvent))
			}
			again := opened(t, nc, Config{})
			if again.Incarnation != 2 {
				t.Fatalf("incarnation %d, want 2", again.Incarnation)
			}
			for number, shard := range again.Shards {
				facts, err := shard.Facts(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				e, err := shard.At(t.Context(), 2)
				if err != nil {
					t.Fatal(err)
				}
				if facts.Incarnation != 2 || facts.LastSeq != 2 || e.Key != genesisKey(number) || e.Version != 2 || e.Kind != "journal.reconciled.v1" {
					t.Fatalf("shard %d: %+v, event %+v", number, facts, e)
				}
			}
			must(t, again.RaiseIncarnation(t.Context(), 7, raisedEvent))
			if err := again.RaiseIncarnation(t.Context(), 6, raisedEvent); !errors.Is(err, ErrForeign) {
				t.Fatalf("raised downwards: %v", err)
			}
			at, err := again.Incarnations(t.Context())
			if err != nil || len(at) != 2 || at[1] != (Incarnations{Shard: 1, Metadata: 7, Event: 7, EventSeq: 3}) {
				t.Fatalf("%+v, %v", at, err)
			}
		})
	}
}

// TestIncarnationInMetadataIsProven: metadata can be edited, an event can not.
func TestIncarnationInMetadataIsProven(t *testing.T) {
	nc, _ := embedded(t)
	j := opened(t, nc, Config{})
	must(t, j.shards[0].setIncarnation(t.Context(), 2))
	if _, err := Open(t.Context(), nc, Config{}); !errors.Is(err, ErrForeign) || errors.Is(err, ErrHalfRaised) {
		t.Fatalf("open: %v, want %v", err, ErrForeign)
	}
}

// TestMirrorIsNoJournal: what a mirror says of messages, ids and headers is another server's business.
func TestMirrorIsNoJournal(t *testing.T) {
	nc, js := embedded(t)
	j := opened(t, nc, Config{})
	config := j.shards[0].configOf(t)
	origin := config.Name
	config.Name, config.Subjects, config.Mirror = "COPY", nil, &jetstream.StreamSource{Name: origin}
	config.Duplicates, config.AllowAtomicPublish = 0, false // a mirror may not have them
	if _, err := js.CreateStream(t.Context(), config); err != nil {
		t.Fatal(err)
	}
	// Beside its origin it is a second stream of the same shard, alone it has drifted.
	if _, err := Open(t.Context(), nc, Config{}); !errors.Is(err, ErrForeign) {
		t.Fatalf("beside its origin: %v, want %v", err, ErrForeign)
	}
	if err := js.DeleteStream(t.Context(), origin); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), nc, Config{}); !errors.Is(err, ErrDrift) {
		t.Fatalf("alone: %v, want %v", err, ErrDrift)
	}
}

func (s *jetShard) configOf(t *testing.T) jetstream.StreamConfig {
	t.Helper()
	stream, err := s.js.Stream(t.Context(), s.stream)
	if err != nil {
		t.Fatal(err)
	}
	return stream.CachedInfo().Config
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
