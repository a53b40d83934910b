package main

import (
	"fmt"
	"slices"
	"sync"
	"time"
)

// failuresShown bounds how many failures are kept with their text; all are counted.
const failuresShown = 10

// account is what the clients saw.
type account struct {
	mu    sync.Mutex
	total tally
	phase tally
	// lastAnswer is when anybody got an answer last, on which the longest gap rests.
	lastAnswer time.Time
	failures   []string
}

// tally counts what happened in a span of time.
type tally struct {
	began    time.Time
	commands []time.Duration // of every accepted command, how long it took
	reads    []time.Duration
	failed   int
	waited   int // reads that asked for a position
	// older counts reads without a position that were older than an earlier answer: two processes stand side by side,
	// and who wants to go forward only must say from where.
	older    int
	restarts int // lists that began again, because the edition of their cursor was not to be had
	scans    int // lists that were read to their end
	gap      time.Duration
	behind   time.Duration // the most that a client has fallen behind its pace
}

func newAccount() *account {
	now := time.Now()
	return &account{total: tally{began: now}, phase: tally{began: now}, lastAnswer: now}
}

func (a *account) both(change func(*tally)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	change(&a.total)
	change(&a.phase)
}

func (a *account) answered(isCommand bool, took time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Now()
	gap := now.Sub(a.lastAnswer)
	a.lastAnswer = now
	for _, t := range []*tally{&a.total, &a.phase} {
		t.gap = max(t.gap, gap)
		if isCommand {
			t.commands = append(t.commands, took)
		} else {
			t.reads = append(t.reads, took)
		}
	}
}

// fail records what must not happen.
func (a *account) fail(format string, args ...any) {
	text := time.Now().Format("15:04:05.000 ") + fmt.Sprintf(format, args...)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.total.failed++
	a.phase.failed++
	if len(a.failures) < failuresShown {
		a.failures = append(a.failures, text)
	}
}

// resume begins to count after a pause of the clients.
func (a *account) resume() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.lastAnswer = time.Now()
	a.phase = tally{began: a.lastAnswer}
}

// lap returns the tally since the last lap.
func (a *account) lap() tally {
	a.mu.Lock()
	defer a.mu.Unlock()
	out := a.phase
	a.phase = tally{began: time.Now()}
	return out
}

func (a *account) sum() (tally, []string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.total, slices.Clone(a.failures)
}

// String is one line.
func (t tally) String() string {
	span := time.Since(t.began)
	return fmt.Sprintf("%s   %s   %d failed   longest gap between answers %s",
		figures(t.commands, "commands", span), figures(t.reads, "reads", span), t.failed, t.gap.Round(time.Millisecond))
}

func figures(took []time.Duration, what string, span time.Duration) string {
	sorted := slices.Sorted(slices.Values(took))
	return fmt.Sprintf("%5d %s %4.0f/s p50 %s p99 %s", len(took), what, float64(len(took))/span.Seconds(), percentile(sorted, 50), percentile(sorted, 99))
}

func percentile(sorted []time.Duration, p int) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	took := sorted[(len(sorted)-1)*p/100]
	if took < 10*time.Millisecond {
		return took.Round(100 * time.Microsecond)
	}
	return took.Round(time.Millisecond)
}
