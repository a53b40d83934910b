package journal

import (
	"strings"
	"testing"

	"github.com/nats-io/nats.go/jetstream"
)

// compress makes the streams of a journal what an older refold made.
func compress(t testing.TB, js jetstream.JetStream, j *Journal) {
	t.Helper()
	for _, s := range j.shards {
		stream, err := js.Stream(t.Context(), s.stream)
		if err != nil {
			t.Fatal(err)
		}
		config := stream.CachedInfo().Config
		config.Compression = jetstream.S2Compression
		if _, err := js.UpdateStream(t.Context(), config); err != nil {
			t.Fatal(err)
		}
	}
}

// TestNewJournalsAreNotCompressed: and one that is compressed opens and is named, with what to do.
func TestNewJournalsAreNotCompressed(t *testing.T) {
	nc, js := embedded(t)
	j := opened(t, nc, Config{Shards: 2})
	for _, s := range j.Shards {
		if facts, err := s.Facts(t.Context()); err != nil || facts.Compressed || facts.CompressionRisk() != "" {
			t.Errorf("a new shard: got %+v, %v, want it not compressed", facts, err)
		}
	}
	if len(j.Risks) != 0 {
		t.Errorf("a new journal has risks: %q", j.Risks)
	}
	compress(t, js, j)
	j = opened(t, nc, Config{})
	if len(j.Risks) != 2 || !strings.Contains(j.Risks[1], j.shards[1].stream) || !strings.Contains(j.Risks[1], "refold journal decompress") {
		t.Errorf("got the risks %q, want both streams and the command", j.Risks)
	}
	facts, err := j.Shards[0].Facts(t.Context())
	if err != nil || !facts.Compressed || facts.CompressionRisk() != j.Risks[0] {
		t.Errorf("facts: got %+v, %v", facts, err)
	}
	facts.Replicas = 3
	if risk := facts.CompressionRisk(); !strings.Contains(risk, "lose acknowledged events") {
		t.Errorf("with replicas: %q", risk)
	}
}
