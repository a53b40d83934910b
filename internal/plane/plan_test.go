package plane_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/refold-dev/refold/events"
	"github.com/refold-dev/refold/events/envelope"
	"github.com/refold-dev/refold/internal/fold"
	"github.com/refold-dev/refold/internal/journal"
	"github.com/refold-dev/refold/internal/plane"
	"github.com/refold-dev/refold/internal/rows"
	"github.com/refold-dev/refold/internal/testenv"
	"github.com/refold-dev/refold/internal/verify"
)

// nextFold differs from the fold of the code in every way that rows can differ.
func nextFold(w *rows.Set, e *envelope.Event) error {
	copied := *e
	switch {
	case e.Kind == "riddle.posed.v1":
		return nil // holds nobody any more
	case e.Kind == "category.defined.v1" && e.Tenant == "tenant-1":
		return errors.New("no categories for this tenant") // holds more
	case e.Kind == "app.access-withdrawn.v1":
		return nil // leaves a row, and an older version
	case e.Kind == "memory.archived.v1":
		copied.Time = e.Time.Add(time.Second) // another line of the status history, too
	case e.Kind == "memory.deleted.v1":
		return nil // a line less of it
	case e.Kind == "memory.changed.v1":
		copied.Data = []byte(strings.Replace(string(e.Data), `"content":"`, `"content":"next: `, 1))
	}
	return fold.Apply(w, &copied)
}

func planConfig(p *plane.Plane, f rows.Fold) verify.PlanConfig {
	return verify.PlanConfig{DB: p.DB, Shards: p.Journal.Shards, Schema: fold.Tables, Fold: f, Shape: p.Shape}
}

