package plane_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/refold-dev/refold/events"
	"github.com/refold-dev/refold/internal/directory"
	"github.com/refold-dev/refold/internal/fold"
	"github.com/refold-dev/refold/internal/plane"
	"github.com/refold-dev/refold/internal/rows"
	"github.com/refold-dev/refold/internal/verify"
)

// TestSeveralShards runs the whole path with tenants in different shards: each shard is verified, and flips, alone.
func TestSeveralShards(t *testing.T) {
	const shards = 3
	p := open(t, func(c *plane.Config) { c.Shards = shards })
	used := map[int]bool{}
	for i := range 12 {
		tenant := tenantFor(t, p, fmt.Sprintf("tenant-%d", i))
		used[tenant.Shard] = true
		id := uuid.New()
		e := publish(t, p, tenant, "memory", id, 1, 0, &events.MemoryAdded{UserID: uuid.New(), Private: events.MemoryPrivate{Content: tenant.ID}})
		publish(t, p, tenant, "memory", id, 2, e.Seq, &events.MemoryPaused{By: uuid.New()})
	}
	if len(used) != shards {
		t.Fatalf("12 tenants live in shards %v, want all %d", used, shards)
	}
	settle(t, p, 1)
	second, err := p.Editions.Build(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	settle(t, p, second)
	for _, number := range []int64{1, second} {
		for shard := range shards {
			mustBeClean(t, verifyShard(t, p, number, shard))
		}
	}
	flips, err := p.Editions.Cutover(t.Context(), second)
	if err != nil || len(flips) != shards {
		t.Fatalf("flips: %v, %v", flips, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := p.Ready(ctx); err != nil {
		t.Fatal(err)
	}
	// A row of a tenant that no shard knows is named once, by the first shard.
	pool, err := p.DB.OwnerOf(t.Context(), second)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := pool.Exec(t.Context(), "UPDATE memory SET tenant_id = 'nobody' WHERE tenant_id = 'tenant-0'"); err != nil {
		t.Fatal(err)
	}
	extra, missing := 0, 0
	for shard := range shards {
		for _, d := range verifyShard(t, p, second, shard).Differences {
			switch {
			case d.Fault == "extra" && d.Tenant == "nobody" && shard == 0:
				extra++
			case d.Fault == "missing" && d.Tenant == "tenant-0":
				missing++
			default:
				t.Errorf("shard %d: %+v", shard, d)
			}
		}
	}
	if extra != 1 || missing != 1 {
		t.Fatalf("named %d extra and %d missing rows, want one each", extra, missing)
	}
}

// TestAForgottenTenantIsNoDamageOfRows: an older database was restored, and its tenants have not come back from the journal
// yet. That is said of the tenants, and of no row of theirs.
func TestAForgottenTenantIsNoDamageOfRows(t *testing.T) {
	p := open(t, func(c *plane.Config) { c.Shards = 3 })
	for i := range 6 {
		tenant := tenantFor(t, p, fmt.Sprintf("tenant-%d", i))
		publish(t, p, tenant, "memory", uuid.New(), 1, 0, &events.MemoryAdded{UserID: uuid.New(), Private: events.MemoryPrivate{Content: "c"}})
	}
	settle(t, p, 1)
	tamper(t, p, "DELETE FROM control.tenant")
	reports, err := p.Verify(t.Context(), 1, verify.Config{}, nil)
	if err != nil || len(reports) != 3 {
		t.Fatalf("%d reports, %v", len(reports), err)
	}
	missing := 0
	for _, r := range reports {
		for _, d := range r.Differences {
			if d.Table != directory.Table || d.Fault != rows.Missing || r.Clean {
				t.Fatalf("clean %v: %+v", r.Clean, d)
			}
			missing++
		}
	}
	if n := repairLast(t, p); missing != 6 || n != 6 {
		t.Fatalf("%d tenants were named, %d repaired", missing, n)
	}
	if all, err := p.Directory.List(t.Context()); err != nil || len(all) != 6 {
		t.Fatalf("%d tenants are back, %v", len(all), err)
	}
}

func verifyShard(t testing.TB, p *plane.Plane, number int64, shard int) *verify.Report {
	t.Helper()
	report, err := verify.Run(t.Context(), verify.Config{
		DB: p.DB, Shard: p.Journal.Shard(shard), Edition: number, Schema: fold.Tables, Fold: fold.Apply, Shape: p.Shape,
		Signer: p.Reports.Signer,
	})
	if err != nil {
		t.Fatal(err)
	}
	return report
}
