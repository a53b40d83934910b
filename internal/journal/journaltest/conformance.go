package journaltest

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/refold-dev/refold/internal/journal"
)

// Setup says what a case wants of its store.
type Setup struct {
	BytesMax     int64         // budget of the shard, 0 = none
	DedupeWindow time.Duration // 0 = the default
}

// Harness is one store with an empty shard (but for its genesis event), and the faults that can be done to it.
// A fault that is nil cannot be done to this store: the cases that need it are listed as not applicable.
type Harness struct {
	Shard journal.Shard
	// Again opens the same shard over a connection of its own, as another process does.
	Again func(t testing.TB) journal.Shard
	// Recreate deletes the stream under the running shard and creates another journal. It returns its shard.
	Recreate func(t testing.TB) journal.Shard
	// Restore takes a copy of the store, runs between on it, brings the copy back and returns the shard over it.
	Restore func(t testing.TB, between func(journal.Shard)) journal.Shard
	// Crash kills the process that leads the shard with SIGKILL and starts it again in the background.
	Crash func(t testing.TB)
	// Pause stops the process that leads the shard with SIGSTOP; resume lets it go on.
	Pause func(t testing.TB) (resume func())
	// Lose makes one event disappear.
	Lose func(t testing.TB, seq uint64)
}

// caseMax bounds one case on the slowest store.
const (
	caseMax = 60 * time.Second
	// caseShort is waited for what must not come.
	caseShort = 300 * time.Millisecond
)

type conformanceCase struct {
	name  string
	setup Setup
	needs func(Harness) bool // nil = applies to every store
	run   func(t *testing.T, ctx context.Context, h Harness)
}

func canRecreate(h Harness) bool { return h.Recreate != nil }
func canRestore(h Harness) bool  { return h.Restore != nil }
func canCrash(h Harness) bool    { return h.Crash != nil }
func canPause(h Harness) bool    { return h.Pause != nil }
func canLose(h Harness) bool     { return h.Lose != nil }

// Conformance runs the one table of cases against a store. Can is a harness with the faults it will have, used to
// tell which cases apply; open makes a fresh one for each case. Cases run one after another, so that the store may
// be shared between them.
func Conformance(t *testing.T, name string, can Harness, open func(t testing.TB, setup Setup) Harness) {
	var apart []string
	for _, c := range cases() {
		if c.needs != nil && !c.needs(can) {
			apart = append(apart, c.name)
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), caseMax)
			defer cancel()
			c.run(t, ctx, open(t, c.setup))
		})
	}
	if len(apart) > 0 {
		t.Logf("not applicable to %s: %s", name, strings.Join(apart, ", "))
	}
}

func cases() []conformanceCase {
	return []conformanceCase{
		{name: "append and read", run: appendAndRead},
		{name: "a long history", run: longHistory},
		{name: "a large history", run: largeHistory},
		{name: "the end of a visit", run: visitEnds},
		{name: "the expectation decides", run: expectationDecides},
		{name: "events that cannot be stored", run: cannotBeStored},
		{name: "retry inside the dedupe window", run: retryFindsItself},
		{name: "retry outside the dedupe window", setup: Setup{DedupeWindow: dedupeShort}, run: retryOutsideTheWindow},
		{name: "one key, two tenants", run: oneKeyTwoTenants},
		{name: "one key, two payloads", run: oneKeyTwoPayloads},
		{name: "one command, 60 at once", run: oneCommandAtOnce},
		{name: "16 writers on one entity", run: writersOnOneEntity},
		{name: "64 writers on entities of their own", run: writersApart},
		{name: "a caller who has left", run: callerWhoHasLeft},
		{name: "a full journal", setup: Setup{BytesMax: fullBytesMax}, run: fullJournal},
		{name: "follow all", run: followAll},
		{name: "follow from a sequence", run: followFromSequence},
		{name: "follow one tenant", run: followTenant},
		{name: "follow within bounds", run: followWithinBounds},
		{name: "a lost event", needs: canLose, run: lostEvent},
		{name: "recreated under a follower", needs: canRecreate, run: recreatedUnderFollower},
		{name: "restored to an older copy", needs: canRestore, run: restoredToOlderCopy},
		{name: "killed while writing", needs: canCrash, run: killedWhileWriting},
		{name: "a read begun while killed", needs: canCrash, run: begunWhileKilled},
		{name: "hung while reading", needs: canPause, run: hungWhileReading},
		{name: "readers leave nothing", run: readersLeaveNothing},
	}
}
