package plane_test

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/refold-dev/refold/internal/edition"
	"github.com/refold-dev/refold/internal/plane"
	"github.com/refold-dev/refold/internal/postgres"
)

// ownerExec runs a statement as the login of the plane.
func ownerExec(t testing.TB, p *plane.Plane, sql string) {
	t.Helper()
	pool, err := p.DB.Owner(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := pool.Exec(t.Context(), sql); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

// TestDamageWhileServingIsAFault: what is done to the database of a running plane is found by that process, stands in its
// status with what to do, and goes away when it is put right.
func TestDamageWhileServingIsAFault(t *testing.T) {
	p := open(t, func(c *plane.Config) { c.AuditEvery = time.Millisecond })
	found := func(text string) *postgres.Audit {
		t.Helper()
		for end := time.Now().Add(time.Minute); time.Now().Before(end); {
			a, err := p.Auditor.Latest(t.Context(), time.Hour) // what Run has found: this makes none
			if err != nil {
				t.Fatal(err)
			}
			if text == "" && a.Clean || text != "" && slices.ContainsFunc(a.Findings, func(f postgres.Finding) bool { return strings.Contains(f.Text, text) }) {
				return a
			}
			time.Sleep(time.Millisecond)
		}
		t.Fatalf("%q was not found", text)
		return nil
	}
	found("")
	for _, c := range []struct{ do, says string }{
		{"REVOKE SELECT ON edition_1.memory FROM refold_reader", "role refold_reader may not SELECT edition_1.memory"},
		{"GRANT SELECT ON edition_1.memory TO PUBLIC", "every role may SELECT edition_1.memory"},
		{"GRANT UPDATE (content) ON edition_1.memory TO refold_reader", "role refold_reader may UPDATE column edition_1.memory.content"},
		{"REVOKE USAGE ON SCHEMA edition_1 FROM refold_projector", "role refold_projector may not USAGE schema edition_1"},
		{"ALTER TABLE edition_1.memory DISABLE ROW LEVEL SECURITY", "row level security of table edition_1.memory is off, not on"},
		{"ALTER TABLE edition_1.app NO FORCE ROW LEVEL SECURITY", "forced row level security of table edition_1.app is off, not on"},
		{"ALTER POLICY reader ON edition_1.memory USING (true)", "policy reader of table edition_1.memory is not as refold made it"},
		{"DROP POLICY sql_reader ON edition_1.memory", "policy sql_reader of table edition_1.memory is missing"},
		{"CREATE POLICY wide ON edition_1.app FOR SELECT TO PUBLIC USING (true)", "policy wide of table edition_1.app is not refold's"},
		{"CREATE VIEW edition_1.shown AS SELECT content FROM edition_1.memory", "view edition_1.shown is not refold's"},
		{"CREATE MATERIALIZED VIEW public.shown AS SELECT content FROM edition_1.memory", "materialized view public.shown stands outside of refold"},
		{"CREATE UNIQUE INDEX oracle ON edition_1.category (id)", "index edition_1.oracle is not refold's"},
		{"ALTER TABLE edition_1.memory DROP CONSTRAINT memory_pkey", "constraint memory_pkey of table edition_1.memory is missing"},
		{"ALTER TABLE edition_1.config SET UNLOGGED", "persistence of table edition_1.config is unlogged, not logged"},
		{"CREATE RULE none AS ON DELETE TO control.access DO INSTEAD NOTHING", "rule none of table control.access is not refold's"},
		{"CREATE TRIGGER quiet BEFORE UPDATE ON edition_1.app FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()", "trigger quiet of table edition_1.app is not refold's"},
		{"GRANT SELECT ON control.kept_key TO refold_reader", "role refold_reader may SELECT control.kept_key"},
		{"CREATE PUBLICATION one FOR TABLE edition_1.memory", "publication one of table edition_1.memory sends its rows elsewhere"},
	} {
		ownerExec(t, p, c.do)
		a := found(c.says)
		s := p.Status(t.Context())
		if !slices.ContainsFunc(s.Faults, func(f string) bool { return strings.Contains(f, c.says) && strings.Contains(f, "`refold audit`") }) || s.Audit.Safe {
			t.Errorf("after %s: faults %q", c.do, s.Faults)
		}
		if body, err := json.Marshal(s); err != nil || !strings.Contains(string(body), `"severity":"`) {
			t.Errorf("after %s: %s, %v", c.do, body, err)
		}
		if r, err := p.Mend(t.Context(), a); err != nil || !r.Remaining.Clean {
			t.Fatalf("after %s: %+v, %v", c.do, r, err)
		}
		found("")
	}
	if s := p.Status(t.Context()); len(s.Faults) > 0 {
		t.Errorf("in the end: faults %q", s.Faults)
	}
}

// TestVerificationsNameADamagedSchema: rows that somebody else acts on, or that nothing holds to their keys, are not proven,
// however right they are.
func TestVerificationsNameADamagedSchema(t *testing.T) {
	p := open(t)
	write(t, p, 100, generators(t, p, seed(t), 2)...)
	settle(t, p, 1)
	mustBeClean(t, verifyEdition(t, p, 1))
	for _, c := range []struct{ do, says string }{
		{"CREATE TRIGGER quiet BEFORE UPDATE ON edition_1.memory FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()", "trigger quiet of table edition_1.memory is not refold's"},
		{"ALTER TABLE edition_1.memory DROP CONSTRAINT memory_pkey", "constraint memory_pkey of table edition_1.memory is missing"},
		{"REVOKE SELECT ON edition_1.memory FROM refold_reader", "role refold_reader may not SELECT edition_1.memory"},
	} {
		ownerExec(t, p, c.do)
		full, quick := verifyEdition(t, p, 1), quickly(t, p, 1)
		if full.Clean || full.Total != 0 || !full.Chain.Equal || !full.Complete || !named(full.Schema, c.says) {
			t.Errorf("after %s: clean %t, complete %t, %d differences, schema %+v", c.do, full.Clean, full.Complete, full.Total, full.Schema)
		}
		if quick.Clean || quick.Total != 0 || !named(quick.Schema, c.says) {
			t.Errorf("after %s, quickly: clean %t, %d differences, schema %+v", c.do, quick.Clean, quick.Total, quick.Schema)
		}
		mend(t, p)
		mustBeClean(t, verifyEdition(t, p, 1))
		mustBeQuicklyClean(t, quickly(t, p, 1))
	}
	ownerExec(t, p, "DROP INDEX edition_1.memory_by_app")
	if r := verifyEdition(t, p, 1); !r.Clean || !named(r.Schema, "index edition_1.memory_by_app is missing") {
		t.Errorf("an index that only makes it faster: clean %t, schema %+v", r.Clean, r.Schema)
	}
}

func named(a *postgres.Audit, text string) bool {
	return a != nil && !a.Clean && slices.ContainsFunc(a.Findings, func(f postgres.Finding) bool { return strings.HasPrefix(f.Text, text) })
}

// TestMendWorksWhereTheStartRefuses: a database that no process starts on is put right, and what was done is on record.
func TestMendWorksWhereTheStartRefuses(t *testing.T) {
	config := fresh(t)
	p := openWith(t, config)
	for _, sql := range []string{
		"ALTER TABLE control.live ALTER COLUMN epoch DROP NOT NULL", "REVOKE SELECT ON edition_1.memory FROM refold_reader",
		"DROP VIEW edition_1_sql.held_event", "ALTER TABLE edition_1.held_event ALTER COLUMN kind TYPE varchar",
	} {
		ownerExec(t, p, sql)
	}
	config.DataDir = t.TempDir() // the first one still holds the other
	var drift *postgres.DriftError
	if _, err := plane.Open(t.Context(), config); !errors.As(err, &drift) {
		t.Fatalf("open: %v, want that the control tables are not as they were made", err)
	}
	if err := p.Editions.Check(t.Context()); !errors.Is(err, edition.ErrUnsafe) || !strings.Contains(err.Error(), "role refold_reader may not SELECT edition_1.memory") || !strings.Contains(err.Error(), "`refold audit --fix`") {
		t.Fatalf("check: %v", err)
	}
	q, err := plane.OpenDatabase(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	found, err := q.Editions.Audit(t.Context())
	if err != nil || len(found.Findings) != 4 || found.Safe {
		t.Fatalf("%+v, %v", found, err)
	}
	done, err := q.Mend(t.Context(), found)
	if err != nil || len(done.Applied) != 4 || len(done.Failed) != 0 {
		t.Fatalf("%+v, %v", done, err)
	}
	if left := done.Remaining.Findings; len(left) != 1 || left[0].Object != "column edition_1.held_event.kind" || !strings.Contains(left[0].Advice, "refold edition build") {
		t.Errorf("remaining: %+v", left)
	}
	reports, err := q.Reports.Newest(t.Context(), "mend", 10)
	if err != nil || len(reports) != 1 {
		t.Errorf("reports of it: %+v, %v", reports, err)
	}
	again, err := plane.Open(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	if err := again.Close(); err != nil {
		t.Error(err)
	}
}

// TestAnAuditOfThreeEditionsIsQuick says what it takes, first and later, and that it keeps no writer waiting.
func TestAnAuditOfThreeEditionsIsQuick(t *testing.T) {
	p := openWith(t, fresh(t))
	stop := run(t, p)
	write(t, p, 100, generators(t, p, seed(t), 2)...)
	for range 2 {
		number, err := p.Editions.Build(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		settle(t, p, number)
	}
	stop()
	pool, err := p.DB.Owner(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	tx, err := pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	// Beside this lock nobody may do more than read: what an audit takes keeps no writer waiting.
	_, err = tx.Exec(t.Context(), `DO $$ DECLARE one record; BEGIN
		FOR one IN SELECT format('%I.%I', schemaname, tablename) AS name FROM pg_tables WHERE schemaname ~ '^(control|edition_[0-9]+)$' LOOP
			EXECUTE 'LOCK TABLE ' || one.name || ' IN EXCLUSIVE MODE';
		END LOOP; END $$`)
	if err != nil {
		t.Fatal(err)
	}
	var took []int64
	for range 5 {
		a, err := p.Editions.Audit(t.Context())
		if err != nil || !a.Clean || !slices.Equal(a.Editions, []int64{1, 2, 3}) {
			t.Fatalf("%+v, %v", a, err)
		}
		took = append(took, a.DurationMs)
	}
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Logf("audits of three editions took %v ms, the first with the schemas to compare with", took)
	var left int
	err = pool.QueryRow(t.Context(), "SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'fresh%'").Scan(&left)
	if err != nil || left != 0 {
		t.Errorf("%d schemas are left, %v", left, err)
	}
	if took[len(took)-1] > auditMaxMs {
		t.Errorf("an audit takes %d ms", took[len(took)-1])
	}
}

// auditMaxMs is far more than an audit takes on a machine that does nothing else.
const auditMaxMs = 10_000
