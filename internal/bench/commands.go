package main

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/refold-dev/refold/events/envelope"
	"github.com/refold-dev/refold/internal/command"
	"github.com/refold-dev/refold/internal/directory"
	"github.com/refold-dev/refold/internal/localstack"
	"github.com/refold-dev/refold/internal/memory"
	"github.com/refold-dev/refold/internal/plane"
	"github.com/refold-dev/refold/internal/projector"
	"golang.org/x/sync/errgroup"
)

const (
	commandsFor = 5 * time.Second
	pacedFor    = 10 * time.Second
	pacedEvery  = 2 * time.Millisecond // 500 commands a second
)

// commands measures durable commands, and how long their rows take to be readable.
func (b *bench) commands(ctx context.Context) error {
	p, end, err := b.open(ctx, localstack.DurabilityAlways)
	if err != nil {
		return err
	}
	defer end()
	tenant, _, err := p.CreateTenant(ctx, "acme", "", "bench")
	if err != nil {
		return err
	}
	for _, clients := range []int{1, 256} {
		if err := b.accepted(ctx, p, tenant, clients); err != nil {
			return err
		}
	}
	return b.paced(ctx, p, tenant)
}

func add(ctx context.Context, p *plane.Plane, tenant directory.Tenant, commandID string) (command.Outcome, error) {
	id := memory.NewID(tenant.Key, tenant.ID, "bench", commandID)
	cmd := memory.Add{UserID: uuid.NameSpaceOID, Content: "A memory of the benchmark, as long as such a thing is wont to be: " + commandID}
	hash, err := command.Hash("memory.add", cmd)
	if err != nil {
		return command.Outcome{}, err
	}
	return command.Execute(ctx, p.Journal.Shard(tenant.Shard), command.Request{
		Key: envelope.Key{Tenant: tenant.ID, Entity: "memory", ID: id.String()}, TenantKey: tenant.Key, CommandID: commandID,
		RequestHash: hash, Actor: "bench", Fresh: true,
	}, memory.Evolve, memory.Decide, memory.Command(cmd))
}

// accepted lets clients send one command after another.
func (b *bench) accepted(ctx context.Context, p *plane.Plane, tenant directory.Tenant, clients int) error {
	b.note(fmt.Sprintf("commands of %d clients", clients))
	took := make([][]time.Duration, clients)
	group, ctx := errgroup.WithContext(ctx)
	started := time.Now()
	for c := range clients {
		group.Go(func() error {
			for i := 0; time.Since(started) < commandsFor; i++ {
				at := time.Now()
				if _, err := add(ctx, p, tenant, fmt.Sprintf("c%d-%d-%d", clients, c, i)); err != nil {
					return err
				}
				took[c] = append(took[c], time.Since(at))
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	all := slices.Concat(took...)
	name := fmt.Sprintf("accepted_durable_%d_clients", clients)
	b.say(name, rate(len(all), started), "commands/s")
	b.percentiles(name, all)
	return nil
}

func (b *bench) percentiles(name string, took []time.Duration) {
	slices.Sort(took)
	for _, q := range []int{50, 99} {
		b.say(fmt.Sprintf("%s.p%d", name, q), took[len(took)*q/100].Seconds()*1000, "ms")
	}
}

// paced sends 500 commands a second, whether those before were answered or not, and measures from each answer to the
// commit of its row.
func (b *bench) paced(ctx context.Context, p *plane.Plane, tenant directory.Tenant) error {
	seen := newArrivals()
	p.OnBatch = func(_ int64, _ int, batch projector.Batch) { seen.commit(batch, time.Now()) }
	running, stop := context.WithCancel(ctx)
	defer stop()
	group, running := errgroup.WithContext(running)
	group.Go(func() error { return p.Run(running) })
	b.note("project what was accepted so far")
	if err := p.Editions.CatchUp(ctx, 1, nil); err != nil {
		return err
	}
	if err := b.calm(ctx); err != nil {
		return err
	}
	b.note("commands at a pace")
	var clients errgroup.Group
	started := time.Now()
	for i := range int(pacedFor / pacedEvery) {
		time.Sleep(time.Until(started.Add(time.Duration(i) * pacedEvery)))
		clients.Go(func() error {
			out, err := add(ctx, p, tenant, fmt.Sprint("paced-", i))
			seen.accept(out.Seq, time.Now())
			return err
		})
	}
	if err := clients.Wait(); err != nil {
		return err
	}
	if err := p.Editions.CatchUp(ctx, 1, nil); err != nil {
		return err
	}
	b.note("end")
	stop()
	if err := group.Wait(); err != nil { // every batch that was committed has been told of by now
		return err
	}
	took, err := seen.took()
	if err != nil {
		return err
	}
	b.percentiles("accepted_to_readable_at_500", took)
	return nil
}

// arrivals are the moments at which commands were accepted and their rows committed, by sequence.
type arrivals struct {
	mu       sync.Mutex
	accepted map[uint64]time.Time
	readable map[uint64]time.Time
}

func newArrivals() *arrivals {
	return &arrivals{accepted: map[uint64]time.Time{}, readable: map[uint64]time.Time{}}
}

func (a *arrivals) accept(seq uint64, at time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.accepted[seq] = at
}

func (a *arrivals) commit(batch projector.Batch, at time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for i := range batch.Events {
		a.readable[batch.Events[i].Seq] = at
	}
}

// took returns the delays; a row that is committed before its command's answer has arrived took nothing.
func (a *arrivals) took() ([]time.Duration, error) {
	var out []time.Duration
	for seq, at := range a.accepted {
		ready, ok := a.readable[seq]
		if !ok {
			return nil, fmt.Errorf("the command accepted at %d was never seen to become readable", seq)
		}
		out = append(out, max(ready.Sub(at), 0))
	}
	return out, nil
}

// arriveMax bounds how long a row may take to become readable.
const arriveMax = time.Minute

// between waits for the rows of the commands that were accepted in a span of time, and returns their delays.
func (a *arrivals) between(ctx context.Context, from, to time.Time) (out []time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, arriveMax)
	defer cancel()
	for {
		out, missing := a.delays(from, to)
		if missing == 0 {
			return out, nil
		}
		if err := wait(ctx, 10*time.Millisecond); err != nil {
			return nil, fmt.Errorf("the rows of %d commands do not become readable: %w", missing, err)
		}
	}
}

func (a *arrivals) delays(from, to time.Time) (out []time.Duration, missing int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for seq, at := range a.accepted {
		if at.Before(from) || at.After(to) {
			continue
		}
		if ready, ok := a.readable[seq]; ok {
			out = append(out, max(ready.Sub(at), 0))
		} else {
			missing++
		}
	}
	return out, missing
}
