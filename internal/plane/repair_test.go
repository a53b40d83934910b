package plane_test

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/refold-dev/refold/events"
	"github.com/refold-dev/refold/events/envelope"
	"github.com/refold-dev/refold/internal/journal"
	"github.com/refold-dev/refold/internal/plane"
	"github.com/refold-dev/refold/internal/projector"
	"github.com/refold-dev/refold/internal/rows"
	"github.com/refold-dev/refold/internal/testenv"
	"github.com/refold-dev/refold/internal/verify"
)

func repairOf(number int64) verify.RepairConfig {
	return verify.RepairConfig{Edition: number, Actor: "operator"}
}

func mustRepair(t testing.TB, p *plane.Plane, c verify.RepairConfig) *verify.Repaired {
	t.Helper()
	c.Shard = p.Journal.Shard(0)
	all, err := p.Repair(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	return all[len(all)-1]
}

// audited returns the audit events of the journal, newest last.
func audited(t testing.TB, p *plane.Plane) (out []*events.RowsRepaired) {
	t.Helper()
	for _, e := range planeEvents(t, p, "repair") {
		payload, err := events.Decode(e.Kind, e.Data)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, payload.(*events.RowsRepaired))
	}
	return out
}

func planeEvents(t testing.TB, p *plane.Plane, entity string) (out []envelope.Event) {
	t.Helper()
	facts, err := p.Journal.Shard(0).Facts(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	err = journal.Read(t.Context(), p.Journal.Shard(0), 0, facts.LastSeq, func(e *envelope.Event) error {
		if e.Tenant == envelope.PlaneTenant && e.Entity == entity {
			out = append(out, *e)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// rowsChanged adds up what a repair did.
func rowsChanged(tables []rows.Replaced) (n int64) {
	for _, r := range tables {
		n += r.Inserted + r.Updated + r.Deleted
	}
	return n
}

func TestRepairIsSoundUnderLoad(t *testing.T) {
	p := open(t)
	random := seed(t)
	all := generators(t, p, random, 4)
	for _, g := range all {
		g.poison = 15
	}
	write(t, p, 300, all...)
	settle(t, p, 1)
	pool, err := p.DB.OwnerOf(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	for round := range 4 {
		// What is tampered with is old enough for the model to be asked: the writers go on in the same entities.
		for _, sql := range []string{
			"UPDATE memory SET content = content || ' tampered' WHERE id IN (SELECT id FROM memory ORDER BY id LIMIT 40)",
			"DELETE FROM memory_status WHERE ctid IN (SELECT ctid FROM memory_status LIMIT 25)",
			"UPDATE app SET tenant_id = 'nobody' WHERE id IN (SELECT id FROM app LIMIT 3)",
			"INSERT INTO memory_category SELECT tenant_id, memory_id, gen_random_uuid(), version FROM memory_category LIMIT 9",
			"INSERT INTO held_event SELECT tenant_id, 'unheard-of', entity_id, seq, version, kind, digest FROM held_event LIMIT 2",
			"DELETE FROM held_entity",
		} {
			if _, err := pool.Exec(t.Context(), sql); err != nil {
				t.Fatalf("%s: %v", sql, err)
			}
		}
		written := make(chan error, 1)
		ctx, stop := context.WithCancel(t.Context())
		go func() { written <- writeWhile(ctx, p, all...) }()
		report := verifyEdition(t, p, 1)
		if report.Clean || report.Entities == 0 {
			t.Fatalf("round %d: the tampering was not found: %+v", round, report)
		}
		dry := repairOf(1)
		dry.DryRun = true
		counted := mustRepair(t, p, dry)
		done := mustRepair(t, p, repairOf(1))
		stop()
		if err := <-written; err != nil {
			t.Fatal(err)
		}
		if counted.Entities != done.Entities || done.Entities != report.Entities || rowsChanged(done.Tables) == 0 {
			t.Fatalf("round %d: found %d entities, would repair %d, repaired %d: %+v", round, report.Entities, counted.Entities, done.Entities, done.Tables)
		}
		settle(t, p, 1)
		mustBeClean(t, verifyEdition(t, p, 1))
		mustEqualModel(t, pool, modelOf(all))
		trail := audited(t, p)
		if len(trail) != round+1 {
			t.Fatalf("round %d: %d audit events", round, len(trail))
		}
		if last := trail[round]; last.Edition != 1 || int64(last.Entities) != done.Entities || last.Report == "" || len(last.Tables) != len(done.Tables) || last.Position != int(done.Seq) {
			t.Fatalf("round %d: audit event %+v of %+v", round, last, done)
		}
	}
	if _, err := p.Repair(t.Context(), withShard(p, repairOf(1))); !errors.Is(err, verify.ErrNothingFound) {
		t.Fatalf("with nothing to repair: %v", err)
	}
}

func withShard(p *plane.Plane, c verify.RepairConfig) verify.RepairConfig {
	c.Shard = p.Journal.Shard(0)
	return c
}

// TestThousandsOfRowsAreRepaired has more differences than a report describes.
func TestThousandsOfRowsAreRepaired(t *testing.T) {
	p := open(t)
	all := generators(t, p, seed(t), 2)
	write(t, p, 1500, all...)
	settle(t, p, 1)
	pool, err := p.DB.OwnerOf(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	tag, err := pool.Exec(t.Context(), "INSERT INTO memory_category SELECT tenant_id, id, gen_random_uuid(), 1 FROM memory, generate_series(1, 10)")
	if err != nil || tag.RowsAffected() < 2*rows.DifferencesMax {
		t.Fatal(tag, err)
	}
	report := verifyEdition(t, p, 1)
	if int64(report.Total) != tag.RowsAffected() || len(report.Differences) != rows.DifferencesMax {
		t.Fatalf("%d differences, %d described, want %d", report.Total, len(report.Differences), tag.RowsAffected())
	}
	c := repairOf(1)
	c.Report, c.ReportDigest = report, "digest"
	done := mustRepair(t, p, c)
	if rowsChanged(done.Tables) != tag.RowsAffected() || done.Entities != report.Entities {
		t.Fatalf("repaired %+v of %d", done, tag.RowsAffected())
	}
	mustBeClean(t, verifyEdition(t, p, 1))
	mustEqualModel(t, pool, modelOf(all))
	elsewhere := *report
	elsewhere.Run += 1000
	c.Report = &elsewhere
	if _, err := p.Repair(t.Context(), withShard(p, c)); !errors.Is(err, verify.ErrNotNamed) {
		t.Fatalf("a report of another place: %v", err)
	}
}

// TestRepairNeedsAJournalItCanTrust: nothing is refolded while checkpoint and journal disagree.
func TestRepairNeedsAJournalItCanTrust(t *testing.T) {
	p := open(t)
	all := generators(t, p, seed(t), 1)
	write(t, p, 60, all...)
	settle(t, p, 1)
	pool, err := p.DB.OwnerOf(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	c := withShard(p, repairOf(1))
	c.Entities = []envelope.Key{all[0].all["memory"][0].key}
	var stopped *projector.StoppedError
	for _, set := range []string{"chain = sha256(chain)", "event_digest = sha256(event_digest)", "seq = seq + 100000", "stopped = 'DIVERGED', stopped_detail = 'd'", "journal_id = 'another'"} {
		err := execAll(t, pool, "CREATE TABLE public.cp AS TABLE control.checkpoint", "UPDATE control.checkpoint SET "+set)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := p.Repair(t.Context(), c); !errors.Is(err, verify.ErrUntrusted) && !errors.As(err, &stopped) {
			t.Errorf("%s: %v", set, err)
		}
		if err := execAll(t, pool, "DELETE FROM control.checkpoint", "INSERT INTO control.checkpoint SELECT * FROM public.cp", "DROP TABLE public.cp"); err != nil {
			t.Fatal(err)
		}
	}
	if len(audited(t, p)) != 0 {
		t.Fatal("a refused repair left an audit event")
	}
}

// TestOneOfTwoRepairsWaits: the lock of the first holds the second off, whatever it is asked for.
func TestOneOfTwoRepairsWaits(t *testing.T) {
	p := open(t)
	all := generators(t, p, seed(t), 1)
	write(t, p, 100, all...)
	settle(t, p, 1)
	c := withShard(p, repairOf(1))
	for _, s := range all[0].all["memory"] {
		c.Entities = append(c.Entities, s.key)
	}
	var second error
	c.Progress = func(verify.Progress) {
		if second == nil {
			other := withShard(p, repairOf(1))
			other.Entities = c.Entities[:1]
			_, second = p.Repair(t.Context(), other)
		}
	}
	done, err := p.Repair(t.Context(), c)
	if err != nil || !errors.Is(second, verify.ErrRepairing) {
		t.Fatalf("first: %v, second: %v", err, second)
	}
	if done[0].Entities != int64(len(c.Entities)) || rowsChanged(done[0].Tables) != 0 {
		t.Fatalf("rows that were right: %+v", done[0])
	}
	mustBeClean(t, verifyEdition(t, p, 1))
}

// TestRepairIsKilled ends the process at every step of a repair, while writes go on, and goes on from there.
func TestRepairIsKilled(t *testing.T) {
	p := open(t)
	all := generators(t, p, seed(t), 3)
	all[0].poison = 20
	write(t, p, 500, all...)
	settle(t, p, 1)
	pool, err := p.DB.OwnerOf(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	dir := testenv.Dir(t)
	trail := 0
	for _, point := range []string{"repair.begun", "repair.replaced", "repair.before-commit", "repair.before-commit@2", "repair.committed", "repair.committed@2", "repair.finished", "repair.audited"} {
		if err := execAll(t, pool, "UPDATE memory SET content = 'tampered'", "DELETE FROM app_access_rule"); err != nil {
			t.Fatal(err)
		}
		if verifyEdition(t, p, 1).Clean {
			t.Fatal("the tampering was not found")
		}
		name, hit, later := strings.Cut(point, "@")
		at := ""
		if later {
			at = "@" + hit
		}
		child := testenv.Spawn(t, "repair", testenv.ProcessOptions{Env: append(planeEnv(p.Config, dir), "REFOLD_FAILPOINTS="+name+"=kill"+at)})
		write(t, p, 30, all...)
		err := child.Wait()
		if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.Success() {
			t.Fatalf("%s: the step was not reached: %v\n%s", point, err, child.Output())
		}
		c := withShard(p, repairOf(1))
		c.Entities = []envelope.Key{all[1].all["memory"][0].key}
		done, err := p.Repair(t.Context(), c)
		if err != nil || len(done) != 2 || !done[0].Resumed {
			t.Fatalf("%s: going on: %+v %v", point, done, err)
		}
		settle(t, p, 1)
		mustBeClean(t, verifyEdition(t, p, 1))
		mustEqualModel(t, pool, modelOf(all))
		if trail += 2; len(audited(t, p)) != trail {
			t.Fatalf("%s: %d audit events, want %d", point, len(audited(t, p)), trail)
		}
	}
}

// TestServingAppendsTheAuditEventThatARepairOwes: the repair itself is over, and nobody repeats it.
func TestServingAppendsTheAuditEventThatARepairOwes(t *testing.T) {
	p := openWith(t, fresh(t))
	stop := run(t, p)
	all := generators(t, p, seed(t), 1)
	write(t, p, 50, all...)
	settle(t, p, 1)
	pool, err := p.DB.OwnerOf(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	dir := testenv.Dir(t)
	for i, point := range []string{"repair.finished", "repair.audited"} { // not appended; appended, and nobody knows
		if err := execAll(t, pool, "UPDATE memory SET content = 'tampered'"); err != nil {
			t.Fatal(err)
		}
		if verifyEdition(t, p, 1).Clean {
			t.Fatal("the tampering was not found")
		}
		stop()
		child := testenv.Spawn(t, "repair", testenv.ProcessOptions{Env: append(planeEnv(p.Config, dir), "REFOLD_FAILPOINTS="+point+"=kill")})
		if err := child.Wait(); err == nil {
			t.Fatalf("%s was not reached: %s", point, child.Output())
		}
		stop = run(t, p)
		await(t, func() bool {
			var owed int
			if err := pool.QueryRow(t.Context(), "SELECT count(*) FROM control.repair WHERE audited_seq IS NULL").Scan(&owed); err != nil {
				t.Fatal(err)
			}
			return owed == 0
		})
		if got := len(audited(t, p)); got != i+1 {
			t.Fatalf("%s: %d audit events, want %d", point, got, i+1)
		}
		settle(t, p, 1)
		mustBeClean(t, verifyEdition(t, p, 1))
	}
}

// repairChild repairs what the newest verification has found.
func repairChild() int {
	return childOf(func(ctx context.Context, p *plane.Plane) error {
		_, err := p.Repair(ctx, withShard(p, repairOf(1)))
		return err
	})
}

// writeWhile appends events of all generators until ctx ends.
func writeWhile(ctx context.Context, p *plane.Plane, all ...*generator) error {
	for ctx.Err() == nil {
		for _, g := range all {
			s := g.next()
			if _, err := p.Journal.Shard(g.tenant.Shard).Append(context.WithoutCancel(ctx), s.event, s.last); err != nil {
				return err
			}
			g.accept(s)
		}
	}
	return nil
}

func execAll(t testing.TB, pool *pgxpool.Pool, statements ...string) error {
	t.Helper()
	for _, sql := range statements {
		if _, err := pool.Exec(t.Context(), sql); err != nil {
			return fmt.Errorf("%s: %w", sql, err)
		}
	}
	return nil
}

// await waits for a condition that other goroutines bring about.
func await(t testing.TB, met func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !met(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the condition was not met within a minute")
		}
	}
}