func planWith(t testing.TB, c verify.PlanConfig) *verify.PlanReport {
	t.Helper()
	report, err := verify.Plan(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	return report
}

// written returns an idle plane whose live edition is level with random events of three tenants.
func written(t testing.TB, change ...func(*plane.Config)) (*plane.Plane, []*generator) {
	t.Helper()
	p := openWith(t, fresh(t, change...))
	all := generators(t, p, seed(t), 3)
	for _, g := range all {
		g.poison = 20
	}
	write(t, p, 250, all...)
	stop := run(t, p)
	settle(t, p, 1)
	stop()
	return p, all
}

// builtWith builds an edition with a fold: what the plan foretells.
func builtWith(t testing.TB, p *plane.Plane, f rows.Fold) int64 {
	t.Helper()
	old := p.Editions.Fold
	defer func() { p.Editions.Fold = old }()
	p.Editions.Fold = f
	number, err := p.Editions.Build(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	return number
}

// counted compares a table of two editions in SQL. It knows the table from layouts, and shares nothing with the plan.
func counted(t testing.TB, p *plane.Plane, name string, live, next int64, columns []string) map[string]rows.RowCounts {
	t.Helper()
	l := layouts[name]
	var on, differ, each []string
	for _, c := range l.columns[:l.keys] {
		on = append(on, fmt.Sprintf("a.%[1]s = b.%[1]s", c.name))
	}
	for _, c := range columns {
		differ = append(differ, fmt.Sprintf("a.%[1]s IS DISTINCT FROM b.%[1]s", c))
		each = append(each, fmt.Sprintf("count(*) FILTER (WHERE a.tenant_id = b.tenant_id AND a.%[1]s IS DISTINCT FROM b.%[1]s)", c))
	}
	pool, err := p.DB.OwnerOf(t.Context(), live)
	if err != nil {
		t.Fatal(err)
	}
	found, err := pool.Query(t.Context(), fmt.Sprintf(`SELECT coalesce(a.tenant_id, b.tenant_id), count(a.tenant_id), count(b.tenant_id),
		count(*) FILTER (WHERE a.tenant_id IS NULL), count(*) FILTER (WHERE b.tenant_id IS NULL),
		count(*) FILTER (WHERE a.tenant_id = b.tenant_id AND (%[1]s)), ARRAY[%[2]s]
		FROM edition_%[3]d.%[4]s a FULL JOIN edition_%[5]d.%[4]s b ON %[6]s GROUP BY 1`,
		strings.Join(differ, " OR "), strings.Join(each, ", "), live, name, next, strings.Join(on, " AND ")))
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]rows.RowCounts{}
	var tenant string
	var c rows.RowCounts
	var by []int64
	_, err = pgx.ForEachRow(found, []any{&tenant, &c.Live, &c.Next, &c.Added, &c.Removed, &c.Changed, &by}, func() error {
		c.Columns = nil
		for i, n := range by {
			if n > 0 {
				if c.Columns == nil {
					c.Columns = map[string]int64{}
				}
				c.Columns[columns[i]] = n
			}
		}
		out[tenant] = c
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func columnsOf(name string, without ...string) []string {
	var out []string
	for _, c := range layouts[name].columns {
		if !slices.Contains(without, c.name) {
			out = append(out, c.name)
		}
	}
	return out
}

func tableOf(t testing.TB, r *verify.PlanReport, name string) rows.TablePlan {
	t.Helper()
	i := slices.IndexFunc(r.Tables, func(p rows.TablePlan) bool { return p.Table == name })
	if i < 0 {
		t.Fatalf("the plan has no table %s", name)
	}
	return r.Tables[i]
}

func byTenant(p rows.TablePlan) map[string]rows.RowCounts {
	out := map[string]rows.RowCounts{}
	for _, tenant := range p.Tenants {
		out[tenant.Tenant] = tenant.RowCounts
	}
	return out
}

// mustForetell holds the counts of a plan against the edition that was really built.
func mustForetell(t testing.TB, p *plane.Plane, r *verify.PlanReport, next int64) {
	t.Helper()
	for name := range layouts {
		want := counted(t, p, name, r.Edition, next, columnsOf(name))
		if diff := cmp.Diff(want, byTenant(tableOf(t, r, name)), cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("table %s (-SQL +plan):\n%s", name, diff)
		}
	}
}

func mustPlanNothing(t testing.TB, r *verify.PlanReport) {
	t.Helper()
	if all := r.Rows(); all.Differ() || all.Live != all.Next || !r.SameShape {
		t.Fatalf("the same fold plans changes: %+v, same shape %v\n%+v", all, r.SameShape, r.Tables)
	}
}

func TestThePlanOfTheSameFoldIsEmpty(t *testing.T) {
	p, all := written(t)
	r := planWith(t, planConfig(p, fold.Apply))
	mustPlanNothing(t, r)
	model := modelOf(all)
	for name := range layouts {
		table := tableOf(t, r, name)
		if want := int64(len(model.rows[name])); table.Rows.Live != want || table.Kind != rows.SharedTable || len(table.Columns) > 0 || len(table.Examples) > 0 {
			t.Errorf("table %s: %+v, want %d rows", name, table, want)
		}
	}
	if r.Edition != 1 || r.Events != r.Shards[0].Seq || r.Shards[0].Seq != r.Shards[0].Head || r.Build.DiskBytes == 0 {
		t.Errorf("%+v", r)
	}
	var held int64
	for _, h := range r.HeldKinds {
		if h.Live != h.Next || h.More+h.Fewer > 0 {
			t.Errorf("held: %+v", h)
		}
		held += h.Live
	}
	if held != int64(len(model.held)) || held == 0 {
		t.Errorf("%d entities are held, want %d", held, len(model.held))
	}
}

func TestThePlanForetellsTheBuild(t *testing.T) {
	p, _ := written(t)
	r := planWith(t, planConfig(p, nextFold))
	mustForetell(t, p, r, builtWith(t, p, nextFold))
	for _, name := range []string{"memory", "memory_status", "app_access_rule", "category", "held_event"} {
		if c := tableOf(t, r, name).Rows; !c.Differ() {
			t.Errorf("table %s: nothing differs, so nothing was tested: %+v", name, c)
		}
	}
	mustExplainHeld(t, p, r)
	mustNameExamples(t, p, r)
}

// mustExplainHeld holds the quarantine of a plan against that of editions 1 and 2.
func mustExplainHeld(t *testing.T, p *plane.Plane, r *verify.PlanReport) {
	t.Helper()
	pool, err := p.DB.OwnerOf(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	found, err := pool.Query(t.Context(), `
		SELECT k.kind, (SELECT count(*) FROM edition_1.held_entity WHERE kind = k.kind), (SELECT count(*) FROM edition_2.held_entity WHERE kind = k.kind),
			(SELECT count(*) FROM edition_2.held_entity b WHERE kind = k.kind
				AND NOT EXISTS (SELECT FROM edition_1.held_entity a WHERE (a.tenant_id, a.entity, a.entity_id) = (b.tenant_id, b.entity, b.entity_id))),
			(SELECT count(*) FROM edition_1.held_entity b WHERE kind = k.kind
				AND NOT EXISTS (SELECT FROM edition_2.held_entity a WHERE (a.tenant_id, a.entity, a.entity_id) = (b.tenant_id, b.entity, b.entity_id)))
		FROM (SELECT kind FROM edition_1.held_entity UNION SELECT kind FROM edition_2.held_entity) k ORDER BY k.kind`)
	if err != nil {
		t.Fatal(err)
	}
	want, err := pgx.CollectRows(found, pgx.RowToStructByPos[rows.HeldKind])
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, r.HeldKinds); diff != "" || len(want) != 2 {
		t.Errorf("held, %d kinds (-SQL +plan):\n%s", len(want), diff)
	}
}

// mustNameExamples checks that each example of table memory is such a row.
func mustNameExamples(t *testing.T, p *plane.Plane, r *verify.PlanReport) {
	t.Helper()
	pool, err := p.DB.OwnerOf(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	examples := tableOf(t, r, "memory").Examples
	if len(examples) != 3 {
		t.Fatalf("%d examples: %+v", len(examples), examples)
	}
	for _, e := range examples {
		for _, c := range e.Columns {
			var n int
			err := pool.QueryRow(t.Context(), fmt.Sprintf(`SELECT count(*) FROM edition_1.memory a JOIN edition_2.memory b USING (tenant_id, id)
				WHERE tenant_id = $1 AND id::text = $2 AND a.%[1]s IS DISTINCT FROM b.%[1]s`, c), e.Tenant, e.Key[0].Value).Scan(&n)
			if err != nil || n != 1 {
				t.Errorf("example %+v: column %s does not differ: %v", e, c, err)
			}
		}
		if e.Did != "changed" || len(e.Columns) == 0 || e.Seq == 0 {
			t.Errorf("example %+v", e)
		}
	}
}

// TestThePlanAgainstAnotherLayout makes the live edition into one of another binary's.
func TestThePlanAgainstAnotherLayout(t *testing.T) {
	p, _ := written(t)
	next := builtWith(t, p, nextFold)
	pool, err := p.DB.OwnerOf(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	counts := map[string]int64{}
	for name := range layouts {
		counts[name] = countOf(t, p, 1, name)
	}
	for _, sql := range []string{
		"DROP FUNCTION memory_readable CASCADE", // it names columns
		"DROP SCHEMA edition_1_sql CASCADE",
		"ALTER TABLE memory DROP COLUMN archived_at",
		"ALTER TABLE memory ADD COLUMN mood text NOT NULL DEFAULT 'glad'",
		"ALTER TABLE memory ALTER COLUMN app_id SET DATA TYPE text",
		"ALTER TABLE memory_status DROP COLUMN changed_by",
		"ALTER TABLE user_account ALTER COLUMN email SET DEFAULT '', ALTER COLUMN subject DROP NOT NULL",
		"ALTER TABLE app_access_rule DROP CONSTRAINT app_access_rule_pkey, ALTER COLUMN id SET DATA TYPE text",
		"DROP TABLE category",
		`CREATE TABLE "Mood swing" AS SELECT tenant_id, id FROM memory`,
		`GRANT SELECT ON "Mood swing" TO refold_verifier`,
		"UPDATE control.edition SET shape = 'of another binary' WHERE number = 1",
	} {
		if _, err := pool.Exec(t.Context(), sql); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
	r := planWith(t, planConfig(p, nextFold))
	if r.SameShape || r.LiveShape != "of another binary" {
		t.Errorf("shape of the live edition: %+v", r)
	}
	for name, without := range map[string][]string{
		"memory": {"archived_at", "app_id"}, "memory_status": {"changed_by"}, "user_account": nil, "app": nil,
		"memory_category": nil, "held_entity": nil, "held_event": nil,
	} {
		want := counted(t, p, name, 1, next, columnsOf(name, without...))
		if diff := cmp.Diff(want, byTenant(tableOf(t, r, name)), cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("table %s (-SQL +plan):\n%s", name, diff)
		}
	}
	mustHaveColumns(t, r, map[string][]rows.ColumnPlan{
		"memory": {
			{Column: "app_id", Change: "altered", Live: "text", Next: "uuid"}, {Column: "archived_at", Change: "added", Next: "timestamptz"},
			{Column: "mood", Change: "removed", Live: "text not null"},
		},
		"memory_status":   {{Column: "changed_by", Change: "added", Next: "uuid not null"}},
		"user_account":    {{Column: "subject", Change: "altered", Live: "text", Next: "text not null"}},
		"app_access_rule": {{Column: "id", Change: "altered", Live: "text not null", Next: "uuid not null"}},
	})
	for name, want := range map[string]struct {
		kind rows.TableKind
		rows.RowCounts
	}{
		"category":        {rows.NewTable, rows.RowCounts{Next: countOf(t, p, next, "category"), Added: countOf(t, p, next, "category")}},
		"Mood swing":      {rows.GoneTable, rows.RowCounts{Live: counts["memory"], Removed: counts["memory"]}},
		"app_access_rule": {rows.RekeyedTable, rows.RowCounts{Live: counts["app_access_rule"], Removed: counts["app_access_rule"], Next: countOf(t, p, next, "app_access_rule"), Added: countOf(t, p, next, "app_access_rule")}},
	} {
		if got := tableOf(t, r, name); got.Kind != want.kind || !reflect.DeepEqual(got.Rows, want.RowCounts) || got.Rows.Live+got.Rows.Next == 0 {
			t.Errorf("table %s is %s with %+v, want %+v", name, got.Kind, got.Rows, want)
		}
	}
	// Columns that came or went do not make rows look changed.
	if same := planWith(t, planConfig(p, fold.Apply)); tableOf(t, same, "memory").Rows.Differ() || tableOf(t, same, "memory_status").Rows.Differ() {
		t.Errorf("the same fold changes rows: %+v", same.Tables)
	}
}

func mustHaveColumns(t *testing.T, r *verify.PlanReport, want map[string][]rows.ColumnPlan) {
	t.Helper()
	got := map[string][]rows.ColumnPlan{}
	for _, table := range r.Tables {
		if len(table.Columns) > 0 {
			got[table.Table] = table.Columns
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("columns (-want +got):\n%s", diff)
	}
}

func countOf(t testing.TB, p *plane.Plane, number int64, name string) (n int64) {
	t.Helper()
	pool, err := p.DB.OwnerOf(t.Context(), number)
	if err != nil {
		t.Fatal(err)
	}
	if err := pool.QueryRow(t.Context(), "SELECT count(*) FROM "+name).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// timeless leaves out of a plan what differs between two of the same rows.
var timeless = cmpopts.IgnoreFields(verify.PlanReport{}, "Parts", "FoldMs", "Started", "DurationMs", "Build")

func TestAPlanInPartsIsTheSame(t *testing.T) {
	p, all := written(t)
	// Rows bigger than an event is expected to be make parts outgrow their budget.
	for range 15 {
		private := events.MemoryPrivate{Content: strings.Repeat("tea ", 10_000)}
		publish(t, p, all[0].tenant, "memory", uuid.New(), 1, 0, &events.MemoryAdded{UserID: uuid.New(), Private: private})
	}
	project(t, p, 1, fold.Apply)
	whole := planConfig(p, nextFold)
	want := planWith(t, whole)
	if want.Parts != 1 {
		t.Fatalf("%d parts", want.Parts)
	}
	for _, bytes := range []int{300_000, 60_000} {
		parts := whole
		parts.MemoryBytes = bytes
		got := planWith(t, parts)
		if diff := cmp.Diff(want, got, timeless, cmpopts.IgnoreUnexported(rows.Example{})); diff != "" {
			t.Errorf("%d bytes (-one part +%d parts):\n%s", bytes, got.Parts, diff)
		}
		if estimated := int(want.Events)*700/bytes + 1; got.Parts < 2 || bytes == 60_000 && got.Parts <= estimated {
			t.Errorf("%d bytes: %d parts, and %d were expected at first", bytes, got.Parts, estimated)
		}
	}
}

func TestAPlanOfSeveralShards(t *testing.T) {
	p := openWith(t, fresh(t, func(c *plane.Config) { c.Shards = 3 }))
	all := generators(t, p, seed(t), 8)
	homes := map[int]bool{}
	for _, g := range all {
		homes[g.tenant.Shard] = true
	}
	if len(homes) != 3 {
		t.Fatalf("8 tenants live in shards %v, want all 3", homes)
	}
	write(t, p, 60, all...)
	stop := run(t, p)
	settle(t, p, 1)
	stop()
	mustPlanNothing(t, planWith(t, planConfig(p, fold.Apply)))
	c := planConfig(p, nextFold)
	c.MemoryBytes = 100_000
	r := planWith(t, c)
	next := builtWith(t, p, nextFold)
	mustForetell(t, p, r, next)
	if len(r.Shards) != 3 || r.Events != r.Shards[0].Seq+r.Shards[1].Seq+r.Shards[2].Seq {
		t.Errorf("%+v", r.Shards)
	}
	// Half-way through a cutover there is no one edition to compare with.
	pool, err := p.DB.Owner(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := pool.Exec(t.Context(), "UPDATE control.live SET edition = $1 WHERE shard = 1", next); err != nil {
		t.Fatal(err)
	}
	if _, err := verify.Plan(t.Context(), c); !errors.Is(err, verify.ErrLiveMixed) {
		t.Errorf("got %v, want %v", err, verify.ErrLiveMixed)
	}
}

func TestPlansWhileWritersGoOn(t *testing.T) {
	p := open(t)
	all := generators(t, p, seed(t), 4)
	ctx, cancel := context.WithCancel(t.Context())
	writers := appendAll(ctx, t, p, all, 0)
	defer writers.Wait()
	defer cancel()
	var at uint64
	moved := 0
	for range 15 {
		r := planWith(t, planConfig(p, fold.Apply))
		mustPlanNothing(t, r)
		if r.Events > at {
			at, moved = r.Events, moved+1
		}
	}
	if moved < 8 {
		t.Fatalf("only %d of 15 plans saw new events", moved)
	}
}

// TestAPlanWritesNothing compares everything in the database, catalogue included, before and after.
func TestAPlanWritesNothing(t *testing.T) {
	config := fresh(t)
	p := openWith(t, config)
	write(t, p, 100, generators(t, p, seed(t), 2)...)
	stop := run(t, p)
	settle(t, p, 1)
	stop()
	config.DataDir = testenv.Dir(t)
	before, facts := everything(t, p), factsOf(t, p)
	looking, err := plane.Look(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	defer looking.Close()
	r, err := looking.PlanEdition(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	mustPlanNothing(t, r)
	planWith(t, planConfig(looking, nextFold))
	if diff := cmp.Diff(before, everything(t, p)); diff != "" {
		t.Errorf("the plan wrote:\n%s", diff)
	}
	if now := factsOf(t, p); now != facts {
		t.Errorf("the journal was %+v and is %+v", facts, now)
	}
}

func factsOf(t testing.TB, p *plane.Plane) journal.Facts {
	t.Helper()
	facts, err := p.Journal.Shard(0).Facts(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return facts
}

// everything describes the database: all relations, columns, indexes and grants, and all rows with their versions.
func everything(t testing.TB, p *plane.Plane) map[string]string {
	t.Helper()
	pool, err := p.DB.Owner(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	text := func(sql string) string {
		var s string
		if err := pool.QueryRow(t.Context(), sql).Scan(&s); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
		return s
	}
	const ours = "nspname !~ '^pg_' AND nspname <> 'information_schema'"
	out := map[string]string{
		"relations": text(`SELECT coalesce(string_agg(concat_ws(' ', nspname, relname, relkind, relacl::text, relrowsecurity), E'\n' ORDER BY nspname, relname), '')
			FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE ` + ours),
		"columns": text(`SELECT coalesce(string_agg(concat_ws(' ', nspname, relname, attname, atttypid, attnotnull, attisdropped), E'\n' ORDER BY nspname, relname, attnum), '')
			FROM pg_attribute a JOIN pg_class c ON c.oid = attrelid JOIN pg_namespace n ON n.oid = c.relnamespace WHERE ` + ours),
		"schemas":  text("SELECT string_agg(nspname || coalesce(nspacl::text, ''), ' ' ORDER BY nspname) FROM pg_namespace WHERE nspname !~ '^pg_(toast_)?temp'"),
		"policies": text("SELECT coalesce(string_agg(concat_ws(' ', schemaname, tablename, policyname, qual), E'\n' ORDER BY schemaname, tablename, policyname), '') FROM pg_policies"),
	}
	found, err := pool.Query(t.Context(), "SELECT format('%I.%I', nspname, relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE relkind = 'r' AND "+ours)
	if err != nil {
		t.Fatal(err)
	}
	tables, err := pgx.CollectRows(found, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range tables {
		out[name] = text("SELECT coalesce(string_agg(concat_ws(' ', xmin, xmax, ctid, t), E'\n' ORDER BY ctid), '') FROM " + name + " t")
	}
	return out
}

// TestAPlanWithoutALiveEdition: all rows are new, in a database without anything as well.
func TestAPlanWithoutALiveEdition(t *testing.T) {
	config := fresh(t)
	p := openWith(t, config)
	write(t, p, 50, generators(t, p, seed(t), 2)...)
	stop := run(t, p)
	settle(t, p, 1)
	stop()
	config.DataDir, config.PostgresURL = testenv.Dir(t), testenv.Postgres(t)
	looking, err := plane.Look(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	defer looking.Close()
	before := everything(t, looking)
	r, err := looking.PlanEdition(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before, everything(t, looking)); diff != "" {
		t.Errorf("the plan wrote:\n%s", diff)
	}
	if r.Edition != 0 || r.SameShape || r.Events != factsOf(t, p).LastSeq || r.Build.DiskBytes == 0 {
		t.Errorf("%+v", r)
	}
	for name := range layouts {
		n, table := countOf(t, p, 1, name), tableOf(t, r, name)
		if want := (rows.RowCounts{Next: n, Added: n}); table.Kind != rows.NewTable || !reflect.DeepEqual(table.Rows, want) {
			t.Errorf("table %s is %s with %+v, want %+v", name, table.Kind, table.Rows, want)
		}
	}
}

// TestAPlanTakesThePaceOfABuild: what a former build measured stands in the estimate, with its name.
func TestAPlanTakesThePaceOfABuild(t *testing.T) {
	p, _ := written(t)
	pool, err := p.DB.Owner(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if r := planWith(t, planConfig(p, fold.Apply)); !strings.Contains(r.Build.Pace.Source, "not measured") || r.Build.Pace.Loaded == 0 || r.Build.Pace.Indexed == 0 {
		t.Errorf("without a build of any size: %+v", r.Build)
	}
	for _, sql := range []string{
		`INSERT INTO control.build (edition, events, rows_loaded, replay_ms, load_ms, index_ms, held_back_ms, bytes, finished_at)
			VALUES (1, 1, 50000, 1, 500, 2000, 0, 1, clock_timestamp())
			ON CONFLICT (edition) DO UPDATE SET rows_loaded = excluded.rows_loaded, load_ms = excluded.load_ms, index_ms = excluded.index_ms`,
	} {
		if _, err := pool.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	want := verify.Pace{Loaded: 100_000, Indexed: 25_000, Source: "measured by the build of edition 1"}
	r := planWith(t, planConfig(p, fold.Apply))
	if next := r.Rows().Next; r.Build.Pace != want || r.Build.LoadMs != next/100 || r.Build.IndexMs != next/25 || next == 0 {
		t.Errorf("got %+v of %d rows, want %+v", r.Build, next, want)
	}
}

func TestAPlanCanBeCancelled(t *testing.T) {
	p, _ := written(t)
	for _, phase := range []string{"look", "fold", "compare"} {
		ctx, cancel := context.WithCancel(t.Context())
		c := planConfig(p, fold.Apply)
		switch phase {
		case "look":
			cancel()
		case "fold":
			c.Fold = func(w *rows.Set, e *envelope.Event) error {
				cancel()
				return fold.Apply(w, e)
			}
		case "compare":
			c.Progress = func(at verify.Progress) {
				if at.Phase == "compare" {
					cancel()
				}
			}
		}
		if _, err := verify.Plan(ctx, c); !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled while it was to %s: %v", phase, err)
		}
		cancel()
	}
	// No snapshot is left open.
	pool, err := p.DB.Verifier(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	if n := pool.Stat().AcquiredConns(); n != 0 {
		t.Errorf("%d connections are still in use", n)
	}
	mustPlanNothing(t, planWith(t, planConfig(p, fold.Apply)))
}

// TestAPlanRefusesAnotherJournal: rows and events must belong together.
func TestAPlanRefusesAnotherJournal(t *testing.T) {
	p, _ := written(t)
	pool, err := p.DB.Owner(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for set, want := range map[string]string{"journal_id = 'another'": "is of journal another", "seq = seq + 1000000": "the journal ends at"} {
		if _, err := pool.Exec(t.Context(), "CREATE TABLE public.kept AS TABLE control.checkpoint; UPDATE control.checkpoint SET "+set); err != nil {
			t.Fatal(err)
		}
		if _, err := verify.Plan(t.Context(), planConfig(p, fold.Apply)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", set, err, want)
		}
		if _, err := pool.Exec(t.Context(), "DELETE FROM control.checkpoint; INSERT INTO control.checkpoint TABLE public.kept; DROP TABLE public.kept"); err != nil {
			t.Fatal(err)
		}
	}
}
