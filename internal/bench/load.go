package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/google/uuid"
	"github.com/refold-dev/refold/events"
	"github.com/refold-dev/refold/events/envelope"
	"github.com/refold-dev/refold/internal/directory"
	"github.com/refold-dev/refold/internal/plane"
	"golang.org/x/sync/errgroup"
)

// writers append beside each other.
const writers = 256

// hashStandIn has the length of a request hash.
const hashStandIn = "1234567890123456789012345678901234567890123"

// fill appends the events of a data set: a third adds a memory, a third changes one, and a third moves one to another
// state (with history) or changes it again (rows only). The events of a memory lie anywhere in the stream, so that
// neither a cache nor a batch gets two of them at a gulp.
func (b *bench) fill(ctx context.Context, p *plane.Plane, history bool) error {
	tenants, err := b.createTenants(ctx, p)
	if err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	for w := range writers {
		group.Go(func() error { return b.write(ctx, p, tenants, w, history) })
	}
	return group.Wait()
}

func (b *bench) createTenants(ctx context.Context, p *plane.Plane) ([]directory.Tenant, error) {
	var out []directory.Tenant
	for i := range b.tenants {
		t, _, err := p.CreateTenant(ctx, fmt.Sprintf("tenant-%d", i), "", "bench")
		if err != nil {
			return nil, err
		}
		out = append(out, t)
	}
	return out, nil
}

// life is what a writer remembers of a memory.
type life struct {
	tenant  directory.Tenant
	id      uuid.UUID
	version uint64
	seq     uint64
}

// write appends three events for each of a writer's memories, in an order of the seed's.
func (b *bench) write(ctx context.Context, p *plane.Plane, tenants []directory.Tenant, w int, history bool) error {
	random := b.random(w)
	var lives []life
	for i := w * 3; i < b.events; i += writers * 3 {
		lives = append(lives, life{tenant: tenants[random.IntN(len(tenants))], id: someID(random)})
	}
	order := make([]int, 0, 3*len(lives))
	for i := range lives {
		order = append(order, i, i, i)
	}
	random.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
	for _, i := range order {
		l := &lives[i]
		l.version++
		e, err := l.event(l.payload(random, history))
		if err != nil {
			return err
		}
		receipt, err := p.Journal.Shard(l.tenant.Shard).Append(ctx, e, l.seq)
		if err != nil {
			return err
		}
		l.seq = receipt.Seq
	}
	return nil
}

func (b *bench) random(stream int) *rand.Rand { return rand.New(rand.NewPCG(b.seed, uint64(stream))) }

// someID is a random id as users and memories have them.
func someID(random *rand.Rand) (id uuid.UUID) {
	binary.BigEndian.PutUint64(id[:8], random.Uint64())
	binary.BigEndian.PutUint64(id[8:], random.Uint64())
	id[6], id[8] = id[6]&0x0f|0x40, id[8]&0x3f|0x80 // version 4, RFC 9562
	return id
}

func (l *life) payload(random *rand.Rand, history bool) events.Payload {
	switch {
	case l.version == 1:
		app := someID(random)
		return &events.MemoryAdded{UserID: someID(random), AppID: &app, Private: events.MemoryPrivate{
			Content:  fmt.Sprintf("The quick brown fox number %d jumps over the lazy dog, again and again, until it is tired.", random.IntN(1e9)),
			Metadata: []byte(`{"source": "bench"}`),
		}}
	case l.version == 3 && history:
		return &events.MemoryPaused{By: someID(random)}
	default:
		content := fmt.Sprintf("Changed to something else entirely, at step %d of the benchmark, for the %d. time.", random.IntN(1e9), l.version-1)
		return &events.MemoryChanged{Private: events.MemoryChangedPrivate{Content: &content}}
	}
}

func (l *life) event(payload events.Payload) (*envelope.Event, error) {
	public, private, err := payload.Halves()
	if err != nil {
		return nil, err
	}
	key := envelope.Key{Tenant: l.tenant.ID, Entity: "memory", ID: l.id.String()}
	command := fmt.Sprint("bench-", l.version)
	return &envelope.Event{
		Key: key, EventID: envelope.MessageID(l.tenant.Key, key, command), Kind: payload.Kind(), Version: l.version,
		Time: time.Now().UTC().Truncate(time.Microsecond), Actor: "bench", CommandID: command,
		Data: envelope.Compose(public, private, hashStandIn),
	}, nil
}
