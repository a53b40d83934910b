package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/refold-dev/refold/internal/openmemory/sample"
	"github.com/refold-dev/refold/internal/plane"
	"github.com/refold-dev/refold/internal/reconcile"
	"github.com/refold-dev/refold/internal/testenv"
)

// exchange puts a copy of the journal's files in the place of the journal's files.
func exchange(t *testing.T, data, copied string) {
	t.Helper()
	if err := os.RemoveAll(filepath.Join(data, "nats")); err != nil {
		t.Fatal(err)
	}
	if copied != "" {
		testenv.CopyDir(t, copied, filepath.Join(data, "nats"))
	}
}

func TestReconcileCommand(t *testing.T) {
	data, dir := testenv.Dir(t), t.TempDir()
	t.Setenv("REFOLD_DATA", data)
	t.Setenv("DATABASE_URL", testenv.Postgres(t))
	t.Setenv("REFOLD_OUTPUT", "json")
	makePlane(t)
	zip, err := sample.Zip()
	if err != nil {
		t.Fatal(err)
	}
	export, lost, copied := filepath.Join(dir, sample.FileName), filepath.Join(dir, "lost.ndjson"), filepath.Join(dir, "nats")
	if err := os.WriteFile(export, zip, 0o600); err != nil {
		t.Fatal(err)
	}
	refold(t, exitOK, "tenant", "create", "acme")
	if f := into[reconcile.Finding](t, refold(t, exitOK, "reconcile")); f.Verdict != reconcile.Fine {
		t.Fatalf("nothing was restored: %+v", f)
	}
	testenv.CopyDir(t, filepath.Join(data, "nats"), copied)
	refold(t, exitOK, "tenant", "create", "blue")
	for _, tenant := range []string{"acme", "blue"} {
		refold(t, exitOK, "import", "openmemory", export, "--tenant", tenant)
	}
	refold(t, exitOK, "verify") // everything is folded
	exchange(t, data, copied)

	f := into[reconcile.Finding](t, refold(t, exitMismatch, "reconcile", "--lost", lost))
	if f.Verdict != reconcile.Needed || f.Shards[0].Editions[0].State != reconcile.Ahead || f.Shards[0].Lost < 2*61 {
		t.Fatalf("finding: %+v", f)
	}
	body, err := os.ReadFile(lost)
	if err != nil {
		t.Fatal(err)
	}
	lines, tenants := bytes.Split(bytes.TrimSpace(body), []byte("\n")), 0
	for _, line := range lines {
		var l reconcile.Lost
		if err := json.Unmarshal(line, &l); err != nil || l.CommandID == "" || l.Seq == 0 {
			t.Fatalf("line %s: %+v, %v", line, l, err)
		}
		if l.Entity == "tenant" {
			tenants++
		}
	}
	if len(lines) != f.Shards[0].Lost || tenants != 1 {
		t.Fatalf("%d lines, %d tenants; want %d and 1", len(lines), tenants, f.Shards[0].Lost)
	}
	refold(t, exitUsage, "reconcile", "--apply") // nobody to ask
	refold(t, exitUsage, "reconcile", "--finding", f.Hash)
	refold(t, exitRefused, "reconcile", "--apply", "--finding", "00000000")
	v := into[reconciledView](t, refold(t, exitOK, "reconcile", "--apply", "--finding", f.Hash))
	if v.GivenUp != 1 || v.Tenants != 1 || v.Rebuilt != 2 {
		t.Fatalf("applied: %+v", v)
	}
	if s := into[plane.Status](t, refold(t, exitOK, "status")); !s.Ready || s.Shards[0].Live != 2 {
		t.Fatalf("status: %+v", s)
	}
	refold(t, exitOK, "verify")
	refold(t, exitRefused, "edition", "rollback")
	refold(t, exitRefused, "edition", "resume", "1", "GIVEN_UP")
	refold(t, exitRefused, "edition", "cutover", "1")
	for _, tenant := range []string{"acme", "blue"} { // the lost commands again
		i := into[[]importView](t, refold(t, exitOK, "import", "openmemory", export, "--tenant", tenant))
		if got := i[0].Report.Counts["memory"]; got.Added != 61 {
			t.Fatalf("tenant %s: %+v, want 61 added", tenant, got)
		}
	}
	refold(t, exitOK, "verify")
	if f := into[reconcile.Finding](t, refold(t, exitOK, "reconcile", "--lost", lost)); f.Shards[0].Lost != 0 || f.Shards[0].Again != len(lines) {
		t.Fatalf("after the repetition %d are lost and %d there again, want 0 and %d", f.Shards[0].Lost, f.Shards[0].Again, len(lines))
	}
	exchange(t, data, "") // all of it is gone
	if f := into[reconcile.Finding](t, refold(t, exitMismatch, "reconcile")); f.Verdict != reconcile.Restore {
		t.Fatalf("without a journal: %+v", f)
	}
	refold(t, exitRefused, "reconcile", "--apply", "--finding", f.Hash)
	s := into[plane.Status](t, refold(t, exitRefused, "status")) // and no new one is made
	if s.Ready || len(s.Faults) == 0 || len(s.Editions) != 2 || !strings.Contains(s.Faults[0], "there is no journal") {
		t.Fatalf("status without a journal: %+v", s)
	}
}
