package plane_test

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"github.com/refold-dev/refold/internal/edition"
	"github.com/refold-dev/refold/internal/plane"
	"github.com/refold-dev/refold/internal/testenv"
	"github.com/refold-dev/refold/internal/verify"
)

// buildAndCutOver takes the plane of the environment through the whole life of an edition.
func buildAndCutOver(ctx context.Context) (err error) {
	p, err := plane.Open(ctx, childConfig())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.Close()) }()
	return replaceEdition(ctx, p)
}

// replaceEdition builds an edition, or goes on with one that is there, and makes it the only one. It is what an operator does again
// after a crash.
func replaceEdition(ctx context.Context, p *plane.Plane) (err error) {
	running, cancel := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- p.Run(running) }()
	defer func() { cancel(); err = errors.Join(err, <-done) }()
	number, err := readyEdition(ctx, p)
	if err != nil {
		return err
	}
	if err := p.Editions.CatchUp(ctx, number, nil); err != nil {
		return err
	}
	report, err := verify.Run(ctx, verifyConfig(p, number))
	if err != nil {
		return err
	}
	if !report.Clean {
		return fmt.Errorf("edition %d is not clean: %+v", number, report.Differences)
	}
	if _, err := p.Editions.Cutover(ctx, number); err != nil {
		return err
	}
	all, err := p.Editions.List(ctx)
	if err != nil {
		return err
	}
	for _, e := range all {
		if e.Number != number {
			if err := p.Editions.Retire(ctx, e.Number, 0); err != nil {
				return err
			}
		}
	}
	return nil
}

// readyEdition is the edition that was built already and is not live, or a new one.
func readyEdition(ctx context.Context, p *plane.Plane) (int64, error) {
	all, err := p.Editions.List(ctx)
	if err != nil {
		return 0, err
	}
	for _, e := range all {
		if e.State == "serving" && !e.Shards[0].Live {
			return e.Number, nil
		}
	}
	return p.Editions.Build(ctx, nil)
}

// failpointExit is the exit code of a process that a failpoint has ended.
const failpointExit = 137

// TestCrashAtEveryStep ends the process at each step of a build and a cutover, and goes on from there.
func TestCrashAtEveryStep(t *testing.T) {
	p := openWith(t, fresh(t))
	all := generators(t, p, seed(t), 3)
	all[0].poison = 20
	write(t, p, 100, all...)
	config := p.Config
	config.MemoryBytes = 50_000 // several passes
	dir := testenv.Dir(t)
	for _, point := range []string{
		"edition.begun=exit", "edition.created=exit", "edition.pass-loaded=exit", "edition.pass-loaded=exit@2", "edition.loaded=exit",
		"edition.indexed=exit", "edition.published=exit", "projector.before-flush=exit", "projector.before-flush=exit@2",
		"projector.before-commit=exit", "projector.before-commit=exit@2", "projector.committed=exit", "projector.committed=exit@2",
		"edition.before-flip-commit=exit", "edition.flipped=exit", "edition.retired=exit",
	} {
		write(t, p, 10, all...)
		child := testenv.Spawn(t, "build", testenv.ProcessOptions{Env: append(planeEnv(config, dir), "REFOLD_FAILPOINTS="+point)})
		err := child.Wait()
		if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.ExitCode() != failpointExit {
			// The second batch of a projector comes only when the first did not take everything.
			if strings.HasSuffix(point, "@2") && strings.HasPrefix(point, "projector.") && err == nil {
				continue
			}
			t.Fatalf("%s: the step was not reached: %v\n%s", point, err, child.Output())
		}
		liveIsValid(t, p, point)
		if err := replaceEdition(t.Context(), p); err != nil {
			t.Fatalf("%s: going on: %v", point, err)
		}
		onlyOneIsLeft(t, p, point, all)
	}
}

// liveIsValid checks what readers see right after a crash: a serving edition whose rows are those of its checkpoint.
func liveIsValid(t *testing.T, p *plane.Plane, point string) int64 {
	t.Helper()
	if err := p.Live.Refresh(t.Context(), p.DB); err != nil {
		t.Fatal(err)
	}
	number, ok := p.Live.Edition(0, "")
	if !ok {
		t.Fatalf("%s: no edition is live", point)
	}
	if r := verifyEdition(t, p, number); !r.Clean {
		t.Fatalf("%s: the live edition %d is not clean: %+v", point, number, r)
	}
	mustBeQuicklyClean(t, quickly(t, p, number))
	return number
}

