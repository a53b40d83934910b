package edition

import (
	"math"
	"time"
)

// Bounds of an estimate. The rate is that of the last rateWindow, so that a build which is held back says so soon; the
// moment of the end is smoothed over etaSmooth, so that what is shown does not jump about.
const (
	rateWindow = 15 * time.Second
	rateFirst  = time.Second // no estimate before
	rateSample = 100 * time.Millisecond
	etaSmooth  = 4 * time.Second
)

// Estimate tells the rate of some work, and how long the rest of it will take, from reports of how much is done. The
// zero value is ready. It belongs to one goroutine.
type Estimate struct {
	samples []workSample
	asked   time.Time
	ends    time.Time // smoothed
}

type workSample struct {
	at   time.Time
	done float64
}

// At takes in how much is done now and returns the rate a second and the time that is left; left is 0 while it cannot
// be known, and never 0 in between as long as something is left to do. The total may change.
func (e *Estimate) At(now time.Time, done, total float64) (rate float64, left time.Duration) {
	e.add(now, done)
	first, last := e.samples[0], e.samples[len(e.samples)-1]
	passed := last.at.Sub(first.at)
	if passed < rateFirst {
		return 0, 0
	}
	rate = max(last.done-first.done, 0) / passed.Seconds()
	if rate <= 0 || done >= total {
		e.ends = time.Time{}
		return rate, 0
	}
	left = time.Duration(min((total-done)/rate, math.MaxInt32) * float64(time.Second))
	return rate, max(e.smooth(now, left), time.Second)
}

func (e *Estimate) add(now time.Time, done float64) {
	if n := len(e.samples); n > 1 && now.Sub(e.samples[n-2].at) < rateSample {
		e.samples[n-1] = workSample{now, done}
	} else {
		e.samples = append(e.samples, workSample{now, done})
	}
	old := 0
	for old < len(e.samples)-2 && now.Sub(e.samples[old+1].at) >= rateWindow {
		old++
	}
	e.samples = e.samples[old:]
}

// smooth moves the expected end towards the newest guess, by as much as has passed since the last one.
func (e *Estimate) smooth(now time.Time, left time.Duration) time.Duration {
	guess := now.Add(left)
	if e.ends.IsZero() {
		e.ends, e.asked = guess, now
		return left
	}
	weight := 1 - math.Exp(-now.Sub(e.asked).Seconds()/etaSmooth.Seconds())
	e.ends = e.ends.Add(time.Duration(float64(guess.Sub(e.ends)) * weight))
	e.asked = now
	return e.ends.Sub(now)
}
