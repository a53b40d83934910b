package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/refold-dev/refold/internal/openmemory/sample"
	"github.com/refold-dev/refold/internal/report"
	"github.com/refold-dev/refold/internal/testenv"
	"github.com/refold-dev/refold/internal/verify"
	"github.com/refold-dev/refold/internal/witness"
)

func TestJournalAndReportCommands(t *testing.T) {
	data, dir := testenv.Dir(t), t.TempDir()
	t.Setenv("REFOLD_DATA", data)
	t.Setenv("DATABASE_URL", testenv.Postgres(t))
	t.Setenv("REFOLD_OUTPUT", "json")
	makePlane(t)
	zip, err := sample.Zip()
	if err != nil {
		t.Fatal(err)
	}
	file := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	refold(t, exitOK, "tenant", "create", "acme")
	refold(t, exitOK, "import", "openmemory", file(sample.FileName, string(zip)), "--tenant", "acme")

	head := file("head.json", refold(t, exitOK, "journal", "head"))
	key := file("key.pem", refold(t, exitOK, "report", "key"))
	results := into[[]witness.Result](t, refold(t, exitOK, "journal", "check", "--head", head))
	if len(results) != 1 || !results[0].Clean || results[0].Witnessed < 61 || results[0].Heads < 2 {
		t.Fatalf("got %+v", results)
	}
	results = into[[]witness.Result](t, refold(t, exitOK, "journal", "check", "--head", head, "--each-replica"))
	if len(results) != 1 || !results[0].Clean || results[0].Heads < 2 || len(results[0].Replicas) != 1 || !results[0].Replicas[0].FitsKept {
		t.Fatalf("got %+v", results)
	}
	if copies, err := filepath.Glob(filepath.Join(data, "heads", "journal-head-*.json")); err != nil || len(copies) == 0 {
		t.Fatalf("no copy of the head in the data folder: %v", err)
	}

	if quick := into[[]verify.QuickReport](t, refold(t, exitOK, "verify", "--quick")); len(quick) != 1 || !quick[0].Clean || quick[0].Rows < 61 {
		t.Fatalf("got %+v", quick)
	}
	if list := into[[]report.Recorded](t, refold(t, exitOK, "report", "list", "--kind", verify.QuickKind)); len(list) != 1 {
		t.Fatalf("the quick verification left the reports %+v", list)
	}

	all := filepath.Join(dir, "all.ndjson")
	refold(t, exitOK, "report", "export", all)
	refold(t, exitError, "report", "export", all) // never writes over a file
	list := into[[]report.Recorded](t, refold(t, exitOK, "report", "list", "-n", "1000"))
	refold(t, exitUsage, "report", "check", all)
	t.Setenv("REFOLD_DATA", filepath.Join(dir, "elsewhere")) // the check needs no plane
	t.Setenv("DATABASE_URL", "postgres://nobody@127.0.0.1:1/none")
	if checked := into[[]checkedView](t, refold(t, exitOK, "report", "check", all, head, "--key", key)); len(checked) != len(list)+1 {
		t.Fatalf("%d reports were checked, %d are there", len(checked), len(list))
	}
	documents, err := os.ReadFile(all)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.SplitAfter(strings.TrimSpace(string(documents)), "\n")
	for what, broken := range map[string]string{
		"nothing in it":  "",
		"one left out":   strings.Join(append([]string{lines[0]}, lines[2:]...), ""),
		"one changed":    strings.Replace(string(documents), `"seq":`, `"seq":1`, 1),
		"no report":      `{"clean":true}`,
		"cut short":      string(documents[:len(documents)-10]),
		"something else": string(documents) + "hello",
	} {
		if got := run(t.Context(), []string{"report", "check", file("broken", broken), "--key", key}, os.Stdout, os.Stderr); got != exitMismatch {
			t.Errorf("%s: exit code %d", what, got)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "elsewhere")); err == nil {
		t.Fatal("the check has made a data folder")
	}
}

// A digest that was changed in the database is named by the check, which says so with its exit code.
func TestJournalCheckNamesDamage(t *testing.T) {
	t.Setenv("REFOLD_DATA", testenv.Dir(t))
	t.Setenv("DATABASE_URL", testenv.Postgres(t))
	t.Setenv("REFOLD_OUTPUT", "json")
	makePlane(t)
	refold(t, exitOK, "tenant", "create", "acme")
	refold(t, exitOK, "journal", "head")
	conn, err := pgx.Connect(t.Context(), os.Getenv("DATABASE_URL"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	if _, err := conn.Exec(t.Context(), "UPDATE control.journal_page SET event_digests = set_byte(event_digests, 0, get_byte(event_digests, 0) # 1)"); err != nil {
		t.Fatal(err)
	}
	results := into[[]witness.Result](t, refold(t, exitMismatch, "journal", "check"))
	if len(results) != 1 || results[0].Clean || results[0].Faults[0].What != witness.BadPage || results[0].Faults[0].Seq != 1 {
		t.Fatalf("got %+v", results)
	}
	// What was kept is damaged, and the copy is not: the replicas say so.
	results = into[[]witness.Result](t, refold(t, exitMismatch, "journal", "check", "--each-replica"))
	if len(results) != 1 || results[0].Clean || results[0].Total != 1 || results[0].Replicas[0].State != witness.Whole {
		t.Fatalf("got %+v", results)
	}
	// A full verification reads the journal as well, and says so in its signed report.
	reports := into[[]verify.Report](t, refold(t, exitMismatch, "verify"))
	if len(reports) != 1 || reports[0].Clean || reports[0].Total != 0 || reports[0].Journal == nil || reports[0].Journal.Total != 1 {
		t.Fatalf("got %+v", reports)
	}
	if _, err := conn.Exec(t.Context(), "UPDATE control.journal_page SET event_digests = set_byte(event_digests, 0, get_byte(event_digests, 0) # 1)"); err != nil {
		t.Fatal(err)
	}
	refold(t, exitOK, "verify")
	if _, err := conn.Exec(t.Context(), "UPDATE control.report SET document = replace(encode(document, 'escape'), '\"seq\":', '\"seq\":1')::bytea WHERE kind = 'journal-head'"); err != nil {
		t.Fatal(err)
	}
	reports = into[[]verify.Report](t, refold(t, exitMismatch, "verify"))
	if reports[0].Journal.Faults[0].What != witness.BadHead || reports[0].Total != 0 {
		t.Fatalf("got %+v", reports[0].Journal)
	}
}
