package main

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/refold-dev/refold/internal/openmemory/sample"
	"github.com/refold-dev/refold/internal/plane"
	"github.com/refold-dev/refold/internal/testenv"
	"github.com/refold-dev/refold/internal/verify"
)

// TestQuickCommands takes a plane through quick verification, the scrubber's alarm and the comparison of digests.
func TestQuickCommands(t *testing.T) {
	t.Setenv("REFOLD_DATA", testenv.Dir(t))
	t.Setenv("DATABASE_URL", testenv.Postgres(t))
	t.Setenv("REFOLD_OUTPUT", "json")
	makePlane(t)
	zip, err := sample.Zip()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	export, before := filepath.Join(dir, sample.FileName), filepath.Join(dir, "before.json")
	if err := os.WriteFile(export, zip, 0o600); err != nil {
		t.Fatal(err)
	}
	refold(t, exitOK, "tenant", "create", "acme")
	refold(t, exitOK, "import", "openmemory", export, "--tenant", "acme")
	if r := into[[]verify.QuickReport](t, refold(t, exitOK, "verify", "--quick")); len(r) != 1 || !r[0].Clean || r[0].Rows == 0 {
		t.Fatalf("%+v", r)
	}
	digests := refold(t, exitOK, "digests")
	if err := os.WriteFile(before, []byte(digests), 0o600); err != nil {
		t.Fatal(err)
	}
	if r := into[verify.DigestComparison](t, refold(t, exitOK, "digests", "compare", before, "1")); !r.Equal || r.Same == 0 {
		t.Fatalf("%+v", r)
	}
	tamperAndScrub(t)
	r := into[[]verify.QuickReport](t, refold(t, exitMismatch, "verify", "--quick", "--tenant", "acme"))
	if r[0].Total != 1 || r[0].Differences[0].Table != "memory" || r[0].Differences[0].Tenant != "acme" {
		t.Fatalf("%+v", r[0].Differences)
	}
	if s := into[plane.Status](t, refold(t, exitMismatch, "status")); !s.Ready || len(s.Faults) != 1 || s.Scrubbed[0].Damaged[0].Tenant != "acme" {
		t.Fatalf("%+v", s)
	}
	if r := into[verify.DigestComparison](t, refold(t, exitMismatch, "digests", "compare", "1", before)); r.Different != 1 {
		t.Fatalf("%+v", r)
	}
	refold(t, exitRefused, "digests", "compare", before, export) // no file of digests
	refold(t, exitUsage, "digests", "compare", before)
	refold(t, exitUsage, "digests", "compare", before, filepath.Join(dir, "none"))
	refold(t, exitError, "verify", "--quick", "--table", "nonsense")
	refold(t, exitRefused, "digests", "compare", before, digestsOf(t, dir, "memory_status"))
}

// digestsOf writes a file of one table's digests.
func digestsOf(t *testing.T, dir, table string) string {
	t.Helper()
	name := filepath.Join(dir, table+".json")
	if err := os.WriteFile(name, []byte(refold(t, exitOK, "digests", "--table", table)), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// tamperAndScrub changes a row and lets a process that serves find it.
func tamperAndScrub(t *testing.T) {
	t.Helper()
	p, err := plane.Open(t.Context(), planeConfig())
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	}()
	pool, err := p.DB.Owner(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	_, err = pool.Exec(t.Context(), `UPDATE edition_1.memory SET content = content || '!' WHERE (tenant_id, id) =
		(SELECT tenant_id, id FROM edition_1.memory ORDER BY id LIMIT 1)`)
	if err != nil {
		t.Fatal(err)
	}
	scrub := &verify.Scrubber{DB: p.DB, Shape: p.Shape, RoundMin: time.Millisecond, Signer: p.Reports.Signer}
	if err := scrub.Round(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
}
