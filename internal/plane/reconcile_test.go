package plane_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/refold-dev/refold/events/envelope"
	"github.com/refold-dev/refold/internal/directory"
	"github.com/refold-dev/refold/internal/localstack"
	"github.com/refold-dev/refold/internal/plane"
	"github.com/refold-dev/refold/internal/projector"
	"github.com/refold-dev/refold/internal/reader"
	"github.com/refold-dev/refold/internal/reconcile"
	"github.com/refold-dev/refold/internal/testenv"
)

// pointsMax is how many times the files of both stores are copied.
const pointsMax = 3

// history is what the writers of a plane know: every command that was acknowledged, in order, and at which point. It
// looks into no store.
type history struct {
	t       *testing.T
	dir     string // of Dir: point-1, point-2, point-3, each with nats/ and pg/
	shards  int
	seed    uint64
	tenants []directory.Tenant
	acked   []acked
}

// acked is an acknowledged command.
type acked struct {
	point  int // the first copy that holds it
	tenant directory.Tenant
	step   *step // nil: the creation of the tenant
}

func (a acked) id() string {
	if a.step == nil {
		return fmt.Sprintf("%s/tenant/%s create", envelope.PlaneTenant, a.tenant.ID)
	}
	return fmt.Sprintf("%s %s", a.step.event.Key, a.step.event.CommandID)
}

