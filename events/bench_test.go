package events_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/refold-dev/refold/events"
)

// typical is a memory.added of some 400 bytes as most are: an app, one category, a sentence, a little metadata.
var typical = &events.MemoryAdded{
	UserID: id(0x10), AppID: ref(id(0x20)), CategoryIDs: []uuid.UUID{id(0x30)},
	Private: events.MemoryPrivate{
		Content:  strings.Repeat("prefers tea ", 5),
		Metadata: json.RawMessage(`{"source": "chat", "score": 0.75}`),
	},
}

func BenchmarkDecodeMemoryAdded(b *testing.B) {
	data := compose(b, typical)
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := events.Decode("memory.added.v1", data); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkDecodeByReflection is the same by encoding/json, to compare with.
func BenchmarkDecodeByReflection(b *testing.B) {
	data := compose(b, typical)
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		var p struct {
			UserID      uuid.UUID   `json:"user_id"`
			AppID       *uuid.UUID  `json:"app_id"`
			CategoryIDs []uuid.UUID `json:"category_ids"`
			Private     struct {
				Content  string          `json:"content"`
				Metadata json.RawMessage `json:"metadata"`
			} `json:"private"`
		}
		if err := json.Unmarshal(data, &p); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkEncodeMemoryAdded(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		compose(b, typical)
	}
}
