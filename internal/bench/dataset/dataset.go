// Package dataset fills the journal of a plane quickly, with events as users make them, for what is measured.
package dataset

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/refold-dev/refold/events"
	"github.com/refold-dev/refold/events/envelope"
	"github.com/refold-dev/refold/internal/directory"
	"github.com/refold-dev/refold/internal/journal"
	"github.com/refold-dev/refold/internal/plane"
)

// HashStandIn has the length of a request hash.
const HashStandIn = "1234567890123456789012345678901234567890123"

const (
	publishedAhead = 4096
	stallMax       = time.Minute
)

// Set says what is made. Two fills with the same values make the same events, but for ids of tenants' keys and times.
type Set struct {
	Events  int
	Tenants int
	Seed    uint64 // of ids and of the order of events
	History bool   // a third of the events leaves a row of history
}

// Fill publishes the events to shard 0: a third adds a memory, a third changes one, and a third moves one to another
// state (with history) or changes it again (rows only). The events of a memory lie anywhere in the stream, so that
// neither a cache nor a batch gets two of them at a gulp.
//
// Nobody else writes, so every sequence is known beforehand and nothing is waited for; what is stored is byte for byte
// what Shard.Append would have stored.
func Fill(ctx context.Context, p *plane.Plane, set Set) error {
	tenants, err := set.createTenants(ctx, p)
	if err != nil {
		return err
	}
	shard := p.Journal.Shard(0)
	facts, err := shard.Facts(ctx)
	if err != nil {
		return err
	}
	var failed error
	js, err := jetstream.New(p.Stack.NATS(), jetstream.WithPublishAsyncMaxPending(publishedAhead),
		jetstream.WithPublishAsyncErrHandler(func(_ jetstream.JetStream, _ *nats.Msg, err error) { failed = err }))
	if err != nil {
		return err
	}
	if err := set.publish(js, facts, tenants); err != nil {
		return err
	}
	select {
	case <-js.PublishAsyncComplete():
	case <-ctx.Done():
		return ctx.Err()
	}
	first := facts.LastSeq
	if facts, err = shard.Facts(ctx); err != nil {
		return err
	}
	if facts.LastSeq != first+uint64(set.Events) {
		return fmt.Errorf("published %d events, the journal holds %d more than before: %w", set.Events, facts.LastSeq-first, failed)
	}
	return nil
}

func (s Set) createTenants(ctx context.Context, p *plane.Plane) ([]directory.Tenant, error) {
	var out []directory.Tenant
	for i := range s.Tenants {
		t, _, err := p.CreateTenant(ctx, fmt.Sprintf("tenant-%d", i), "", "bench")
		if err != nil {
			return nil, err
		}
		out = append(out, t)
	}
	return out, nil
}

// life is what the publisher remembers of a memory.
type life struct {
	tenant  directory.Tenant
	id      uuid.UUID
	version uint64
	seq     uint64
}

// publish hands over three events for each memory, in an order of the seed's.
func (s Set) publish(js jetstream.JetStream, facts journal.Facts, tenants []directory.Tenant) error {
	random := rand.New(rand.NewPCG(s.Seed, 0))
	lives := make([]life, (s.Events+2)/3)
	order := make([]int, 0, 3*len(lives))
	for i := range lives {
		lives[i] = life{tenant: tenants[random.IntN(len(tenants))], id: someID(random)}
		order = append(order, i, i, i)
	}
	random.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
	for n, i := range order[:s.Events] {
		l := &lives[i]
		l.version++
		e, err := l.event(l.payload(random, s.History))
		if err != nil {
			return err
		}
		m, err := message(e, facts.Stream, l.seq)
		if err != nil {
			return err
		}
		if _, err := js.PublishMsgAsync(m, jetstream.WithStallWait(stallMax)); err != nil {
			return fmt.Errorf("publish event %d: %w", n, err)
		}
		l.seq = facts.LastSeq + uint64(n) + 1
	}
	return nil
}

func message(e *envelope.Event, stream string, last uint64) (*nats.Msg, error) {
	subject, err := envelope.Subject(0, e.Key)
	if err != nil {
		return nil, err
	}
	m := &nats.Msg{Subject: subject, Header: nats.Header{}, Data: e.Data}
	for name, value := range e.Headers() {
		m.Header[name] = []string{value}
	}
	m.Header[jetstream.MsgIDHeader] = []string{e.EventID}
	m.Header[jetstream.ExpectedStreamHeader] = []string{stream}
	m.Header[jetstream.ExpectedLastSubjSeqHeader] = []string{strconv.FormatUint(last, 10)}
	return m, nil
}

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
		Data: envelope.Compose(public, private, HashStandIn),
	}, nil
}
