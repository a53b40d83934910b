package edition

import (
	"errors"
	"testing"
	"time"

	"github.com/refold-dev/refold/internal/postgres/db"
)

var start = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// work plays work of changing speed against an estimate, every 100 ms, and hands each answer to check.
func work(e *Estimate, total float64, speed func(passed time.Duration) float64, check func(passed time.Duration, done, rate float64, left time.Duration)) {
	for passed, done := time.Duration(0), 0.0; done < total; passed += 100 * time.Millisecond {
		rate, left := e.At(start.Add(passed), done, total)
		check(passed, done, rate, left)
		done += speed(passed) / 10
	}
}

func TestAnEstimateAtConstantSpeed(t *testing.T) {
	var e Estimate
	work(&e, 60_000, func(time.Duration) float64 { return 1000 }, func(passed time.Duration, _, rate float64, left time.Duration) {
		want := time.Minute - passed
		switch {
		case passed < rateFirst:
			if rate != 0 || left != 0 {
				t.Errorf("after %s: %v/s and %s left, want no guess yet", passed, rate, left)
			}
		case rate < 999 || rate > 1001 || (left-want).Abs() > 1100*time.Millisecond:
			t.Errorf("after %s: %v/s and %s left, want 1000/s and %s", passed, rate, left, want)
		}
	})
}

func TestAnEstimateFollowsTheSpeed(t *testing.T) {
	var e Estimate
	work(&e, 90_000, func(passed time.Duration) float64 {
		if passed < 30*time.Second {
			return 2000
		}
		return 500
	}, func(passed time.Duration, done, rate float64, left time.Duration) {
		if passed < 60*time.Second {
			return
		}
		want := time.Duration((90_000 - done) / 500 * float64(time.Second))
		if rate < 495 || rate > 505 || (left-want).Abs() > want/10+2*time.Second {
			t.Errorf("after %s: %v/s and %s left, want 500/s and %s", passed, rate, left, want)
		}
	})
}

func TestAnEstimateIsNeverWrongAboutDone(t *testing.T) {
	var e Estimate
	work(&e, 10_000, func(passed time.Duration) float64 {
		if passed > 5*time.Second && passed < 8*time.Second {
			return 0 // a pause
		}
		return 1000
	}, func(passed time.Duration, _, rate float64, left time.Duration) {
		if passed >= rateFirst && rate > 0 && left < time.Second {
			t.Errorf("after %s: %s left although something is left to do", passed, left)
		}
	})
	for i := range 300 { // nothing moves any more
		at := start.Add(time.Minute + time.Duration(i)*100*time.Millisecond)
		if rate, left := e.At(at, 9999, 10_000); i > 200 && (rate != 0 || left != 0) {
			t.Fatalf("nothing moves: %v/s and %s left, want no guess", rate, left)
		}
	}
	if _, left := e.At(start.Add(2*time.Minute), 10_000, 10_000); left != 0 {
		t.Errorf("all is done and %s are left", left)
	}
}

// follow builds three passes over one shard by a fake clock: 10 s of reading and 2 s of loading each, 6 s of keys.
func TestATrackerKnowsTheWholeBuild(t *testing.T) {
	const end = 42 * time.Second
	at := start
	var reports []Progress
	tr := &tracker{throttle: newThrottle(0), now: func() time.Time { return at }, report: func(p Progress) {
		reports = append(reports, p)
		passed := at.Sub(start)
		want := end - passed
		if passed > 3*time.Second && p.Phase != "index" && (p.Left-want).Abs() > 3*time.Second {
			t.Errorf("after %s: %s left, want %s: %+v", passed, p.Left, want, p)
		}
	}}
	s := db.ControlEditionShard{Head: 10_000, Passes: 3}
	tr.plan([]db.ControlEditionShard{s}, &db.ControlBuild{Events: 10_000, ReplayMs: 30_000, LoadMs: 6_000, IndexMs: 6_000})
	for s.PassesDone = 0; s.PassesDone < s.Passes; s.PassesDone++ {
		tr.pass(s)
		for i := range 100 {
			at = at.Add(100 * time.Millisecond)
			tr.read(uint64(i+1)*100, 0)
		}
		tr.load()
		for i := range 20 {
			at = at.Add(100 * time.Millisecond)
			tr.loading(i*50, 1000, 0)
		}
		tr.passDone()
	}
	tr.index()()
	for range 80 { // longer than expected
		at = at.Add(100 * time.Millisecond)
		tr.guess(at.Sub(start)-36*time.Second, tr.expected())
	}
	for i, p := range reports {
		if p.Part >= 1 || i > 0 && p.Part < reports[i-1].Part {
			t.Errorf("report %d goes back or says done too early: %+v", i, p)
		}
		if p.Phase == "index" && p.Done == p.Total {
			t.Errorf("the indexes are said to be done: %+v", p)
		}
	}
	tr.finish()
	if last := reports[len(reports)-1]; last.Part != 1 || last.Done != 1 {
		t.Errorf("the end is %+v", last)
	}
}

func TestABuildGoesOnWhereItWas(t *testing.T) {
	at := start
	var last Progress
	tr := &tracker{throttle: newThrottle(0), now: func() time.Time { return at }, report: func(p Progress) { last = p }}
	s := db.ControlEditionShard{Head: 10_000, Passes: 4, PassesDone: 3}
	tr.plan([]db.ControlEditionShard{s}, nil)
	tr.pass(s)
	if want := 3 * 1.2 / (4 * 1.5); last.Part < want-0.01 || last.Part > want+0.01 {
		t.Errorf("it begins at %v, want %v", last.Part, want)
	}
	if last.Left != 0 || last.Rate != 0 {
		t.Errorf("it guesses from what another builder did: %+v", last)
	}
}

// chaseTo plays an edition that folds and writers that append, every 20 ms.
func chaseTo(c *chase, seconds int, folded, appended float64) (last chased) {
	at, seq, head := start, 0.0, 50_000.0
	c.goal = uint64(head)
	for range seconds * 50 {
		last = c.at(at, uint64(min(seq, head)), uint64(head))
		if last.level || last.err != nil {
			return last
		}
		at, seq, head = at.Add(20*time.Millisecond), seq+folded/50, head+appended/50
	}
	return last
}

func TestAChase(t *testing.T) {
	for name, c := range map[string]struct {
		folded, appended float64
		level            bool
		never            bool
	}{
		"idle writers":            {10_000, 0, true, false},
		"slower writers":          {5000, 4000, true, false},
		"a little slower writers": {5000, 4900, false, false},
		"as quick writers":        {5000, 5000, false, true},
		"quicker writers":         {5000, 6000, false, true},
		"nobody folds":            {0, 100, false, true},
	} {
		t.Run(name, func(t *testing.T) {
			got := chaseTo(&chase{patience: 30 * time.Second}, 90, c.folded, c.appended)
			var never *NeverLevelError
			if got.level != c.level || errors.As(got.err, &never) != c.never {
				t.Fatalf("level %v, %v", got.level, got.err)
			}
			if c.never && (never.Folded < c.folded*0.95 || never.Folded > c.folded*1.05 || never.Appended < c.appended*0.95 || never.Appended > c.appended*1.05) {
				t.Errorf("%.0f/s folded, %.0f/s appended, want %v and %v", never.Folded, never.Appended, c.folded, c.appended)
			}
			if got.level != (got.Part == 1) || got.level != (got.Done == got.Total) {
				t.Errorf("level %v, and the report says %+v", got.level, got.Progress)
			}
		})
	}
}
