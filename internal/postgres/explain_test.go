package postgres_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/refold-dev/refold/internal/postgres"
)

// secrets are contents of another tenant, as templates and imports repeat them: the most common values that statistics name.
var secrets = []string{"acquire northwind", "badge 4471 bunker", "merger on monday", "zurich vault 9302"}

// fill gives tenant blue a thousand memories and tenant acme two, and brings the statistics up to date.
func fill(t *testing.T, d *postgres.DB, contents []string) {
	t.Helper()
	exec(t, d, "SET session_replication_role = replica; TRUNCATE edition_1.memory; RESET session_replication_role")
	for _, content := range contents {
		memories(t, d, "blue", content, 1000/len(contents))
	}
	memories(t, d, "acme", "own", 2)
	exec(t, d, "ANALYZE edition_1.memory")
}

func memories(t *testing.T, d *postgres.DB, tenant, content string, n int) {
	t.Helper()
	exec(t, d, `INSERT INTO edition_1.memory (tenant_id, id, version, user_id, content, metadata, state, created_at, updated_at)
		SELECT $1, gen_random_uuid(), 1, gen_random_uuid(), $2, '{}', 'active', now(), now() FROM generate_series(1, $3)`, tenant, content, n)
}

// planned is how many rows the planner expects of a question.
func planned(t *testing.T, conn *pgx.Conn, sql string) float64 {
	t.Helper()
	var text []byte
	if err := conn.QueryRow(t.Context(), "EXPLAIN (FORMAT JSON) "+sql, pgx.QueryExecModeSimpleProtocol).Scan(&text); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	var plans []struct {
		Plan struct {
			Rows float64 `json:"Plan Rows"`
		}
	}
	must(t, json.Unmarshal(text, &plans))
	return plans[0].Plan.Rows
}

const alphabet = " 0123456789abcdefghijklmnopqrstuvwxyz"

// guess finds contents of a table, of all tenants, by estimates alone: it halves the alphabet until a step of the estimate lies
// between two neighbours. It returns what it found and how many EXPLAINs that took.
func guess(t *testing.T, conn *pgx.Conn, table string, lengthMax int) (found []string, asked int) {
	t.Helper()
	below := func(bound string) float64 {
		asked++
		return planned(t, conn, "SELECT FROM "+table+" WHERE content < '"+bound+"'")
	}
	var follow func(prefix string, low, high int, atLow, atHigh float64)
	follow = func(prefix string, low, high int, atLow, atHigh float64) {
		if atHigh <= atLow {
			return // nobody has a content in between
		}
		if high-low > 1 {
			middle := (low + high) / 2
			atMiddle := below(prefix + alphabet[middle:middle+1])
			follow(prefix, low, middle, atLow, atMiddle)
			follow(prefix, middle, high, atMiddle, atHigh)
			return
		}
		prefix += alphabet[low : low+1]
		if len(prefix) == lengthMax {
			found = append(found, prefix)
			return
		}
		follow(prefix, 0, len(alphabet), below(prefix+alphabet[:1]), below(prefix+"~"))
	}
	follow("", 0, len(alphabet), below(alphabet[:1]), below("~"))
	return found, asked
}

// TestExplainGuessesNothing: a SQL reader asks for estimates, some hundreds of times. Given rows of the table under row level
// security, or a view with a barrier on it, that finds what another tenant wrote; given what refold gives, it finds nothing.
func TestExplainGuessesNothing(t *testing.T) {
	d, address := readable(t)
	fill(t, d, secrets)
	_, readerURL := reader(t, d, address, "acme")
	conn := connect(t, readerURL)
	if got := names(t, conn, "SELECT content FROM memory"); !slices.Equal(got, []string{"own", "own"}) {
		t.Fatalf("the reader reads %q", got)
	}
	const length = 12
	if found, asked := guess(t, conn, "memory", length); len(found) > 0 {
		t.Errorf("%d EXPLAINs find %q", asked, found)
	}
	// The attack is one: it works on what refold does not give.
	exec(t, d, `CREATE POLICY open ON edition_1.memory FOR SELECT TO refold_sql USING (tenant_id = (SELECT control.sql_tenant()));
		GRANT SELECT ON edition_1.memory TO refold_sql; GRANT USAGE ON SCHEMA edition_1 TO refold_sql;
		CREATE VIEW edition_1_sql.barrier WITH (security_barrier) AS SELECT * FROM edition_1.memory WHERE tenant_id = (SELECT control.sql_tenant());
		GRANT SELECT ON edition_1_sql.barrier TO refold_sql`)
	var want []string
	for _, s := range secrets {
		want = append(want, s[:length])
	}
	for _, table := range []string{"edition_1.memory", "barrier"} {
		found, asked := guess(t, conn, table, length)
		for _, w := range want {
			if !slices.Contains(found, w) {
				t.Errorf("%s: %d EXPLAINs find %q, not %q: the attack of this test is too weak", table, asked, found, w)
			}
		}
		t.Logf("%s: %d EXPLAINs find %q", table, asked, found)
	}
}

