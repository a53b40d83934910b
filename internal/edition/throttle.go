package edition

import (
	"context"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/refold-dev/refold/internal/postgres/db"
)

// A build shares processor, disk and log of the database with the live edition. The governor looks how far the live
// edition is behind and decides which share of its time the build may work; each goroutine of the build works for a
// moment and then waits for the rest. Additive increase, multiplicative decrease.
const (
	governEvery = 50 * time.Millisecond
	// lagMaxDefault is how many events the live edition may be behind before a build makes way.
	lagMaxDefault = 500
	// lagAgeMax is how old what is not projected yet may be. An idle live edition is a few ms behind.
	lagAgeMax = 15 * time.Millisecond
	// shareByAge is the least share because of age, shareMin the least of all: a build always gets on. It begins with
	// shareFirst, as nobody knows yet what the machine can bear.
	shareByAge = 0.15
	shareMin   = 0.05
	shareFirst = 0.2
	shareCut   = 0.6
	shareRise  = 0.006
	// cutEvery lets a cut take effect before the next one.
	cutEvery = 150 * time.Millisecond
	// idleAfter: a live edition that is level, and to which nothing was added for so long, needs no room.
	idleAfter = 200 * time.Millisecond
	// stalledAfter: a live edition that does not move at all is not helped by waiting.
	stalledAfter = 3 * time.Second
	// ageSmooth is the weight of a new sample of the age.
	ageSmooth = 0.3
)

// workSlice is how long a build works at a stretch while it is held back, and waitMax how long it waits at most.
const (
	workSlice = 2 * time.Millisecond
	waitMax   = 100 * time.Millisecond
	// hoardMax is how much of an unused rate may be made up for.
	hoardMax = 50 * time.Millisecond
)

// throttle holds a build back: by a rate, and by the lag of the live edition.
type throttle struct {
	rate   int          // events a second; 0 = no bound
	share  atomic.Int64 // in millionths
	writes atomic.Int64 // events a second that are appended
	waited gauge        // for the live edition, not for the rate
}

func newThrottle(rate int) *throttle {
	t := &throttle{rate: rate}
	t.setShare(1)
	return t
}

func (t *throttle) setShare(share float64) { t.share.Store(int64(share * 1e6)) }

// free: the build need not make way for anybody at the moment.
func (t *throttle) free() bool { return t.share.Load() == 1e6 }

// gauge adds up the time in which at least one goroutine waited.
type gauge struct {
	mu    sync.Mutex
	in    int
	since time.Time
	total time.Duration
}

func (g *gauge) enter() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.in == 0 {
		g.since = time.Now()
	}
	g.in++
}

func (g *gauge) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.in--; g.in == 0 {
		g.total += time.Since(g.since)
	}
}

func (g *gauge) time() time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.in > 0 {
		return g.total + time.Since(g.since)
	}
	return g.total
}

// pacer makes one goroutine of a build keep to the throttle.
type pacer struct {
	*throttle
	worked time.Time // since when without a wait
	due    time.Time // when the rate allows the next event
}

func (t *throttle) pacer() *pacer { return &pacer{throttle: t, worked: time.Now(), due: time.Now()} }

// begin forgets the time that passed without work.
func (p *pacer) begin() { p.worked = time.Now() }

// every is how many events may pass between two calls of pause, so that a low rate is kept smoothly.
func (p *pacer) every() uint64 {
	if p.rate == 0 {
		return 64
	}
	return uint64(min(max(p.rate/200, 1), 64))
}

// pause is called after n events. It waits as long as rate and share want.
func (p *pacer) pause(ctx context.Context, n int) error {
	now := time.Now()
	owed, early := p.owed(now), p.early(now, n)
	wait := max(owed, early)
	if wait < time.Millisecond {
		return nil
	}
	if owed > early {
		p.waited.enter()
		defer p.waited.leave()
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
	}
	p.worked = time.Now()
	return nil
}

// early is how long to wait until the rate allows what was done.
func (p *pacer) early(now time.Time, n int) time.Duration {
	if p.rate <= 0 || n == 0 {
		return 0
	}
	if least := now.Add(-hoardMax); p.due.Before(least) {
		p.due = least
	}
	p.due = p.due.Add(time.Duration(float64(n) / float64(p.rate) * float64(time.Second)))
	return p.due.Sub(now)
}

// owed is how long to wait for what was worked.
func (p *pacer) owed(now time.Time) time.Duration {
	share := float64(p.share.Load()) / 1e6
	worked := now.Sub(p.worked)
	if share >= 1 {
		p.worked = now
		return 0
	}
	if worked < workSlice {
		return 0
	}
	return min(time.Duration(float64(worked)*(1-share)/share), waitMax)
}

// governor decides on the share. It has no clock and no store of its own.
type governor struct {
	lagMax int64
	share  float64
	cut    time.Time
	shards map[int]*lagging
}

// lagging is what the governor knows of the live edition in one shard.
type lagging struct {
	heads []headSample // oldest first; the first one is not older than rateHistory
	seq   uint64
	moved time.Time
	level time.Time // when everything was last seen projected
	age   float64   // smoothed, in seconds
}

type headSample struct {
	at   time.Time
	head uint64
}

// headHistory bounds the memory of a governor, and headRate the time over which it takes the writers' rate.
const (
	headHistory = 30 * time.Second
	headRate    = 2 * time.Second
)

func newGovernor(lagMax int64) *governor {
	if lagMax <= 0 {
		lagMax = lagMaxDefault
	}
	return &governor{lagMax: lagMax, share: shareFirst, shards: map[int]*lagging{}}
}

// liveAt is how far the live edition of a shard is.
type liveAt struct {
	shard     int
	head, seq uint64
}

