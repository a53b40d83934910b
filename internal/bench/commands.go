package main

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/refold-dev/refold/events/envelope"
	"github.com/refold-dev/refold/internal/command"
	"github.com/refold-dev/refold/internal/directory"
	"github.com/refold-dev/refold/internal/localstack"
	"github.com/refold-dev/refold/internal/memory"
	"github.com/refold-dev/refold/internal/plane"
	"github.com/refold-dev/refold/internal/projector"
)

const (
	commandsFor = 6 * time.Second
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
	var mu sync.Mutex
	var took []time.Duration
	var failed atomic.Pointer[error]
	var all sync.WaitGroup
	started := time.Now()
	for c := range clients {
		all.Go(func() {
			var mine []time.Duration
			for i := 0; time.Since(started) < commandsFor && failed.Load() == nil; i++ {
				at := time.Now()
				if _, err := add(ctx, p, tenant, fmt.Sprintf("c%d-%d-%d", clients, c, i)); err != nil {
					failed.Store(&err)
				}
				mine = append(mine, time.Since(at))
			}
			mu.Lock()
			defer mu.Unlock()
			took = append(took, mine...)
		})
	}
	all.Wait()
	if err := failed.Load(); err != nil {
		return *err
	}
	b.say(fmt.Sprintf("accepted_durable_%d_clients", clients), rate(len(took), started), "commands/s")
	b.percentiles(fmt.Sprintf("accepted_durable_%d_clients", clients), took)
	return nil
}

func (b *bench) percentiles(name string, took []time.Duration) {
	slices.Sort(took)
	for _, q := range []int{50, 99} {
		b.say(fmt.Sprintf("%s.p%d", name, q), took[len(took)*q/100].Seconds()*1000, "ms")
	}
}

// paced sends 500 commands a second and measures from each answer to the commit of its row.
func (b *bench) paced(ctx context.Context, p *plane.Plane, tenant directory.Tenant) error {
	var mu sync.Mutex
	accepted, readable := map[uint64]time.Time{}, map[uint64]time.Time{}
	p.OnBatch = func(_ int64, _ int, batch projector.Batch) {
		now := time.Now()
		mu.Lock()
		defer mu.Unlock()
		for i := range batch.Events {
			readable[batch.Events[i].Seq] = now
		}
	}
	running, stop := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- p.Run(running) }()
	if err := p.Editions.CatchUp(ctx, 1, nil); err != nil {
		stop()
		return err
	}
	var failed atomic.Pointer[error]
	var all sync.WaitGroup
	tick := time.NewTicker(pacedEvery)
	for i := range int(pacedFor / pacedEvery) {
		<-tick.C
		all.Go(func() {
			out, err := add(ctx, p, tenant, fmt.Sprint("paced-", i))
			if err != nil {
				failed.Store(&err)
				return
			}
			now := time.Now()
			mu.Lock()
			defer mu.Unlock()
			accepted[out.Seq] = now
		})
	}
	all.Wait()
	err := p.Editions.CatchUp(ctx, 1, nil)
	stop()
	if runErr := <-done; err == nil {
		err = runErr
	}
	if first := failed.Load(); first != nil {
		err = *first
	}
	if err != nil {
		return err
	}
	var took []time.Duration
	for seq, at := range accepted {
		if ready, ok := readable[seq]; ok {
			took = append(took, max(ready.Sub(at), 0))
		}
	}
	if len(took) < len(accepted)*9/10 {
		return fmt.Errorf("only %d of %d commands were seen to become readable", len(took), len(accepted))
	}
	b.percentiles("accepted_to_readable_at_500", took)
	return nil
}
