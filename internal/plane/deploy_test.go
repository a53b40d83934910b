package plane_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/refold-dev/refold/events"
	"github.com/refold-dev/refold/events/envelope"
	"github.com/refold-dev/refold/internal/edition"
	"github.com/refold-dev/refold/internal/fold"
	"github.com/refold-dev/refold/internal/plane"
	"github.com/refold-dev/refold/internal/rows"
	"github.com/refold-dev/refold/internal/testenv"
	"golang.org/x/sync/errgroup"
)

// version opens the plane of a configuration as another version of the binary does: with a shape and a fold of its own.
func version(t testing.TB, config plane.Config, shape string, f rows.Fold) *plane.Plane {
	t.Helper()
	config.DataDir = sameKey(t, config.DataDir)
	p, err := plane.Open(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	become(p, shape, f)
	return p
}

// sameKey returns a data folder of its own for one more process of a plane: processes share the key that signs
// verifications, or each calls those of the others unsigned.
func sameKey(t testing.TB, of string) string {
	t.Helper()
	if _, err := plane.Signer(of); err != nil { // makes the key
		t.Fatal(err)
	}
	key, err := os.ReadFile(filepath.Join(of, "report.key"))
	if err != nil {
		t.Fatal(err)
	}
	dir := testenv.Dir(t)
	if err := os.WriteFile(filepath.Join(dir, "report.key"), key, 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

func become(p *plane.Plane, shape string, f rows.Fold) {
	p.Shape, p.Fold = shape, f
	p.Editions.Shape, p.Editions.Fold = shape, f
	p.Live.Shape = shape
}

// deploy serves until the test ends, or stop is called.
func deploy(t testing.TB, p *plane.Plane, d plane.Deployment) (stop func()) {
	t.Helper()
	running, cancel := context.WithCancel(context.Background())
	group, running := errgroup.WithContext(running)
	group.Go(func() error { return p.Run(running) })
	group.Go(func() error { return p.Deploy(running, d) })
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := group.Wait(); err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(stop)
	return stop
}

var auto, manual = plane.Deployment{Auto: true}, plane.Deployment{}

func ready(t testing.TB, p *plane.Plane) {
	t.Helper()
	eventually(t, "shape "+p.Shape+" is ready", func() bool { return p.Ready(t.Context()) == nil })
}

// notReady waits until a process says that it is not ready, for a reason.
func notReady(t testing.TB, p *plane.Plane, reason string) {
	t.Helper()
	eventually(t, "shape "+p.Shape+" is not ready: "+reason, func() bool {
		err := p.Ready(t.Context())
		return errors.Is(err, plane.ErrNotReady) && strings.Contains(err.Error(), reason)
	})
}

// live waits until an edition is live in every shard.
func live(t testing.TB, p *plane.Plane, number int64) {
	t.Helper()
	eventually(t, fmt.Sprintf("edition %d is live", number), func() bool { return liveIs(t, p, number) })
}

func liveIs(t testing.TB, p *plane.Plane, number int64) bool {
	t.Helper()
	if err := p.Live.Refresh(t.Context(), p.DB); err != nil {
		t.Fatal(err)
	}
	for _, shard := range p.Journal.Shards {
		if at, ok := p.Live.Pointer(shard.Number()); !ok || at.Edition != number {
			return false
		}
	}
	return true
}

func answersFrom(t testing.TB, p *plane.Plane, number int64) {
	t.Helper()
	if err := p.Live.Refresh(t.Context(), p.DB); err != nil {
		t.Fatal(err)
	}
	for _, shard := range p.Journal.Shards {
		if at, _ := p.Live.Edition(shard.Number(), ""); at != number {
			t.Fatalf("shape %s answers shard %d from edition %d, want %d", p.Shape, shard.Number(), at, number)
		}
	}
}

// withoutPauses is the fold of an older version, which does not know one kind of event yet.
func withoutPauses(w *rows.Set, e *envelope.Event) error {
	if e.Kind == "memory.paused.v1" {
		return errors.New("unknown kind memory.paused.v1")
	}
	return fold.Apply(w, e)
}

// TestADeploymentIsAMigration takes a plane from one version to the next, back, and forward again, with both versions
// running side by side.
func TestADeploymentIsAMigration(t *testing.T) {
	for _, shards := range []int{1, 3} {
		t.Run(fmt.Sprintf("%d shards", shards), func(t *testing.T) {
			config := fresh(t, func(c *plane.Config) { c.Shards = shards })
			older := version(t, config, "older", fold.Apply)
			stopOlder := deploy(t, older, auto)
			ready(t, older)
			live(t, older, 1)
			all := generators(t, older, seed(t), 4)
			write(t, older, 100, all...)

			newer := version(t, config, "newer", fold.Apply)
			stopNewer := deploy(t, newer, auto)
			notReady(t, newer, "")
			ready(t, newer)
			live(t, newer, 2)
			answersFrom(t, newer, 2)
			answersFrom(t, older, 1) // while it drains
			write(t, older, 20, all...)
			ready(t, older)
			for _, p := range []*plane.Plane{older, newer} {
				if err := p.Editions.Retire(t.Context(), 1, 0); !errors.Is(err, edition.ErrAnswering) {
					t.Fatalf("retire under an answering process: %v, want %v", err, edition.ErrAnswering)
				}
			}
			stopOlder()
			write(t, older, 20, all...)

			again := version(t, config, "older", fold.Apply)
			stopAgain := deploy(t, again, auto)
			ready(t, again)
			answersFrom(t, again, 1)
			settle(t, again, 1)
			live(t, again, 2) // it came back, it does not take over
			if _, err := newer.Editions.Rollback(t.Context()); !errors.Is(err, edition.ErrShape) {
				t.Fatalf("rollback with the newer binary: %v, want %v", err, edition.ErrShape)
			}
			if flips, err := again.Editions.Rollback(t.Context()); err != nil || len(flips) != shards {
				t.Fatal(flips, err)
			}
			live(t, newer, 1)
			ready(t, newer)
			answersFrom(t, newer, 2)
			write(t, older, 20, all...)

			if flips, err := newer.Editions.Cutover(t.Context(), 2); err != nil || len(flips) != shards {
				t.Fatal(flips, err)
			}
			live(t, again, 2)
			stopAgain()
			if err := newer.Editions.Retire(t.Context(), 1, time.Hour); !errors.Is(err, edition.ErrCursors) {
				t.Fatalf("retire while cursors are out: %v, want %v", err, edition.ErrCursors)
			}
			if err := newer.Editions.Retire(t.Context(), 1, 0); err != nil {
				t.Fatal(err)
			}
			settle(t, newer, 2)
			ready(t, newer)
			mustBeFolded(t, newer, 2, all)
			stopNewer()
		})
	}
}

// mustBeFolded holds all rows of an edition against the journal and against the independent model.
func mustBeFolded(t testing.TB, p *plane.Plane, number int64, all []*generator) {
	t.Helper()
	for _, shard := range p.Journal.Shards {
		mustBeClean(t, verifyShard(t, p, number, shard.Number()))
	}
	pool, err := p.DB.OwnerOf(t.Context(), number)
	if err != nil {
		t.Fatal(err)
	}
	mustEqualModel(t, pool, modelOf(all))
}

func TestManualCutoverWaitsForAnOperator(t *testing.T) {
	config := fresh(t)
	older := version(t, config, "older", fold.Apply)
	deploy(t, older, manual)
	ready(t, older) // a plane without any edition makes its first one
	write(t, older, 50, generators(t, older, seed(t), 2)...)

	newer := version(t, config, "newer", fold.Apply)
	deploy(t, newer, manual)
	notReady(t, newer, "refold edition build")
	number, err := newer.Editions.Build(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	settle(t, newer, number)
	notReady(t, newer, "refold edition verify")
	mustBeClean(t, verifyEdition(t, newer, number))
	ready(t, newer)
	answersFrom(t, newer, number)
	live(t, newer, 1)
	if _, err := newer.Editions.Cutover(t.Context(), number); err != nil {
		t.Fatal(err)
	}
	live(t, older, number)
	ready(t, older)
}

func TestTheCutoverWaitsForReplicas(t *testing.T) {
	config := fresh(t)
	older := version(t, config, "older", fold.Apply)
	deploy(t, older, auto)
	ready(t, older)
	one := version(t, config, "newer", fold.Apply)
	deploy(t, one, plane.Deployment{Auto: true, Replicas: 2})
	ready(t, one)
	two := version(t, config, "newer", fold.Apply)
	if !liveIs(t, one, 1) {
		t.Fatal("cut over with one replica of two")
	}
	deploy(t, two, plane.Deployment{Auto: true, Replicas: 2})
	ready(t, two)
	live(t, two, 2)
	if replicas, err := two.Editions.Replicas(t.Context()); err != nil || len(replicas) != 3 {
		t.Fatalf("%+v %v, want 3 replicas", replicas, err)
	}
	if all, err := two.Editions.List(t.Context()); err != nil || len(all) != 2 {
		t.Fatalf("%+v %v, want one new edition for both", all, err)
	}
}

// TestAFoldThatIsNoFunctionNeverGoesLive deploys a version whose fold gives other rows every time.
func TestAFoldThatIsNoFunctionNeverGoesLive(t *testing.T) {
	config := fresh(t)
	older := version(t, config, "older", fold.Apply)
	deploy(t, older, auto)
	ready(t, older)
	tenant := tenantFor(t, older, "acme")
	publish(t, older, tenant, "memory", uuid.New(), 1, 0, &events.MemoryAdded{UserID: uuid.New(), Private: events.MemoryPrivate{Content: "roll a die"}})
	var rolls atomic.Int64
	newer := version(t, config, "newer", func(w *rows.Set, e *envelope.Event) error {
		rolled := *e
		rolled.Data = []byte(strings.Replace(string(e.Data), "roll a die", fmt.Sprint(rolls.Add(1)), 1))
		return fold.Apply(w, &rolled)
	})
	deploy(t, newer, auto)
	notReady(t, newer, "differs from the journal")
	ready(t, older)
	live(t, older, 1)
	if _, err := newer.Editions.Cutover(t.Context(), 2); !errors.Is(err, edition.ErrNotVerified) {
		t.Fatalf("cutover: %v, want %v", err, edition.ErrNotVerified)
	}
}

// TestGoingBackIsRefusedWithTheKinds lets a newer version fold a kind that the older one does not know. The older
// one holds those entities, and to go back is refused with a list.
func TestGoingBackIsRefusedWithTheKinds(t *testing.T) {
	config := fresh(t)
	older := version(t, config, "older", withoutPauses)
	deploy(t, older, auto)
	ready(t, older)
	tenant := tenantFor(t, older, "acme")
	added := func() (uuid.UUID, uint64) {
		id := uuid.New()
		return id, publish(t, older, tenant, "memory", id, 1, 0, &events.MemoryAdded{UserID: uuid.New()}).Seq
	}
	newer := version(t, config, "newer", fold.Apply)
	deploy(t, newer, auto)
	ready(t, newer)
	live(t, newer, 2)
	if _, err := older.Editions.Rollback(t.Context()); err != nil {
		t.Fatalf("before there is such an event: %v", err)
	}
	if _, err := newer.Editions.Cutover(t.Context(), 2); err != nil {
		t.Fatal(err)
	}
	var first int64
	for range 3 {
		id, last := added()
		seq := int64(publish(t, newer, tenant, "memory", id, 2, last, &events.MemoryPaused{By: uuid.New()}).Seq)
		if first == 0 {
			first = seq
		}
	}
	settle(t, older, 1)
	settle(t, newer, 2)
	_, err := older.Editions.Rollback(t.Context())
	refused, ok := errors.AsType[*edition.HoldsMoreError](err)
	if !ok || !errors.Is(err, edition.ErrHoldsMore) {
		t.Fatalf("rollback: %v, want a list of kinds", err)
	}
	want := []edition.HeldKind{{Kind: "memory.paused.v1", Entities: 3, Seq: first}}
	if fmt.Sprint(refused.Kinds) != fmt.Sprint(want) || refused.Edition != 1 || refused.Live != 2 {
		t.Fatalf("refused with %+v, want %+v", refused, want)
	}
	live(t, older, 2)
	older.Editions.HoldMore = true
	if _, err := older.Editions.Rollback(t.Context()); err != nil {
		t.Fatalf("as told: %v", err)
	}
	live(t, older, 1)
	status := older.Status(t.Context())
	if !strings.Contains(fmt.Sprint(status.Notes), "memory.paused.v1") {
		t.Fatalf("it is not recorded: %+v", status)
	}
}

// TestAVersionThatHoldsMoreIsNotAdmitted deploys the older version over the newer one, as if it were new.
func TestAVersionThatHoldsMoreIsNotAdmitted(t *testing.T) {
	config := fresh(t)
	older := version(t, config, "older", fold.Apply)
	deploy(t, older, auto)
	ready(t, older)
	tenant, id := tenantFor(t, older, "acme"), uuid.New()
	e := publish(t, older, tenant, "memory", id, 1, 0, &events.MemoryAdded{UserID: uuid.New()})
	publish(t, older, tenant, "memory", id, 2, e.Seq, &events.MemoryPaused{By: uuid.New()})
	newer := version(t, config, "newer", withoutPauses)
	deploy(t, newer, auto)
	notReady(t, newer, "memory.paused.v1 (1 entities")
	live(t, newer, 1)
}

func TestCanaryByTenant(t *testing.T) {
	p := open(t)
	all := generators(t, p, seed(t), 3)
	write(t, p, 50, all...)
	canary, other := all[0].tenant, all[1].tenant
	number, err := p.Editions.Build(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	settle(t, p, number)
	if _, err := p.Editions.CutoverTenant(t.Context(), number, canary.Shard, canary.ID); !errors.Is(err, edition.ErrNotVerified) {
		t.Fatalf("unverified: %v, want %v", err, edition.ErrNotVerified)
	}
	mustBeClean(t, verifyEdition(t, p, number))
	reads := func(ofCanary, ofOther int64) {
		t.Helper()
		if err := p.Live.Refresh(t.Context(), p.DB); err != nil {
			t.Fatal(err)
		}
		a, _ := p.Live.Edition(canary.Shard, canary.ID)
		b, _ := p.Live.Edition(other.Shard, other.ID)
		if a != ofCanary || b != ofOther {
			t.Fatalf("the canary reads %d, another tenant %d; want %d and %d", a, b, ofCanary, ofOther)
		}
	}
	for range 2 { // twice, and repeating it does nothing
		for i := range 2 {
			flip, err := p.Editions.CutoverTenant(t.Context(), number, canary.Shard, canary.ID)
			if err != nil || (flip == nil) != (i == 1) {
				t.Fatal(flip, err)
			}
		}
		reads(number, 1)
		if err := p.Editions.Retire(t.Context(), number, 0); !errors.Is(err, edition.ErrLive) {
			t.Fatalf("retire: %v, want %v", err, edition.ErrLive)
		}
		write(t, p, 10, all...)
		for i := range 2 {
			flip, err := p.Editions.RollbackTenant(t.Context(), canary.Shard, canary.ID)
			if err != nil || (flip == nil) != (i == 1) {
				t.Fatal(flip, err)
			}
		}
		reads(1, 1)
	}
	if _, err := p.Editions.CutoverTenant(t.Context(), number, canary.Shard, canary.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Editions.Cutover(t.Context(), number); err != nil {
		t.Fatal(err)
	}
	reads(number, number)
	if _, err := p.Editions.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	reads(1, 1) // the canary has followed its shard since
}
