package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"github.com/refold-dev/refold/events/client"
	"github.com/refold-dev/refold/events/commands"
	"github.com/refold-dev/refold/events/envelope"
	"github.com/refold-dev/refold/internal/auth"
	"github.com/refold-dev/refold/internal/bench/dataset"
	"github.com/refold-dev/refold/internal/directory"
	"github.com/refold-dev/refold/internal/localstack"
	"github.com/refold-dev/refold/internal/natsapi"
	"github.com/refold-dev/refold/internal/plane"
	"github.com/refold-dev/refold/internal/reader"
	"github.com/refold-dev/refold/internal/writer"
)

const (
	producersCount = 8
	producersBatch = 250
	// producersAhead is how many batches a producer has under way.
	producersAhead = 2
)

// producers measures 8 batching producers over TCP on a journal that syncs before it acknowledges, beside what such a
// journal takes at all: appends in groups without any command around them, and single publishes as any client of
// JetStream would make them. The producers run in this process and take their share of its cores; nothing projects
// meanwhile.
func (b *bench) producers(ctx context.Context) error {
	if os.Getenv("GOGC") == "" { // as a process that serves
		defer debug.SetGCPercent(debug.SetGCPercent(plane.GCPercent))
	}
	p, end, err := b.openForProducers(ctx)
	if err != nil {
		return err
	}
	defer end()
	tenant, _, err := p.CreateTenant(ctx, "acme", "", "bench")
	if err != nil {
		return err
	}
	return b.profiled(func() error {
		if err := errors.Join(b.calm(ctx), b.ungrouped(ctx, p), b.grouped(ctx, p, tenant)); err != nil {
			return err
		}
		if err := b.batching(ctx, p); err != nil {
			return err
		}
		b.over("ratio.producers_over_grouped_appends", "producers_8_batching", "appends_grouped")
		b.over("ratio.producers_over_ungrouped_publishes", "producers_8_batching", "publishes_ungrouped")
		return nil
	})
}

func (b *bench) openForProducers(ctx context.Context) (*plane.Plane, func(), error) {
	b.planes++
	name := fmt.Sprintf("plane%d", b.planes)
	if err := b.exec(ctx, "CREATE DATABASE "+name); err != nil {
		return nil, nil, err
	}
	at, err := b.databaseURL(name)
	if err != nil {
		return nil, nil, err
	}
	p, err := plane.Open(ctx, plane.Config{
		DataDir: filepath.Join(b.dir, name), PostgresURL: at, NATSListen: "127.0.0.1:0", Durability: localstack.DurabilityAlways, ScrubRate: -1,
	})
	if err != nil {
		return nil, nil, err
	}
	end := func() { _ = p.Close() }
	if err := p.EnsureLive(ctx, nil); err != nil {
		end()
		return nil, nil, err
	}
	return p, end, nil
}

