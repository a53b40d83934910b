package plane

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/refold-dev/refold/internal/edition"
	"github.com/refold-dev/refold/internal/failpoint"
	"github.com/refold-dev/refold/internal/postgres/db"
	"github.com/refold-dev/refold/internal/projector"
	"github.com/refold-dev/refold/internal/readiness"
	"github.com/refold-dev/refold/internal/verify"
	"golang.org/x/sync/errgroup"
)

// Deployment says how a serving process comes to answer readers when the live edition is not of its shape.
type Deployment struct {
	// Auto builds, verifies and cuts over to an edition of this binary's shape by itself. A binary whose shape was
	// live before only stands by: to go back is an operator's decision. Without Auto all of it is.
	Auto bool
	// Replicas is how many processes of this shape must be ready before the cutover; 0 = 1.
	Replicas int
	// Progress is told about builds; nil = nobody listens.
	Progress func(edition.Progress)
	// Gate is asked before an edition is built to replace a live one; an error keeps the process from it. nil = nobody.
	Gate func(ctx context.Context) error
}

const (
	deployPause = 250 * time.Millisecond
	deployRetry = 5 * time.Second
	beatMax     = 3 * time.Second
	// levelEvents is how near the end of the journal an edition must have come before it is first answered from.
	levelEvents = 1000
)

// ErrDiffers: the new edition was verified and is not what the journal says. It is kept to be looked at.
var ErrDiffers = errors.New("the new edition differs from the journal: see `refold verify`, then `refold edition abort` to have it built again")

// errMaking is the state of a process while it, or another one, builds.
var errMaking = notReady("an edition of this binary's shape is being made")

// Deploy brings this process to the point where it can answer readers, says so to the other processes, and cuts over
// if it may. It returns when ctx ends. Until an edition of this binary's shape is fit to be answered from, Ready
// says why it is not.
func (p *Plane) Deploy(ctx context.Context, c Deployment) error {
	if c.Replicas == 0 {
		c.Replicas = 1
	}
	d := &deployer{Plane: p, Deployment: c, level: map[int64]bool{}}
	p.deployed.set(notReady("starting"))
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return d.beat(ctx) })
	group.Go(func() error { return d.run(ctx) })
	return group.Wait()
}

// standing is why a process may not answer yet, or not any more; nil = it may.
type standing struct {
	mu    sync.Mutex
	fault error
}

func (s *standing) set(fault error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = fault
}

func (s *standing) get() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.fault
}

// Drain makes Ready say no from now on, so that no new requests are sent here.
func (p *Plane) Drain() { p.draining.set(notReady("draining")) }

type deployer struct {
	*Plane
	Deployment
	level map[int64]bool // editions that have come near the end of the journal once
	said  string
}

// beat tells the other processes that this one is there.
func (d *deployer) beat(ctx context.Context) error {
	host, _ := os.Hostname()
	id := fmt.Sprintf("%s/%d/%s", host, os.Getpid(), rand.Text()[:6])
	tick := time.NewTicker(edition.BeatEvery)
	defer tick.Stop()
	for {
		r := edition.Replica{ID: id, Shape: d.Shape, Editions: d.Live.Answering(len(d.Journal.Shards)), Ready: d.Readiness(ctx).Status == readiness.Ready}
		if err := bounded(ctx, func(ctx context.Context) error { return d.Editions.Beat(ctx, r) }); err != nil {
			d.Logger.Warn("cannot tell that this process is there", "error", err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			if err := bounded(ctx, func(ctx context.Context) error { return d.Editions.Gone(ctx, id) }); err != nil {
				d.Logger.Warn("cannot tell that this process has ended", "error", err)
			}
			return nil
		}
	}
}

// bounded calls fn with a context that ends by time alone: a beat that is cut off might be stored after the process has
// said that it is gone.
func bounded(ctx context.Context, fn func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), beatMax)
	defer cancel()
	return fn(ctx)
}

