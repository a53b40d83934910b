package plane

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/refold-dev/refold/internal/auth"
	"github.com/refold-dev/refold/internal/fold"
	"github.com/refold-dev/refold/internal/journal"
	"github.com/refold-dev/refold/internal/postgres/db"
	"github.com/refold-dev/refold/internal/projector"
	"github.com/refold-dev/refold/internal/readiness"
)

// The codes of conditions, beside the stop states, which are codes as well. docs/stop-states.md explains each.
const (
	codeDraining  = "DRAINING"             // the process is about to end
	codeDeploying = "DEPLOYING"            // it has no edition to answer from yet
	codeNoEdition = "NO_EDITION"           // no edition is live
	codeDatabase  = "DATABASE_UNAVAILABLE" // Postgres does not answer
	codeJournal   = "JOURNAL_UNAVAILABLE"  // NATS, or the leader of the stream, does not answer
	codeUnread    = "CANNOT_READ"          // readers get errors from Postgres
	codeUnmoved   = "CANNOT_PROJECT"       // projectors get errors from Postgres
	codeShort     = "JOURNAL_SHORT"        // the journal ends before the checkpoint; latched as PROJECTION_AHEAD if it stays so
	codeStuck     = "NOT_MOVING"           // events wait, and the checkpoint stands still
	codeRevoked   = "REVOCATIONS_OLD"      // which tokens were revoked cannot be read
)

const (
	// conditionsFresh is for how long what was found is answered again, so that asking is cheap however often it happens.
	// After it a new look begins, and until it is conditionsRecent old nobody waits for that: a busy machine does not make
	// whoever asks for health wait.
	conditionsFresh  = time.Second
	conditionsRecent = 3 * time.Second
	// conditionsMax bounds the finding out, and conditionsWait how long somebody waits for it who may have an older one.
	conditionsMax  = 3 * time.Second
	conditionsWait = 100 * time.Millisecond
	// conditionsOld is how old an answer may be that is given while a newer one is looked for.
	conditionsOld = 15 * time.Second
)

// conditions is what was found last. A caller that finds it too old starts a new look; one look runs at a time.
type conditions struct {
	mu      sync.Mutex
	found   []readiness.Condition
	at      time.Time
	looking chan struct{} // closed when the look is over; nil = none is under way
	cancel  context.CancelFunc
	ended   bool
}

