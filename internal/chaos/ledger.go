package main

import (
	"fmt"
	"sync"
	"time"
)

// command is one command that a client has sent, until its outcome was known.
type command struct {
	Tenant  string
	User    string
	Key     string // its Idempotency-Key, unique in the campaign
	Kind    string // create, change, pause, activate, archive, delete
	Memory  string // the memory's id; of a create known from the answer
	Content string // of create and change
	Expect  int64  // version in If-Match; 0 = none

	Outcome  outcome
	Version  int64  // accepted: of the memory afterwards
	Position string // accepted: sealed, see final audit
	Status   int    // of the last answer
	Code     string // refused: why
	Doubts   int    // answers that left the outcome unknown
}

type outcome string

const (
	accepted outcome = "accepted"
	refused  outcome = "refused"
	unknown  outcome = "unknown" // no answer settled it in time
)

// violationsShown bounds how many violations are kept with their text; all are counted.
const violationsShown = 50

// ledger is what all clients were told, and what they saw that must not be.
type ledger struct {
	mu         sync.Mutex
	commands   []*command
	counts     tally
	violations violations
}

// tally counts what happened since the campaign began.
type tally struct {
	Accepted        int `json:"accepted"`
	Refused         int `json:"refused"`
	Unknown         int `json:"unknown"`          // commands with an answer that left the outcome open
	SettledAccepted int `json:"settled_accepted"` // of those, by repeating them
	SettledRefused  int `json:"settled_refused"`
	Unsettled       int `json:"unsettled"`
	Repeated        int `json:"repeated"` // commands that were repeated on purpose after they had been accepted
	Reads           int `json:"reads"`    // that handed in a position
	ReadsFailed     int `json:"reads_failed"`
	StaleReads      int `json:"stale_reads"`
}

// settled takes a command whose outcome is known, or was given up.
func (l *ledger) settled(c *command) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.commands = append(l.commands, c)
	t := &l.counts
	if c.Doubts > 0 {
		t.Unknown++
	}
	switch c.Outcome {
	case accepted:
		t.Accepted++
		if c.Doubts > 0 {
			t.SettledAccepted++
		}
	case refused:
		t.Refused++
		if c.Doubts > 0 {
			t.SettledRefused++
		}
	case unknown:
		t.Unsettled++
		l.violations.add("unsettled", "%s %s of %s/%s: no answer settled it, the last one was %d %s", c.Kind, c.Key, c.Tenant, c.User, c.Status, c.Code)
	}
}

func (l *ledger) count(change func(*tally)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	change(&l.counts)
}

// violate records what must not happen.
func (l *ledger) violate(kind, format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.violations.add(kind, time.Now().Format("15:04:05.000 ")+format, args...)
}

func (l *ledger) acceptedCount() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.counts.Accepted
}

// violations are broken promises, by kind. The zero value is none.
type violations struct {
	Counts map[string]int `json:"counts,omitempty"`
	Texts  []string       `json:"texts,omitempty"`
}

func (v *violations) add(kind, format string, args ...any) {
	if v.Counts == nil {
		v.Counts = map[string]int{}
	}
	v.Counts[kind]++
	if len(v.Texts) < violationsShown {
		v.Texts = append(v.Texts, kind+": "+fmt.Sprintf(format, args...))
	}
}

func (v *violations) take(other violations) {
	if v.Counts == nil {
		v.Counts = map[string]int{}
	}
	for kind, count := range other.Counts {
		v.Counts[kind] += count
	}
	v.Texts = append(v.Texts, other.Texts...)
	v.Texts = v.Texts[:min(len(v.Texts), violationsShown)]
}

func (v *violations) any() bool { return len(v.Counts) > 0 }
