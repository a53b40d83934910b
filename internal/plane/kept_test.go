package plane_test

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/refold-dev/refold/events/envelope"
	"github.com/refold-dev/refold/internal/edition"
	"github.com/refold-dev/refold/internal/fold"
	"github.com/refold-dev/refold/internal/plane"
	"github.com/refold-dev/refold/internal/projector"
	"github.com/refold-dev/refold/internal/rows"
	"github.com/refold-dev/refold/internal/verify"
	"pgregory.net/rapid"
)

func quickly(t testing.TB, p *plane.Plane, number int64, change ...func(*verify.QuickConfig)) *verify.QuickReport {
	t.Helper()
	config := verify.QuickConfig{DB: p.DB, Edition: number}
	for _, c := range change {
		c(&config)
	}
	r, err := verify.Quick(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func mustBeQuicklyClean(t testing.TB, r *verify.QuickReport) {
	t.Helper()
	if !r.Clean || r.Total != 0 {
		t.Fatalf("edition %d is not what its digests say at %+v: %+v", r.Edition, r.Positions, r.Differences)
	}
}

// TestKeptDigestsAreThoseOfTheRows lets random histories be folded live and by builds in several passes, over several
// shards, by projectors that take the checkpoint from each other or fail before they commit, and holds the digests
// against the rows.
func TestKeptDigestsAreThoseOfTheRows(t *testing.T) {
	checks(t, 8, 200)
	p := openWith(t, fresh(t, func(c *plane.Config) { c.Shards = 2 }))
	all := generators(t, p, seed(t), 5)
	rapid.Check(t, func(r *rapid.T) {
		for i, g := range all {
			g.poison = rapid.SampledFrom([]int{0, 50, 300}).Draw(r, "poison")
			write(t, p, rapid.IntRange(0, 40).Draw(r, fmt.Sprintf("events of tenant %d", i)), g)
		}
		failing := rapid.IntRange(0, 3).Draw(r, "failures before a commit")
		projectors := rapid.IntRange(1, 2).Draw(r, "projectors of a shard")
		projectAll(t, p, projectors, failing)
		live := quickly(t, p, 1)
		mustBeQuicklyClean(t, live)
		p.Editions.MemoryBytes = rapid.SampledFrom([]int{0, 60_000, 400_000}).Draw(r, "memory of the build")
		built, err := p.Editions.Build(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		report := quickly(t, p, built)
		mustBeQuicklyClean(t, report)
		if diff := cmp.Diff(live.Tenants, report.Tenants); diff != "" {
			t.Fatalf("what a build keeps is not what a projector keeps (-live +built):\n%s", diff)
		}
		if err := p.Editions.Abort(t.Context(), built); err != nil {
			t.Fatal(err)
		}
		mustKeepNothing(t, p, built)
	})
}

// checks says how many histories rapid tries: with real stores each takes long.
func checks(t *testing.T, short, many int) {
	t.Helper()
	f := flag.Lookup("rapid.checks")
	before := f.Value.String()
	if long() {
		short = many
	}
	if err := f.Value.Set(strconv.Itoa(short)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Value.Set(before) })
}

var errBeforeCommit = errors.New("failed before the commit")

// projectAll brings edition 1 level with all shards, by several projectors of each, of which some batches fail.
func projectAll(t *testing.T, p *plane.Plane, projectors, failing int) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var left atomic.Int64
	left.Store(int64(failing))
	var running sync.WaitGroup
	for _, shard := range p.Journal.Shards {
		for range projectors {
			config := projectorOf(p)
			config.Shard = shard
			config.InTx = func(context.Context, pgx.Tx, []envelope.Event) error {
				if left.Add(-1) >= 0 {
					return errBeforeCommit
				}
				return nil
			}
			running.Go(func() {
				for ctx.Err() == nil {
					err := projector.Run(ctx, config)
					if err != nil && !errors.Is(err, errBeforeCommit) && !errors.Is(err, projector.ErrFenced) {
						t.Error(err)
						return
					}
					if errors.Is(err, projector.ErrFenced) {
						return // the other one goes on
					}
				}
			})
		}
	}
	settle(t, p, 1)
	cancel()
	running.Wait()
}

func mustKeepNothing(t *testing.T, p *plane.Plane, number int64) {
	t.Helper()
	var n int
	err := ownerOf(t, p, 1).QueryRow(t.Context(), `SELECT (SELECT count(*) FROM control.kept_digest WHERE edition = $1)
		+ (SELECT count(*) FROM control.kept_shard WHERE edition = $1) + (SELECT count(*) FROM control.scrub WHERE edition = $1)`, number).Scan(&n)
	if err != nil || n != 0 {
		t.Fatalf("%d rows are left of edition %d, which is gone: %v", n, number, err)
	}
}

// quickFindings are the differences of a quick verification, in a form that can be compared.
func quickFindings(r *verify.QuickReport) []string {
	out := []string{}
	for _, d := range r.Differences {
		out = append(out, fmt.Sprintf("%s %s", d.Tenant, d.Table))
	}
	slices.Sort(out)
	if clean := r.Clean || r.Schema != nil && !r.Schema.Safe && r.Total == 0; clean != (r.Total == 0) || r.Total != len(r.Differences) {
		out = append(out, fmt.Sprintf("%d differences, clean: %v", r.Total, r.Clean))
	}
	return out
}

func TestQuickVerificationFindsTampering(t *testing.T) {
	p := open(t)
	random := seed(t)
	all := generators(t, p, random, 4)
	for _, g := range all {
		g.poison = 15
	}
	write(t, p, 120, all...)
	settle(t, p, 1)
	mustBeQuicklyClean(t, quickly(t, p, 1))
	x := &tamperer{t: t, random: rand.New(rand.NewPCG(random, 98)), p: p, pool: ownerOf(t, p, 1), model: modelOf(all)}
	x.backup()
	count := 100
	if long() {
		count = 1000
	}
	ways := []func() []finding{x.insert, x.remove, x.change, x.moveKey, x.moveTenant, x.swapTenants, x.swapValues}
	for i := range count {
		want := []string{}
		for _, f := range ways[i%len(ways)]() {
			want = append(want, f.Tenant+" "+f.Table)
		}
		slices.Sort(want)
		if diff := cmp.Diff(slices.Compact(want), quickFindings(quickly(t, p, 1))); diff != "" {
			t.Fatalf("tampering %d was not named exactly (-want +got):\n%s", i, diff)
		}
		x.restore()
	}
	mend(t, p)
	mustBeQuicklyClean(t, quickly(t, p, 1))
}

func ownerOf(t testing.TB, p *plane.Plane, number int64) *pgxpool.Pool {
	t.Helper()
	pool, err := p.DB.OwnerOf(t.Context(), number)
	if err != nil {
		t.Fatal(err)
	}
	return pool
}

// TestTamperedDigestsAreFound changes what is kept and leaves the rows alone: it is found as a difference, and the full
// verification says that the rows are right.
func TestTamperedDigestsAreFound(t *testing.T) {
	p := open(t)
	all := generators(t, p, seed(t), 3)
	all[0].poison = 30
	write(t, p, 100, all...)
	settle(t, p, 1)
	pool := ownerOf(t, p, 1)
	exec := func(sql string) {
		t.Helper()
		if _, err := pool.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	exec("CREATE SCHEMA untouched")
	exec("CREATE TABLE untouched.kept AS TABLE control.kept_digest")
	for _, c := range []struct {
		sql, fault, tenant string
	}{
		{"UPDATE control.kept_digest SET tables = set_byte(tables, length(tables) - 1, get_byte(tables, length(tables) - 1) # 1) WHERE tenant_id = 'tenant-1'", "differs", "tenant-1"},
		{"UPDATE control.kept_digest SET tables = substr(tables, 1, 1) WHERE tenant_id = 'tenant-1'", "no_digest", "tenant-1"},
		{"UPDATE control.kept_digest SET tables = '' WHERE tenant_id = 'tenant-1'", "malformed_digests", "tenant-1"},
		{"UPDATE control.kept_digest SET tables = tables || '\\x00' WHERE tenant_id = 'tenant-1'", "malformed_digests", "tenant-1"},
		{"UPDATE control.kept_digest SET event_digest = '\\x00' WHERE tenant_id = 'tenant-1'", "malformed_digests", "tenant-1"},
		{"UPDATE control.kept_digest SET events = events - 1 WHERE tenant_id = 'tenant-1'", "events", ""},
		{"DELETE FROM control.kept_digest WHERE tenant_id = 'tenant-1'", "unknown_tenant", "tenant-1"},
		{"UPDATE control.kept_digest SET tenant_id = 'tenant-9' WHERE tenant_id = 'tenant-1'", "unknown_tenant", "tenant-1"},
		{"UPDATE control.kept_key SET key = sha256(key)", "differs", "tenant-1"},
	} {
		exec(c.sql)
		r := quickly(t, p, 1)
		if r.Clean || !slices.ContainsFunc(r.Differences, func(d verify.QuickDifference) bool { return string(d.Fault) == c.fault && d.Tenant == c.tenant }) {
			t.Errorf("%s: not found as %s of %q: %+v", c.sql, c.fault, c.tenant, r.Differences)
		}
		mustBeClean(t, verifyEdition(t, p, 1))
		exec("DELETE FROM control.kept_digest")
		exec("INSERT INTO control.kept_digest SELECT * FROM untouched.kept")
	}
	// The key is the one thing that cannot be put back from the copy.
	if r := quickly(t, p, 1); r.Clean {
		t.Error("digests under another key are taken for equal")
	}
}

// TestDigestsThatAreNotKeptAreNotMadeUp takes an edition through what a binary does that knows no digests.
func TestDigestsThatAreNotKeptAreNotMadeUp(t *testing.T) {
	p := openWith(t, fresh(t))
	all := generators(t, p, seed(t), 2)
	project := func(keepNone bool) {
		t.Helper()
		write(t, p, 40, all...)
		ctx, cancel := context.WithCancel(t.Context())
		config := projectorOf(p)
		config.InTx, config.KeepNoDigests = nil, keepNone
		done := make(chan error, 1)
		go func() { done <- projector.Run(ctx, config) }()
		settle(t, p, 1)
		cancel()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	project(false)
	mustBeQuicklyClean(t, quickly(t, p, 1))
	for _, keepNone := range []bool{true, false} {
		project(keepNone)
		_, err := verify.Quick(t.Context(), verify.QuickConfig{DB: p.DB, Edition: 1})
		if !errors.Is(err, verify.ErrNoDigests) {
			t.Fatalf("keep none %v: got %v, want %v", keepNone, err, verify.ErrNoDigests)
		}
		mustBeClean(t, verifyEdition(t, p, 1))
	}
	second, err := p.Editions.Build(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	mustBeQuicklyClean(t, quickly(t, p, second))
	if _, err := ownerOf(t, p, second).Exec(t.Context(), "DELETE FROM control.kept_shard"); err != nil { // as built by such a binary
		t.Fatal(err)
	}
	if _, err := verify.Quick(t.Context(), verify.QuickConfig{DB: p.DB, Edition: second}); !errors.Is(err, verify.ErrNoDigests) {
		t.Fatalf("got %v, want %v", err, verify.ErrNoDigests)
	}
}

// TestQuickVerificationInPieces reads with little memory, and only some tenants and tables.
func TestQuickVerificationInPieces(t *testing.T) {
	p := open(t)
	all := generators(t, p, seed(t), 12)
	write(t, p, 60, all...)
	settle(t, p, 1)
	whole := quickly(t, p, 1)
	mustBeQuicklyClean(t, whole)
	small := quickly(t, p, 1, func(c *verify.QuickConfig) { c.MemoryBytes, c.Readers = 20_000, 3 })
	mustBeQuicklyClean(t, small)
	if diff := cmp.Diff(whole.Digests, small.Digests); diff != "" || whole.Rows != small.Rows {
		t.Fatalf("digests depend on the memory, %d and %d rows (-want +got):\n%s", whole.Rows, small.Rows, diff)
	}
	// More tenants that nobody knows than there is memory for.
	exec := ownerOf(t, p, 1)
	if _, err := exec.Exec(t.Context(), "INSERT INTO category SELECT 'foreign-' || n, gen_random_uuid(), 1, 'x', NULL, now(), now() FROM generate_series(1, 200) n"); err != nil {
		t.Fatal(err)
	}
	r := quickly(t, p, 1, func(c *verify.QuickConfig) { c.MemoryBytes, c.Readers = 20_000, 3 })
	if r.Total != 200 || r.Differences[7].Fault != verify.TenantUnknown || !strings.HasPrefix(r.Differences[7].Tenant, "foreign-") || r.Rows != whole.Rows+200 {
		t.Fatalf("%d rows, %d differences, want 200 tenants that nobody knows: %+v", r.Rows, r.Total, r.Differences[:1])
	}
	some := quickly(t, p, 1, func(c *verify.QuickConfig) {
		c.Tenants, c.Tables = []string{"tenant-3", "tenant-5"}, []string{"memory", "memory_status"}
	})
	mustBeQuicklyClean(t, some)
	if len(some.Tenants) != 2 || len(some.Tables) != 2 || len(some.TablesNotChecked) != len(layouts)-2 || len(some.OnlyTenants) != 2 {
		t.Fatalf("what was not checked is not said: %+v", some)
	}
	if _, err := verify.Quick(t.Context(), verify.QuickConfig{DB: p.DB, Edition: 1, Tables: []string{"nonsense"}}); !errors.Is(err, verify.ErrNoTable) {
		t.Fatalf("got %v, want %v", err, verify.ErrNoTable)
	}
}

// TestQuickGivesNoFalseAlarms verifies again and again while writers run at full speed. Planes are fresh, so that what is
// verified stays small.
func TestQuickGivesNoFalseAlarms(t *testing.T) {
	planes := 1
	if long() {
		planes = 20
	}
	random := seed(t)
	for number := range planes {
		t.Run(strconv.Itoa(number), func(t *testing.T) {
			verifyUnderLoad(t, random+uint64(number), 60, func(p *plane.Plane) int64 {
				r := quickly(t, p, 1)
				mustBeQuicklyClean(t, r)
				return r.Positions[0].Seq
			})
		})
	}
}

// TestTheScrubberFindsDamageAndTakesItBack tampers with rows under a running plane and puts them right again.
func TestTheScrubberFindsDamageAndTakesItBack(t *testing.T) {
	p := open(t)
	all := generators(t, p, seed(t), 4)
	all[0].poison = 20
	write(t, p, 60, all...)
	settle(t, p, 1)
	scrub := &verify.Scrubber{DB: p.DB, Shape: p.Shape, Rate: 1_000_000, MakeWay: p.Editions.MakeWay, Signer: p.Reports.Signer, Logger: p.Logger}
	round := func() *verify.ScrubState {
		t.Helper()
		if err := scrub.Round(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		status := p.Status(t.Context())
		if len(status.Scrubbed) != 1 {
			t.Fatalf("%+v", status)
		}
		if !status.Ready || status.Damaged() != (len(status.Faults) > 0) {
			t.Fatalf("damage must be a fault, and what is whole go on being served: %+v", status)
		}
		return &status.Scrubbed[0]
	}
	before, err := verify.ReadScrub(t.Context(), p.DB, 1, nil)
	if err != nil || before.Never != 5 || before.Digests != "kept" || before.Oldest[0].At != nil {
		t.Fatalf("%+v %v", before, err)
	}
	s := round()
	if s.Never != 0 || len(s.Damaged) != 0 || s.Tenants != 5 || len(s.Oldest) != 5 || s.Oldest[0].At == nil { // the plane itself is one
		t.Fatalf("after a round: %+v", s)
	}
	first := *s.Oldest[0].At
	pool := ownerOf(t, p, 1)
	exec := func(sql string) {
		t.Helper()
		if _, err := pool.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	exec("CREATE SCHEMA untouched")
	exec("CREATE TABLE untouched.memory AS TABLE memory")
	exec("UPDATE memory SET content = content || '!' WHERE tenant_id = 'tenant-2'")
	exec("UPDATE memory SET tenant_id = 'no''bo\\dy' WHERE id = (SELECT id FROM memory WHERE tenant_id = 'tenant-3' LIMIT 1)")
	want := []string{`no'bo\dy [memory]`, "tenant-2 [memory]", "tenant-3 [memory]"}
	for range 2 {
		var got []string
		for _, d := range round().Damaged {
			got = append(got, fmt.Sprintf("%s %v", d.Tenant, d.Tables))
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("damage (-want +got):\n%s", diff)
		}
	}
	write(t, p, 20, all[0], all[1]) // life goes on
	settle(t, p, 1)
	s = round()
	if len(s.Damaged) != 3 || !s.Oldest[0].At.Before(*s.Oldest[4].At) {
		t.Fatalf("damage is gone without a repair: %+v", s)
	}
	exec("DELETE FROM memory WHERE tenant_id = 'no''bo\\dy'")
	exec("INSERT INTO memory SELECT u.* FROM untouched.memory u WHERE NOT EXISTS (SELECT FROM memory m WHERE m.tenant_id = u.tenant_id AND m.id = u.id)")
	exec("UPDATE memory m SET content = u.content FROM untouched.memory u WHERE u.tenant_id = m.tenant_id AND u.id = m.id AND m.content = u.content || '!'")
	mustBeClean(t, verifyEdition(t, p, 1))
	if s = round(); len(s.Damaged) != 0 {
		t.Fatalf("damage that is repaired stays: %+v", s)
	}
	if s.Oldest[0].At != nil && !s.Oldest[0].At.After(first) {
		t.Fatalf("no tenant was proven anew: %+v", s)
	}
}

// TestAPageThatCannotBeReadIsDamage lets the database say so of the rows of one tenant.
func TestAPageThatCannotBeReadIsDamage(t *testing.T) {
	p := open(t)
	write(t, p, 40, generators(t, p, seed(t), 3)...)
	settle(t, p, 1)
	for _, sql := range []string{
		`CREATE FUNCTION public.unreadable(tenant text) RETURNS boolean LANGUAGE plpgsql AS $$
			BEGIN IF tenant = 'tenant-1' THEN RAISE EXCEPTION 'invalid page in block 7' USING ERRCODE = 'XX001'; END IF; RETURN true; END $$`,
		`ALTER POLICY verifier ON memory USING (public.unreadable(tenant_id))`,
	} {
		if _, err := ownerOf(t, p, 1).Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	scrub := &verify.Scrubber{DB: p.DB, Shape: p.Shape, Signer: p.Reports.Signer, Logger: p.Logger}
	if err := scrub.Round(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	s, err := verify.ReadScrub(t.Context(), p.DB, 1, nil)
	if err != nil || len(s.Damaged) != 1 || s.Damaged[0].Tenant != "tenant-1" || fmt.Sprint(s.Damaged[0].Tables) != "[memory]" || s.Never != 1 {
		t.Fatalf("%+v %v", s, err)
	}
	_, err = verify.Quick(t.Context(), verify.QuickConfig{DB: p.DB, Edition: 1})
	if read, ok := errors.AsType[*rows.ReadError](err); !ok || read.Table != "memory" {
		t.Fatalf("got %v, want the table that cannot be read", err)
	}
}

// TestAPlaneScrubsByItself runs the scrubber as serve does, under load, with two processes' worth of it.
func TestAPlaneScrubsByItself(t *testing.T) {
	p := openWith(t, fresh(t, func(c *plane.Config) { c.ScrubRate = 0 }))
	run(t, p)
	all := generators(t, p, seed(t), 3)
	ctx, cancel := context.WithCancel(t.Context())
	writers := appendAll(ctx, t, p, all, 0)
	defer writers.Wait()
	defer cancel()
	second := &verify.Scrubber{DB: p.DB, Shape: p.Shape, RoundMin: time.Millisecond, Signer: p.Reports.Signer, Logger: p.Logger}
	done := make(chan error, 1)
	scrubbing, stop := context.WithCancel(t.Context())
	go func() { done <- second.Run(scrubbing) }()
	for range 3 {
		var since time.Time
		if err := ownerOf(t, p, 1).QueryRow(t.Context(), "SELECT clock_timestamp()").Scan(&since); err != nil {
			t.Fatal(err)
		}
		eventually(t, "all tenants are proven once more", func() bool {
			s, err := verify.ReadScrub(t.Context(), p.DB, 1, nil)
			if err != nil || len(s.Damaged) > 0 {
				t.Fatalf("a false alarm: %+v %v", s, err)
			}
			return s.Tenants == 4 && s.Never == 0 && s.Oldest[0].At.After(since)
		})
	}
	stop()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// TestEditionsAreComparedByDigestsAlone compares editions of one plane, and of another.
func TestEditionsAreComparedByDigestsAlone(t *testing.T) {
	p := open(t)
	random := seed(t)
	all := generators(t, p, random, 3)
	all[0].poison = 30
	write(t, p, 80, all...)
	settle(t, p, 1)
	second, err := p.Editions.Build(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	settle(t, p, second)
	digests := func(p *plane.Plane, number int64) *verify.Digests {
		t.Helper()
		d, err := verify.Scan(t.Context(), verify.QuickConfig{DB: p.DB, Edition: number})
		if err != nil {
			t.Fatal(err)
		}
		file, err := json.Marshal(d) // as it goes from one deployment to another
		if err == nil {
			d, err = verify.ParseDigests(file)
		}
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	keptOnly := func(number int64) *verify.Digests {
		t.Helper()
		var d *verify.Digests
		err := pgx.BeginTxFunc(t.Context(), ownerOf(t, p, number), pgx.TxOptions{IsoLevel: pgx.RepeatableRead}, func(tx pgx.Tx) (err error) {
			d, err = verify.ReadKept(t.Context(), p.DB, tx, number)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	a := digests(p, 1)
	for what, b := range map[string]*verify.Digests{"scanned": digests(p, second), "kept": keptOnly(second)} {
		if r := verify.CompareDigests(a, b); !r.Equal || r.Same == 0 {
			t.Fatalf("%s: editions of one journal are not equal: %+v", what, r)
		}
	}
	exec := ownerOf(t, p, second)
	if _, err := exec.Exec(t.Context(), "UPDATE memory SET content = content || '!' WHERE tenant_id = 'tenant-1'"); err != nil {
		t.Fatal(err)
	}
	r := verify.CompareDigests(a, digests(p, second))
	if r.Equal || r.Different != 1 || len(different(r)) != 1 || different(r)[0] != "tenant-1 memory" {
		t.Fatalf("got %v of %+v", different(r), r)
	}
	write(t, p, 5, all[2])
	settle(t, p, 1)
	settle(t, p, second)
	r = verify.CompareDigests(a, digests(p, second))
	if r.NotComparable != 1 || r.Different != 1 || r.Equal {
		t.Fatalf("another position is not told from other rows: %+v", r)
	}
	// The same events of another plane: what was written there is keyed otherwise and has another history.
	other := open(t)
	write(t, other, 80, generators(t, other, random, 3)...)
	settle(t, other, 1)
	if r := verify.CompareDigests(a, digests(other, 1)); r.Equal || r.Same != 0 || r.Different != 0 || r.NotComparable == 0 {
		t.Fatalf("two planes are compared: %+v", r)
	}
	some, err := verify.Scan(t.Context(), verify.QuickConfig{DB: p.DB, Edition: 1, Tenants: []string{"tenant-0"}, Tables: []string{"memory"}})
	if err != nil {
		t.Fatal(err)
	}
	if r := verify.CompareDigests(a, some); r.Equal || r.Same != 1 || r.Different != 0 || len(r.TablesNotCompared) != len(layouts)-1 {
		t.Fatalf("parts are compared wrongly: %+v", r)
	}
	a.Tables[0].Fingerprint = strings.Repeat("00", 32)
	if r := verify.CompareDigests(a, digests(p, 1)); r.Equal || len(r.TablesNotCompared) != 1 || r.TablesNotCompared[0].Table != a.Tables[0].Table {
		t.Fatalf("a table of another form is compared: %+v", r)
	}
}

func different(r *verify.DigestComparison) (out []string) {
	for _, tenant := range r.Tenants {
		for _, table := range tenant.Tables {
			if table.Verdict == verify.DigestsDifferent {
				out = append(out, tenant.Tenant+" "+table.Table)
			}
		}
	}
	return out
}

// TestDigestsOfABuildThatAnotherBinaryHelpedAreNotKept takes away what a pass has kept, as if a binary that knows no digests
// had loaded it.
func TestDigestsOfABuildThatAnotherBinaryHelpedAreNotKept(t *testing.T) {
	p := open(t)
	write(t, p, 200, generators(t, p, seed(t), 3)...)
	p.Editions.MemoryBytes = 60_000
	ctx, cancel := context.WithCancel(t.Context())
	_, err := p.Editions.Build(ctx, func(r edition.Progress) {
		if r.Pass == 3 {
			cancel()
		}
	})
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v, want %v", err, context.Canceled)
	}
	if _, err := ownerOf(t, p, 1).Exec(t.Context(), "DELETE FROM control.kept_digest WHERE edition = (SELECT max(number) FROM control.edition)"); err != nil {
		t.Fatal(err)
	}
	number, err := p.Editions.Build(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	settle(t, p, number)
	if _, err := verify.Quick(t.Context(), verify.QuickConfig{DB: p.DB, Edition: number}); !errors.Is(err, verify.ErrNoDigests) {
		t.Fatalf("half a digest is taken for a whole one: %v", err)
	}
	mustBeClean(t, verifyEdition(t, p, number))
	mustBeQuicklyClean(t, quickly(t, p, 1))
}

// TestWhatARepairProvesIsKept sets the digests of a tenant anew in the transaction that changes its rows.
func TestWhatARepairProvesIsKept(t *testing.T) {
	p := openWith(t, fresh(t))
	stop := run(t, p)
	all := generators(t, p, seed(t), 3)
	write(t, p, 60, all...)
	settle(t, p, 1)
	stop()
	pool := ownerOf(t, p, 1)
	if _, err := pool.Exec(t.Context(), "CREATE SCHEMA untouched; CREATE TABLE untouched.memory AS TABLE memory"); err != nil {
		t.Fatal(err)
	}
	if _, err := pool.Exec(t.Context(), "UPDATE memory SET content = 'damaged' WHERE tenant_id IN ('tenant-1', 'tenant-2')"); err != nil {
		t.Fatal(err)
	}
	// What was damaged is what is kept now, as if the projector had written it: only a refold could tell.
	replace := func(tenant string) {
		t.Helper()
		err := pgx.BeginFunc(t.Context(), pool, func(tx pgx.Tx) error {
			key, err := rows.ReadKeptKey(t.Context(), tx)
			if err != nil {
				return err
			}
			found, err := rows.ScanTenant(t.Context(), tx, fold.Tables.Tables(), key, tenant, nil)
			if err != nil {
				return err
			}
			return rows.ReplaceKept(t.Context(), tx, 1, 0, tenant, found)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	replace("tenant-1")
	if diff := cmp.Diff([]string{"tenant-2 memory"}, quickFindings(quickly(t, p, 1))); diff != "" {
		t.Fatalf("the digests of one tenant were to be set anew (-want +got):\n%s", diff)
	}
	if verifyEdition(t, p, 1).Clean {
		t.Fatal("a full verification believes the digests")
	}
	if _, err := pool.Exec(t.Context(), "UPDATE memory m SET content = u.content FROM untouched.memory u WHERE u.tenant_id = m.tenant_id AND u.id = m.id"); err != nil {
		t.Fatal(err)
	}
	replace("tenant-1")
	run(t, p)
	write(t, p, 40, all...)
	settle(t, p, 1)
	mustBeQuicklyClean(t, quickly(t, p, 1))
	mustBeClean(t, verifyEdition(t, p, 1))
}

// TestOnlyThoseWhoNeedItReadTheKey: whoever has the key of kept digests can choose rows whose sums cancel.
func TestOnlyThoseWhoNeedItReadTheKey(t *testing.T) {
	p := openWith(t, fresh(t))
	for role, may := range map[string]bool{
		"refold_operator": true, "refold_projector": true, "refold_verifier": true, "refold_reader": false, "refold_sql": false, "public": false,
	} {
		var can bool
		if err := ownerOf(t, p, 1).QueryRow(t.Context(), "SELECT has_table_privilege($1, 'control.kept_key', 'SELECT')", role).Scan(&can); err != nil {
			t.Fatal(err)
		}
		if can != may {
			t.Errorf("role %s may read the key: %v, want %v", role, can, may)
		}
	}
	pool, err := p.DB.Operator(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	ids := make([]string, 8)
	if _, err := ownerOf(t, p, 1).Exec(t.Context(), "DELETE FROM control.kept_key"); err != nil {
		t.Fatal(err)
	}
	for i := range ids {
		all.Go(func() {
			key, err := rows.MakeKeptKey(t.Context(), pool)
			if err != nil {
				t.Error(err)
				return
			}
			ids[i] = key.ID()
		})
	}
	all.Wait()
	slices.Sort(ids)
	if len(slices.Compact(ids)) != 1 {
		t.Errorf("several processes made several keys: %v", ids)
	}
}

// TestASecondRowOfAKeyIsFoundQuickly: a table that has lost its key can hold a row twice.
func TestASecondRowOfAKeyIsFoundQuickly(t *testing.T) {
	p := openWith(t, fresh(t))
	stop := run(t, p)
	all := generators(t, p, seed(t), 2)
	write(t, p, 100, all...)
	settle(t, p, 1)
	stop()
	pool := ownerOf(t, p, 1)
	for _, table := range []string{"memory", "memory_category", "memory_status"} {
		if _, err := pool.Exec(t.Context(), "ALTER TABLE "+table+" DROP CONSTRAINT "+table+"_pkey"); err != nil {
			t.Fatal(err)
		}
		var second string // where it was put
		err := pool.QueryRow(t.Context(), "INSERT INTO "+table+" SELECT * FROM "+table+
			" WHERE ctid = (SELECT min(ctid) FROM "+table+" WHERE tenant_id = 'tenant-1') RETURNING ctid::text").Scan(&second)
		if err != nil {
			t.Fatal(err)
		}
		r := quickly(t, p, 1)
		if diff := cmp.Diff([]string{"tenant-1 " + table}, quickFindings(r)); diff != "" || r.Differences[0].Found != r.Differences[0].Kept+1 {
			t.Fatalf("%+v (-want +got):\n%s", r.Differences, diff)
		}
		if _, err := pool.Exec(t.Context(), "DELETE FROM "+table+" WHERE ctid = '"+second+"'"); err != nil {
			t.Fatal(err)
		}
	}
	mend(t, p)
	mustBeQuicklyClean(t, quickly(t, p, 1))
}

// TestQuickVerificationIsCancelled ends it in the middle: nothing of it is left behind.
func TestQuickVerificationIsCancelled(t *testing.T) {
	p := open(t)
	write(t, p, 50, generators(t, p, seed(t), 3)...)
	settle(t, p, 1)
	ctx, cancel := context.WithCancel(t.Context())
	_, err := verify.Quick(ctx, verify.QuickConfig{DB: p.DB, Edition: 1, Progress: func(verify.QuickProgress) { cancel() }})
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v, want %v", err, context.Canceled)
	}
	eventually(t, "its sessions end", func() bool {
		var open int
		err := ownerOf(t, p, 1).QueryRow(t.Context(), `SELECT count(*) FROM pg_stat_activity
			WHERE datname = current_database() AND state LIKE 'idle in transaction%' AND query ILIKE '%snapshot%'`).Scan(&open)
		return err == nil && open == 0
	})
	last := int64(0)
	r := quickly(t, p, 1, func(c *verify.QuickConfig) {
		c.Progress = func(at verify.QuickProgress) {
			if at.Done < last || at.Done > at.Total {
				t.Errorf("progress went from %d to %d of %d", last, at.Done, at.Total)
			}
			last = at.Done
		}
	})
	mustBeQuicklyClean(t, r)
}

// TestEditionsOfAnotherShape are read by their catalogue: what has the same form is compared, the rest is named.
func TestEditionsOfAnotherShape(t *testing.T) {
	p := openWith(t, fresh(t))
	stop := run(t, p)
	write(t, p, 60, generators(t, p, seed(t), 2)...)
	settle(t, p, 1)
	second, err := p.Editions.Build(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	settle(t, p, second)
	stop()
	for _, sql := range []string{"ALTER TABLE category ADD COLUMN colour text", "UPDATE control.edition SET shape = 'another' WHERE number = (SELECT max(number) FROM control.edition)"} {
		if _, err := ownerOf(t, p, second).Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	var both []*verify.Digests
	for _, number := range []int64{1, second} {
		d, err := verify.Scan(t.Context(), verify.QuickConfig{DB: p.DB, Edition: number})
		if err != nil {
			t.Fatal(err)
		}
		both = append(both, d)
	}
	r := verify.CompareDigests(both[0], both[1])
	if r.Equal || r.Different != 0 || r.NotComparable != 0 || r.Same == 0 || len(r.TablesNotCompared) != 1 || r.TablesNotCompared[0].Table != "category" {
		t.Fatalf("%+v", r)
	}
	for _, d := range quickly(t, p, second).Differences { // what was kept is of the form it was written in
		if d.Table != "category" || d.Fault != verify.DigestMissing {
			t.Errorf("%+v", d)
		}
	}
}
