package plane_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/refold-dev/refold/events"
	"github.com/refold-dev/refold/events/envelope"
	"github.com/refold-dev/refold/internal/directory"
	"github.com/refold-dev/refold/internal/edition"
	"github.com/refold-dev/refold/internal/fold"
	"github.com/refold-dev/refold/internal/journal"
	"github.com/refold-dev/refold/internal/plane"
)

// fill appends n events of 200 tenants: of three, one adds a memory, one changes it, one moves it to another state.
func fill(b *testing.B, p *plane.Plane, n int) {
	b.Helper()
	var tenants []directory.Tenant
	for i := range 200 {
		tenants = append(tenants, tenantFor(b, p, fmt.Sprintf("tenant-%d", i)))
	}
	var writers sync.WaitGroup
	const writersCount = 256
	for w := range writersCount {
		writers.Go(func() {
			for i := w * 3; i < n; i += writersCount * 3 {
				id, app, tenant := uuid.New(), uuid.New(), tenants[i%len(tenants)]
				content := fmt.Sprintf("Changed to something else entirely, at step %d of the benchmark, with a few words more.", i)
				e := publish(b, p, tenant, "memory", id, 1, 0, &events.MemoryAdded{UserID: uuid.New(), AppID: &app, CategoryIDs: []uuid.UUID{uuid.New()}, Private: events.MemoryPrivate{
					Content: fmt.Sprintf("The quick brown fox number %d jumps over the lazy dog, again and again, until it is tired.", i), Metadata: []byte(`{"source": "bench"}`)}})
				e = publish(b, p, tenant, "memory", id, 2, e.Seq, &events.MemoryChanged{Private: events.MemoryChangedPrivate{Content: &content}})
				publish(b, p, tenant, "memory", id, 3, e.Seq, &events.MemoryPaused{By: uuid.New()})
			}
		})
	}
	writers.Wait()
}

// BenchmarkReplay builds, verifies and plans an edition of events with history, for a profile; `make bench` compares.
func BenchmarkReplay(b *testing.B) {
	const n = 150_000
	p := openWith(b, fresh(b))
	fill(b, p, n)
	b.ResetTimer()
	b.Run("drain", func(b *testing.B) {
		for b.Loop() {
			facts, err := p.Journal.Shard(0).Facts(b.Context())
			if err != nil {
				b.Fatal(err)
			}
			if err := journal.Read(b.Context(), p.Journal.Shard(0), 0, facts.LastSeq, func(*envelope.Event) error { return nil }); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds(), "events/s")
	})
	var number int64
	b.Run("replay", func(b *testing.B) {
		for b.Loop() {
			started := time.Now()
			var err error
			if number, err = p.Editions.Build(b.Context(), func(at edition.Progress) {
				if at.Done == at.Total {
					b.Logf("%s done after %s", at.Phase, time.Since(started))
				}
			}); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds(), "events/s")
	})
	b.Run("verify", func(b *testing.B) {
		for b.Loop() {
			mustBeClean(b, verifyEdition(b, p, number))
		}
		b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds(), "events/s")
	})
	if _, err := p.Editions.Cutover(b.Context(), number); err != nil {
		b.Fatal(err)
	}
	b.Run("plan", func(b *testing.B) {
		for b.Loop() {
			r := planWith(b, planConfig(p, fold.Apply))
			mustPlanNothing(b, r)
			b.Logf("%d rows, folded in %d ms of %d ms, estimate %+v", r.Rows().Next, r.FoldMs, r.DurationMs, r.Build)
		}
		b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds(), "events/s")
	})
}