// ungrouped publishes to a stream of its own on the same server, each message for itself.
func (b *bench) ungrouped(ctx context.Context, p *plane.Plane) error {
	b.note("publish one by one")
	js, err := jetstream.New(p.Stack.NATS())
	if err != nil {
		return err
	}
	name := fmt.Sprintf("BENCH%d", time.Now().UnixNano()) // a name that was deleted must not be used again
	if _, err := js.CreateStream(ctx, jetstream.StreamConfig{Name: name, Subjects: []string{"bench.>"}}); err != nil {
		return err
	}
	body := []byte(strings.Repeat("x", 300))
	counts := make([]int, producersCount)
	started := time.Now()
	group, publishing := errgroup.WithContext(ctx)
	for i := range producersCount {
		group.Go(func() error {
			for ; time.Since(started) < commandsFor; counts[i]++ {
				if _, err := js.PublishMsg(publishing, &nats.Msg{Subject: fmt.Sprintf("bench.%d", i), Data: body}); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	b.say("publishes_ungrouped", rate(sum(counts), started), "events/s")
	return js.DeleteStream(ctx, name)
}

// grouped appends events as they are, as many at a time as the producers have commands under way.
func (b *bench) grouped(ctx context.Context, p *plane.Plane, tenant directory.Tenant) error {
	b.note("append in groups")
	shard := p.Journal.Shard(tenant.Shard)
	counts := make([]int, producersCount*producersBatch)
	started := time.Now()
	group, appending := errgroup.WithContext(ctx)
	for i := range counts {
		group.Go(func() error {
			for ; time.Since(started) < commandsFor; counts[i]++ {
				if _, err := shard.Append(appending, b.event(tenant, fmt.Sprintf("g%d-%d-%d", started.UnixNano(), i, counts[i])), 0); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	b.say("appends_grouped", rate(sum(counts), started), "events/s")
	return nil
}

func (b *bench) event(tenant directory.Tenant, command string) *envelope.Event {
	key := envelope.Key{Tenant: tenant.ID, Entity: "bench", ID: uuid.NewString()}
	return &envelope.Event{
		Key: key, EventID: envelope.MessageID(tenant.Key, key, command), Kind: "bench.done.v1", Version: 1,
		Time: time.Now().UTC().Truncate(time.Microsecond), Actor: "bench", CommandID: command,
		Data: envelope.Compose([]byte(`{"user_id":"01935cae-bf00-8000-9000-00000000de10"}`), []byte(`{"content":"`+strings.Repeat("x", 100)+`"}`), dataset.HashStandIn),
	}
}

// batching lets producers send one batch after another.
func (b *bench) batching(ctx context.Context, p *plane.Plane) error {
	b.note(fmt.Sprintf("%d producers, %d commands a batch", producersCount, producersBatch))
	answering, stop := context.WithCancel(ctx)
	defer stop()
	ended, token, err := answerProducers(answering, p)
	if err != nil {
		return err
	}
	counts := make([]int, producersCount*producersAhead)
	clients := make([]*client.Client, producersCount)
	for i := range clients {
		if clients[i], err = client.Connect(ctx, client.Config{URL: p.Stack.NATSURL(), Token: client.StaticToken(token)}); err != nil {
			return err
		}
		defer clients[i].Close()
	}
	started := time.Now()
	group, sending := errgroup.WithContext(ctx)
	for i := range counts {
		group.Go(func() error {
			for time.Since(started) < commandsFor {
				if err := sendBatch(sending, clients[i/producersAhead], fmt.Sprintf("b%d-%d-%d", started.UnixNano(), i, counts[i])); err != nil {
					return err
				}
				counts[i] += producersBatch
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	b.say("producers_8_batching", rate(sum(counts), started), "commands/s")
	stop()
	return <-ended
}

func sendBatch(ctx context.Context, c *client.Client, name string) error {
	wishes := make([]commands.Wish, producersBatch)
	for n := range wishes {
		key := fmt.Sprintf("%s-%d", name, n)
		wishes[n] = commands.Wish{Key: key, Command: commands.AddMemory{Content: "A memory of the benchmark, as long as such a thing is wont to be: " + key}}
	}
	results, err := c.DoAll(ctx, wishes)
	if err != nil {
		return err
	}
	for _, r := range results {
		if err := client.Err(r); err != nil {
			return err
		}
	}
	return nil
}

// answerProducers runs the edge in this process until ctx ends, and returns a token for it.
func answerProducers(ctx context.Context, p *plane.Plane) (ended chan error, token string, err error) {
	key, err := auth.LocalKey(p.DataDir)
	if err != nil {
		return nil, "", err
	}
	verifier, err := auth.NewVerifier(auth.Config{Issuers: []auth.Issuer{key.Issuer()}})
	if err != nil {
		return nil, "", err
	}
	sealer, err := reader.NewSealer([]byte(strings.Repeat("k", 32)))
	if err != nil {
		return nil, "", err
	}
	login := p.Stack.Producers()
	admission, err := natsapi.NewAdmission(login.IssuerSeed, localstack.ProducersAccount)
	if err != nil {
		return nil, "", err
	}
	if token, err = key.Mint(auth.TokenRequest{Tenant: "acme", Subject: "bench", Scopes: auth.AllScopes()}); err != nil {
		return nil, "", err
	}
	config := natsapi.Config{
		Connect: p.Stack.ConnectProducers, Verifier: verifier, Sealer: sealer, Admission: admission,
		Writer: writer.New(p.Directory, p.Shard, reader.New(p.Live, p.DB)),
	}
	ready, ended := make(chan struct{}), make(chan error, 1)
	go func() { ended <- natsapi.Serve(ctx, config, func() { close(ready) }) }()
	select {
	case <-ready:
		return ended, token, nil
	case err := <-ended:
		return nil, "", err
	}
}

func sum(counts []int) (all int) {
	for _, n := range counts {
		all += n
	}
	return all
}
