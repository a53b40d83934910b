package fold_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/refold-dev/refold/events"
	"github.com/refold-dev/refold/events/envelope"
	"github.com/refold-dev/refold/internal/fold"
	"github.com/refold-dev/refold/internal/rows"
)

// eventsOf returns n events: a third each adds a memory, changes one, and moves one to another state.
func eventsOf(n int) []envelope.Event {
	random := rand.New(rand.NewPCG(1, 2))
	type known struct {
		key     envelope.Key
		version uint64
	}
	var all []*known
	out := make([]envelope.Event, 0, n)
	for i := range n {
		var payload events.Payload
		var on *known
		switch {
		case i%3 == 0 || len(all) == 0:
			on = &known{key: envelope.Key{Tenant: fmt.Sprintf("tenant-%d", random.IntN(200)), Entity: "memory", ID: uuid.New().String()}}
			all = append(all, on)
			app := uuid.New()
			payload = &events.MemoryAdded{UserID: uuid.New(), AppID: &app, CategoryIDs: []uuid.UUID{uuid.New()}, Private: events.MemoryPrivate{
				Content: fmt.Sprintf("The quick brown fox number %d jumps over the lazy dog, again and again, until it is tired.", i), Metadata: []byte(`{"source": "bench"}`)}}
		case i%3 == 1:
			on = all[random.IntN(len(all))]
			content := fmt.Sprintf("Changed to something else entirely, at step %d of the benchmark, with a few words more.", i)
			payload = &events.MemoryChanged{Private: events.MemoryChangedPrivate{Content: &content}}
		default:
			on = all[random.IntN(len(all))]
			payload = []events.Payload{&events.MemoryPaused{By: uuid.New()}, &events.MemoryActivated{By: uuid.New()}}[i%2]
		}
		on.version++
		public, private, _ := payload.Halves()
		out = append(out, envelope.Event{
			Key: on.key, Seq: uint64(i + 1), EventID: fmt.Sprintf("event-%d-0123456789012345678901234567890123456789", i), Kind: payload.Kind(), Version: on.version,
			Time: time.Unix(1_700_000_000, int64(i)*1000).UTC(), Actor: "bench", CommandID: fmt.Sprintf("command-%d", i),
			Data: envelope.Compose(public, private, "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopq"),
		})
	}
	return out
}

// BenchmarkFold is what a replay does without reading and writing: decode, apply, digest.
func BenchmarkFold(b *testing.B) {
	all := eventsOf(100_000)
	b.ReportAllocs()
	b.ResetTimer()
	for b.Loop() {
		appended := 0
		set := rows.NewReplay(fold.Tables, func(*rows.Description, envelope.Key, []byte) { appended++ })
		for i := range all {
			if err := set.Apply(&all[i], fold.Apply); err != nil {
				b.Fatal(err)
			}
		}
		if set.Held() > 0 {
			b.Fatal("events were held")
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(all)), "ns/event")
}

// BenchmarkDigest is the chain that the first pass computes.
func BenchmarkDigest(b *testing.B) {
	all := eventsOf(1000)
	var scratch []byte
	var digest, chain envelope.Digest
	b.ReportAllocs()
	for b.Loop() {
		for i := range all {
			digest, scratch = all[i].Digest(scratch)
			chain = chain.Chain(digest)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(all)), "ns/event")
}
