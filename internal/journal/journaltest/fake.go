// Package journaltest holds an in-memory journal.Shard for tests of other packages, and the conformance table that
// keeps it honest: the same cases run against the fake, an embedded JetStream and a cluster of three.
package journaltest

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/refold-dev/refold/events/envelope"
	"github.com/refold-dev/refold/internal/journal"
)

// Fake is a journal.Shard in memory. It is safe for concurrent use. The hooks must be set before it is shared.
type Fake struct {
	// BeforeAppend may refuse an event: its error is returned and nothing is stored.
	BeforeAppend func(*envelope.Event) error
	// AfterAppend may hide a success: the event is stored, and the error is returned.
	AfterAppend func(*envelope.Event) error
	// HistoryLag is how many of the newest events of each entity History does not see yet, as on a follower of
	// a cluster. Last always sees all.
	HistoryLag func(envelope.Key) int
	// BytesMax is the budget, 0 = none.
	BytesMax uint64

	mu      sync.Mutex
	facts   journal.Facts
	events  []envelope.Event // sequence i+1; Seq 0 = lost
	readers int              // that are not closed
	grown   chan struct{}    // closed and replaced when something was appended
}

var _ journal.Shard = (*Fake)(nil)

// NewFake returns a shard that is empty but for its genesis event.
func NewFake(number, shards int) *Fake {
	f := &Fake{grown: make(chan struct{})}
	f.Recreate("01FAKE0000000000000000"+strconv.Itoa(number), number, shards)
	return f
}

// Recreate replaces the shard by a new one of another journal.
func (f *Fake) Recreate(journalID string, number, shards int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.events = nil
	f.facts = journal.Facts{
		JournalID: journalID, Incarnation: 1, Shard: number, Shards: shards, Replicas: 1,
		Stream: fmt.Sprintf("REFOLD-%d-%s", number, journalID), Created: time.Now().UTC(),
	}
	id := fmt.Sprintf("genesis-%s-%d", journalID, number)
	f.store(envelope.Event{
		Key:     envelope.Key{Tenant: envelope.PlaneTenant, Entity: "journal", ID: strconv.Itoa(number)},
		EventID: id, CommandID: id, Kind: "journal.created.v1", Version: 1, Actor: "refold",
		Time: time.Now().UTC().Truncate(time.Microsecond),
		Data: envelope.Compose(fmt.Appendf(nil, `{"journal_id":%q,"shard":%d,"shards":%d,"format":1}`, journalID, number, shards), nil, "genesis"),
	})
}

// Truncate takes the shard back to a sequence, as the restore of an older copy does: its identity stays.
func (f *Fake) Truncate(lastSeq uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.events = slices.Clone(f.events[:lastSeq])
}

// Lose makes one event disappear, which a journal must never do.
func (f *Fake) Lose(seq uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.events[seq-1] = envelope.Event{}
}

// Reconnects implements journal.Shard: memory is never disconnected.
func (f *Fake) Reconnects() uint64 { return 0 }

// Number implements journal.Shard.
func (f *Fake) Number() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.facts.Shard
}

// Append implements journal.Shard.
func (f *Fake) Append(ctx context.Context, e *envelope.Event, last uint64) (journal.Receipt, error) {
	if err := ctx.Err(); err != nil {
		return journal.Receipt{}, journal.Unavailable(err)
	}
	if f.BeforeAppend != nil {
		if err := f.BeforeAppend(e); err != nil {
			return journal.Receipt{}, err
		}
	}
	receipt, err := f.append(e, last)
	if err == nil && f.AfterAppend != nil {
		err = f.AfterAppend(e)
	}
	if err != nil {
		return journal.Receipt{}, fmt.Errorf("append to %s after sequence %d: %w", e.Key, last, err)
	}
	return receipt, nil
}

func (f *Fake) append(e *envelope.Event, last uint64) (journal.Receipt, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	bytes, err := journal.Check(f.facts.Shard, e)
	if err != nil {
		return journal.Receipt{}, err
	}
	history := f.history(e.Key)
	for i := range history {
		if history[i].EventID != e.EventID {
			continue
		}
		// Recognised for ever, where JetStream does for a window, and beyond it behind last only.
		if !isSame(&history[i], e) {
			return journal.Receipt{}, journal.ErrConflict
		}
		*e = history[i]
		return journal.Receipt{Seq: e.Seq, Repeated: true}, nil
	}
	if newest(history) != last {
		return journal.Receipt{}, journal.ErrConflict
	}
	if !f.admits(e.Tenant, uint64(bytes)) {
		return journal.Receipt{}, journal.ErrFull
	}
	e.Shard, e.Seq = f.facts.Shard, f.store(*e)
	return journal.Receipt{Seq: e.Seq}, nil
}

