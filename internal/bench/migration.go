package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/refold-dev/refold/internal/directory"
	"github.com/refold-dev/refold/internal/edition"
	"github.com/refold-dev/refold/internal/localstack"
	"github.com/refold-dev/refold/internal/memory"
	"github.com/refold-dev/refold/internal/plane"
	"github.com/refold-dev/refold/internal/projector"
	"github.com/refold-dev/refold/internal/reader"
	"golang.org/x/sync/errgroup"
)

const (
	quietFor     = 6 * time.Second
	flips        = 20
	flipEvery    = 200 * time.Millisecond
	tokenReaders = 8
	tokenWait    = 20 * time.Second
)

// migration measures what the live edition's readers and writers notice of a migration, on a journal with half as many
// events with history: 500 commands a second go on all the time, and every command is durable before it is answered.
func (b *bench) migration(ctx context.Context) error {
	b.note("migrations under load")
	live, err := b.liveWithHistory(ctx)
	if err != nil {
		return err
	}
	p, end, err := b.reopen(ctx, fmt.Sprintf("plane%d", b.planes), localstack.DurabilityAlways)
	if err != nil {
		return err
	}
	defer end()
	tenant, _, err := p.CreateTenant(ctx, "live", "", "bench")
	if err != nil {
		return err
	}
	t := b.traffic(ctx, p, tenant, live)
	err = b.underTraffic(ctx, p, tenant, t, live)
	return errors.Join(err, t.end())
}

// liveWithHistory makes a plane whose live edition has folded a journal with history, and leaves it.
func (b *bench) liveWithHistory(ctx context.Context) (live int64, err error) {
	p, end, err := b.open(ctx, localstack.DurabilityRelaxed)
	if err != nil {
		return 0, err
	}
	defer end()
	half := *b
	half.events = max(b.events/2, eventsMin)
	if err := half.fill(ctx, p, true); err != nil {
		return 0, err
	}
	if live, err = p.Editions.Build(ctx, nil); err != nil {
		return 0, err
	}
	p.Editions.VerifyMigrations = false
	if _, err := p.Editions.Cutover(ctx, live); err != nil {
		return 0, err
	}
	return live, p.Editions.Retire(ctx, 1, 0)
}

func (b *bench) underTraffic(ctx context.Context, p *plane.Plane, tenant directory.Tenant, t *traffic, live int64) error {
	if err := p.Editions.CatchUp(ctx, live, nil); err != nil {
		return err
	}
	if err := b.calm(ctx); err != nil {
		return err
	}
	b.note("no build")
	if err := b.window(ctx, t, "live_at_500.without_build", func() error { return wait(ctx, quietFor) }); err != nil {
		return err
	}
	b.note("a build that runs freely")
	number, err := b.buildBeside(ctx, p, t, true)
	if err != nil {
		return err
	}
	if err := p.Editions.Abort(ctx, number); err != nil {
		return err
	}
	if err := b.calm(ctx); err != nil {
		return err
	}
	b.note("a migration that makes way")
	if err := b.migrate(ctx, p, t); err != nil {
		return err
	}
	if err := b.calm(ctx); err != nil {
		return err
	}
	b.note("flips")
	return b.flips(ctx, p, tenant)
}

// migrationRatios hold a migration against the same minutes without one.
func (b *bench) migrationRatios() {
	b.over("ratio.live_p99_beside_free_build_over_without", "live_at_500.free_build.p99", "live_at_500.without_build.p99")
	b.over("ratio.live_p99_beside_held_back_build_over_without", "live_at_500.held_back_build.p99", "live_at_500.without_build.p99")
	b.over("ratio.held_back_build_over_free_build", "held_back_build_under_load", "free_build_under_load")
	b.over("ratio.token_wait_p99_around_flips_over_without", "token_wait.around_20_flips.p99", "token_wait.without_flips.p99")
}

