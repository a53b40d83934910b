package journal

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/refold-dev/refold/events/envelope"
)

func TestCreateIsIdempotent(t *testing.T) {
	nc, _ := embedded(t)
	if _, err := Open(t.Context(), nc, Config{}); !errors.Is(err, ErrNoJournal) {
		t.Fatalf("open without a journal: got %v, want %v", err, ErrNoJournal)
	}
	first := opened(t, nc, Config{Shards: 3})
	again, err := Create(t.Context(), nc, Config{Shards: 3})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(again.Close)
	if again.ID != first.ID || len(again.Shards) != 3 || again.Incarnation != 1 {
		t.Fatalf("created again: got %s with %d shards, want %s with 3", again.ID, len(again.Shards), first.ID)
	}
	for number, s := range again.Shards {
		facts, err := s.Facts(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if s.Number() != number || facts.LastSeq != 1 || facts.Shard != number || facts.Shards != 3 || facts.JournalID != first.ID {
			t.Errorf("shard %d: %+v", number, facts)
		}
		genesis, err := s.At(t.Context(), 1)
		if err != nil {
			t.Fatal(err)
		}
		if genesis.Tenant != envelope.PlaneTenant || !strings.Contains(string(genesis.Data), first.ID) {
			t.Errorf("genesis event of shard %d: %+v %s", number, genesis, genesis.Data)
		}
	}
	if again.Shard(2) != again.Shards[2] || again.Shard(3) != nil || again.Shard(-1) != nil {
		t.Error("Shard does not find shards by number")
	}
}

// TestCreateResumes goes through every point at which the creation of two shards can be cut short.
func TestCreateResumes(t *testing.T) {
	asMade := func(*jetstream.StreamConfig) {}
	for name, before := range map[string]func(*testing.T, func(shard int) identity, func(identity)){
		"after the first stream":  func(_ *testing.T, stream func(int) identity, _ func(identity)) { stream(1) },
		"after the first genesis": func(_ *testing.T, stream func(int) identity, genesis func(identity)) { genesis(stream(1)) },
		"after the second stream": func(_ *testing.T, stream func(int) identity, genesis func(identity)) {
			genesis(stream(1))
			stream(0)
		},
	} {
		t.Run(name, func(t *testing.T) {
			nc, js := embedded(t)
			before(t, func(shard int) identity { return streamOf(t, js, shard, 2, asMade) }, func(id identity) {
				if err := appendGenesis(t.Context(), js, nc, id, Config{}.withDefaults()); err != nil {
					t.Fatal(err)
				}
			})
			if _, err := Open(t.Context(), nc, Config{}); !errors.Is(err, ErrIncomplete) {
				t.Fatalf("open: got %v, want %v", err, ErrIncomplete)
			}
			j := opened(t, nc, Config{})
			if j.ID != "01JOURNAL" || len(j.Shards) != 2 {
				t.Fatalf("resumed: got %s with %d shards, want 01JOURNAL with 2", j.ID, len(j.Shards))
			}
		})
	}
}

// TestLostShard: a shard that is missing beside one with events was lost; an empty one in its place would hide it.
func TestLostShard(t *testing.T) {
	nc, js := embedded(t)
	j := opened(t, nc, Config{Shards: 2})
	e := testEvent("acme", "n1", "c1", 1)
	if _, err := j.Shards[0].Append(t.Context(), e, 0); err != nil {
		t.Fatal(err)
	}
	if err := js.DeleteStream(t.Context(), streamName(j.ID, 1)); err != nil {
		t.Fatal(err)
	}
	if _, err := Create(t.Context(), nc, Config{}); !errors.Is(err, ErrForeign) {
		t.Fatalf("create over a lost shard: got %v, want %v", err, ErrForeign)
	}
	if _, err := j.Shards[1].Facts(t.Context()); !errors.Is(err, ErrNoJournal) {
		t.Fatalf("facts of a lost shard: got %v, want %v", err, ErrNoJournal)
	}
}

func TestOpenRefusesDrift(t *testing.T) {
	for want, alter := range map[string]func(*jetstream.StreamConfig){
		"deny delete":              func(c *jetstream.StreamConfig) { c.DenyDelete = false },
		"deny purge":               func(c *jetstream.StreamConfig) { c.DenyPurge = false },
		"max age":                  func(c *jetstream.StreamConfig) { c.MaxAge = time.Hour; c.Duplicates = time.Minute },
		"max messages must":        func(c *jetstream.StreamConfig) { c.MaxMsgs = 10 },
		"max messages per subject": func(c *jetstream.StreamConfig) { c.MaxMsgsPerSubject = 10 },
		"discard":                  func(c *jetstream.StreamConfig) { c.Discard = jetstream.DiscardOld },
		"retention":                func(c *jetstream.StreamConfig) { c.Retention = jetstream.InterestPolicy },
		"storage":                  func(c *jetstream.StreamConfig) { c.Storage = jetstream.MemoryStorage },
		"rollup":                   func(c *jetstream.StreamConfig) { c.AllowRollup, c.DenyPurge = true, false },
		"async": func(c *jetstream.StreamConfig) {
			c.PersistMode, c.AllowAtomicPublish = jetstream.AsyncPersistMode, false
		},
		"subjects": func(c *jetstream.StreamConfig) { c.Subjects = append(c.Subjects, "other") },
		"sources": func(c *jetstream.StreamConfig) {
			c.Sources = []*jetstream.StreamSource{{Name: "OTHER"}}
		},
		"republish": func(c *jetstream.StreamConfig) {
			c.RePublish = &jetstream.RePublish{Source: ">", Destination: "copy.>"}
		},
		"first sequence": func(c *jetstream.StreamConfig) { c.FirstSeq = 10 },
		"transform": func(c *jetstream.StreamConfig) {
			c.SubjectTransform = &jetstream.SubjectTransformConfig{Source: "ev.0.x.>", Destination: "ev.0.y.>"}
		},
	} {
		t.Run(want, func(t *testing.T) {
			nc, js := embedded(t)
			streamOf(t, js, 0, 1, alter)
			_, err := Open(t.Context(), nc, Config{})
			if !errors.Is(err, ErrDrift) || !strings.Contains(err.Error(), want) {
				t.Fatalf("open: got %v, want %v naming %q", err, ErrDrift, want)
			}
		})
	}
}

func TestOpenRefusesAnotherIdentity(t *testing.T) {
	nc, js := embedded(t)
	j := opened(t, nc, Config{})
	if _, err := Open(t.Context(), nc, Config{Shards: 2}); !errors.Is(err, ErrDrift) {
		t.Fatalf("open with another number of shards: got %v, want %v", err, ErrDrift)
	}
	edit := func(name, value string) {
		stream, err := js.Stream(t.Context(), streamName(j.ID, 0))
		if err != nil {
			t.Fatal(err)
		}
		config := stream.CachedInfo().Config
		config.Metadata[name] = value
		if _, err := js.UpdateStream(t.Context(), config); err != nil {
			t.Fatal(err)
		}
	}
	edit(metaJournal, "01ANOTHER")
	if _, err := Open(t.Context(), nc, Config{}); !errors.Is(err, ErrForeign) {
		t.Fatalf("open with edited metadata: got %v, want %v", err, ErrForeign)
	}
	edit(metaJournal, j.ID)
	edit(metaFormat, "2")
	if _, err := Open(t.Context(), nc, Config{}); !errors.Is(err, ErrForeign) {
		t.Fatalf("open of a later format: got %v, want %v", err, ErrForeign)
	}
}

func TestOpenAdjustsTheBudget(t *testing.T) {
	nc, js := embedded(t)
	opened(t, nc, Config{DedupeWindow: 5 * time.Minute})
	j, err := Create(t.Context(), nc, Config{BytesMax: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	if facts, err := j.Shards[0].Facts(t.Context()); err != nil || facts.BytesMax != 1<<20 {
		t.Fatalf("facts: got %+v, %v, want a budget of 1 MiB", facts, err)
	}
	stream, err := js.Stream(t.Context(), streamName(j.ID, 0))
	if err != nil || stream.CachedInfo().Config.Duplicates != 5*time.Minute {
		t.Fatalf("stream: got %v, %v, want the dedupe window left as it was", stream.CachedInfo().Config.Duplicates, err)
	}
	if _, err := Open(t.Context(), nc, Config{BytesMax: 10}); !errors.Is(err, ErrFull) {
		t.Fatalf("open with a budget below what is stored: got %v, want %v", err, ErrFull)
	}
}

func TestConfigNamesAllFaults(t *testing.T) {
	nc, _ := embedded(t)
	_, err := Create(t.Context(), nc, Config{Shards: -1, Replicas: 2, BytesMax: -1, DedupeWindow: time.Millisecond})
	for _, want := range []string{"shards", "replicas", "bytes max", "dedupe window"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("create: got %v, want it to name %s", err, want)
		}
	}
}

func TestClose(t *testing.T) {
	nc, _ := embedded(t)
	j := opened(t, nc, Config{})
	j.Close()
	j.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if _, err := j.Shards[0].Append(ctx, testEvent("acme", "n1", "c1", 1), 0); !errors.Is(err, ErrClosed) || !errors.Is(err, ErrUnavailable) {
		t.Fatalf("append after close: got %v, want %v and %v", err, ErrClosed, ErrUnavailable)
	}
}
