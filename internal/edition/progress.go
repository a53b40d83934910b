package edition

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/refold-dev/refold/internal/postgres/db"
)

// weights say what the parts of a build cost, in the time it takes to read and fold as many events.
type weights struct{ load, index float64 }

// Without a build of some size to learn from, these are assumed.
const (
	loadWeightDefault  = 0.2
	indexWeightDefault = 0.3
	figuresEventsMin   = 10_000
	weightMax          = 5
)

func weightsOf(last *db.ControlBuild) weights {
	if last == nil || last.ReplayMs <= 0 {
		return weights{loadWeightDefault, indexWeightDefault}
	}
	replay := float64(last.ReplayMs)
	return weights{min(float64(last.LoadMs)/replay, weightMax), min(float64(last.IndexMs)/replay, weightMax)}
}

// lastFigures are those of the newest build that says something about the next one; nil for none.
func (m *Editions) lastFigures(ctx context.Context) (*db.ControlBuild, error) {
	pool, err := m.DB.Operator(ctx)
	if err != nil {
		return nil, err
	}
	last, err := db.New(pool).BuildLast(ctx, figuresEventsMin)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("figures of the last build: %w", err)
	}
	return &last, nil
}

// tracker turns what a build has done into reports about the whole of it. It counts in events: all passes over all
// shards, plus what loading and indexes cost in the same measure. Reports come from one goroutine at a time.
type tracker struct {
	report   func(Progress)
	throttle *throttle
	number   int64
	note     string
	now      func() time.Time // nil = time.Now

	weights weights
	last    *db.ControlBuild
	journal float64 // events of all shards
	heads   float64 // events of all passes
	done    float64 // of all passes that are committed, loading included
	whole   Estimate
	events  Estimate
	read0   float64 // events read in all passes before this one

	at   Progress
	head float64
	said time.Time
}

// plan takes in what there is to do, and what was done by builders before.
func (t *tracker) plan(shards []db.ControlEditionShard, last *db.ControlBuild) {
	t.weights, t.last = weightsOf(last), last
	for _, s := range shards {
		t.journal += float64(s.Head)
		t.heads += float64(s.Head) * float64(s.Passes)
		t.done += float64(s.Head) * float64(s.PassesDone) * (1 + t.weights.load)
	}
}

// replan takes in that a shard is folded in more passes, before the first one is done.
func (t *tracker) replan(s db.ControlEditionShard, passes int32) {
	t.heads += float64(s.Head) * float64(passes-s.Passes)
}

func (t *tracker) total() float64 { return t.heads * (1 + t.weights.load + t.weights.index) }

func (t *tracker) clock() time.Time {
	if t.now != nil {
		return t.now()
	}
	return time.Now()
}

// pass begins one.
func (t *tracker) pass(s db.ControlEditionShard) {
	t.head = float64(s.Head)
	t.at = Progress{Phase: "replay", Shard: int(s.Shard), Pass: int(s.PassesDone) + 1, Passes: int(s.Passes), Total: uint64(s.Head)}
	t.say(0, false)
}

// read says how far the pass has read.
func (t *tracker) read(seq uint64, rows int64) {
	t.at.Done, t.at.Rows = min(seq, t.at.Total-1), rows
	t.say(float64(seq), false)
}

// load ends the reading of a pass and begins the loading of what it has folded.
func (t *tracker) load() {
	t.at.Done = t.at.Total
	t.say(t.head, true)
	t.read0 += t.head
	t.at.Phase, t.at.Done, t.at.Total = "load", 0, 0
}

func (t *tracker) loading(entities, total int, rows int64) {
	t.at.Done, t.at.Total, t.at.Rows = uint64(min(entities, total-1)), uint64(total), rows
	t.say(t.head*(1+t.weights.load*float64(entities)/float64(max(total, 1))), false)
}

// passDone is called after the commit.
func (t *tracker) passDone() {
	t.at.Done, t.at.Total = max(t.at.Total, 1), max(t.at.Total, 1)
	t.done += t.head * (1 + t.weights.load)
	t.say(0, true)
}

// index begins the last phase and reports it until stop is called. How far it is nobody can tell; how long it takes is
// guessed from the last build and from how long this one took so far.
func (t *tracker) index() (stop func()) {
	t.at = Progress{Phase: "index", Total: 1}
	t.say(0, true)
	expected := t.expected()
	if expected <= 0 {
		return func() {}
	}
	started, quit := t.clock(), make(chan struct{})
	var ticking sync.WaitGroup
	ticking.Go(func() {
		tick := time.NewTicker(progressEvery)
		defer tick.Stop()
		for {
			select {
			case <-quit:
				return
			case <-tick.C:
				t.guess(t.clock().Sub(started), expected)
			}
		}
	})
	return func() { close(quit); ticking.Wait() }
}

// expected is how long the indexes will take; 0 = nobody knows.
func (t *tracker) expected() time.Duration {
	if t.last != nil && t.last.Events > 0 {
		return time.Duration(float64(t.last.IndexMs) * t.journal / float64(t.last.Events) * float64(time.Millisecond))
	}
	rate, _ := t.whole.At(t.clock(), t.done, t.total())
	if rate <= 0 {
		return 0
	}
	return time.Duration(t.heads * t.weights.index / rate * float64(time.Second))
}

// guess reports a phase that should take as long as expected.
func (t *tracker) guess(passed, expected time.Duration) {
	p := t.filled()
	share := min(float64(passed)/float64(max(expected, 1)), 0.99)
	p.Part = min((t.done+share*t.heads*t.weights.index)/max(t.total(), 1), partMax)
	p.Left = max(expected-passed, 0)
	t.report(p)
}

// finish is called once the edition is published.
func (t *tracker) finish() {
	t.at = Progress{Phase: "index", Done: 1, Total: 1}
	p := t.filled()
	p.Part = 1
	t.report(p)
}

// partMax is how much is done at most before everything is.
const partMax = 0.999

// say reports what is done in this pass, if it is time for that or it must be said.
func (t *tracker) say(units float64, must bool) {
	now := t.clock()
	if !must && now.Sub(t.said) < progressEvery {
		return
	}
	t.said = now
	p := t.filled()
	read := t.read0
	if t.at.Phase == "replay" {
		read += min(units, t.head)
		p.Rate, _ = t.events.At(now, read, t.heads)
		if writes := float64(t.throttle.writes.Load()); p.Rate > 0 && p.Rate < writes {
			p.Note = fmt.Sprintf("slower than the writers: %.0f/s replayed, %.0f/s appended; what they add is left to catching up", p.Rate, writes)
		}
	}
	_, p.Left = t.whole.At(now, t.done+units, t.total())
	p.Part = min((t.done+units)/max(t.total(), 1), partMax)
	t.report(p)
}

func (t *tracker) filled() Progress {
	p := t.at
	p.Edition, p.Note = t.number, t.note
	p.HeldBack = t.throttle.waited.time()
	return p
}
