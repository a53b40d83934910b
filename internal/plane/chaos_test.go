package plane_test

import (
	"context"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/refold-dev/refold/events/envelope"
	"github.com/refold-dev/refold/internal/journal"
	"github.com/refold-dev/refold/internal/localstack"
	"github.com/refold-dev/refold/internal/plane"
	"github.com/refold-dev/refold/internal/testenv"
)

// chaosSize says how much of everything there is.
type chaosSize struct{ events, tenants, projector, postgres, nats int }

// chaos is a run: writers get leave to append in portions, one for each fault.
type chaos struct {
	t        *testing.T
	size     chaosSize
	random   *rand.Rand
	config   plane.Config
	postgres *localstack.Postgres
	nats     *testenv.NATSProcess
	child    *testenv.Process
	fresh    bool // the child has not been waited for
	dir      string

	leave    chan struct{} // one for each event that may be appended
	accepted chan struct{} // one for each that was
}

// TestChaos kills the projector, PostgreSQL and NATS again and again while events come in. At the end nothing is
// lost, nothing is doubled, and every row is the one that an independent model says.
func TestChaos(t *testing.T) {
	size := chaosSize{events: 20_000, tenants: 20, projector: 10, postgres: 2, nats: 2}
	if long() {
		size = chaosSize{events: 1_000_000, tenants: 200, projector: 100, postgres: 5, nats: 5}
	}
	random := seed(t)
	c := &chaos{
		t: t, size: size, random: rand.New(rand.NewPCG(random, 1)), dir: testenv.Dir(t),
		postgres: testenv.PostgresServer(t, localstack.PostgresOptions{}), nats: testenv.StartNATSProcess(t, localstack.NATSOptions{}),
		leave: make(chan struct{}, size.events), accepted: make(chan struct{}, size.events),
	}
	c.config = plane.Config{DataDir: testenv.Dir(t), PostgresURL: c.postgres.URL(), NATSURL: c.nats.URL(), Logger: logger()}
	p := openWith(t, c.config)
	owner, err := p.DB.Owner(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := owner.Exec(t.Context(), auditSQL); err != nil {
		t.Fatal(err)
	}
	all := generators(t, p, random, size.tenants)
	all[0].poison = 2

	var writers sync.WaitGroup
	for _, g := range all {
		writers.Go(func() { c.write(p, g) })
	}
	c.spawn()
	c.faults()
	writers.Wait()
	c.finish(p, all)
}

func (c *chaos) write(p *plane.Plane, g *generator) {
	for range c.leave {
		s := g.next()
		if !appendSurely(c.t, p.Journal.Shard(g.tenant.Shard), s) {
			return
		}
		g.accept(s)
		c.accepted <- struct{}{}
	}
}

func (c *chaos) spawn() {
	c.fresh = true
	c.child = testenv.Spawn(c.t, "projector", testenv.ProcessOptions{Env: planeEnv(c.config, c.dir)})
}

// faults happen in random order, each at a random event of its portion and while the projector works.
func (c *chaos) faults() {
	var order []func()
	for range c.size.projector {
		order = append(order, func() { c.child.Kill(); c.spawn() })
	}
	for range c.size.postgres {
		order = append(order, c.killPostgres)
	}
	for range c.size.nats {
		order = append(order, func() { c.nats.Kill(); c.nats.Restart() })
	}
	c.random.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
	portion := c.size.events / len(order)
	for i, fault := range order {
		if i == len(order)-1 {
			portion = c.size.events - i*portion
		}
		for range portion {
			c.leave <- struct{}{}
		}
		if c.fresh {
			c.child.WaitReady() // it has committed a batch
			c.fresh = false
		}
		for range 1 + c.random.IntN(portion) {
			if !c.awaitOne() {
				return
			}
		}
		fault()
		if c.t.Failed() {
			break
		}
	}
	close(c.leave)
}

// awaitOne waits for an accepted event; false when none comes.
func (c *chaos) awaitOne() bool {
	select {
	case <-c.accepted:
		return true
	case <-time.After(time.Minute):
		c.t.Error("no event was accepted for a minute")
		close(c.leave)
		return false
	}
}

func (c *chaos) killPostgres() {
	ctx, cancel := context.WithTimeout(c.t.Context(), time.Minute)
	defer cancel()
	if err := c.postgres.Kill(); err != nil {
		c.t.Fatal(err)
	}
	if err := c.postgres.Restart(ctx); err != nil {
		c.t.Fatal(err)
	}
}

// finish waits for the last event to be folded and asks all oracles.
func (c *chaos) finish(p *plane.Plane, all []*generator) {
	t := c.t
	if t.Failed() {
		return
	}
	started := time.Now()
	settle(t, p, 1)
	t.Logf("level %s after the last event", time.Since(started).Round(time.Millisecond))
	c.child.Kill()
	m := modelOf(all)
	mustHoldExactly(t, p, all)
	report := verifyEdition(t, p, 1)
	mustBeClean(t, report)
	pool, err := p.DB.OwnerOf(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	mustEqualModel(t, pool, m)
	mustHaveSeenOnce(t, p, m)
	t.Logf("%d events, %d rows, %d entities, faults: %+v", report.Events, report.Rows, len(m.seen), c.size)
}

// mustHoldExactly reads the journal: every accepted event at its sequence, no other event, none twice.
func mustHoldExactly(t testing.TB, p *plane.Plane, all []*generator) {
	t.Helper()
	facts, err := p.Journal.Shard(0).Facts(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	at := map[string]uint64{}
	sums := map[envelope.Key]count{}
	versions := map[envelope.Key]uint64{}
	err = journal.Read(t.Context(), p.Journal.Shard(0), 0, facts.LastSeq, func(e *envelope.Event) error {
		if e.Tenant == envelope.PlaneTenant {
			return nil
		}
		if first, twice := at[e.EventID]; twice {
			t.Errorf("command %s of %s is in the journal at %d and at %d", e.CommandID, e.Key, first, e.Seq)
		}
		at[e.EventID] = e.Seq
		s := sums[e.Key]
		sums[e.Key] = count{s.events + 1, s.sum + e.Seq}
		if versions[e.Key]++; versions[e.Key] != e.Version {
			t.Errorf("event %d of %s has version %d, want %d", e.Seq, e.Key, e.Version, versions[e.Key])
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range all {
		for id, seq := range g.accepted {
			if at[id] != seq {
				t.Errorf("an event accepted at %d is in the journal at %d", seq, at[id])
			}
			delete(at, id)
		}
	}
	if len(at) > 0 {
		t.Errorf("%d events are in the journal that nobody was told of", len(at))
	}
}

// mustHaveSeenOnce holds the audit table against the model: each event was folded once, no more and no less.
func mustHaveSeenOnce(t testing.TB, p *plane.Plane, m *model) {
	t.Helper()
	pool, err := p.DB.Owner(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	rows, err := pool.Query(t.Context(), "SELECT tenant, entity, id, events, seqs::bigint FROM audit.seen WHERE tenant <> '_plane'")
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for rows.Next() {
		var key envelope.Key
		var got count
		if err := rows.Scan(&key.Tenant, &key.Entity, &key.ID, &got.events, &got.sum); err != nil {
			t.Fatal(err)
		}
		if found++; got != m.seen[key] {
			t.Errorf("%s was folded %+v, want %+v", key, got, m.seen[key])
		}
	}
	if rows.Err() != nil || found != len(m.seen) {
		t.Errorf("%d entities were audited, want %d: %v", found, len(m.seen), rows.Err())
	}
}