// run takes one step after the other, for as long as the process lives: an operator may flip, abort or retire at
// any time.
func (d *deployer) run(ctx context.Context) error {
	for {
		pause := deployPause
		err := d.fit(ctx)
		if err != nil && !errors.Is(err, ErrNotReady) {
			err = fmt.Errorf("%w: %w", ErrNotReady, err)
			pause = deployRetry
		}
		d.deployed.set(err)
		if err == nil {
			if err = d.takeOver(ctx); err != nil {
				pause = deployRetry
			}
		}
		if ctx.Err() != nil {
			return nil
		}
		if err != nil && !errors.Is(err, errMaking) && err.Error() != d.said {
			d.Logger.Warn("deployment", "state", err)
			d.said = err.Error()
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
	}
}

// fit returns nil when every shard has an edition of our shape that may be answered from.
func (d *deployer) fit(ctx context.Context) error {
	if err := d.Live.Refresh(ctx, d.DB); err != nil {
		return err
	}
	leads := true
	for _, shard := range d.Journal.Shards {
		if _, live := d.Live.Pointer(shard.Number()); !live {
			return d.locked(ctx, func() error { return d.EnsureLive(ctx, d.Progress) })
		}
		if _, ok := d.Live.Edition(shard.Number(), ""); !ok {
			return d.lacking(ctx)
		}
		leads = leads && d.Live.Leads(shard.Number())
	}
	for _, shard := range d.Journal.Shards {
		number, _ := d.Live.Edition(shard.Number(), "")
		if err := d.isLevel(ctx, number, shard.Number()); err != nil {
			return err
		}
	}
	if leads {
		return nil
	}
	return d.admitted(ctx)
}

// admitted refuses to answer from an edition that was never live and may not become so.
func (d *deployer) admitted(ctx context.Context) error {
	if was, err := d.Editions.WasLive(ctx); err != nil || was {
		return err
	}
	for _, shard := range d.Journal.Shards {
		number, _ := d.Live.Edition(shard.Number(), "")
		if err := d.Editions.Admits(ctx, number, shard.Number()); err != nil {
			return fmt.Errorf("%w: edition %d may not become live: %w", ErrNotReady, number, err)
		}
	}
	return nil
}

// isLevel returns nil once an edition has come near the end of the journal. Later lags are for Ready to judge.
func (d *deployer) isLevel(ctx context.Context, number int64, shard int) error {
	if d.level[number] {
		return nil
	}
	facts, err := d.Journal.Shard(shard).Facts(ctx)
	if err != nil {
		return err
	}
	pool, err := d.DB.Operator(ctx)
	if err != nil {
		return err
	}
	cp, err := db.New(pool).CheckpointGet(ctx, db.CheckpointGetParams{Edition: number, Shard: int32(shard)})
	if err != nil {
		return fmt.Errorf("checkpoint of edition %d: %w", number, err)
	}
	if behind := int64(facts.LastSeq) - cp.Seq; behind > levelEvents {
		return notReady("shard %d: edition %d is %d events behind and catching up", shard, number, behind)
	}
	d.level[number] = shard == len(d.Journal.Shards)-1
	return nil
}

// lacking makes an edition of our shape, or says that somebody has to.
func (d *deployer) lacking(ctx context.Context) error {
	if !d.Auto {
		return notReady("no edition of this binary's shape (%s) is verified: run `refold edition build` and `refold edition verify` with this binary", d.Shape)
	}
	return d.locked(ctx, func() error { return d.make(ctx) })
}

// locked runs work in one process of our shape at a time; the others wait for its result.
func (d *deployer) locked(ctx context.Context, work func() error) error {
	release, mine, err := d.DB.TryLock(ctx, "refold deployment of shape "+d.Shape)
	if err != nil {
		return err
	}
	if !mine {
		return errMaking
	}
	defer release()
	d.deployed.set(errMaking)
	if err := work(); err != nil {
		return err
	}
	return errMaking // and the next step sees what was made
}

// make builds an edition and proves it, or goes on with one that was built already.
func (d *deployer) make(ctx context.Context) error {
	number, err := d.unproven(ctx)
	if err == nil && number == 0 && d.Gate != nil {
		err = d.Gate(ctx)
	}
	if err == nil && number == 0 {
		number, err = d.Editions.Build(ctx, d.Progress)
	}
	if err != nil {
		return err
	}
	if err := d.Editions.CatchUp(ctx, number, d.Progress); err != nil {
		return err
	}
	if err := failpoint.Hit("edition.caught-up"); err != nil || d.SkipVerifyMigrations {
		return err
	}
	return d.prove(ctx, number)
}

// prove verifies all shards of an edition.
func (d *deployer) prove(ctx context.Context, number int64) error {
	reports, err := d.Verify(ctx, number, verify.Config{}, func(at ShardProgress) {
		if d.Progress != nil {
			d.Progress(edition.Progress{Edition: number, Phase: "verify: " + at.Phase, Shard: at.Shard, Pass: at.Part, Passes: at.Parts, Done: at.Done, Total: at.Total})
		}
	})
	if err != nil {
		return err
	}
	for _, report := range reports {
		if !report.Clean {
			return fmt.Errorf("edition %d: %w", number, ErrDiffers)
		}
	}
	return nil
}

// unproven returns the newest edition of our shape that was built and not proven yet; 0 for none.
func (d *deployer) unproven(ctx context.Context) (int64, error) {
	pool, err := d.DB.Operator(ctx)
	if err != nil {
		return 0, err
	}
	all, err := db.New(pool).EditionList(ctx)
	if err != nil {
		return 0, err
	}
	stopped, err := db.New(pool).CheckpointList(ctx)
	if err != nil {
		return 0, err
	}
	number := int64(0)
	for _, e := range all {
		givenUp := slices.ContainsFunc(stopped, func(cp db.ControlCheckpoint) bool {
			return cp.Edition == e.Number && cp.Stopped != nil && *cp.Stopped == string(projector.GivenUp)
		})
		if e.State == "serving" && e.Shape == d.Shape && !givenUp {
			number = e.Number
		}
	}
	if number == 0 {
		return 0, nil
	}
	differs, err := db.New(pool).EditionDiffers(ctx, number)
	if err == nil && differs {
		err = fmt.Errorf("edition %d: %w", number, ErrDiffers)
	}
	return number, err
}

// takeOver cuts over once enough processes of our shape are ready. It does nothing where it may not, or need not.
func (d *deployer) takeOver(ctx context.Context) error {
	leads := true
	for _, shard := range d.Journal.Shards {
		leads = leads && d.Live.Leads(shard.Number())
	}
	if leads || !d.Auto {
		return nil
	}
	if was, err := d.Editions.WasLive(ctx); err != nil || was {
		return err
	}
	replicas, err := d.Editions.Replicas(ctx)
	if err != nil {
		return err
	}
	ready := 0
	for _, r := range replicas {
		if r.Shape == d.Shape && r.Ready {
			ready++
		}
	}
	if ready < d.Replicas {
		return nil
	}
	number, _ := d.Live.Edition(0, "")
	_, err = d.Editions.Cutover(ctx, number)
	if errors.Is(err, edition.ErrTail) {
		err = d.prove(ctx, number) // and the next step cuts over
	}
	return err
}
