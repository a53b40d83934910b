package plane_test

import (
	"context"
	"errors"
	"os/exec"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/refold-dev/refold/events/envelope"
	"github.com/refold-dev/refold/internal/edition"
	"github.com/refold-dev/refold/internal/plane"
	"github.com/refold-dev/refold/internal/postgres/db"
	"github.com/refold-dev/refold/internal/rows"
	"github.com/refold-dev/refold/internal/testenv"
)

// frozenBuilder is a process that is stopped in its tracks at a step of a build.
func frozenBuilder(t *testing.T, config plane.Config, point string) *testenv.Process {
	t.Helper()
	child := testenv.Spawn(t, "build", testenv.ProcessOptions{Env: append(planeEnv(config, testenv.Dir(t)), "REFOLD_FAILPOINTS="+point+"=stop@1")})
	eventually(t, "the builder comes to "+point, func() bool { return strings.Contains(child.Output(), "stops the process") })
	child.Signal(syscall.SIGSTOP) // in case that it is not stopped yet
	return child
}

// mustWakeUpTo lets a frozen builder go on and wants it to end with an error.
func mustWakeUpTo(t *testing.T, child *testenv.Process, want error) {
	t.Helper()
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	for ended := false; !ended; {
		child.Signal(syscall.SIGCONT) // more than once: it may have been about to stop itself
		select {
		case <-child.Done():
			ended = true
		case <-again.C:
		}
	}
	if err := child.Wait(); err == nil {
		t.Errorf("the frozen builder has ended well:\n%s", child.Output())
	}
	eventually(t, "the frozen builder ends with: "+want.Error(), func() bool { return strings.Contains(child.Output(), want.Error()) })
}

// A frozen builder holds the locks of its COPY, or the rows of its progress, in a transaction.
var frozenAt = []string{"edition.copying", "edition.pass-loaded", "edition.before-publish"}

func TestAFrozenBuilderDoesNotBlockTheNext(t *testing.T) {
	t.Parallel()
	for _, point := range frozenAt {
		t.Run(point, func(t *testing.T) {
			p := open(t)
			write(t, p, 100, generators(t, p, seed(t), 2)...)
			child := frozenBuilder(t, p.Config, point)
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			started := time.Now()
			number, err := p.Editions.Build(ctx, nil)
			if err != nil || number != 2 {
				t.Fatalf("built edition %d, want 2: %v", number, err)
			}
			if took := time.Since(started); took > takeoverMax {
				t.Errorf("the takeover took %s, at most %s are allowed", took, takeoverMax)
			}
			settle(t, p, number)
			mustWakeUpTo(t, child, edition.ErrOvertaken)
			mustBeClean(t, verifyEdition(t, p, number))
		})
	}
}

func TestAbortDoesNotWaitForAFrozenBuilder(t *testing.T) {
	t.Parallel()
	for _, point := range frozenAt {
		t.Run(point, func(t *testing.T) {
			p := open(t)
			all := generators(t, p, seed(t), 2)
			write(t, p, 100, all...)
			child := frozenBuilder(t, p.Config, point)
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			if err := p.Editions.Abort(ctx, 2); err != nil {
				t.Fatal(err)
			}
			mustWakeUpTo(t, child, edition.ErrAborted)
			settle(t, p, 1)
			onlyOneIsLeft(t, p, point, all)
		})
	}
}

func TestAbortIsRepeatedAfterACrash(t *testing.T) {
	t.Parallel()
	p := open(t)
	all := generators(t, p, seed(t), 2)
	write(t, p, 50, all...)
	for i, point := range []string{"edition.begun", "edition.pass-loaded", "edition.indexed", "edition.published"} {
		number := int64(i + 2)
		child := testenv.Spawn(t, "build", testenv.ProcessOptions{Env: append(planeEnv(p.Config, testenv.Dir(t)), "REFOLD_FAILPOINTS="+point+"=exit")})
		mustExitAt(t, child, point)
		for _, step := range []string{"edition.aborting", "edition.aborted"} {
			env := append(planeEnv(p.Config, testenv.Dir(t)), "REFOLD_FAILPOINTS="+step+"=exit")
			mustExitAt(t, testenv.Spawn(t, "abort", testenv.ProcessOptions{Env: env}), step)
		}
		if err := p.Editions.Abort(t.Context(), number); err != nil {
			t.Fatal(err)
		}
		settle(t, p, 1)
		onlyOneIsLeft(t, p, point, all)
	}
	if number, err := p.Editions.Build(t.Context(), nil); err != nil || number != 6 {
		t.Fatalf("the next edition is %d, want 6: %v", number, err)
	}
}

