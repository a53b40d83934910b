package plane_test

import (
	"context"
	"testing"

	"github.com/refold-dev/refold/internal/plane"
	"github.com/refold-dev/refold/internal/verify"
)

func quicklyHeld(t testing.TB, p *plane.Plane) *verify.QuickReport {
	t.Helper()
	report, err := verify.Quick(t.Context(), verify.QuickConfig{DB: p.DB, Edition: 1})
	if err != nil {
		t.Fatal(err)
	}
	return report
}

// TestKeptDigestsAreSettled: digests that followed tampered rows, or were tampered with, become those of rows that are
// proven, while writes go on; rows that are wrong keep what says so.
func TestKeptDigestsAreSettled(t *testing.T) {
	p := openWith(t, fresh(t))
	stop := run(t, p)
	all := generators(t, p, seed(t), 3)
	write(t, p, 150, all...)
	settle(t, p, 1)
	pool, err := p.DB.OwnerOf(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	if r := quicklyHeld(t, p); !r.Clean {
		t.Fatalf("before: %+v", r.Differences)
	}
	// The projector that loads these rows takes what it finds out of its sums.
	stop()
	if err := execAll(t, pool, "UPDATE memory SET content = 'tampered' WHERE tenant_id = 'tenant-0'", "UPDATE app SET name = 'tampered' WHERE tenant_id = 'tenant-1'"); err != nil {
		t.Fatal(err)
	}
	stop = run(t, p)
	write(t, p, 150, all...)
	settle(t, p, 1)
	if wrong, err := p.SettleKept(t.Context(), 1, nil); err != nil || len(wrong) == 0 || wrong[0].Corrected || wrong[0].Report.Clean {
		t.Fatalf("with wrong rows: %+v %v", wrong, err)
	}
	if verifyEdition(t, p, 1).Clean {
		t.Fatal("the tampering was not found")
	}
	mustRepair(t, p, repairOf(1))
	settle(t, p, 1)
	mustBeClean(t, verifyEdition(t, p, 1))
	if quicklyHeld(t, p).Clean {
		t.Fatal("no digest followed a tampered row: the test tests nothing")
	}
	// And one that was tampered with itself.
	if err := execAll(t, pool, "UPDATE control.kept_digest d SET tables = o.tables FROM control.kept_digest o WHERE d.tenant_id = 'tenant-2' AND o.tenant_id = 'tenant-0' AND d.edition = 1 AND o.edition = 1"); err != nil {
		t.Fatal(err)
	}
	stop() // so that the projector does not write over it what it remembers
	stop = run(t, p)
	ctx, end := context.WithCancel(t.Context())
	written := make(chan error, 1)
	go func() { written <- writeWhile(ctx, p, all...) }()
	done, err := p.SettleKept(t.Context(), 1, nil)
	end()
	if writeErr := <-written; writeErr != nil {
		t.Fatal(writeErr)
	}
	if err != nil || len(done) != 3 {
		t.Fatalf("settled %+v %v", done, err)
	}
	for _, s := range done {
		if !s.Corrected || !s.Report.Clean {
			t.Fatalf("settled %+v", s)
		}
	}
	settle(t, p, 1)
	if r := quicklyHeld(t, p); !r.Clean {
		t.Fatalf("after: %+v", r.Differences)
	}
	mustBeClean(t, verifyEdition(t, p, 1))
	mustEqualModel(t, pool, modelOf(all))
	stop()
}
