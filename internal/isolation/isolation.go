// Package isolation attacks a running plane from inside: as users of several tenants it asks at random about what the
// others have, with their ids, cursors, positions and names, in places where they belong and where they do not. Every
// byte that comes back is searched for what only others can know, and every answer about what is foreign is held against
// the answer to the same request about what does not exist.
package isolation

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Identity is a user of a tenant: one who owns things, or one who attacks the owners of other tenants. An attacker's
// commands may well be carried out, on what is his own.
type Identity struct {
	Tenant     string
	User       string
	Token      string
	AgentToken string // for MCP, which takes no others
	Attacks    bool
	// Neighbours has an attacker attack the owners of its own tenant as well. Its tokens must have no scope that shows what
	// other users of the tenant do.
	Neighbours bool
}

// Prober attacks over one protocol. It is used by one goroutine for each identity.
type Prober interface {
	Name() string
	// Own lets an identity make things that hold canaries, and returns them with all that was handed out for them.
	Own(ctx context.Context, as Identity) (*Belongings, error)
	// Probe sends one random request twice: about what is another tenant's, and about what is nobody's. All randomness
	// comes from the seed.
	Probe(ctx context.Context, seed uint64, as Identity, foreign, absent *Belongings) (Exchange, error)
}

// Exchange is a request that was sent twice, and what came back.
type Exchange struct {
	Operation string
	Foreign   Answer
	Absent    Answer
}

// Answer is what came back for one request.
type Answer struct {
	Asked    string // all that the request held
	Received []byte // every byte, unpacked where it was packed
	Compared string // what must not depend on whether a thing is foreign or absent
	Wrong    string // what must not be, whatever came back; empty = nothing
}

// Config says what is attacked, and how long.
type Config struct {
	Identities []Identity // of two tenants at least
	Probers    []Prober
	Probes     int64 // requests, at least
	Seed       uint64
	Progress   func(done, total int64) // by one goroutine at a time; nil = none
}

// Finding is a leak, an attacker who may do what nobody may, or an answer that tells foreign from absent.
type Finding struct {
	Protocol  string `json:"protocol"`
	Operation string `json:"operation"`
	As        string `json:"as"`
	Of        string `json:"of"`
	What      string `json:"what"`
	Seed      string `json:"seed"`
}

// Report is the result.
type Report struct {
	Seed          string           `json:"seed"`
	Tenants       []string         `json:"tenants"`
	Probes        int64            `json:"probes"`
	Operations    map[string]int64 `json:"operations"` // probes by protocol and operation
	BytesSearched int64            `json:"bytes_searched"`
	Canaries      int64            `json:"canaries"` // in all their forms, for the attacker who must not see the most
	Leaks         []Finding        `json:"leaks"`    // the first findingsMax of their kind
	LeakCount     int64            `json:"leak_count"`
	Differences   []Finding        `json:"differences"` // the first findingsMax of their kind
	DifferCount   int64            `json:"difference_count"`
	Milliseconds  int64            `json:"milliseconds"`
}

// Clean reports that nothing was found.
func (r *Report) Clean() bool { return r.LeakCount == 0 && r.DifferCount == 0 }

const findingsMax = 50

// Run attacks until enough requests were sent. An error means that the attack could not be finished, not that something
// leaked.
func Run(ctx context.Context, c Config) (*Report, error) {
	began := time.Now()
	a := &attack{Config: c, report: Report{Seed: fmt.Sprint(c.Seed), Operations: map[string]int64{}, Leaks: []Finding{}, Differences: []Finding{}}}
	if err := a.prepare(ctx); err != nil {
		return nil, fmt.Errorf("selftest isolation: prepare: %w", err)
	}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var workers sync.WaitGroup
	for n, as := range a.Identities {
		if !as.Attacks {
			continue
		}
		workers.Go(func() {
			if err := a.work(ctx, n, as); err != nil {
				stop(err)
			}
		})
	}
	workers.Wait()
	if err := context.Cause(ctx); err != nil {
		return nil, fmt.Errorf("selftest isolation: %w", err)
	}
	a.report.Probes, a.report.Milliseconds = a.sent.Load(), time.Since(began).Milliseconds()
	return &a.report, nil
}

type attack struct {
	Config
	owned  map[string]map[Identity]*Belongings // by protocol
	search map[Identity]*search                // by attacker: what it must never receive
	sent   atomic.Int64

	mu     sync.Mutex
	report Report // guarded by mu
}

