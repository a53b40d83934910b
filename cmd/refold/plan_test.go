package main

import (
	"bytes"
	"strings"
	"testing"
	"text/tabwriter"

	"github.com/refold-dev/refold/internal/edition"
	"github.com/refold-dev/refold/internal/plane"
	"github.com/refold-dev/refold/internal/rows"
	"github.com/refold-dev/refold/internal/testenv"
	"github.com/refold-dev/refold/internal/verify"
)

func TestPlanCommand(t *testing.T) {
	t.Setenv("REFOLD_DATA", testenv.Dir(t))
	t.Setenv("DATABASE_URL", testenv.Postgres(t))
	t.Setenv("REFOLD_OUTPUT", "json")
	refold(t, exitLocked, "edition", "plan") // there is no journal to fold, and it makes none
	makePlane(t)
	refold(t, exitOK, "tenant", "create", "acme")
	if r := into[verify.PlanReport](t, refold(t, exitOK, "edition", "plan")); r.Edition != 1 || !r.SameShape || r.Rows().Differ() || r.Events == 0 {
		t.Fatalf("%+v", r)
	}
	// Another binary's edition is live: the plan neither builds one of ours nor changes anything.
	p, err := plane.Open(t.Context(), planeConfig())
	if err != nil {
		t.Fatal(err)
	}
	pool, err := p.DB.Owner(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, sql := range []string{
		"UPDATE control.edition SET shape = 'of another binary'",
		`INSERT INTO edition_1.category SELECT 'acme', gen_random_uuid(), 1, 'work', NULL, now(), now()`,
	} {
		if _, err := pool.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	r := into[verify.PlanReport](t, refold(t, exitOK, "edition", "plan"))
	if want := (rows.RowCounts{Live: 1, Removed: 1}); r.SameShape || r.Rows().Removed != want.Removed || r.Rows().Live != want.Live {
		t.Fatalf("%+v", r)
	}
	if all := into[[]edition.Info](t, refold(t, exitOK, "edition", "list")); len(all) != 1 {
		t.Fatalf("editions: %+v", all)
	}
}

func planText(r *verify.PlanReport) string {
	var b bytes.Buffer
	w := tabwriter.NewWriter(&b, 0, 4, 2, ' ', 0)
	planTable(w, r)
	w.Flush()
	return b.String()
}

func TestPlanTable(t *testing.T) {
	changed := rows.RowCounts{Live: 10, Next: 11, Added: 2, Removed: 1, Changed: 3, Columns: map[string]int64{"updated_at": 2, "content": 3}}
	r := &verify.PlanReport{
		Edition: 4, LiveShape: "aaa", Shape: "bbb", Shards: []verify.PlanShard{{Shard: 0, Seq: 40, Head: 41}}, Events: 40, Parts: 1, FoldMs: 1500,
		Tables: []rows.TablePlan{
			{
				Table: "memory", Kind: rows.SharedTable, Rows: changed,
				Columns: []rows.ColumnPlan{
					{Column: "mood", Change: "added", Next: "text"}, {Column: "app_id", Change: "altered", Live: "text", Next: "uuid"},
					{Column: "old", Change: "removed", Live: "int8 not null"},
				},
				Examples: []rows.Example{{Did: "changed", Tenant: "acme", Key: []rows.KeyPart{{Column: "id", Value: "1"}}, Columns: []string{"content", "updated_at"}}},
			},
			{Table: "label", Kind: rows.GoneTable, Rows: rows.RowCounts{Live: 7, Removed: 7}},
		},
		HeldKinds: []rows.HeldKind{{Kind: "memory.added.v99", Live: 3, Next: 4, More: 2, Fewer: 1}},
		Build:     verify.Estimate{ReplayMs: 1000, LoadMs: 500, IndexMs: 500, Pace: verify.Pace{Loaded: 2, Indexed: 4, Source: "measured by the build of edition 4"}, DiskBytes: 3 << 20},
	}
	for range planTenantsMax + 2 {
		r.Tables[0].Tenants = append(r.Tables[0].Tenants, rows.TenantCounts{Tenant: "acme", RowCounts: changed})
	}
	got := planText(r)
	for _, want := range []string{
		"edition 4 has shape aaa, this binary makes bbb: 2 rows added, 8 removed, 3 changed\n",
		"shard 0: compared at sequence 40, the journal ends at 41\n", "40 events folded in 1.5s, parts: 1\n",
		"content 3, updated_at 2\n", "  column mood added (text)\n", "  column app_id altered (text -> uuid)\n", "  column old removed (int8 not null)\n",
		"and 2 more; all of them with --output json\n", "memory.added.v99", "a cutover would be refused: the next edition holds 4 entities, the live one 3\n", "  changed: tenant acme table memory id 1: content, updated_at\n",
		"a build would take about 2s: ", "measured by the build of edition 4", "3.0 MiB",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
	for want, r := range map[string]*verify.PlanReport{
		"no edition is live":             {Tables: r.Tables},
		"nothing to migrate: ":           {Edition: 4, SameShape: true},
		"run `refold verify`":            {Edition: 4, SameShape: true, Tables: r.Tables},
		"the same rows, with other keys": {Edition: 4},
	} {
		if got := planText(r); !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
}
