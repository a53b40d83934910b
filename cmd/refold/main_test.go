package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/refold-dev/refold/internal/openmemory/sample"
	"github.com/refold-dev/refold/internal/plane"
	"github.com/refold-dev/refold/internal/testenv"
	"github.com/refold-dev/refold/internal/verify"
)

func TestMain(m *testing.M) {
	if os.Getenv(childMark) != "" { // the demo starts this program once more
		main()
	}
	testenv.Main(m)
}

// refold runs one command line and returns what it printed, after checking the exit code.
func refold(t *testing.T, want int, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	var stdout, stderr bytes.Buffer
	if got := run(ctx, args, &stdout, &stderr); got != want {
		t.Fatalf("refold %s: got exit code %d, want %d\n%s\n%s", strings.Join(args, " "), got, want, stdout.String(), stderr.String())
	}
	return stdout.String()
}

// planeConfig names the stores as the commands of a test find them in their environment.
func planeConfig() plane.Config {
	return plane.Config{DataDir: os.Getenv("REFOLD_DATA"), PostgresURL: os.Getenv("DATABASE_URL")}
}

// makePlane makes the plane of the environment, as `refold serve` does: no other command would.
func makePlane(t *testing.T) {
	t.Helper()
	p, err := plane.Open(t.Context(), planeConfig())
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
}

func into[T any](t *testing.T, document string) (v T) {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(document))
	if err := d.Decode(&v); err != nil {
		t.Fatalf("%v in %s", err, document)
	}
	if d.More() {
		t.Fatalf("more than one JSON document: %s", document)
	}
	return v
}

func TestCommands(t *testing.T) {
	t.Setenv("REFOLD_DATA", testenv.Dir(t))
	t.Setenv("DATABASE_URL", testenv.Postgres(t))
	t.Setenv("REFOLD_OUTPUT", "json")
	makePlane(t)
	zip, err := sample.Zip()
	if err != nil {
		t.Fatal(err)
	}
	export := filepath.Join(t.TempDir(), sample.FileName)
	if err := os.WriteFile(export, zip, 0o600); err != nil {
		t.Fatal(err)
	}

	refold(t, exitUsage, "verify", "--no-such-flag")
	refold(t, exitUsage, "tenant", "create")
	refold(t, exitRefused, "tenant", "create", "a.b")
	if v := into[tenantView](t, refold(t, exitOK, "tenant", "create", "acme", "--name", "Acme")); v.New == nil || !*v.New {
		t.Fatalf("the tenant is not new: %+v", v)
	}
	if v := into[tenantView](t, refold(t, exitOK, "tenant", "create", "acme")); v.New == nil || *v.New || v.Name != "Acme" {
		t.Fatalf("the tenant was created twice: %+v", v)
	}
	for _, want := range []struct{ added, unchanged int }{{61, 0}, {0, 61}} {
		v := into[[]importView](t, refold(t, exitOK, "import", "openmemory", export, "--tenant", "acme"))
		if got := v[0].Report.Counts["memory"]; got.Added != want.added || got.Unchanged != want.unchanged {
			t.Fatalf("got %+v, want %+v", got, want)
		}
	}
	out := filepath.Join(t.TempDir(), "out.zip")
	refold(t, exitUsage, "export", "openmemory", "--tenant", "acme")
	refold(t, exitError, "export", "openmemory", "--tenant", "acme", "--user", "nobody", "--out", out)
	refold(t, exitOK, "export", "openmemory", "--tenant", "acme", "--user", sample.Subject, "--out", out)
	refold(t, exitError, "export", "openmemory", "--tenant", "acme", "--user", sample.Subject, "--out", out) // it is there
	if v := into[[]importView](t, refold(t, exitOK, "import", "openmemory", out, "--tenant", "acme")); v[0].Report.Counts["memory"].Unchanged != 61 {
		t.Fatalf("the export is taken back as %+v, want nothing new", v[0].Report.Counts)
	}
	refold(t, exitRefused, "edition", "cutover", "7")
	if v := into[map[string]int64](t, refold(t, exitOK, "edition", "build")); v["edition"] != 2 {
		t.Fatalf("built %v, want edition 2", v)
	}
	refold(t, exitRefused, "edition", "cutover", "2") // not verified yet
	refold(t, exitOK, "edition", "verify", "2")
	refold(t, exitOK, "edition", "cutover", "2")
	if v := into[plane.Status](t, refold(t, exitOK, "status")); !v.Ready || v.Shards[0].Live != 2 || v.Shards[0].Lag != 0 {
		t.Fatalf("status: %+v", v)
	}
	refold(t, exitRefused, "edition", "resume", "2", "DIVERGED") // nothing is stopped
	refold(t, exitRefused, "edition", "retire", "2")             // it is live
	refold(t, exitRefused, "edition", "retire", "1")             // cursors may be in use
	tamperedAndNamed(t)
	refold(t, exitOK, "edition", "rollback")
	refold(t, exitOK, "edition", "retire", "2", "--now")
	refold(t, exitOK, "verify")
	if token := into[map[string]string](t, refold(t, exitOK, "token", "mint", "--tenant", "acme", "--subject", "ann"))["token"]; strings.Count(token, ".") != 2 {
		t.Fatalf("token %q", token)
	}
}