// spying is what a SQL reader can ask about rows that are not his.
var spying = []string{
	"EXPLAIN SELECT * FROM memory",
	"EXPLAIN (VERBOSE, SETTINGS) SELECT * FROM memory WHERE content >= 'm'",
	"EXPLAIN SELECT * FROM memory WHERE tenant_id = 'blue'",
	"EXPLAIN SELECT * FROM memory m JOIN memory_status s ON s.memory_id = m.id WHERE m.content LIKE 'z%'",
	"EXPLAIN SELECT DISTINCT content FROM memory GROUP BY content",
	"EXPLAIN (ANALYZE, TIMING off, SUMMARY off, BUFFERS off) SELECT * FROM memory WHERE content < 'n'",
	"EXPLAIN SELECT * FROM memory()",
	"SELECT content FROM memory",
	"SET debug_print_plan = on",
	"SET debug_print_rewritten = on",
	"SET client_min_messages = debug5",
	"SELECT count(*) FROM memory WHERE content < 'n'",
	"RESET debug_print_plan",
	"RESET debug_print_rewritten",
	"SET client_min_messages = log",
	"SET enable_indexscan = off",
	"SET enable_bitmapscan = off",
	"EXPLAIN (ANALYZE, TIMING off, SUMMARY off, BUFFERS off) SELECT * FROM memory",
	"RESET enable_indexscan",
	"RESET enable_bitmapscan",
	"SELECT * FROM pg_stats WHERE schemaname NOT IN ('pg_catalog', 'information_schema')",
	"SELECT * FROM pg_stats_ext",
	"SELECT * FROM pg_statistic",
	"SELECT relname, n_live_tup, n_tup_ins FROM pg_stat_user_tables",
	"SELECT relname, heap_blks_hit FROM pg_statio_user_tables",
	"SELECT pg_stat_get_live_tuples('edition_1.memory'::regclass)",
	"SELECT pg_relation_size(oid) FROM pg_class WHERE relname = 'memory'",
	"SELECT pg_total_relation_size(oid) FROM pg_class WHERE relname = 'memory'",
	"SELECT pg_database_size(current_database())",
	"SELECT usename, application_name FROM pg_stat_activity",
	"SELECT * FROM pg_locks",
	"SELECT * FROM pg_prepared_xacts",
	"CREATE FUNCTION pg_temp.leak(text) RETURNS boolean LANGUAGE plpgsql COST 0.0001 AS 'BEGIN RAISE NOTICE ''%'', $1; RETURN true; END'",
	"DO $$ DECLARE c text; BEGIN FOR c IN SELECT content FROM memory LOOP RAISE NOTICE '%', c; END LOOP; END $$",
	"SELECT content::int FROM memory", // an error with the value, of a qual that runs too early
	"SELECT 1 FROM memory WHERE content::int > 0",
	"DECLARE c CURSOR WITH HOLD FOR SELECT content FROM memory",
	"FETCH ALL FROM c",
	"CLOSE c",
	"SELECT set_config('app.tenant', 'blue', false)",
	"SELECT content FROM memory",
	"SELECT * FROM edition_1_sql.memory()",
	"SELECT * FROM edition_1.memory_readable('blue', gen_random_uuid(), NULL)",
	"SELECT control.sql_tenant()",
	"SET row_security = off",
	"SELECT content FROM memory",
	"RESET row_security",
	"SELECT lo_get(oid) FROM pg_largeobject_metadata",
	"SELECT * FROM pg_largeobject",
	"SELECT * FROM memory TABLESAMPLE SYSTEM (100)",
	"SELECT ctid FROM memory",
	"COPY memory TO STDOUT",
	"COPY (SELECT content FROM memory) TO STDOUT",
}