// get returns what look finds, now or a moment ago.
func (c *conditions) get(ctx context.Context, look func(context.Context) []readiness.Condition) []readiness.Condition {
	c.mu.Lock()
	if c.ended || time.Since(c.at) < conditionsFresh {
		defer c.mu.Unlock()
		return c.found
	}
	if c.looking == nil {
		c.looking = make(chan struct{})
		var looking context.Context
		looking, c.cancel = context.WithTimeout(context.WithoutCancel(ctx), conditionsMax)
		go c.look(looking, look)
	}
	over, wait := c.looking, conditionsMax+conditionsWait
	switch age := time.Since(c.at); {
	case age < conditionsRecent:
		defer c.mu.Unlock()
		return c.found
	case age < conditionsOld:
		wait = conditionsWait
	}
	c.mu.Unlock()
	select {
	case <-over:
	case <-time.After(wait):
	case <-ctx.Done():
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Since(c.at) >= conditionsOld {
		return []readiness.Condition{unavailable(readiness.Every, codeDatabase, "no store has answered within "+conditionsMax.String())}
	}
	return c.found
}

func (c *conditions) look(ctx context.Context, look func(context.Context) []readiness.Condition) {
	found := look(ctx)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cancel()
	c.found, c.at = found, time.Now()
	close(c.looking)
	c.looking = nil
}

// end stops a look that is under way, and begins no other: the stores are about to be closed.
func (c *conditions) end() {
	c.mu.Lock()
	over := c.looking
	if c.ended = true; over != nil {
		c.cancel()
	}
	c.mu.Unlock()
	if over != nil {
		<-over
	}
}

func unavailable(shard int, code, detail string) readiness.Condition {
	return readiness.Condition{Shard: shard, Code: code, Detail: detail, Reads: readiness.Prevent, Commands: readiness.Prevent}
}

// Conditions are all that keeps this process from answering as it should. What it finds in the stores may be three seconds old.
func (p *Plane) Conditions(ctx context.Context) []readiness.Condition {
	own, deployed := p.ownConditions()
	return append(own, p.conditions.get(ctx, func(ctx context.Context) []readiness.Condition {
		return p.storeConditions(ctx, deployed)
	})...)
}

// ownConditions are those of the process, whatever the stores say.
func (p *Plane) ownConditions() (own []readiness.Condition, deployed bool) {
	if p.draining.get() != nil {
		own = append(own, unavailable(readiness.Every, codeDraining, "the process is about to end"))
	}
	fault := p.deployed.get()
	if fault != nil {
		own = append(own, unavailable(readiness.Every, codeDeploying, plainly(fault)))
	}
	if c := p.revocationsOld(); c != nil {
		own = append(own, *c)
	}
	return own, fault == nil
}

// revocationsOld tells that this process does not know what was revoked a moment ago, and that it therefore believes no
// token once that has lasted too long. A process that follows nothing, as that of a command, knows what it has read first.
func (p *Plane) revocationsOld() *readiness.Condition {
	if p.Tokens == nil || !p.Tokens.Following() {
		return nil
	}
	age := time.Since(p.Tokens.Revoked.At())
	if age < auth.RevocationsOld {
		return nil
	}
	c := readiness.Condition{Shard: readiness.Every, Code: codeRevoked, Reads: readiness.Degrade, Commands: readiness.Degrade, Detail: fmt.Sprintf(
		"which tokens were revoked could not be read for %s: after %s no token is believed", age.Truncate(time.Second), auth.RevocationsStale)}
	if age > auth.RevocationsStale {
		c.Reads, c.Commands = readiness.Prevent, readiness.Prevent
	}
	return &c
}

// plainly is an error without the words that all of its kind begin with.
func plainly(err error) string { return strings.TrimPrefix(err.Error(), ErrNotReady.Error()+": ") }

// storeConditions asks both stores, about all shards at once.
func (p *Plane) storeConditions(ctx context.Context, deployed bool) []readiness.Condition {
	standing, probed := make([][]readiness.Condition, len(p.Journal.Shards)), make([][]readiness.Condition, len(p.Journal.Shards))
	var asked sync.WaitGroup
	for i, shard := range p.Journal.Shards {
		number, ok := p.Live.Edition(shard.Number(), "")
		if !ok && !deployed {
			continue // the process says why
		}
		asked.Go(func() { _, standing[i] = p.shardStatus(ctx, shard, number) })
		asked.Go(func() { probed[i] = p.probe(ctx, shard.Number(), number) }) // a journal that does not answer takes all the time
	}
	asked.Wait()
	var out []readiness.Condition
	for i := range standing {
		out = append(out, slices.Concat(standing[i], probed[i])...)
	}
	return out
}

// probe reads as readers do and takes the lock that projectors take: what a check of rights or of a connection says is not
// what a request meets.
func (p *Plane) probe(ctx context.Context, shard int, number int64) []readiness.Condition {
	if number == 0 {
		return nil
	}
	var tables []string
	for _, t := range fold.Tables.Tables() {
		tables = append(tables, t.Name)
	}
	var out []readiness.Condition
	if err := p.DB.ProbeReader(ctx, number, shard, tables); err != nil {
		out = append(out, unavailable(shard, codeUnread, fmt.Sprintf("edition %d: %v", number, err)))
	}
	if err := p.DB.ProbeProjector(ctx, number, shard, tables); err != nil {
		out = append(out, readiness.Condition{
			Shard: shard, Code: codeUnmoved, Detail: fmt.Sprintf("edition %d: %v", number, err), Reads: readiness.Degrade, Commands: readiness.Degrade,
		})
	}
	return out
}

// ShardCount is how many shards the journal has.
func (p *Plane) ShardCount() int { return len(p.Journal.Shards) }

// Readiness sums Conditions up.
func (p *Plane) Readiness(ctx context.Context) readiness.Readiness {
	return readiness.Of(p.Conditions(ctx))
}

// Ready returns an error that lists everything that is not as it should be, as it is now; nil when there is nothing.
func (p *Plane) Ready(ctx context.Context) error {
	found, deployed := p.ownConditions()
	found = append(found, p.storeConditions(ctx, deployed)...)
	var faults []error
	for _, c := range found {
		faults = append(faults, fmt.Errorf("%w: %w", ErrNotReady, c))
	}
	return errors.Join(faults...)
}

// standingOf says what is true now of a shard that was stopped; what was true when it stopped is kept beside it.
func standingOf(ctx context.Context, shard journal.Shard, cp db.ControlCheckpoint, facts journal.Facts, unanswered error) string {
	if *cp.Stopped == string(projector.GivenUp) {
		return "a reconciliation has given this edition up: `refold reconcile --apply` makes a new one live"
	}
	err := unanswered
	if err == nil || errors.Is(err, journal.ErrNoJournal) { // that the stream is gone is an answer
		err = projector.Continuity(ctx, shard, cp)
	}
	var stopped *projector.StoppedError
	switch {
	case errors.As(err, &stopped) && string(stopped.State) == *cp.Stopped && cp.StoppedDetail != nil && stopped.Detail == *cp.StoppedDetail:
		return "it is so still: see `refold reconcile`"
	case errors.As(err, &stopped):
		return fmt.Sprintf("now %s: %s: see `refold reconcile`", stopped.State, stopped.Detail)
	case err != nil:
		return fmt.Sprintf("whether it is so still cannot be told: %v", err)
	}
	return fmt.Sprintf("it is so no longer: the journal ends at %d, and its event %d is the one that the checkpoint stands on: `refold reconcile --apply` lets it go on, beside running processes",
		facts.LastSeq, cp.Seq)
}