func (a *attack) prepare(ctx context.Context) error {
	a.owned, a.search = map[string]map[Identity]*Belongings{}, map[Identity]*search{}
	canaries := map[string][]canary{}
	for _, prober := range a.Probers {
		a.owned[prober.Name()] = map[Identity]*Belongings{}
		for _, as := range a.Identities {
			if as.Attacks {
				continue
			}
			owned, err := prober.Own(ctx, as)
			if err != nil {
				return fmt.Errorf("things of %s/%s over %s: %w", as.Tenant, as.User, prober.Name(), err)
			}
			a.owned[prober.Name()][as] = owned
			canaries[as.Tenant] = append(canaries[as.Tenant], owned.canaries(as)...)
			if !slices.Contains(a.report.Tenants, as.Tenant) {
				a.report.Tenants = append(a.report.Tenants, as.Tenant)
			}
		}
	}
	if len(a.report.Tenants) < 2 || len(a.Probers) == 0 {
		return errors.New("want two tenants and a protocol")
	}
	for _, as := range a.Identities {
		if !as.Attacks {
			continue
		}
		var foreign []canary
		for tenant, of := range canaries {
			if tenant != as.Tenant || as.Neighbours {
				foreign = append(foreign, of...)
			}
		}
		a.search[as] = newSearch(foreign)
		a.report.Canaries = max(a.report.Canaries, int64(len(a.search[as].forms)))
	}
	return nil
}

// work attacks as one identity until all have sent enough.
func (a *attack) work(ctx context.Context, n int, as Identity) error {
	r := rand.New(rand.NewPCG(a.Seed, uint64(n)))
	var victims []Identity
	for _, other := range a.Identities {
		if !other.Attacks && (other.Tenant != as.Tenant || as.Neighbours) {
			victims = append(victims, other)
		}
	}
	for a.sent.Load() < a.Probes && ctx.Err() == nil {
		prober, victim := a.Probers[r.IntN(len(a.Probers))], victims[r.IntN(len(victims))]
		foreign := a.owned[prober.Name()][victim]
		absent := foreign.nobodys(r)
		if victim.Tenant == as.Tenant {
			foreign, absent = ofNeighbours(foreign, absent)
		}
		if err := a.probe(ctx, prober, r.Uint64(), as, victim, foreign, absent); err != nil {
			return err
		}
		a.progress()
	}
	return context.Cause(ctx)
}

// attemptsMax is how often two answers may differ: the attacker's own things change under way, an oracle does not.
const attemptsMax = 5

func (a *attack) probe(ctx context.Context, p Prober, seed uint64, as, victim Identity, foreign, absent *Belongings) error {
	for attempt := 1; ; attempt++ {
		e, err := p.Probe(ctx, seed, as, foreign, absent)
		if err != nil {
			return err
		}
		found := Finding{Protocol: p.Name(), Operation: e.Operation, As: as.Tenant + "/" + as.User, Of: victim.Tenant + "/" + victim.User, Seed: fmt.Sprint(seed)}
		a.count(p.Name()+" "+e.Operation, e)
		for _, answer := range []Answer{e.Foreign, e.Absent} {
			for _, leaked := range a.search[as].in(answer) {
				found.Of, found.What = leaked.of, leaked.what
				a.leak(found)
			}
			if answer.Wrong != "" {
				found.What = answer.Wrong
				a.leak(found)
			}
		}
		if e.Foreign.Compared == e.Absent.Compared {
			return nil
		}
		if attempt == attemptsMax {
			found.What = fmt.Sprintf("foreign: %.300s; absent: %.300s", e.Foreign.Compared, e.Absent.Compared)
			a.difference(found)
			return nil
		}
	}
}

func (a *attack) count(operation string, e Exchange) {
	a.sent.Add(2)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.report.Operations[operation] += 2
	a.report.BytesSearched += int64(len(e.Foreign.Received) + len(e.Absent.Received))
}

func (a *attack) progress() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.Progress != nil {
		a.Progress(min(a.sent.Load(), a.Probes), a.Probes)
	}
}

func (a *attack) leak(f Finding) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.report.LeakCount++
	a.report.Leaks = withNew(a.report.Leaks, f)
}

func (a *attack) difference(f Finding) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.report.DifferCount++
	a.report.Differences = withNew(a.report.Differences, f)
}

// withNew adds a finding unless one like it is there: one hole is found a thousand times.
func withNew(all []Finding, f Finding) []Finding {
	known := slices.ContainsFunc(all, func(k Finding) bool {
		return k.Protocol == f.Protocol && k.Operation == f.Operation && k.What == f.What
	})
	if known || len(all) == findingsMax {
		return all
	}
	return append(all, f)
}
