package journaltest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/refold-dev/refold/events/envelope"
	"github.com/refold-dev/refold/internal/journal"
)

// appendNext appends one command behind the entity's newest event, and repeats it under the same id until the
// outcome is definite.
func appendNext(ctx context.Context, s journal.Shard, key envelope.Key, commandID string) (journal.Receipt, error) {
	doubt := false
	for {
		if err := ctx.Err(); err != nil {
			return journal.Receipt{}, fmt.Errorf("%s: no definite outcome in time: %w", commandID, err)
		}
		newest, own, err := entity(ctx, s, key, commandID, doubt)
		switch {
		case err != nil:
			continue // no leader for now; the read has waited for one
		case own != nil:
			return journal.Receipt{Seq: own.Seq, Repeated: true}, nil
		}
		receipt, err := s.Append(ctx, Event(key, commandID, commandID, newest.Version+1), newest.Seq)
		if err == nil || !errors.Is(err, journal.ErrConflict) && !errors.Is(err, journal.ErrUnknown) && !errors.Is(err, journal.ErrUnavailable) {
			return receipt, err
		}
		doubt = doubt || errors.Is(err, journal.ErrUnknown)
	}
}

// entity returns what to append behind, and the command's own event if it is there. Only the whole history can
// tell that, and it must then also be what is appended behind, since it may lag.
func entity(ctx context.Context, s journal.Shard, key envelope.Key, commandID string, whole bool) (newest envelope.Event, own *envelope.Event, err error) {
	if !whole {
		last, err := s.Last(ctx, key)
		if last == nil {
			last = &newest
		}
		return *last, nil, err
	}
	history, err := s.History(ctx, key)
	for i := range history {
		newest = history[i]
		if newest.CommandID == commandID {
			own = &history[i]
		}
	}
	return newest, own, err
}

// write runs writers that append events events each, and returns where each command was said to be stored.
func write(t testing.TB, ctx context.Context, shards []journal.Shard, writers, events int, key func(writer int) envelope.Key) map[string]uint64 {
	t.Helper()
	var mu sync.Mutex
	accepted := map[string]uint64{}
	var all sync.WaitGroup
	for w := range writers {
		s := shards[w%len(shards)]
		all.Go(func() {
			for i := range events {
				commandID := fmt.Sprintf("w%d-%d", w, i)
				receipt, err := appendNext(ctx, s, key(w), commandID)
				if err != nil {
					t.Errorf("writer %d: %v", w, err)
					return
				}
				mu.Lock()
				accepted[commandID] = receipt.Seq
				mu.Unlock()
			}
		})
	}
	all.Wait()
	return accepted
}

// checkStored reads the shard from outside: every accepted command is there once, where its receipt says, and the
// versions of every entity are dense.
func checkStored(t testing.TB, ctx context.Context, s journal.Shard, accepted map[string]uint64) {
	t.Helper()
	follower, err := s.Follow(ctx, journal.FollowOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer follower.Close()
	seen, versions := map[string]uint64{}, map[envelope.Key]uint64{}
	for _, e := range read(t, ctx, follower, int(facts(t, ctx, s).LastSeq)) {
		if versions[e.Key]++; e.Version != versions[e.Key] {
			t.Fatalf("event %d of %s has version %d, want %d", e.Seq, e.Key, e.Version, versions[e.Key])
		}
		if e.Tenant == envelope.PlaneTenant {
			continue
		}
		if at, twice := seen[e.CommandID]; twice {
			t.Fatalf("command %s is stored twice, at %d and %d", e.CommandID, at, e.Seq)
		}
		seen[e.CommandID] = e.Seq
	}
	for command, seq := range accepted {
		if seen[command] != seq {
			t.Fatalf("command %s was accepted at %d and is stored at %d", command, seq, seen[command])
		}
	}
	if len(seen) != len(accepted) {
		t.Fatalf("%d commands are stored, %d were accepted", len(seen), len(accepted))
	}
}

func writersOnOneEntity(t *testing.T, ctx context.Context, h Harness) {
	accepted := write(t, ctx, opened(t, h), 16, 50, func(int) envelope.Key { return note("acme", "busy") })
	if len(accepted) != 16*50 {
		t.Fatalf("%d commands were accepted, want %d", len(accepted), 16*50)
	}
	checkStored(t, ctx, h.Shard, accepted)
}

// writersApart goes through group commit: the receipts must name the very sequences of the events.
func writersApart(t *testing.T, ctx context.Context, h Harness) {
	accepted := write(t, ctx, []journal.Shard{h.Shard}, 64, 10, func(w int) envelope.Key { return note("acme", "own"+itoa(w)) })
	if len(accepted) != 64*10 {
		t.Fatalf("%d commands were accepted, want %d", len(accepted), 64*10)
	}
	checkStored(t, ctx, h.Shard, accepted)
}

// killedWhileWriting: no accepted event is lost, none is doubled, and every unknown outcome becomes definite by
// repeating the command.
func killedWhileWriting(t *testing.T, ctx context.Context, h Harness) {
	half := make(chan struct{})
	shards := []journal.Shard{signalling(h.Shard, 40, func() { close(half) }), h.Again(t)}
	follower := follow(t, ctx, h.Shard, journal.FollowOptions{})
	var all sync.WaitGroup
	accepted := map[string]uint64{}
	all.Go(func() {
		accepted = write(t, ctx, shards, 8, 40, func(w int) envelope.Key {
			return note("acme", "e"+itoa(w/2)) // two writers on each entity
		})
	})
	select {
	case <-half:
		h.Crash(t)
	case <-ctx.Done():
		t.Error("the writers did not get half way")
	}
	all.Wait()
	if len(accepted) != 8*40 {
		t.Fatalf("%d commands were accepted, want %d", len(accepted), 8*40)
	}
	checkStored(t, ctx, h.Shard, accepted)
	// A reader who was there before the crash has missed nothing and read nothing twice.
	events := read(t, ctx, follower, 1+8*40)
	if last := events[len(events)-1].Seq; last != 1+8*40 {
		t.Fatalf("a follower across the crash ended at %d, want %d", last, 1+8*40)
	}
}

// signalling calls reached when so many events were appended.
func signalling(s journal.Shard, count int, reached func()) journal.Shard {
	return &countingShard{Shard: s, left: count, reached: reached}
}

type countingShard struct {
	journal.Shard
	mu      sync.Mutex
	left    int
	reached func()
}

func (c *countingShard) Append(ctx context.Context, e *envelope.Event, last uint64) (journal.Receipt, error) {
	c.mu.Lock()
	c.left--
	now := c.left == 0
	c.mu.Unlock()
	if now {
		go c.reached()
	}
	return c.Shard.Append(ctx, e, last)
}
