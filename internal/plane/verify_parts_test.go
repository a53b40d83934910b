package plane_test

import (
	"context"
	"errors"
	"fmt"
	"math/big"
	"math/rand/v2"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/refold-dev/refold/events/envelope"
	"github.com/refold-dev/refold/internal/fold"
	"github.com/refold-dev/refold/internal/plane"
	"github.com/refold-dev/refold/internal/testenv"
	"github.com/refold-dev/refold/internal/verify"
	"github.com/refold-dev/refold/internal/witness"
)

// verifyChild verifies the first edition in several parts.
func verifyChild() int {
	return childOf(func(ctx context.Context, p *plane.Plane) error {
		config := verifyConfig(p, 1)
		config.MemoryBytes, config.Resume = p.MemoryBytes, true
		_, err := verify.Run(ctx, config)
		return err
	})
}

func mustVerify(t testing.TB, c verify.Config) *verify.Report {
	t.Helper()
	report, err := verify.Run(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	return report
}

// smallMemory makes parts of a few hundred events.
const smallMemory = 200_000

// TestPartsFindWhatTheWholeFinds: parts, connections and positions change nothing about what is found and where.
func TestPartsFindWhatTheWholeFinds(t *testing.T) {
	p := open(t)
	random := seed(t)
	all := generators(t, p, random, 3)
	for _, g := range all {
		g.poison = 15
	}
	write(t, p, 400, all...)
	settle(t, p, 1)
	pool, err := p.DB.OwnerOf(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	x := &tamperer{t: t, random: rand.New(rand.NewPCG(random, 7)), p: p, pool: pool, model: modelOf(all)}
	whole := verifyEdition(t, p, 1)
	mustBeClean(t, whole)
	x.backup()
	ways := []func() []finding{x.insert, x.remove, x.change, x.moveKey, x.moveTenant, x.swapTenants, x.swapValues}
	for i := range 3 * len(ways) {
		var want []finding
		if i > 0 {
			want = ways[i%len(ways)]()
		}
		sortFindings(want)
		for name, change := range map[string]func(*verify.Config){
			"parts":     func(c *verify.Config) { c.MemoryBytes = smallMemory },
			"positions": func(c *verify.Config) { c.MemoryBytes, c.SnapshotMax = smallMemory, time.Nanosecond },
			"readers":   func(c *verify.Config) { c.Readers = 5 },
		} {
			config := verifyConfig(p, 1)
			change(&config)
			report := mustVerify(t, config)
			if diff := cmp.Diff(want, findings(report)); diff != "" {
				t.Fatalf("%s, tampering %d (-want +got):\n%s", name, i, diff)
			}
			if name != "readers" && (report.Parts < 3 || len(report.Positions) != 1) {
				t.Fatalf("%s: %d parts at %d positions", name, report.Parts, len(report.Positions))
			}
			if i == 0 && fmt.Sprint(report.Digests) != fmt.Sprint(whole.Digests) {
				t.Fatalf("%s: digests\n%v\nwant\n%v", name, report.Digests, whole.Digests)
			}
		}
		x.restore()
	}
}

// TestNoFalseAlarms verifies in every way while writes go on. Planes are fresh, so that what is verified stays small.
func TestNoFalseAlarms(t *testing.T) {
	planes := 1
	if long() {
		planes = 20
	}
	random := seed(t)
	for number := range planes {
		t.Run(strconv.Itoa(number), func(t *testing.T) { verifyInEveryWay(t, random+uint64(number), 12) })
	}
}

func verifyInEveryWay(t *testing.T, random uint64, count int) {
	p := open(t)
	all := generators(t, p, random, 4)
	all[0].poison = 20
	write(t, p, 200, all...)
	second, err := p.Editions.Build(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	written := make(chan error, 1)
	go func() { written <- writeWhile(ctx, p, all...) }()
	moved := 0
	for i := range count {
		config := verifyConfig(p, 1+int64(i%2)*(second-1))
		switch i % 4 {
		case 1:
			config.MemoryBytes, config.SnapshotMax = smallMemory, time.Nanosecond
		case 2:
			config.Readers = 4
		case 3:
			report, err := p.Barrier(t.Context(), 0, "operator", verify.Config{})
			if err != nil {
				t.Fatal(err)
			}
			if !report.Clean || len(report.Reports) != 2 || report.Reports[0].Seq != report.Seq || report.Reports[1].Seq != report.Seq {
				t.Fatalf("barrier %d: %+v", i, report)
			}
			at, err := p.Journal.Shard(0).At(t.Context(), report.Seq)
			if err != nil || at.Entity != "barrier" || at.ID != report.Barrier {
				t.Fatalf("barrier %d stands on %+v %v", i, at, err)
			}
			continue
		}
		report := mustVerify(t, config)
		mustBeClean(t, report)
		if moved += len(report.Positions) - 1; len(report.Positions) > 1 {
			provenAtThePositions(t, p, report)
		}
	}
	if moved == 0 {
		t.Error("no verification had parts at several positions")
	}
	stop()
	if err := <-written; err != nil {
		t.Fatal(err)
	}
}

func provenAtThePositions(t testing.TB, p *plane.Plane, r *verify.Report) {
	t.Helper()
	parts := new(big.Rat) // of the key space
	for i, at := range r.Positions {
		if i > 0 && at.Seq <= r.Positions[i-1].Seq || !at.Chain.Equal {
			t.Fatalf("positions %+v", r.Positions)
		}
		for _, part := range at.Parts {
			parts.Add(parts, big.NewRat(1, int64(part.Of)))
		}
	}
	if !parts.IsInt() || parts.Num().Int64() != 1 || r.Seq != r.Positions[0].Seq || len(r.Digests) != 0 || r.DigestsBy == "" {
		t.Fatalf("parts make %s of the key space, position %d: %+v", parts.RatString(), r.Seq, r.Positions)
	}
	info, err := p.Editions.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range info {
		if e.Number == r.Edition && uint64(*e.Shards[0].VerifiedSeq) != r.Seq {
			t.Fatalf("verified at %d, want the lowest position %d", *e.Shards[0].VerifiedSeq, r.Seq)
		}
	}
}

// TestAVerificationIsGoneOnWith kills one between its parts and behind the last.
func TestAVerificationIsGoneOnWith(t *testing.T) {
	p := open(t)
	random := seed(t)
	all := generators(t, p, random, 2)
	write(t, p, 500, all...)
	settle(t, p, 1)
	pool, err := p.DB.OwnerOf(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	config := p.Config
	config.MemoryBytes = smallMemory
	dir := testenv.Dir(t)
	for _, point := range []string{"verify.part-recorded=kill", "verify.part-recorded=kill@2", "verify.before-record=kill"} {
		for _, tampered := range []bool{false, true} {
			if tampered {
				if err := execAll(t, pool, "CREATE TABLE public.before AS TABLE memory_status", "UPDATE memory_status SET old_state = 'deleted'"); err != nil {
					t.Fatal(err)
				}
			}
			child := testenv.Spawn(t, "verify", testenv.ProcessOptions{Env: append(planeEnv(config, dir), "REFOLD_FAILPOINTS="+point)})
			if err := child.Wait(); err == nil {
				t.Fatalf("%s was not reached: %s", point, child.Output())
			} else if _, ok := errors.AsType[*exec.ExitError](err); !ok {
				t.Fatal(err)
			}
			var finished int
			if err := pool.QueryRow(t.Context(), "SELECT count(*) FROM control.verification").Scan(&finished); err != nil {
				t.Fatal(err)
			}
			write(t, p, 20, all...)
			settle(t, p, 1)
			resume := verifyConfig(p, 1)
			resume.MemoryBytes, resume.Resume = smallMemory, true
			met := &once{}
			resume.Journal = met
			report := mustVerify(t, resume)
			wantPositions := 2
			if point == "verify.before-record=kill" {
				wantPositions = 1
			}
			if !report.Resumed || report.Clean == tampered || len(report.Positions) != wantPositions || !report.Chain.Equal || met.seq != report.Events || report.Journal == nil {
				t.Fatalf("%s, tampered %v: %+v", point, tampered, report)
			}
			var now int
			if err := pool.QueryRow(t.Context(), "SELECT count(*) FROM control.verification").Scan(&now); err != nil || now != finished+1 {
				t.Fatalf("%s: %d results, want %d: %v", point, now, finished+1, err)
			}
			if tampered {
				mustRepair(t, p, repairOf(1))
				if err := execAll(t, pool, "DROP TABLE public.before"); err != nil {
					t.Fatal(err)
				}
			}
			// It is over: the next one begins anew.
			resume.Journal = nil
			if again := mustVerify(t, resume); again.Resumed || !again.Clean || len(again.Positions) != 1 {
				t.Fatalf("%s, tampered %v: the next one: %+v", point, tampered, again)
			}
		}
	}
}

// once wants every event once, in order, with its digest.
type once struct{ seq uint64 }

func (o *once) AddDigest(_ context.Context, e *envelope.Event, digest envelope.Digest) error {
	if o.seq++; e.Seq != o.seq {
		return fmt.Errorf("event %d came as number %d", e.Seq, o.seq)
	}
	if want, _ := e.Digest(nil); want != digest {
		return fmt.Errorf("event %d came with another digest", e.Seq)
	}
	return nil
}

func (o *once) Stop() *witness.Result { return &witness.Result{Seq: o.seq, Clean: true} }

// TestPartialRunsSayWhatTheyLeaveOut, find what they look at, and prove nothing.
func TestPartialRunsSayWhatTheyLeaveOut(t *testing.T) {
	p := open(t)
	all := generators(t, p, seed(t), 3)
	all[0].poison = 20
	write(t, p, 150, all...)
	settle(t, p, 1)
	pool, err := p.DB.OwnerOf(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	run := func(s verify.Scope) *verify.Report {
		config := verifyConfig(p, 1)
		config.Scope = s
		return mustVerify(t, config)
	}
	verified := func() bool {
		info, err := p.Editions.List(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return info[0].Shards[0].VerifiedSeq != nil
	}
	acme, table, sample := verify.Scope{Tenants: []string{"tenant-0"}}, verify.Scope{Tables: []string{"memory", "memory_status"}}, verify.Scope{Sample: 3, Seed: "s"}
	two := verify.Scope{Tenants: []string{"tenant-1", "tenant-0"}}
	for _, c := range []struct {
		scope   verify.Scope
		says    []string
		chained bool
	}{
		{acme, []string{"rows of all tenants but tenant-0", "the chain of events"}, false},
		{two, []string{"rows of all tenants but tenant-0, tenant-1"}, true},
		{table, []string{"tables held_entity, held_event, user_account, app, app_access_rule, category, memory_category"}, true},
		{sample, []string{`about 2 of 3 entities: only those of the sample with seed "s"`}, true},
	} {
		r := run(c.scope)
		if !r.Clean || r.Complete || len(r.NotChecked) != len(c.says) || r.Chain.Checked != c.chained || r.Rows == 0 || verified() {
			t.Fatalf("scope %+v: %+v, verified %v", c.scope, r, verified())
		}
		for i, says := range c.says {
			if !strings.HasPrefix(r.NotChecked[i], says) {
				t.Errorf("scope %+v says %q, want %q", c.scope, r.NotChecked[i], says)
			}
		}
	}
	whole := verifyEdition(t, p, 1)
	if len(whole.NotChecked) != 0 || !whole.Complete || !verified() {
		t.Fatalf("the whole: %+v", whole)
	}
	// The rows of three samples with one seed are not all rows, but those of all its residues would be; those of a tenant are.
	if r := run(acme); r.Rows >= whole.Rows || !slices.ContainsFunc(whole.Tenants, func(n verify.TenantEvents) bool { return n == r.Tenants[0] }) {
		t.Fatalf("tenant-0: %d rows, %v events", r.Rows, r.Tenants)
	}
	if err := execAll(t, pool, "UPDATE memory SET content = content || '!' WHERE tenant_id = 'tenant-1'"); err != nil {
		t.Fatal(err)
	}
	if r := run(acme); !r.Clean || !verified() {
		t.Fatal("what was not looked at was found")
	}
	for _, s := range []verify.Scope{two, table, sample, {Tenants: []string{"tenant-1"}}} {
		if r := run(s); r.Clean || verified() {
			t.Fatalf("scope %+v did not find it", s)
		}
	}
	config := verifyConfig(p, 1)
	config.Scope.Tables = []string{"memries"}
	if _, err := verify.Run(t.Context(), config); err == nil || !strings.Contains(err.Error(), "memory_status") {
		t.Fatalf("a table that is not there: %v", err)
	}
}

// TestABarrierNeverHoldsProjectionForLong: whoever raised it has died.
func TestABarrierNeverHoldsProjectionForLong(t *testing.T) {
	p := open(t)
	all := generators(t, p, seed(t), 1)
	write(t, p, 20, all...)
	settle(t, p, 1)
	child := testenv.Spawn(t, "barrier", testenv.ProcessOptions{Env: append(planeEnv(p.Config, testenv.Dir(t)), "REFOLD_FAILPOINTS=barrier.raised=stop")})
	await(t, func() bool { return len(planeEvents(t, p, "barrier")) == 1 })
	write(t, p, 20, all...)
	settle(t, p, 1) // although the holder of the barrier is only frozen
	child.Kill()
	report, err := p.Barrier(t.Context(), 0, "operator", verify.Config{})
	if err != nil || !report.Clean {
		t.Fatalf("%+v %v", report, err)
	}
}

func barrierChild() int {
	return childOf(func(ctx context.Context, p *plane.Plane) error {
		_, err := p.Barrier(ctx, 0, "child", verify.Config{})
		return err
	})
}

// TestABarrierComparesEditions finds the edition that differs.
func TestABarrierComparesEditions(t *testing.T) {
	p := open(t)
	all := generators(t, p, seed(t), 2)
	write(t, p, 60, all...)
	second, err := p.Editions.Build(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	pool, err := p.DB.OwnerOf(t.Context(), second)
	if err != nil {
		t.Fatal(err)
	}
	if err := execAll(t, pool, "DELETE FROM category WHERE tenant_id = 'tenant-1'"); err != nil {
		t.Fatal(err)
	}
	report, err := p.Barrier(t.Context(), 0, "operator", verify.Config{})
	if err != nil {
		t.Fatal(err)
	}
	if report.Clean || report.Equal || report.Unequal != fmt.Sprintf("edition 1 and edition %d: tenant tenant-1 table category", second) || !report.Reports[0].Clean || report.Reports[1].Clean {
		t.Fatalf("%+v", report)
	}
}

// TestRowsOfAnyTableAreExplained against what the model knows of each column.
func TestRowsOfAnyTableAreExplained(t *testing.T) {
	p := open(t)
	all := generators(t, p, seed(t), 2)
	for _, g := range all {
		g.poison = 15
	}
	write(t, p, 200, all...)
	settle(t, p, 1)
	pool, err := p.DB.OwnerOf(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	x := &tamperer{t: t, random: rand.New(rand.NewPCG(1, 2)), p: p, pool: pool, model: modelOf(all)}
	explain := func(name string, values []*string) *verify.RowExplanation {
		config := verify.RowConfig{DB: p.DB, Shard: p.Journal.Shard(0), Edition: 1, Schema: fold.Tables, Fold: fold.Apply, Tenant: *values[0], Table: name}
		for i := 1; i < layouts[name].keys; i++ {
			config.Key = append(config.Key, *values[i])
		}
		out, err := verify.ExplainRow(t.Context(), config)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	want := func(what string, got *verify.RowExplanation, verdict verify.Verdict) {
		t.Helper()
		if got.Verdict != verdict {
			t.Fatalf("%s: %s, want %s: %+v", what, got.Verdict, verdict, got)
		}
	}
	for name, l := range layouts {
		for _, row := range x.model.rows[name] {
			got := explain(name, row.values)
			want(name, got, verify.RowRight)
			for i, c := range got.Columns {
				if c.Column != l.columns[i].name || show(c.Actual) != show(row.values[i]) || i >= l.keys && c.Seq != row.since[i] {
					t.Fatalf("table %s column %+v, want %s since %d", name, c, show(row.values[i]), row.since[i])
				}
			}
			if len(got.Events) == 0 || got.Events[len(got.Events)-1].Seq < row.since[l.keys-1] {
				t.Fatalf("table %s: events %+v", name, got.Events)
			}
			x.exec("DELETE FROM " + name + " WHERE " + l.where(row.values))
			want(name+" deleted", explain(name, row.values), verify.RowMissing)
			break
		}
	}
	name, l, row := "memory", layouts["memory"], x.model.rows["memory"]
	for _, r := range row {
		if len(findStored(t, x, l, r)) == 0 {
			continue
		}
		f := x.changeColumn(name, r, l.index("content"))[0]
		got := explain(name, r.values)
		want("changed", got, verify.RowWrong)
		if c := got.Columns[l.index("content")]; c.Right || show(c.Actual) != f.Actual || show(c.Expected) != f.Expected || c.Seq != f.Seq {
			t.Fatalf("changed: %+v, want %+v", c, f)
		}
		moved := slices.Clone(r.values)
		nobody := "nobody"
		moved[0] = &nobody
		x.set(name, r.values, 0, &nobody)
		want("of a tenant that nobody knows", explain(name, moved), verify.RowExtra)
		want("gone", explain(name, r.values), verify.RowMissing)
		break
	}
	absent := uuid.NewString()
	acme := "tenant-0"
	want("nothing", explain("memory", []*string{&acme, &absent}), verify.RowAbsent)
	for _, bad := range [][]string{{"no_table", "x"}, {"memory"}, {"memory", "a", "b"}, {"memory_category", "a"}} {
		_, err := verify.ExplainRow(t.Context(), verify.RowConfig{DB: p.DB, Shard: p.Journal.Shard(0), Edition: 1, Schema: fold.Tables, Fold: fold.Apply, Tenant: acme, Table: bad[0], Key: bad[1:]})
		if !errors.Is(err, verify.ErrRow) {
			t.Errorf("%v: %v", bad, err)
		}
	}
}

func findStored(t testing.TB, x *tamperer, l layout, r *modelRow) string {
	t.Helper()
	var id string
	if err := x.pool.QueryRow(t.Context(), "SELECT coalesce((SELECT id::text FROM memory WHERE "+l.where(r.values)+"), '')").Scan(&id); err != nil {
		t.Fatal(err)
	}
	return id
}
