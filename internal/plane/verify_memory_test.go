package plane_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/uuid"
	"github.com/refold-dev/refold/events"
	"github.com/refold-dev/refold/internal/localstack"
	"github.com/refold-dev/refold/internal/plane"
	"github.com/refold-dev/refold/internal/testenv"
	"github.com/refold-dev/refold/internal/verify"
)

// TestMemoryStaysInsideTheBudget verifies rows that take many times the budget.
func TestMemoryStaysInsideTheBudget(t *testing.T) {
	server := testenv.StartNATSProcess(t, localstack.NATSOptions{StoreDir: t.TempDir(), Durability: localstack.DurabilityRelaxed})
	p := openWith(t, plane.Config{DataDir: testenv.Dir(t), PostgresURL: testenv.Postgres(t), NATSURL: server.URL(), Logger: logger()})
	stop := run(t, p)
	tenant := tenantFor(t, p, "acme")
	const memories, bytesEach, budget = 1000, 32 << 10, 4 << 20 // 32 MB of rows
	text := strings.Repeat("x", bytesEach)
	for i := range memories {
		publish(t, p, tenant, "memory", uuid.New(), 1, 0, &events.MemoryAdded{UserID: uuid.New(), Private: events.MemoryPrivate{Content: fmt.Sprint(i, text)}})
	}
	settle(t, p, 1)
	stop() // a projector keeps rows as well
	runtime.GC()
	peak := func(config verify.Config) int {
		var most atomic.Uint64
		config.Pause = func(context.Context) error {
			if rand.IntN(100) > 0 { // a collection takes its time
				return nil
			}
			runtime.GC()
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			most.Store(max(most.Load(), m.HeapAlloc))
			return nil
		}
		report := mustVerify(t, config)
		if report.Total > 0 {
			t.Fatalf("%d differences", report.Total)
		}
		t.Logf("%d parts, %d MB", report.Parts, most.Load()>>20)
		return int(most.Load())
	}
	// The same journal is read, and next to nothing is kept.
	reading := verifyConfig(p, 1)
	reading.Scope = verify.Scope{Sample: 1_000_000}
	base := peak(reading)
	if free := peak(verifyConfig(p, 1)) - base; free < memories*bytesEach/2 {
		t.Fatalf("without a budget the rows took only %d bytes: the test measures nothing", free)
	}
	bounded := verifyConfig(p, 1)
	bounded.MemoryBytes = budget
	// Beside the working set, rows are on the way to be hashed.
	if took := peak(bounded) - base; took > 3*budget {
		t.Fatalf("within a budget of %d bytes the verification took %d", budget, took)
	}
}
