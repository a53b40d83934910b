package changes

import (
	"context"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/refold-dev/refold/events/envelope"
	"github.com/refold-dev/refold/internal/journal"
	"github.com/refold-dev/refold/internal/reader"
)

const (
	rememberDefault = 16_384
	// lingerMax is how long a shard is followed after the last listener has left: those who poll come again.
	lingerMax = time.Minute
)

// tail follows the end of one shard for all who listen to it in this process.
type tail struct {
	shard journal.Shard
	stop  context.CancelFunc

	listeners int         // guarded by Feed.mu
	idle      *time.Timer // guarded by Feed.mu; nil while there are listeners

	mu      sync.Mutex
	ready   chan struct{} // closed once base, or err, is known
	base    reader.Position
	first   uint64 // sequence of the oldest entry of the ring
	next    uint64 // sequence of the next event
	ring    []entry
	newest  map[string]uint64        // by tenant: its newest event in the ring; others may be there as well
	waiting map[string]chan struct{} // by tenant: closed when an event of it has come, or the tail has ended
	err     error                    // why the tail has ended
}

type entry struct {
	tenant string
	Change
}

func newTail(shard journal.Shard, stop context.CancelFunc, remember int) *tail {
	return &tail{
		shard: shard, stop: stop, ready: make(chan struct{}), ring: make([]entry, remember),
		newest: map[string]uint64{}, waiting: map[string]chan struct{}{},
	}
}

// run follows the shard from its head until ctx ends or the journal does not answer any more.
func (t *tail) run(ctx context.Context) {
	t.end(t.follow(ctx))
}

func (t *tail) follow(ctx context.Context) error {
	facts, err := t.shard.Facts(ctx)
	if err != nil {
		return err
	}
	follower, err := t.shard.Follow(ctx, journal.FollowOptions{After: facts.LastSeq})
	if err != nil {
		return err
	}
	defer follower.Close()
	t.begin(facts)
	for {
		events, err := follower.Next(ctx, 0, 0)
		if err != nil {
			return err
		}
		t.add(events)
	}
}

func (t *tail) begin(facts journal.Facts) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.base = reader.Position{JournalID: facts.JournalID, Incarnation: facts.Incarnation, Shard: facts.Shard}
	t.first, t.next = facts.LastSeq+1, facts.LastSeq+1
	close(t.ready)
}

func (t *tail) add(events []envelope.Event) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i := range events {
		e := &events[i]
		*t.at(e.Seq) = entry{e.Tenant, changeOf(e)}
		t.newest[e.Tenant] = e.Seq
		t.next = e.Seq + 1
		t.first = max(t.first, t.next-min(t.next, uint64(len(t.ring))))
		if changed, ok := t.waiting[e.Tenant]; ok {
			close(changed)
			delete(t.waiting, e.Tenant)
		}
	}
	if len(t.newest) > 2*len(t.ring) {
		maps.DeleteFunc(t.newest, func(_ string, seq uint64) bool { return seq < t.first })
	}
}

func (t *tail) at(seq uint64) *entry { return &t.ring[seq%uint64(len(t.ring))] }

func (t *tail) end(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.err = fmt.Errorf("follow shard for listeners: %w", err)
	select {
	case <-t.ready:
	default:
		close(t.ready)
	}
	for tenant, changed := range t.waiting {
		close(changed)
		delete(t.waiting, tenant)
	}
}

// glance is what a tail knows about one tenant behind a sequence.
type glance struct {
	found   []Change
	through uint64          // up to here, found is all there is
	behind  uint64          // not 0: all up to here must be read from the journal, for the ring does not go back so far
	changed <-chan struct{} // closed when there is more
}

// look returns up to countMax changes of a tenant behind a sequence.
func (t *tail) look(tenant string, after uint64, countMax int) (glance, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.err != nil:
		return glance{}, t.err
	case after+1 < t.first:
		return glance{behind: t.first - 1}, nil
	case t.newest[tenant] <= after:
		changed := t.waiting[tenant]
		if changed == nil {
			changed = make(chan struct{})
			t.waiting[tenant] = changed
		}
		return glance{through: max(after, t.next-1), changed: changed}, nil
	}
	g := glance{through: after}
	for seq := after + 1; seq < t.next && len(g.found) < countMax; seq++ {
		if e := t.at(seq); e.tenant == tenant {
			g.found = append(g.found, e.Change)
		}
		g.through = seq
	}
	return g, nil
}
