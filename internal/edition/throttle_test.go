package edition

import (
	"context"
	"testing"
	"time"
)

// living plays a live edition against a governor: at each sample, how many events are in the journal and not projected.
func living(g *governor, seconds float64, rate int, behind func(passed time.Duration) uint64) (shares []float64) {
	for passed := time.Duration(0); passed.Seconds() < seconds; passed += governEvery {
		head := 1_000_000 + uint64(passed.Seconds()*float64(rate))
		shares = append(shares, g.next(start.Add(passed), []liveAt{{0, head, head - behind(passed)}}))
	}
	return shares
}

func TestTheGovernor(t *testing.T) {
	always := func(n uint64) func(time.Duration) uint64 { return func(time.Duration) uint64 { return n } }
	for name, c := range map[string]struct {
		rate        int
		behind      func(time.Duration) uint64
		least, most float64 // of the share after 20 s
	}{
		"nothing is written":         {0, always(0), 1, 1},
		"level":                      {500, always(2), 1, 1},
		"late":                       {500, always(50), shareByAge, shareByAge},
		"late, but few and quick":    {100_000, always(400), 1, 1},
		"far behind":                 {100_000, always(5000), shareMin, shareMin},
		"late, then level again":     {500, func(at time.Duration) uint64 { return uint64(max(0, 5-at.Seconds()) * 20) }, 1, 1},
		"stalled: waiting is no use": {0, always(5000), 1, 1},
	} {
		t.Run(name, func(t *testing.T) {
			g := newGovernor(0)
			shares := living(g, 20, c.rate, c.behind)
			if got := shares[len(shares)-1]; got < c.least || got > c.most {
				t.Errorf("the share is %v, want %v to %v", got, c.least, c.most)
			}
		})
	}
}

func TestTheGovernorGoesDownFastAndUpSlowly(t *testing.T) {
	g := newGovernor(100)
	shares := living(g, 12, 500, func(at time.Duration) uint64 {
		if at > time.Second && at < 3*time.Second {
			return 1000
		}
		return 0
	})
	at := func(seconds float64) float64 { return shares[int(seconds*20)] }
	if at(1) < shareFirst || at(2) > 0.2 || at(3) < shareMin || at(4) > 0.5 || at(12-0.1) < at(4) {
		t.Errorf("shares at 1, 2, 3, 4, 12 s: %v %v %v %v %v", at(1), at(2), at(3), at(4), at(11.9))
	}
	for seconds := 0; seconds < 10; seconds++ {
		if g.next(start.Add(time.Hour), nil); g.share <= 0 {
			t.Fatal("the share is gone")
		}
	}
}

// A pacer's share of its time is what it is told, in slices that nobody notices.
func TestAPacerKeepsItsShare(t *testing.T) {
	throttle := newThrottle(0)
	throttle.setShare(0.25)
	p := throttle.pacer()
	started, longest := time.Now(), time.Duration(0)
	worked := time.Duration(0)
	for time.Since(started) < 500*time.Millisecond {
		began := time.Now()
		for time.Since(began) < 100*time.Microsecond {
		}
		worked += time.Since(began)
		paused := time.Now()
		if err := p.pause(t.Context(), 64); err != nil {
			t.Fatal(err)
		}
		longest = max(longest, time.Since(paused))
	}
	if share := float64(worked) / float64(time.Since(started)); share > 0.35 {
		t.Errorf("it worked %v of its time, want 0.25", share)
	}
	if throttle.waited.time() < 250*time.Millisecond {
		t.Errorf("it says that it waited %s only", throttle.waited.time())
	}
}

func TestAPacerKeepsTheRateSmoothly(t *testing.T) {
	p := newThrottle(2000).pacer()
	started, n := time.Now(), 0
	for time.Since(started) < time.Second {
		n += int(p.every())
		if err := p.pause(t.Context(), int(p.every())); err != nil {
			t.Fatal(err)
		}
		if allowed := time.Since(started).Seconds()*2000 + 2*float64(p.every()) + 2000*hoardMax.Seconds(); float64(n) > allowed {
			t.Fatalf("%d events after %s, at most %.0f are allowed", n, time.Since(started), allowed)
		}
	}
	if p.waited.time() > 0 {
		t.Error("waiting for the rate counts as being held back")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := newThrottle(1).pacer().pause(ctx, 1000); err == nil {
		t.Error("a wait does not end with its context")
	}
}
