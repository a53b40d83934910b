package plane_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"testing"
	"time"

	"github.com/refold-dev/refold/internal/edition"
	"github.com/refold-dev/refold/internal/fold"
	"github.com/refold-dev/refold/internal/plane"
	"github.com/refold-dev/refold/internal/testenv"
	"golang.org/x/sync/errgroup"
)

// childShape names the version that a deployed child is.
const childShape = "REFOLD_TEST_SHAPE"

// deployChild serves as a version of its own and takes over by itself, unless a failpoint or a signal ends it first.
func deployChild() int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	p, err := plane.Open(ctx, childConfig())
	if err != nil {
		fmt.Fprintln(os.Stderr, "open:", err)
		return 1
	}
	become(p, os.Getenv(childShape), fold.Apply)
	testenv.Ready("")
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return p.Run(ctx) })
	group.Go(func() error { return p.Deploy(ctx, auto) })
	if err := errors.Join(group.Wait(), p.Close()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// TestADeploymentThatCrashes ends the process of a new version at each step of its deployment, by SIGKILL. The old
// version answers on as if nothing had happened, and the next process of the new version finishes the work.
func TestADeploymentThatCrashes(t *testing.T) {
	points := []string{
		"edition.begun", "edition.created", "edition.copying", "edition.pass-loaded", "edition.pass-loaded@2", "edition.pass-loaded@3", "edition.loaded", "edition.indexed",
		"edition.before-publish", "edition.published", "edition.caught-up", "verify.before-record", "verify.recorded", "verify.before-record@2",
		"edition.before-flip-commit", "edition.flipped", "edition.before-flip-commit@2", "edition.flipped@2",
	}
	seeds := 1
	if long() {
		seeds = 20
	}
	for i := range seeds {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			crash := newCrash(t)
			for _, point := range points {
				name, hit := cutHit(point)
				crash.at(point, "REFOLD_FAILPOINTS="+name+"=kill"+hit)
			}
		})
	}
}

// TestADeploymentThatIsKilled ends the process of a new version at any time.
func TestADeploymentThatIsKilled(t *testing.T) {
	kills := 5
	if long() {
		kills = 200
	}
	crash := newCrash(t)
	random := rand.New(rand.NewPCG(seed(t), 1))
	for i := range kills {
		crash.after(fmt.Sprintf("kill %d", i), time.Duration(random.IntN(700))*time.Millisecond)
	}
}

func cutHit(point string) (name, hit string) {
	for i, r := range point {
		if r == '@' {
			return point[:i], point[i:]
		}
	}
	return point, ""
}

// crash is a plane whose versions follow each other; every one is killed on its way.
type crash struct {
	*testing.T
	config plane.Config
	dir    string
	older  *plane.Plane
	all    []*generator
	stop   func()
	number int // of versions so far
}

func newCrash(t *testing.T) *crash {
	c := &crash{T: t, dir: testenv.Dir(t), config: fresh(t, func(c *plane.Config) { c.Shards, c.MemoryBytes = 2, 60_000 })}
	c.older = version(t, c.config, "version 0", fold.Apply)
	c.stop = deploy(t, c.older, auto)
	ready(t, c.older)
	c.all = generators(t, c.older, seed(t), 4)
	write(t, c.older, 60, c.all...)
	return c
}

func (c *crash) spawn(env ...string) *testenv.Process {
	c.number++
	env = append(planeEnv(c.config, c.dir), append(env, childShape+"="+fmt.Sprintf("version %d", c.number))...)
	return testenv.Spawn(c.T, "deploy", testenv.ProcessOptions{Env: env})
}

func (c *crash) at(point, env string) {
	child := c.spawn(env)
	err := child.Wait()
	if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		c.Fatalf("%s: the step was not reached: %v\n%s", point, err, child.Output())
	}
	c.recovers(point)
}

func (c *crash) after(what string, pause time.Duration) {
	child := c.spawn()
	child.WaitReady()
	time.Sleep(pause) // the moment is what varies
	child.Kill()
	c.recovers(what)
}

// recovers checks that the crash has left everything as it should, lets the version be deployed again and makes it the
// old one for the next crash.
func (c *crash) recovers(point string) {
	c.Helper()
	before := c.older.Live.Answering(2)
	if len(before) != 1 || c.older.Ready(c.Context()) != nil {
		c.Fatalf("%s: the old version answers from %v, ready: %v", point, before, c.older.Ready(c.Context()))
	}
	c.liveOrNew(point, before[0])
	write(c.T, c.older, 5, c.all...)

	next := version(c.T, c.config, fmt.Sprintf("version %d", c.number), fold.Apply)
	stop := deploy(c.T, next, auto)
	eventually(c.T, point+": the next process takes over", func() bool {
		answering := next.Live.Answering(2)
		return next.Ready(c.Context()) == nil && len(answering) == 1 && liveIs(c.T, next, answering[0])
	})
	number := next.Live.Answering(2)[0]
	c.stop()
	settle(c.T, next, number)
	mustBeFolded(c.T, next, number, c.all)
	eventually(c.T, point+": the old edition is retired", func() bool {
		err := next.Editions.Retire(c.Context(), before[0], 0)
		if err != nil && !errors.Is(err, edition.ErrAnswering) { // a killed process counts for some seconds
			c.Fatalf("%s: retire: %v", point, err)
		}
		return err == nil
	})
	var schemas, checkpoints int
	pool, err := next.DB.Owner(c.Context())
	if err == nil {
		err = pool.QueryRow(c.Context(), "SELECT (SELECT count(DISTINCT substring(nspname from '^edition_([0-9]+)')) FROM pg_namespace WHERE nspname LIKE 'edition%'), (SELECT count(*) FROM control.checkpoint)").Scan(&schemas, &checkpoints)
	}
	if err != nil || schemas != 1 || checkpoints != 2 {
		c.Fatalf("%s: %d schemas and %d checkpoints are left, want 1 and 2: %v", point, schemas, checkpoints, err)
	}
	if err := c.older.Close(); err != nil { // there are many of them
		c.Fatal(err)
	}
	c.older, c.stop = next, stop
}

// liveOrNew checks that each shard has one live edition, the old one or a proven new one.
func (c *crash) liveOrNew(point string, old int64) {
	c.Helper()
	if err := c.older.Live.Refresh(c.Context(), c.older.DB); err != nil {
		c.Fatal(err)
	}
	for _, shard := range c.older.Journal.Shards {
		at, ok := c.older.Live.Pointer(shard.Number())
		if !ok || at.Edition != old && at.Previous != old {
			c.Fatalf("%s: shard %d: live is %+v, the old one was %d", point, shard.Number(), at, old)
		}
		mustBeClean(c.T, verifyShard(c.T, c.older, at.Edition, shard.Number()))
	}
}