// spied is everything that comes back: rows, errors, notices and whatever a log level lets through.
func spied(t *testing.T, address string) (seen []string) {
	t.Helper()
	config, err := pgx.ParseConfig(address)
	must(t, err)
	var notices []string
	config.OnNotice = func(_ *pgconn.PgConn, n *pgconn.Notice) {
		notices = append(notices, n.Severity+" "+n.Message+" "+n.Detail)
	}
	conn, err := pgx.ConnectConfig(t.Context(), config)
	must(t, err)
	defer func() { _ = conn.Close(context.WithoutCancel(t.Context())) }()
	for _, sql := range spying {
		notices = nil
		results, err := conn.PgConn().Exec(t.Context(), sql).ReadAll()
		var said strings.Builder
		fmt.Fprintln(&said, sql)
		for _, r := range results {
			for _, row := range r.Rows {
				fmt.Fprintf(&said, "%q\n", row)
			}
		}
		if err != nil {
			fmt.Fprintln(&said, err)
		}
		for _, n := range notices {
			if strings.Contains(n, "StartTransaction") || strings.Contains(n, "CommitTransaction") || strings.Contains(n, "AbortTransaction") {
				continue // it has numbers of transactions
			}
			fmt.Fprintln(&said, n)
		}
		seen = append(seen, said.String())
	}
	return seen
}

// TestWhatASQLReaderSeesDependsOnItsTenantAlone: other tenants' rows change, in number and content, and nothing that a SQL
// reader gets back does.
func TestWhatASQLReaderSeesDependsOnItsTenantAlone(t *testing.T) {
	d, address := readable(t)
	fill(t, d, secrets)
	_, readerURL := reader(t, d, address, "acme")
	reader(t, d, address, "blue")
	before := spied(t, readerURL)
	exec(t, d, "DELETE FROM edition_1.memory WHERE tenant_id = 'blue'")
	for i := range 40 {
		memories(t, d, "blue", fmt.Sprintf("%c other text %d", 'a'+rune(i%26), i), 300)
	}
	exec(t, d, "ANALYZE edition_1.memory")
	for i, after := range spied(t, readerURL) {
		if after != before[i] {
			t.Errorf("it changed:\n%s\n%s", before[i], after)
		}
		for _, secret := range secrets {
			if strings.Contains(before[i], secret) {
				t.Errorf("it shows %q: %s", secret, before[i])
			}
		}
	}
}

// TestSQLReadersSeeNoDeletedMemory, nor what other tables say of it.
func TestSQLReadersSeeNoDeletedMemory(t *testing.T) {
	d, address := readable(t)
	memories(t, d, "acme", "kept", 1)
	memories(t, d, "acme", "gone", 1)
	exec(t, d, "INSERT INTO edition_1.memory_category (tenant_id, memory_id, category_id, version) SELECT tenant_id, id, gen_random_uuid(), 1 FROM edition_1.memory")
	exec(t, d, `INSERT INTO edition_1.memory_status (tenant_id, memory_id, seq, ordinal, version, id, changed_by, old_state, new_state, changed_at)
		SELECT tenant_id, id, 1, 1, 1, id, id, 'active', 'deleted', now() FROM edition_1.memory`)
	exec(t, d, "UPDATE edition_1.memory SET state = 'deleted', deleted_at = now() WHERE content = 'gone'")
	_, readerURL := reader(t, d, address, "acme")
	conn := connect(t, readerURL)
	if got := names(t, conn, "SELECT content FROM memory"); !slices.Equal(got, []string{"kept"}) {
		t.Errorf("memories %q", got)
	}
	for _, table := range []string{"memory_category", "memory_status"} {
		if got := names(t, conn, "SELECT m.content FROM "+table+" t LEFT JOIN memory m ON m.id = t.memory_id"); !slices.Equal(got, []string{"kept"}) {
			t.Errorf("%s speaks of %q", table, got)
		}
	}
}
