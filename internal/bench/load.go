package main

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/refold-dev/refold/events"
	"github.com/refold-dev/refold/events/envelope"
	"github.com/refold-dev/refold/internal/directory"
	"github.com/refold-dev/refold/internal/plane"
)

// database makes a database of a name and returns its URL.
func (b *bench) database(ctx context.Context, name string) (string, error) {
	conn, err := pgx.Connect(ctx, b.postgres.URL())
	if err != nil {
		return "", err
	}
	defer conn.Close(ctx)
	if _, err := conn.Exec(ctx, "CREATE DATABASE "+name); err != nil {
		return "", err
	}
	url := b.postgres.URL()
	at := strings.LastIndex(url, "/")
	_, query, _ := strings.Cut(url[at:], "?")
	return url[:at+1] + name + "?" + query, nil
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

const writers = 256

// fill appends events: of three, one adds a memory, one changes it, and one moves it to another state (with history)
// or changes it again (rows only).
func (b *bench) fill(ctx context.Context, p *plane.Plane, history bool) error {
	tenants, err := b.createTenants(ctx, p)
	if err != nil {
		return err
	}
	var failed atomic.Pointer[error]
	var all sync.WaitGroup
	for w := range writers {
		all.Go(func() {
			for i := w * 3; i < b.events && failed.Load() == nil; i += writers * 3 {
				if err := life(ctx, p, tenants[i%len(tenants)], i, history); err != nil {
					failed.Store(&err)
				}
			}
		})
	}
	all.Wait()
	if err := failed.Load(); err != nil {
		return *err
	}
	return nil
}

// life appends the three events of one memory.
func life(ctx context.Context, p *plane.Plane, tenant directory.Tenant, i int, history bool) error {
	id, app := uuid.New(), uuid.New()
	change := func(n int) events.Payload {
		content := fmt.Sprintf("Changed to something else entirely, at step %d of the benchmark, for the %d. time.", i, n)
		return &events.MemoryChanged{Private: events.MemoryChangedPrivate{Content: &content}}
	}
	last := change(2)
	if history {
		last = &events.MemoryPaused{By: uuid.New()}
	}
	payloads := []events.Payload{
		&events.MemoryAdded{UserID: uuid.New(), AppID: &app, Private: events.MemoryPrivate{
			Content: fmt.Sprintf("The quick brown fox number %d jumps over the lazy dog, again and again, until it is tired.", i), Metadata: []byte(`{"source": "bench"}`)}},
		change(1), last,
	}
	seq := uint64(0)
	for n, payload := range payloads {
		e, err := event(tenant, id, uint64(n+1), payload)
		if err != nil {
			return err
		}
		receipt, err := p.Journal.Shard(tenant.Shard).Append(ctx, e, seq)
		if err != nil {
			return err
		}
		seq = receipt.Seq
	}
	return nil
}

func event(tenant directory.Tenant, id uuid.UUID, version uint64, payload events.Payload) (*envelope.Event, error) {
	public, private, err := payload.Halves()
	if err != nil {
		return nil, err
	}
	key := envelope.Key{Tenant: tenant.ID, Entity: "memory", ID: id.String()}
	command := fmt.Sprint("bench-", version)
	return &envelope.Event{
		Key: key, EventID: envelope.MessageID(tenant.Key, key, command), Kind: payload.Kind(), Version: version,
		Time: time.Now().UTC().Truncate(time.Microsecond), Actor: "bench", CommandID: command,
		Data: envelope.Compose(public, private, "1234567890123456789012345678901234567890123"),
	}, nil
}