// recordHistory writes over three points, copies the files of both stores at each, and ends.
func recordHistory(t *testing.T, shards int) *history {
	h := &history{t: t, dir: testenv.Dir(t), shards: shards, seed: seed(t)}
	at := filepath.Join(h.dir, "run")
	mustMkdir(t, at)
	mustMkdir(t, filepath.Join(at, "data"))
	server := testenv.StartNATSProcess(t, localstack.NATSOptions{StoreDir: filepath.Join(at, "nats"), Durability: localstack.DurabilityRelaxed})
	postgres := testenv.PostgresCluster(t, filepath.Join(at, "pg"), localstack.PostgresOptions{Fast: true})
	generators := map[string]*generator{}
	for point := 1; point <= pointsMax; point++ {
		func() {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			p, err := plane.Open(ctx, plane.Config{DataDir: filepath.Join(at, "data"), PostgresURL: postgres.URL(), NATSURL: server.URL(), Shards: shards, Logger: logger()})
			if err != nil {
				t.Fatal(err)
			}
			defer func() { mustClose(t, p) }()
			if err := p.EnsureLive(ctx, nil); err != nil {
				t.Fatal(err)
			}
			stop := run(t, p)
			defer stop()
			h.write(p, point, generators)
			if point == 2 {
				h.cutOver(p)
			}
			number, _ := p.Live.Edition(0, "")
			settleAll(t, p, number)
		}()
		server.Stop()
		if err := postgres.Stop(); err != nil {
			t.Fatal(err)
		}
		testenv.CopyDir(t, at, filepath.Join(h.dir, fmt.Sprintf("point-%d", point)))
		if point < pointsMax {
			server.Restart()
			if err := postgres.Restart(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	return h
}

// write creates the tenants of a point and appends some events of each.
func (h *history) write(p *plane.Plane, point int, all map[string]*generator) {
	h.t.Helper()
	want := []int{0, 3, 5, 6}[point]
	for n := len(h.tenants); n < want; n++ {
		tenant := tenantFor(h.t, p, fmt.Sprintf("tenant-%d", n))
		h.tenants = append(h.tenants, tenant)
		h.acked = append(h.acked, acked{point: point, tenant: tenant})
		all[tenant.ID] = newGenerator(h.seed, n, tenant)
	}
	for range 12 {
		for _, tenant := range h.tenants {
			g := all[tenant.ID]
			s := g.next()
			if _, err := p.Journal.Shard(tenant.Shard).Append(h.t.Context(), s.event, s.last); err != nil {
				h.t.Fatal(err)
			}
			g.accept(s)
			h.acked = append(h.acked, acked{point: point, tenant: tenant, step: s})
		}
	}
}

func (h *history) cutOver(p *plane.Plane) {
	h.t.Helper()
	number, err := p.Editions.Build(h.t.Context(), nil)
	if err != nil {
		h.t.Fatal(err)
	}
	settle(h.t, p, number)
	for shard := range h.shards {
		mustBeClean(h.t, verifyShard(h.t, p, number, shard))
	}
	if _, err := p.Editions.Cutover(h.t.Context(), number); err != nil {
		h.t.Fatal(err)
	}
	if err := p.Live.Refresh(h.t.Context(), p.DB); err != nil {
		h.t.Fatal(err)
	}
	settleAll(h.t, p, 1)
}

// settleAll waits until an edition stands at the end of every shard.
func settleAll(t testing.TB, p *plane.Plane, number int64) {
	t.Helper()
	for _, shard := range p.Journal.Shards {
		facts, err := shard.Facts(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		eventually(t, fmt.Sprintf("edition %d level with shard %d", number, shard.Number()), func() bool {
			return checkpointIn(t, p, number, shard.Number()).Seq >= int64(facts.LastSeq)
		})
	}
}

// restored is a plane on the files of two points.
type restored struct {
	*testing.T
	*history
	nats, postgres int // points
	config         plane.Config
	extra          *generator // traffic after the restore, before anybody noticed
	repeated       []acked    // in the order of their repetition, with their new events
	present        []acked    // what the journal holds of the history, in its order
}

func (h *history) restore(t *testing.T, nats, postgres int) *restored {
	t.Helper()
	dir := testenv.Dir(t)
	testenv.CopyDir(t, filepath.Join(h.dir, fmt.Sprintf("point-%d", nats), "nats"), filepath.Join(dir, "nats"))
	testenv.CopyDir(t, filepath.Join(h.dir, fmt.Sprintf("point-%d", postgres), "pg"), filepath.Join(dir, "pg"))
	testenv.CopyDir(t, filepath.Join(h.dir, fmt.Sprintf("point-%d", postgres), "data"), filepath.Join(dir, "data")) // the keys
	server := testenv.NATSServer(t, localstack.NATSOptions{StoreDir: filepath.Join(dir, "nats"), Durability: localstack.DurabilityRelaxed})
	cluster := testenv.PostgresCluster(t, filepath.Join(dir, "pg"), localstack.PostgresOptions{Fast: true})
	r := &restored{T: t, history: h, nats: nats, postgres: postgres, config: plane.Config{
		DataDir: filepath.Join(dir, "data"), PostgresURL: cluster.URL(), NATSURL: server.URL(), Logger: logger(), StableFor: 100 * time.Millisecond,
	}}
	for _, a := range h.acked {
		if a.point <= nats {
			r.present = append(r.present, a)
		}
	}
	return r
}

// opened returns a plane on the restored stores that nothing keeps going yet.
func (r *restored) opened() (p *plane.Plane, end func()) {
	r.Helper()
	p, err := plane.Open(r.Context(), r.config)
	if err != nil {
		r.Fatal(err)
	}
	return p, func() { mustClose(r.T, p) }
}

func (r *restored) examined() (p *plane.Plane, end func()) {
	r.Helper()
	p, err := plane.Examine(r.Context(), r.config)
	if err != nil {
		r.Fatal(err)
	}
	return p, func() { mustClose(r.T, p) }
}

// look is what an operator does first.
func (r *restored) look() *reconcile.Finding {
	r.Helper()
	p, end := r.examined()
	defer end()
	f, err := p.Reconcile(r.Context(), plane.ReconcileOptions{})
	if err != nil {
		r.Fatal(err)
	}
	return f
}

// goOnUnnoticed appends events of a known tenant in each shard, as a process does that knows nothing of the restore.
func (r *restored) goOnUnnoticed(n int) {
	r.Helper()
	p, end := r.opened()
	defer end()
	r.extra = newGenerator(r.seed, 99, r.tenants[0])
	write(r.T, p, n, r.extra)
}

// wantLost are the commands that the editions had folded and the restored journal does not hold.
func (r *restored) wantLost() []string {
	out := []string{}
	for _, a := range r.acked {
		if a.point > r.nats && a.point <= r.postgres {
			out = append(out, a.id())
		}
	}
	slices.Sort(out)
	return out
}

func lostIDs(f *reconcile.Finding) []string {
	out := []string{}
	for _, l := range f.Lost() {
		out = append(out, fmt.Sprintf("%s/%s/%s %s", l.Tenant, l.Entity, l.ID, l.CommandID))
	}
	slices.Sort(out)
	return out
}

// model is what the rows must be, from what the writers know alone.
func (r *restored) model() *model {
	models := map[string]*model{}
	apply := func(a acked) {
		if a.step == nil {
			return
		}
		if models[a.tenant.ID] == nil {
			models[a.tenant.ID] = newModel()
		}
		models[a.tenant.ID].event(a.step.event, a.step.apply)
	}
	for _, a := range r.present {
		apply(a)
	}
	for _, a := range r.repeated {
		apply(a)
	}
	var all []*model
	for _, m := range models {
		all = append(all, m)
	}
	if r.extra != nil {
		all = append(all, r.extra.model)
	}
	return merge(all...)
}

// mustBeProven verifies the live edition in full and holds its rows against the model.
func (r *restored) mustBeProven(p *plane.Plane) int64 {
	r.Helper()
	for _, a := range append(slices.Clone(r.present), r.repeated...) {
		eventually(r.T, "tenant "+a.tenant.ID+" known", func() bool {
			_, err := p.Directory.Tenant(r.Context(), a.tenant.ID)
			return err == nil
		})
	}
	if err := p.Live.Refresh(r.Context(), p.DB); err != nil {
		r.Fatal(err)
	}
	number, ok := p.Live.Edition(0, "")
	if !ok {
		r.Fatal("no edition is live")
	}
	settleAll(r.T, p, number)
	for shard := range r.shards {
		mustBeClean(r.T, verifyShard(r.T, p, number, shard))
	}
	pool, err := p.DB.OwnerOf(r.Context(), number)
	if err != nil {
		r.Fatal(err)
	}
	mustEqualModel(r.T, pool, r.model())
	return number
}

// repeat sends the lost commands again, in the order of the list, as their producers do.
func (r *restored) repeat(p *plane.Plane, lost []reconcile.Lost) {
	r.Helper()
	for _, l := range lost {
		if l.Tenant == envelope.PlaneTenant {
			continue // tenants are created again by the apply
		}
		i := slices.IndexFunc(r.acked, func(a acked) bool {
			return a.step != nil && a.step.event.Key == (envelope.Key{Tenant: l.Tenant, Entity: l.Entity, ID: l.ID}) && a.step.event.CommandID == l.CommandID
		})
		if i < 0 {
			r.Fatalf("lost command %+v was never acknowledged", l)
		}
		a := r.acked[i]
		shard := p.Journal.Shard(a.tenant.Shard)
		newest, err := shard.Last(r.Context(), a.step.event.Key)
		if err != nil {
			r.Fatal(err)
		}
		last := uint64(0)
		if newest != nil {
			if last = newest.Seq; newest.CommandID == l.CommandID {
				r.Fatalf("lost command %s stands in the journal, at sequence %d", a.id(), last)
			}
		}
		event := *a.step.event
		event.Seq = 0
		// It counts as repeated where the answer to the first attempt came too late.
		if receipt, err := shard.Append(r.Context(), &event, last); err != nil {
			r.Fatalf("repeat %s: %+v, %v", a.id(), receipt, err)
		}
		again := *a.step
		again.event = &event
		r.repeated = append(r.repeated, acked{a.point, a.tenant, &again})
	}
}

// mustStop runs the plane until it stops, and checks what is promised of that.
func (r *restored) mustStop(want projector.Stop) {
	r.Helper()
	p, end := r.opened()
	defer end()
	stop := run(r.T, p)
	defer stop()
	number, ok := p.Live.Edition(0, "")
	if !ok {
		r.Fatal("no edition is live")
	}
	stopped := func() (states []string) {
		for shard := range r.shards {
			if cp := checkpointIn(r.T, p, number, shard); cp.Stopped != nil {
				states = append(states, *cp.Stopped)
			}
		}
		return states
	}
	eventually(r.T, "stopped by "+string(want), func() bool { return slices.Contains(stopped(), string(want)) })
	if err := p.Ready(r.Context()); !errors.Is(err, plane.ErrNotReady) {
		r.Fatalf("readiness: %v", err)
	}
	for _, tenant := range r.tenants {
		if cp := checkpointIn(r.T, p, number, tenant.Shard); cp.Stopped == nil {
			continue
		}
		var refused *reader.StoppedError
		if _, err := reader.New(p.Live, p.DB).Open(r.Context(), tenant.ID, tenant.Shard); !errors.As(err, &refused) {
			r.Fatalf("shard %d takes commands: %v", tenant.Shard, err)
		}
	}
}

// reconciled looks, applies, rebuilds and proves.
func (r *restored) reconciled() *reconcile.Finding {
	r.Helper()
	p, end := r.examined()
	defer end()
	f, err := p.Reconcile(r.Context(), plane.ReconcileOptions{})
	if err != nil {
		r.Fatal(err)
	}
	if f.Verdict != reconcile.Needed {
		r.Fatalf("verdict %s: %+v", f.Verdict, f)
	}
	if _, err := p.ApplyReconciliation(r.Context(), plane.ReconcileOptions{}, "another"); !errors.Is(err, reconcile.ErrChanged) {
		r.Fatalf("applied for another finding: %v", err)
	}
	if _, err := p.ApplyReconciliation(r.Context(), plane.ReconcileOptions{}, f.Hash); err != nil {
		r.Fatal(err)
	}
	return f
}

// mustEndProven takes a plane that has stopped to where it is proven again, with every command that was lost.
func (r *restored) mustEndProven() {
	r.Helper()
	f := r.reconciled()
	if diff := cmp.Diff(r.wantLost(), lostIDs(f)); diff != "" {
		r.Fatalf("lost commands (-want +got):\n%s", diff)
	}
	for _, s := range f.Shards {
		if len(s.Unnamed) != 0 {
			r.Fatalf("shard %d: %v are lost without a name", s.Shard, s.Unnamed)
		}
	}
	p, end := r.opened()
	defer end()
	stop := run(r.T, p)
	defer stop()
	if p.Journal.Incarnation != f.Target || f.Target != f.Incarnation+1 {
		r.Fatalf("incarnation %d, want %d after %d", p.Journal.Incarnation, f.Target, f.Incarnation)
	}
	number, err := p.Rebuild(r.Context(), nil)
	if err != nil || number == 0 {
		r.Fatalf("rebuild: edition %d, %v", number, err)
	}
	if live := r.mustBeProven(p); live != number {
		r.Fatalf("edition %d is live, want %d", live, number)
	}
	if err := p.Ready(r.Context()); err != nil {
		r.Fatal(err)
	}
	r.repeat(p, f.Lost())
	r.mustBeProven(p)
	// All that was acknowledged and folded is there again, and nothing is left to do.
	stop()
	after := r.look()
	if after.Verdict != reconcile.Fine || len(after.Lost()) != 0 {
		r.Fatalf("after all: %s, %d lost, reasons %v", after.Verdict, len(after.Lost()), after.Reasons)
	}
}

// TestEveryCombinationOfRestorePoints restores both stores to each of three points, and ends proven, or stopped with
// exactly the lost commands listed, and proven again after a reconciliation and the repetition of those.
func TestEveryCombinationOfRestorePoints(t *testing.T) {
	for _, shards := range []int{1, 2} {
		t.Run(fmt.Sprintf("%d shards", shards), func(t *testing.T) {
			t.Parallel()
			h := recordHistory(t, shards)
			for nats := 1; nats <= pointsMax; nats++ {
				for postgres := 1; postgres <= pointsMax; postgres++ {
					if shards > 1 && !long() && nats != 1 {
						continue
					}
					t.Run(fmt.Sprintf("nats at %d, postgres at %d", nats, postgres), func(t *testing.T) {
						h.restore(t, nats, postgres).check(0)
					})
				}
			}
			// Numbers are given again before anybody looks: a few of them, and more than were lost.
			for _, unnoticed := range []int{3, 150} {
				if shards > 1 && !long() && unnoticed == 3 {
					continue
				}
				t.Run(fmt.Sprintf("nats at 1, postgres at 3, and %d events unnoticed", unnoticed), func(t *testing.T) {
					h.restore(t, 1, 3).check(unnoticed)
				})
			}
		})
	}
}

func (r *restored) check(unnoticed int) {
	r.Helper()
	if unnoticed > 0 {
		r.goOnUnnoticed(unnoticed)
	}
	if r.nats >= r.postgres {
		f := r.look()
		if f.Verdict != reconcile.Fine || len(f.Lost()) != 0 || len(f.Reasons) != 0 {
			r.Fatalf("verdict %s: %+v", f.Verdict, f)
		}
		p, end := r.opened()
		defer end()
		stop := run(r.T, p)
		defer stop()
		r.mustBeProven(p)
		return
	}
	want := projector.Ahead
	if unnoticed > 100 {
		want = projector.Diverged
	}
	r.mustStop(want)
	r.mustEndProven()
}

func mustMkdir(t testing.TB, dir string) {
	t.Helper()
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
}

func mustClose(t testing.TB, p *plane.Plane) {
	t.Helper()
	if err := p.Close(); err != nil {
		t.Error(err)
	}
}