func onlyOneIsLeft(t *testing.T, p *plane.Plane, point string, all []*generator) {
	t.Helper()
	number := liveIsValid(t, p, point)
	pool, err := p.DB.OwnerOf(t.Context(), number)
	if err != nil {
		t.Fatal(err)
	}
	mustEqualModel(t, pool, modelOf(all))
	var schemas, checkpoints int
	err = pool.QueryRow(t.Context(), "SELECT (SELECT count(DISTINCT substring(nspname from '^edition_([0-9]+)')) FROM pg_namespace WHERE nspname LIKE 'edition%'), (SELECT count(*) FROM control.checkpoint)").Scan(&schemas, &checkpoints)
	if err != nil || schemas != 1 || checkpoints != 1 {
		t.Fatalf("%s: %d schemas and %d checkpoints are left, want 1: %v", point, schemas, checkpoints, err)
	}
}

func TestOneOfTwoBuildersIsOvertaken(t *testing.T) {
	p := open(t)
	write(t, p, 50, generators(t, p, seed(t), 2)...)
	var second int64
	var secondErr error
	first, err := p.Editions.Build(t.Context(), func(r edition.Progress) {
		if r.Phase == "replay" && second == 0 {
			second, secondErr = p.Editions.Build(t.Context(), nil)
		}
	})
	if !errors.Is(err, edition.ErrOvertaken) {
		t.Fatalf("first builder: got %v, want %v", err, edition.ErrOvertaken)
	}
	if secondErr != nil || second != first {
		t.Fatalf("second builder: edition %d, want %d: %v", second, first, secondErr)
	}
	settle(t, p, second)
	mustBeClean(t, verifyEdition(t, p, second))
	for i, want := range []int{1, 0} { // repeated, it does nothing
		flips, err := p.Editions.Cutover(t.Context(), second)
		if err != nil || len(flips) != want {
			t.Fatalf("cutover %d: %v, %v", i, flips, err)
		}
	}
}

func TestABuilderOfARetiredEditionIsOvertaken(t *testing.T) {
	p := open(t)
	write(t, p, 50, generators(t, p, seed(t), 2)...)
	retired := false
	number, err := p.Editions.Build(t.Context(), func(r edition.Progress) {
		if r.Phase == "index" && !retired {
			retired = true
			if err := p.Editions.Retire(t.Context(), r.Edition, 0); err != nil {
				t.Error(err)
			}
		}
	})
	if !errors.Is(err, edition.ErrOvertaken) {
		t.Fatalf("got %v, want %v", err, edition.ErrOvertaken)
	}
	all, err := p.Editions.List(t.Context())
	if err != nil || all[number-1].State != "retired" {
		t.Fatalf("%+v %v", all, err)
	}
}

// TestABuildIsCancelledAndResumed builds in many passes, is cancelled in the middle, and comes to the same rows as
// a build in one pass.
func TestABuildIsCancelledAndResumed(t *testing.T) {
	p := open(t)
	write(t, p, 300, generators(t, p, seed(t), 3)...)
	settle(t, p, 1)
	live := verifyEdition(t, p, 1)
	p.Editions.MemoryBytes = 60_000
	ctx, cancel := context.WithCancel(t.Context())
	number, err := p.Editions.Build(ctx, func(r edition.Progress) {
		if r.Pass == 4 {
			cancel()
		}
	})
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v, want %v", err, context.Canceled)
	}
	passes := map[int]bool{}
	again, err := p.Editions.Build(t.Context(), func(r edition.Progress) {
		if r.Phase == "replay" {
			passes[r.Pass] = true
			if r.Passes < 8 {
				t.Errorf("%d passes, want more", r.Passes)
			}
		}
	})
	if err != nil || again != number {
		t.Fatalf("edition %d, want %d: %v", again, number, err)
	}
	if passes[1] || passes[3] || !passes[4] {
		t.Errorf("passes that were loaded were not kept: %v", passes)
	}
	settle(t, p, number)
	config := verifyConfig(p, number)
	config.MemoryBytes = 40_000
	report, err := verify.Run(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	mustBeClean(t, report)
	mustBeQuicklyClean(t, quickly(t, p, number))
	if report.Parts < 8 || fmt.Sprint(report.Digests) != fmt.Sprint(live.Digests) {
		t.Fatalf("digests differ, or %d parts are too few:\n%v\n%v", report.Parts, report.Digests, live.Digests)
	}
}