// next returns the share from now on. Nothing live means no samples, and no reason to wait.
func (g *governor) next(now time.Time, samples []liveAt) float64 {
	events, age, idle := int64(0), 0.0, true
	for _, s := range samples {
		l := g.shards[s.shard]
		if l == nil {
			l = &lagging{moved: now, level: now}
			g.shards[s.shard] = l
		}
		if behind := l.take(now, s); now.Sub(l.moved) < stalledAfter {
			events, age = max(events, behind), max(age, l.age)
		}
		idle = idle && l.idle(now, s)
	}
	far := events > g.lagMax
	late := age > lagAgeMax.Seconds() && g.share > shareByAge
	switch {
	case idle:
		g.share = 1
	case far || late:
		if now.Sub(g.cut) < cutEvery {
			break
		}
		least := shareByAge
		if far {
			least = shareMin
		}
		g.share, g.cut = max(g.share*shareCut, least), now
	case age <= lagAgeMax.Seconds()/2 || g.share < shareByAge:
		g.share = min(g.share+shareRise, 1)
	}
	return g.share
}

// appended returns how many events a second the writers add, in all shards that were asked for.
func (g *governor) appended() (rate float64) {
	for _, l := range g.shards {
		first, last := l.heads[0], l.heads[len(l.heads)-1]
		if passed := last.at.Sub(first.at); passed >= rateFirst {
			rate += float64(last.head-min(first.head, last.head)) / passed.Seconds()
		}
	}
	return rate
}

// take adds a sample and returns how many events are not projected.
func (l *lagging) take(now time.Time, s liveAt) int64 {
	if s.seq != l.seq || s.head <= s.seq {
		l.seq, l.moved = s.seq, now
	}
	l.heads = append(l.heads, headSample{now, s.head})
	for len(l.heads) > 2 && (now.Sub(l.heads[0].at) > headHistory || l.heads[1].head <= s.seq && now.Sub(l.heads[1].at) > headRate) {
		l.heads = l.heads[1:]
	}
	l.age += (l.oldest(now, s) - l.age) * ageSmooth
	if s.head <= s.seq {
		l.level = now
		return 0
	}
	return int64(s.head - s.seq)
}

// idle: nobody has to be made way for, at least not yet.
func (l *lagging) idle(now time.Time, s liveAt) bool {
	if s.head > s.seq {
		return false
	}
	for i := len(l.heads) - 1; i >= 0 && l.heads[i].head == s.head; i-- {
		if now.Sub(l.heads[i].at) >= idleAfter {
			return true
		}
	}
	return false
}

// oldest estimates the age of the oldest event that is not projected. The samples give bounds; between them the
// number of such events over the rate of the writers is the guess (Little's law).
func (l *lagging) oldest(now time.Time, s liveAt) float64 {
	if s.head <= s.seq {
		return 0
	}
	least, most := 0.0, now.Sub(l.level).Seconds()
	for i := len(l.heads) - 1; i >= 0; i-- {
		if l.heads[i].head <= s.seq {
			most = min(most, now.Sub(l.heads[i].at).Seconds())
			break
		}
		least = now.Sub(l.heads[i].at).Seconds()
	}
	first := l.heads[0]
	rate := float64(s.head-min(first.head, s.head)) / max(now.Sub(first.at).Seconds(), 1e-3)
	return math.Max(least, math.Min(most, float64(s.head-s.seq)/max(rate, 1e-3)))
}

// MakeWay is for other long work beside the live edition. pause is to be called between small pieces of the work, by one
// goroutine: it waits for as long as the live edition needs. end must be called when the work is over.
func (m *Editions) MakeWay(ctx context.Context) (pause func(context.Context) error, end func()) {
	if m.NotHeldBack {
		return func(context.Context) error { return nil }, func() {}
	}
	t := newThrottle(0)
	governing, stop := context.WithCancel(ctx)
	var governor sync.WaitGroup
	governor.Go(func() { m.govern(governing, t) })
	p := t.pacer()
	return func(ctx context.Context) error { return p.pause(ctx, 0) }, func() { stop(); governor.Wait() }
}

// govern keeps the share of a throttle up to date until ctx ends. While the stores do not answer, the last one stands.
func (m *Editions) govern(ctx context.Context, t *throttle) {
	g := newGovernor(m.LagMax)
	tick := time.NewTicker(governEvery)
	defer tick.Stop()
	for {
		if samples, err := m.liveLag(ctx); err == nil {
			share := g.next(time.Now(), samples)
			if m.NotHeldBack {
				share = 1
			}
			t.setShare(share)
			t.writes.Store(int64(g.appended()))
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// liveLag reads how far the live editions are, and how far they should be.
func (m *Editions) liveLag(ctx context.Context) ([]liveAt, error) {
	pool, err := m.DB.Operator(ctx)
	if err != nil {
		return nil, err
	}
	lives, err := db.New(pool).LiveCheckpoints(ctx)
	if err != nil || len(lives) == 0 {
		return nil, err
	}
	var out []liveAt
	for _, live := range lives {
		if int(live.Shard) >= len(m.Shards) {
			continue
		}
		facts, err := m.Shards[live.Shard].Facts(ctx)
		if err != nil {
			return nil, err
		}
		out = append(out, liveAt{int(live.Shard), facts.LastSeq, uint64(live.Seq)})
	}
	return out, nil
}

// isLive reports whether some edition is live, so that somebody is disturbed.
func (m *Editions) isLive(ctx context.Context) (bool, error) {
	pool, err := m.DB.Operator(ctx)
	if err != nil {
		return false, err
	}
	lives, err := db.New(pool).LiveList(ctx)
	return len(lives) > 0, err
}