// tamperedAndNamed changes a row and wants verify to name it, and explain to show its event.
func tamperedAndNamed(t *testing.T) {
	t.Helper()
	p, err := plane.Open(t.Context(), planeConfig())
	if err != nil {
		t.Fatal(err)
	}
	pool, err := p.DB.Owner(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var id string
	err = pool.QueryRow(t.Context(), `UPDATE edition_2.memory SET content = content || '!' WHERE (tenant_id, id) =
		(SELECT tenant_id, id FROM edition_2.memory ORDER BY id LIMIT 1) RETURNING id::text`).Scan(&id)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	reports := into[[]verify.Report](t, refold(t, exitMismatch, "verify"))
	if len(reports[0].Differences) != 1 || reports[0].Differences[0].Key[0].Value != id || reports[0].Differences[0].Columns[0].Column != "content" {
		t.Fatalf("differences: %+v", reports[0].Differences)
	}
	steps := into[[]verify.Step](t, refold(t, exitOK, "explain", "memory", id, "--tenant", "acme"))
	if steps[0].Kind != "memory.imported.v1" || steps[0].Seq != reports[0].Differences[0].Columns[0].Seq {
		t.Fatalf("steps: %+v", steps)
	}
	x := into[verify.RowExplanation](t, refold(t, exitMismatch, "explain", "row", "memory", id, "--tenant", "acme"))
	if x.Verdict != verify.RowWrong || x.Columns[5].Column != "content" || *x.Columns[5].Actual != *x.Columns[5].Expected+"!" || x.Columns[5].Seq != steps[0].Seq {
		t.Fatalf("row: %+v", x)
	}
	refold(t, exitUsage, "explain", "row", "memory", id, "too much", "--tenant", "acme")
	dry := into[repairView](t, refold(t, exitOK, "repair", "--last", "--dry-run"))
	if len(dry.Repairs) != 1 || !dry.Repairs[0].DryRun || dry.Repairs[0].Tables[0].Updated != 1 || len(dry.Verification) != 0 {
		t.Fatalf("dry run: %+v", dry)
	}
	refold(t, exitMismatch, "verify", "--tenant", "acme", "--table", "memory")
	refold(t, exitOK, "verify", "--table", "app")
	repaired := into[repairView](t, refold(t, exitOK, "repair", "--last"))
	if r := repaired.Repairs[0]; r.Entities != 1 || r.Tables[0].Updated != 1 || r.AuditedSeq == 0 || !repaired.Verification[0].Clean || repaired.Verification[0].Complete {
		t.Fatalf("repair: %+v", repaired)
	}
	refold(t, exitUsage, "repair")
	refold(t, exitOK, "repair", "--tenant", "acme", "--entity", "memory", "--id", id)
	refold(t, exitOK, "verify")
	if v := into[repairView](t, refold(t, exitOK, "repair", "--last")); len(v.Repairs) != 0 {
		t.Fatalf("with nothing to repair: %+v", v)
	}
	barriers := into[[]verify.BarrierReport](t, refold(t, exitOK, "verify", "--barrier"))
	if len(barriers) != 1 || !barriers[0].Clean || len(barriers[0].Reports) == 0 {
		t.Fatalf("barrier: %+v", barriers)
	}
}

func TestDemo(t *testing.T) {
	t.Setenv("DATABASE_URL", testenv.Postgres(t))
	out := refold(t, exitOK, "demo", "--data", filepath.Join(testenv.Dir(t), "demo"))
	for _, want := range []string{"nobody ever said this", "signal: killed", "nothing lost, nothing doubled", "curl -s"} {
		if !strings.Contains(out, want) {
			t.Errorf("the story does not say %q:\n%s", want, out)
		}
	}
}