func mustExitAt(t *testing.T, child *testenv.Process, point string) {
	t.Helper()
	if exit, ok := errors.AsType[*exec.ExitError](child.Wait()); !ok || exit.ExitCode() != failpointExit {
		t.Fatalf("%s: the step was not reached: %v\n%s", point, child.Wait(), child.Output())
	}
}

// abortChild aborts the newest edition.
func abortChild() int {
	return childOf(func(ctx context.Context, p *plane.Plane) error {
		all, err := p.Editions.List(ctx)
		if err != nil {
			return err
		}
		return p.Editions.Abort(ctx, all[len(all)-1].Number)
	})
}

func TestAbortIsRefused(t *testing.T) {
	t.Parallel()
	p := open(t)
	ctx := t.Context()
	second, err := p.Editions.Build(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	settle(t, p, second)
	mustBeClean(t, verifyEdition(t, p, second))
	if _, err := p.Editions.Cutover(ctx, second); err != nil {
		t.Fatal(err)
	}
	third, err := p.Editions.Build(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Editions.Beat(ctx, edition.Replica{ID: "other", Shape: p.Shape, Editions: []int64{third}}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		number int64
		want   error
	}{{1, edition.ErrWasLive}, {second, edition.ErrWasLive}, {third, edition.ErrAnswering}, {99, edition.ErrNoEdition}} {
		if err := p.Editions.Abort(ctx, c.number); !errors.Is(err, c.want) {
			t.Errorf("abort of edition %d: got %v, want %v", c.number, err, c.want)
		}
	}
	if err := p.Editions.Gone(ctx, "other"); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := p.Editions.Abort(ctx, third); err != nil {
			t.Error(err)
		}
	}
}

// TestABuildWithoutDiskIsRefused tells a build how much is free: nothing is made, and the error names both.
func TestABuildWithoutDiskIsRefused(t *testing.T) {
	t.Parallel()
	p := open(t)
	write(t, p, 50, generators(t, p, seed(t), 1)...)
	settle(t, p, 1)
	asked := ""
	p.Editions.FreeBytes = func(folder string) (int64, error) { asked = folder; return 1 << 20, nil }
	_, err := p.Editions.Build(t.Context(), nil)
	var disk *edition.DiskError
	if !errors.As(err, &disk) || !errors.Is(err, edition.ErrDisk) {
		t.Fatalf("got %v, want %v", err, edition.ErrDisk)
	}
	if disk.Free != 1<<20 || disk.Need <= disk.Free || disk.Folder != asked || asked == "" || !strings.Contains(err.Error(), "--skip-disk-check") {
		t.Errorf("got %+v: %v", disk, err)
	}
	if all, err := p.Editions.List(t.Context()); err != nil || len(all) != 1 {
		t.Fatalf("%d editions are left, want 1: %v", len(all), err)
	}
	for _, change := range []func(){
		func() { p.Editions.SkipDiskCheck = true },
		func() {
			p.Editions.SkipDiskCheck, p.Editions.FreeBytes = false, func(string) (int64, error) { return 0, errors.New("who knows") }
		},
	} {
		change()
		said := ""
		if _, err := p.Editions.Build(t.Context(), func(at edition.Progress) { said = at.Note }); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(said, "not checked") {
			t.Errorf("the progress says %q, want that the disk was not checked", said)
		}
	}
}

// fillsUpSQL lets the database fail as one does whose disk is full, after some rows of any edition that is made from now
// on: by a trigger on each of its tables, which COPY fires.
const fillsUpSQL = `
	CREATE SCHEMA full_disk;
	CREATE SEQUENCE full_disk.used;
	CREATE FUNCTION full_disk.check() RETURNS trigger LANGUAGE plpgsql AS $$
	BEGIN
		IF nextval('full_disk.used') > 150 THEN
			RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = 'disk_full';
		END IF;
		RETURN new;
	END $$;
	CREATE FUNCTION full_disk.made() RETURNS event_trigger LANGUAGE plpgsql AS $$
	DECLARE made record;
	BEGIN
		FOR made IN SELECT * FROM pg_event_trigger_ddl_commands() LOOP
			IF made.schema_name LIKE 'edition%' AND made.object_identity NOT LIKE '%goose%' THEN
				EXECUTE 'CREATE TRIGGER full_disk BEFORE INSERT ON ' || made.object_identity || ' FOR EACH ROW EXECUTE FUNCTION full_disk.check()';
			END IF;
		END LOOP;
	END $$;
	CREATE EVENT TRIGGER full_disk ON ddl_command_end WHEN TAG IN ('CREATE TABLE') EXECUTE FUNCTION full_disk.made()`

// TestADiskThatFillsUpLeavesTheLiveEditionAlone lets the database run out of disk in the middle of a load, then gives
// it space again, and goes on.
func TestADiskThatFillsUpLeavesTheLiveEditionAlone(t *testing.T) {
	t.Parallel()
	p := open(t)
	all := generators(t, p, seed(t), 2)
	write(t, p, 300, all...)
	settle(t, p, 1)
	owner, err := p.DB.Owner(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := owner.Exec(t.Context(), fillsUpSQL); err != nil {
		t.Fatal(err)
	}
	number, err := p.Editions.Build(t.Context(), nil)
	if !errors.Is(err, edition.ErrDisk) || number != 2 {
		t.Fatalf("building edition %d: got %v, want %v", number, err, edition.ErrDisk)
	}
	var bytes int64
	err = owner.QueryRow(t.Context(), "SELECT sum(pg_relation_size(c.oid)) FROM pg_class c WHERE relnamespace = 'edition_2'::regnamespace AND relkind = 'r' AND relname <> 'goose_db_version'").Scan(&bytes)
	if err != nil || bytes > 0 {
		t.Errorf("%d bytes of what was rolled back are left on the disk: %v", bytes, err)
	}
	write(t, p, 20, all...)
	settle(t, p, 1)
	if r := verifyEdition(t, p, 1); !rowsAreClean(r) {
		t.Errorf("the live edition: %+v", r)
	}
	if _, err := owner.Exec(t.Context(), "DROP EVENT TRIGGER full_disk; DROP SCHEMA full_disk CASCADE"); err != nil {
		t.Fatal(err)
	}
	if again, err := p.Editions.Build(t.Context(), nil); err != nil || again != number {
		t.Fatalf("going on: edition %d, want %d: %v", again, number, err)
	}
	settle(t, p, number)
	mustBeClean(t, verifyEdition(t, p, number))
}

// TestABuildKeepsToItsRate measures a whole build, and wants it to say that the writers are quicker.
func TestABuildKeepsToItsRate(t *testing.T) {
	t.Parallel()
	p := open(t)
	all := generators(t, p, seed(t), 2)
	write(t, p, 150, all...)
	facts, err := p.Journal.Shard(0).Facts(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	const rate = 100
	p.Editions.Rate, p.Editions.NotHeldBack = rate, true
	ctx, enough := context.WithCancel(t.Context())
	writers := appendAll(ctx, t, p, all, 0)
	started, said := time.Now(), ""
	_, err = p.Editions.Build(t.Context(), func(at edition.Progress) { said += at.Note })
	enough()
	writers.Wait()
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(said, "slower than the writers") {
		t.Errorf("it does not say that it is slower than the writers: %q", said)
	}
	if least := time.Duration(facts.LastSeq) * time.Second / rate; time.Since(started) < least-100*time.Millisecond {
		t.Errorf("%d events took %s, at %d a second it has to be at least %s", facts.LastSeq, time.Since(started), rate, least)
	}
}

// TestABuildSaysTheTruth follows the reports of a build in several passes over several shards.
func TestABuildSaysTheTruth(t *testing.T) {
	t.Parallel()
	p := open(t, func(c *plane.Config) { c.Shards = 2 })
	write(t, p, 200, generators(t, p, seed(t), 6)...)
	p.Editions.MemoryBytes = 200_000
	pool, err := p.DB.Operator(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var last edition.Progress
	passes := 0
	number, err := p.Editions.Build(t.Context(), func(at edition.Progress) {
		if at.Part < last.Part {
			t.Errorf("it goes back: %+v after %+v", at, last)
		}
		if at.Phase == "load" && at.Done == at.Total {
			shards, err := db.New(pool).EditionShardList(t.Context(), at.Edition)
			if err != nil || int(shards[at.Shard].PassesDone) != at.Pass {
				t.Errorf("%+v says done, %+v is stored: %v", at, shards, err)
			}
			passes++
		}
		if at.Part == 1 || at.Phase == "index" && at.Done == at.Total {
			e, err := db.New(pool).EditionByNumber(t.Context(), at.Edition)
			if err != nil || e.State != "serving" {
				t.Errorf("%+v says done, the edition is %s: %v", at, e.State, err)
			}
		}
		last = at
	})
	if err != nil {
		t.Fatal(err)
	}
	if last.Part != 1 || passes < 6 {
		t.Errorf("%d passes, the last report is %+v", passes, last)
	}
	all, err := p.Editions.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	heads := int64(0)
	for _, s := range all[number-1].Shards {
		heads += s.BuildHead
	}
	if f := all[number-1].Build; f == nil || f.Events != heads || f.Rows == 0 || f.Bytes == 0 || f.Finished == nil {
		t.Errorf("the figures are %+v, want %d events and the rest", f, heads)
	}
}

// slowly makes every projector of a plane that folds it slow, once told to.
func slowly(p *plane.Plane, wait time.Duration) (slow *atomic.Bool) {
	slow = &atomic.Bool{}
	quick := p.Fold
	p.Fold = func(w *rows.Set, e *envelope.Event) error {
		if slow.Load() {
			time.Sleep(wait)
		}
		return quick(w, e)
	}
	return slow
}

func TestAnEditionThatNeverComesLevelIsDetected(t *testing.T) {
	t.Parallel()
	p := openWith(t, fresh(t))
	slow := slowly(p, 2*time.Millisecond) // at most 500 events a second, so four seconds for the largest batch
	run(t, p)
	all := generators(t, p, seed(t), 8)
	write(t, p, 200, all...)
	number, err := p.Editions.Build(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	slow.Store(true)
	write(t, p, 200, all...) // more than is near enough
	ctx, enough := context.WithCancel(t.Context())
	writers := appendAll(ctx, t, p, all, 0)
	p.Editions.Patience = 9 * time.Second
	said := ""
	err = p.Editions.CatchUp(t.Context(), number, func(at edition.Progress) {
		if at.Note != "" {
			said = at.Note
		}
		if at.Part == 1 {
			t.Errorf("it says that it has caught up: %+v", at)
		}
	})
	var never *edition.NeverLevelError
	if !errors.As(err, &never) || !errors.Is(err, edition.ErrNeverLevel) {
		t.Fatalf("got %v, want %v", err, edition.ErrNeverLevel)
	}
	if never.Appended <= never.Folded || never.Folded > 600 || !strings.Contains(said, "slower than the writers") {
		t.Errorf("%.0f/s folded, %.0f/s appended, said %q", never.Folded, never.Appended, said)
	}
	enough()
	writers.Wait()
	slow.Store(false)
	settle(t, p, number)
	mustBeClean(t, verifyEdition(t, p, number))
}

// TestCatchingUpFollowsTheWriters catches up while they go on: not only with what was there at the call.
func TestCatchingUpFollowsTheWriters(t *testing.T) {
	t.Parallel()
	p := open(t)
	all := generators(t, p, seed(t), 4)
	write(t, p, 50, all...)
	number, err := p.Editions.Build(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, enough := context.WithCancel(t.Context())
	writers := appendAll(ctx, t, p, all, 0)
	var last edition.Progress
	if err := p.Editions.CatchUp(t.Context(), number, func(at edition.Progress) { last = at }); err != nil {
		t.Fatal(err)
	}
	enough()
	writers.Wait()
	if last.Part != 1 || last.Done != last.Total {
		t.Errorf("the last report is %+v", last)
	}
	settle(t, p, number)
	mustBeClean(t, verifyEdition(t, p, number))
}

// TestAnUnthrottledBuildIsNotHeldBack builds while writers keep the live edition behind.
func TestAnUnthrottledBuildIsNotHeldBack(t *testing.T) {
	p := open(t)
	all := generators(t, p, seed(t), 4)
	write(t, p, 500, all...)
	ctx, enough := context.WithCancel(t.Context())
	writers := appendAll(ctx, t, p, all, 0)
	defer writers.Wait()
	defer enough()
	for _, freely := range []bool{true, false} {
		p.Editions.NotHeldBack, p.Editions.MemoryBytes = freely, 1_000_000
		var held time.Duration
		if _, err := p.Editions.Build(t.Context(), func(at edition.Progress) { held = at.HeldBack }); err != nil {
			t.Fatal(err)
		}
		if freely != (held == 0) {
			t.Errorf("unthrottled %v: held back for %s", freely, held)
		}
	}
}
