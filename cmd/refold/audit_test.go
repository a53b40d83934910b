package main

import (
	"bytes"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/refold-dev/refold/internal/plane"
	"github.com/refold-dev/refold/internal/postgres"
	"github.com/refold-dev/refold/internal/testenv"
)

func damaged(t *testing.T, statements ...string) {
	t.Helper()
	d, err := postgres.Open(t.Context(), os.Getenv("DATABASE_URL"))
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	pool, err := d.Owner(t.Context())
	for _, sql := range statements {
		if err == nil {
			_, err = pool.Exec(t.Context(), sql)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestAuditByAnOperator: no process starts on a damaged database; the command names each damage, prints what puts it
// right and does that, and afterwards everything starts again.
func TestAuditByAnOperator(t *testing.T) {
	t.Setenv("REFOLD_DATA", testenv.Dir(t))
	t.Setenv("DATABASE_URL", testenv.Postgres(t))
	refold(t, exitLocked, "audit") // there is none
	p, err := plane.Open(t.Context(), plane.Config{DataDir: os.Getenv("REFOLD_DATA"), PostgresURL: os.Getenv("DATABASE_URL")})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(p.EnsureLive(t.Context(), nil), p.Close()); err != nil {
		t.Fatal(err)
	}
	if out := refold(t, exitOK, "audit"); !strings.Contains(out, "the database is as refold makes it (control tables and editions [1]") {
		t.Errorf("at first: %s", out)
	}
	damaged(t, "ALTER TABLE edition_1.memory DROP CONSTRAINT memory_pkey", "REVOKE SELECT ON control.edition FROM refold_operator",
		"DROP VIEW edition_1_sql.held_event", "ALTER TABLE edition_1.held_event ALTER COLUMN kind TYPE varchar")
	var out bytes.Buffer
	if got := run(t.Context(), []string{"serve", "--listen", "127.0.0.1:0"}, &out, &out); got != exitError {
		t.Errorf("serve: exit code %d: %s", got, out.String())
	}
	table := refold(t, exitMismatch, "audit")
	script := refold(t, exitMismatch, "audit", "--fix")
	for _, want := range []string{"constraint memory_pkey of table edition_1.memory is missing", "ADD CONSTRAINT memory_pkey PRIMARY KEY (tenant_id, id)",
		"role refold_operator may not SELECT control.edition", "view edition_1_sql.held_event is missing", "column edition_1.held_event.kind is character varying, not text", "refold edition build"} {
		if !strings.Contains(table, want) || !strings.Contains(script, want) {
			t.Errorf("%q is missing in\n%s\nor\n%s", want, table, script)
		}
	}
	if !strings.Contains(script, "\nBEGIN;\n") || !strings.HasSuffix(script, ";\nCOMMIT;\n") {
		t.Errorf("no script: %s", script)
	}
	refold(t, exitUsage, "audit", "--fix", "--apply")
	if a := into[postgres.Audit](t, refold(t, exitMismatch, "audit", "--fix", "-o", "json")); len(a.Findings) != 4 || a.Safe {
		t.Errorf("as JSON: %+v", a)
	}
	applied := refold(t, exitMismatch, "audit", "--apply", "-o", "json")
	done := into[plane.MendReport](t, applied)
	if len(done.Applied) != 4 || len(done.Failed) != 0 || len(done.Remaining.Findings) != 1 || len(done.Remaining.Findings[0].Fix) != 0 {
		t.Errorf("applied: %s", applied)
	}
	damaged(t, "DROP VIEW edition_1_sql.held_event", "ALTER TABLE edition_1.held_event ALTER COLUMN kind TYPE text", "CREATE TRIGGER quiet BEFORE UPDATE ON edition_1.app FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()")
	if out := refold(t, exitMismatch, "status"); !strings.Contains(out, "trigger quiet of table edition_1.app is not refold's") || !strings.Contains(out, "`refold audit` says what puts it right") {
		t.Errorf("status: %s", out)
	}
	if out := refold(t, exitMismatch, "verify"); !strings.Contains(out, "NOT CLEAN: every row is the fold of the journal, but the database is not as refold makes it") || !strings.Contains(out, "unsafe: trigger quiet") {
		t.Errorf("verify: %s", out)
	}
	if out := refold(t, exitMismatch, "verify", "--quick"); !strings.Contains(out, "the database is not as refold makes it") || !strings.Contains(out, "unsafe: trigger quiet") {
		t.Errorf("verify --quick: %s", out)
	}
	if out := refold(t, exitOK, "audit", "--apply"); !strings.Contains(out, "DROP TRIGGER quiet ON edition_1.app") || !strings.Contains(out, "the database is as refold makes it") {
		t.Errorf("apply: %s", out)
	}
	refold(t, exitOK, "verify")
}