func wait(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// buildBeside builds an edition while the traffic goes on, freely or making way for it.
func (b *bench) buildBeside(ctx context.Context, p *plane.Plane, t *traffic, freely bool) (number int64, err error) {
	name := "held_back_build"
	if freely {
		name = "free_build"
	}
	p.Editions.NotHeldBack = freely
	started, events := time.Now(), uint64(0)
	var held time.Duration
	err = b.window(ctx, t, "live_at_500."+name, func() error {
		number, err = p.Editions.Build(ctx, func(at edition.Progress) {
			held = at.HeldBack
			if at.Phase == "replay" {
				events = at.Total
			}
		})
		return err
	})
	b.say(name+"_under_load", rate(int(events), started), "events/s")
	b.say(name+"_under_load.held_back", held.Seconds(), "s")
	return number, err
}

// migrate takes an edition from nothing to being live.
func (b *bench) migrate(ctx context.Context, p *plane.Plane, t *traffic) error {
	started := time.Now()
	number, err := b.buildBeside(ctx, p, t, false)
	if err != nil {
		return err
	}
	if err := p.Editions.CatchUp(ctx, number, nil); err != nil {
		return err
	}
	report, err := runVerify(ctx, p, number, nil)
	if err != nil {
		return err
	}
	if _, err := p.Editions.Cutover(ctx, number); err != nil {
		return err
	}
	b.say("migration_under_load", rate(int(report.Events), started), "events/s")
	t.live.Store(number)
	return p.Live.Refresh(ctx, p.DB)
}

// flips goes back and forth between two editions, while readers ask for what they have just written.
func (b *bench) flips(ctx context.Context, p *plane.Plane, tenant directory.Tenant) error {
	calm, err := b.readers(ctx, p, tenant, "calm", func() error { return wait(ctx, flips*flipEvery/2) })
	if err != nil {
		return err
	}
	b.percentiles("token_wait.without_flips", calm.waits)
	flipped, err := b.readers(ctx, p, tenant, "flips", func() error {
		for range flips {
			at := time.Now()
			if _, err := p.Editions.Rollback(ctx); err != nil {
				return err
			}
			b.say("flip", time.Since(at).Seconds()*1000, "ms")
			if err := wait(ctx, flipEvery); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	b.percentiles("token_wait.around_20_flips", flipped.waits)
	b.say("reads_around_20_flips", float64(len(flipped.waits)), "reads")
	b.say("read_errors_around_20_flips", float64(flipped.failed), "errors")
	return nil
}

// read is what readers with position tokens have met.
type read struct {
	mu     sync.Mutex
	waits  []time.Duration
	failed int
	why    error
}

// readers write and read their writes, each by the position of the answer, for as long as during takes.
func (b *bench) readers(ctx context.Context, p *plane.Plane, tenant directory.Tenant, name string, during func() error) (*read, error) {
	facts, err := p.Journal.Shard(tenant.Shard).Facts(ctx)
	if err != nil {
		return nil, err
	}
	questions, all := reader.New(p.Live, p.DB), &read{}
	running, stop := context.WithCancel(ctx)
	var group errgroup.Group
	for n := range tokenReaders {
		group.Go(func() error {
			for i := 0; running.Err() == nil; i++ {
				command := fmt.Sprintf("%s-%d-%d", name, n, i)
				out, err := add(ctx, p, tenant, command)
				if err != nil {
					return err
				}
				position := reader.Position{JournalID: facts.JournalID, Incarnation: facts.Incarnation, Shard: tenant.Shard, Seq: out.Seq}
				at := time.Now()
				_, _, err = questions.Memory(ctx, reader.Caller{Tenant: tenant.ID, Shard: tenant.Shard, User: uuid.NameSpaceOID},
					reader.Freshness{Least: &position, Wait: tokenWait}, memory.NewID(tenant.Key, tenant.ID, "bench", command))
				all.take(time.Since(at), err)
			}
			return nil
		})
	}
	err = during()
	stop()
	err = errors.Join(err, group.Wait())
	if all.why != nil {
		b.note(fmt.Sprintf("a read failed: %v", all.why))
	}
	return all, err
}

func (r *read) take(took time.Duration, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.waits = append(r.waits, took)
	if err != nil {
		r.failed, r.why = r.failed+1, err
	}
}

// traffic is 500 commands a second, and the projectors that bring them to the rows.
type traffic struct {
	seen    *arrivals
	live    liveEdition
	clients *errgroup.Group
	plane   *errgroup.Group
	stop    [2]context.CancelFunc
}

// liveEdition is the one whose batches count.
type liveEdition struct {
	mu     sync.Mutex
	number int64
}

func (l *liveEdition) Store(number int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.number = number
}

func (l *liveEdition) is(number int64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.number == number
}

// traffic begins; end must be called.
func (b *bench) traffic(ctx context.Context, p *plane.Plane, tenant directory.Tenant, live int64) *traffic {
	t := &traffic{seen: newArrivals(), clients: &errgroup.Group{}, plane: &errgroup.Group{}}
	t.live.Store(live)
	p.OnBatch = func(number int64, _ int, batch projector.Batch) {
		if t.live.is(number) {
			t.seen.commit(batch, time.Now())
		}
	}
	running, stop := context.WithCancel(ctx)
	t.stop[1] = stop
	t.plane.Go(func() error { return p.Run(running) })
	sending, stop := context.WithCancel(ctx)
	t.stop[0] = stop
	t.clients.Go(func() error {
		started := time.Now()
		for i := 0; sending.Err() == nil; i++ {
			time.Sleep(time.Until(started.Add(time.Duration(i) * pacedEvery)))
			t.clients.Go(func() error {
				out, err := add(ctx, p, tenant, fmt.Sprint("traffic-", i))
				t.seen.accept(out.Seq, time.Now())
				return err
			})
		}
		return nil
	})
	return t
}

// end stops the clients, then the projectors.
func (t *traffic) end() error {
	t.stop[0]()
	err := t.clients.Wait()
	t.stop[1]()
	return errors.Join(err, t.plane.Wait())
}

// window runs something and tells how long the commands that were accepted meanwhile took to be readable.
func (b *bench) window(ctx context.Context, t *traffic, name string, run func() error) error {
	from := time.Now()
	if err := run(); err != nil {
		return err
	}
	took, err := t.seen.between(ctx, from, time.Now())
	if err != nil {
		return err
	}
	if len(took) == 0 {
		return fmt.Errorf("%s: no command was accepted", name)
	}
	b.percentiles(name, took)
	return nil
}
