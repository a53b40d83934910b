package openmemory

import (
	"archive/zip"
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/refold-dev/refold/events/envelope"
	"github.com/refold-dev/refold/internal/journal"
	"github.com/refold-dev/refold/internal/journal/journaltest"
)

// sink is a shard that accepts everything and keeps nothing, so that what is measured is the importer.
type sink struct {
	*journaltest.Fake
	seq atomic.Uint64
}

func (s *sink) Append(context.Context, *envelope.Event, uint64) (journal.Receipt, error) {
	return journal.Receipt{Seq: s.seq.Add(1)}, nil
}

// BenchmarkImport tells how many bytes of memories.json an import takes in a second, and that the memory it needs
// does not follow the size of the file.
func BenchmarkImport(b *testing.B) {
	for _, memories := range []int{10_000, 100_000} {
		b.Run(fmt.Sprintf("memories=%d", memories), func(b *testing.B) {
			name, bytes := writeLarge(b, memories)
			b.SetBytes(bytes)
			b.ReportAllocs()
			peak := watchHeap(b)
			for b.Loop() {
				config := Config{Path: name, Tenant: testTenant("acme"), Shard: &sink{Fake: journaltest.NewFake(0, 1)}, TempDir: b.TempDir()}
				if report, err := Import(b.Context(), config); err != nil || report.Counts[KindMemory].Added != memories {
					b.Fatalf("%v, %+v", err, report.Counts)
				}
			}
			b.ReportMetric(float64(peak.Load())/(1<<20), "heap-peak-MiB")
		})
	}
}

// watchHeap follows the heap until the benchmark ends.
func watchHeap(b *testing.B) *atomic.Uint64 {
	var peak atomic.Uint64
	ctx, stop := context.WithCancel(context.Background())
	b.Cleanup(stop)
	go func() {
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for {
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			peak.Store(max(peak.Load(), m.HeapInuse))
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
		}
	}()
	return &peak
}

// writeLarge writes an export of so many memories of about 1 KiB, one status change each.
func writeLarge(b *testing.B, memories int) (name string, bytes int64) {
	b.Helper()
	name = filepath.Join(b.TempDir(), "large.zip")
	file, err := os.Create(name)
	if err != nil {
		b.Fatal(err)
	}
	z := zip.NewWriter(file)
	w, err := z.Create(documentName)
	if err != nil {
		b.Fatal(err)
	}
	counted := &counter{to: w}
	out := bufio.NewWriter(counted)
	random := rand.New(rand.NewPCG(1, 2))
	id := func(kind byte, n int) string {
		return fmt.Sprintf("%02x%06x-0000-4000-8000-%012x", kind, n, n)
	}
	put := func(format string, args ...any) {
		if _, err := fmt.Fprintf(out, format, args...); err != nil {
			b.Fatal(err)
		}
	}
	put(`{"user":{"id":%q,"user_id":"someone"},"export_meta":{"version":"1"},"memories":[`, id(1, 1))
	for i := range memories {
		if i > 0 {
			put(",")
		}
		put(`{"id":%q,"user_id":%q,"created_at":%q,"content":"`, id(2, i), id(1, 1), testTime)
		for range 60 {
			put("%x ", random.Uint64())
		}
		put(`"}`)
	}
	put(`],"status_history":[`)
	for i := range memories {
		if i > 0 {
			put(",")
		}
		put(`{"id":%q,"memory_id":%q,"changed_by":%q,"old_state":"active","new_state":"active","changed_at":%q}`, id(3, i), id(2, i), id(1, 1), testTime)
	}
	put(`]}`)
	for _, close := range []func() error{out.Flush, z.Close, file.Close} {
		if err := close(); err != nil {
			b.Fatal(err)
		}
	}
	return name, counted.bytes
}

type counter struct {
	to    io.Writer
	bytes int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.to.Write(p)
	c.bytes += int64(n)
	return n, err
}