func isSame(stored, e *envelope.Event) bool {
	return stored.CommandID == e.CommandID && envelope.RequestHash(stored.Data) == envelope.RequestHash(e.Data)
}

func newest(history []envelope.Event) uint64 {
	if len(history) == 0 {
		return 0
	}
	return history[len(history)-1].Seq
}

func (f *Fake) admits(tenant string, bytes uint64) bool {
	limit := f.BytesMax
	if limit == 0 {
		return true
	}
	if tenant != envelope.PlaneTenant {
		limit = limit / 100 * 95
	}
	return f.facts.Bytes+bytes <= limit
}

// store keeps the event as it comes back from a real journal, through its headers.
func (f *Fake) store(e envelope.Event) uint64 {
	headers := e.Headers()
	stored := envelope.Event{Key: e.Key, Shard: f.facts.Shard, Seq: uint64(len(f.events) + 1), Data: slices.Clone(e.Data)}
	if err := stored.FromHeaders(func(name string) string { return headers[name] }); err != nil {
		panic(fmt.Sprintf("checked event of %s: %v", e.Key, err))
	}
	bytes, _ := journal.Check(f.facts.Shard, &stored)
	f.facts.Bytes += uint64(bytes)
	f.events = append(f.events, stored)
	close(f.grown)
	f.grown = make(chan struct{})
	return stored.Seq
}

func (f *Fake) history(key envelope.Key) []envelope.Event {
	var history []envelope.Event
	for _, e := range f.events {
		if e.Seq != 0 && e.Key == key {
			history = append(history, e)
		}
	}
	return history
}

// History implements journal.Shard.
func (f *Fake) History(ctx context.Context, key envelope.Key) ([]envelope.Event, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, err := envelope.Subject(f.facts.Shard, key); err != nil {
		return nil, err
	}
	history := f.history(key)
	if f.HistoryLag != nil {
		history = history[:max(0, len(history)-f.HistoryLag(key))]
	}
	return history, ctx.Err()
}

// Visit implements journal.Shard.
func (f *Fake) Visit(ctx context.Context, key envelope.Key, upTo uint64, visit func(*envelope.Event) error) error {
	f.mu.Lock()
	number, history := f.facts.Shard, f.history(key)
	f.mu.Unlock()
	if _, err := envelope.Subject(number, key); err != nil {
		return err
	}
	for version := uint64(1); version <= upTo; version++ {
		if version > uint64(len(history)) || history[version-1].Version != version {
			return fmt.Errorf("history of %s from version %d: %w", key, version, journal.ErrNoEvent)
		}
		if err := visit(&history[version-1]); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// Last implements journal.Shard.
func (f *Fake) Last(ctx context.Context, key envelope.Key) (*envelope.Event, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, err := envelope.Subject(f.facts.Shard, key); err != nil {
		return nil, err
	}
	history := f.history(key)
	if len(history) == 0 {
		return nil, ctx.Err()
	}
	return &history[len(history)-1], ctx.Err()
}

// At implements journal.Shard.
func (f *Fake) At(ctx context.Context, seq uint64) (*envelope.Event, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if seq == 0 || seq > uint64(len(f.events)) || f.events[seq-1].Seq == 0 {
		return nil, fmt.Errorf("event %d of shard %d: %w", seq, f.facts.Shard, journal.ErrNoEvent)
	}
	e := f.events[seq-1]
	return &e, ctx.Err()
}

// Facts implements journal.Shard.
func (f *Fake) Facts(ctx context.Context) (journal.Facts, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	facts := f.facts
	facts.BytesMax = f.BytesMax
	facts.Consumers = f.readers
	facts.FirstSeq = 1
	facts.LastSeq = uint64(len(f.events))
	for _, e := range f.events {
		if e.Seq == 0 {
			facts.Deleted++
		} else {
			facts.Messages++
		}
	}
	return facts, ctx.Err()
}
