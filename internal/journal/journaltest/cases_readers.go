package journaltest

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/refold-dev/refold/events/envelope"
	"github.com/refold-dev/refold/internal/journal"
)

var errEnough = errors.New("enough")

// readings are all kinds of reading a shard of which acme has ten events: to the end, in part, and given up while they wait.
func readings(s journal.Shard, last uint64) map[string]func(context.Context) error {
	take := func(*envelope.Event) error { return nil }
	stop := func(*envelope.Event) error { return errEnough }
	// followed reads so many events and closes the follower.
	followed := func(o journal.FollowOptions, count int) func(context.Context) error {
		return func(ctx context.Context) error {
			f, err := s.Follow(ctx, o)
			for err == nil && count > 0 {
				var events []envelope.Event
				events, err = f.Next(ctx, count, 0)
				count -= len(events)
			}
			if f != nil {
				f.Close()
			}
			return err
		}
	}
	waiting := func(read func(context.Context) error) func(context.Context) error {
		return func(ctx context.Context) error {
			ctx, cancel := context.WithTimeout(ctx, caseShort)
			defer cancel()
			if err := read(ctx); !errors.Is(err, context.DeadlineExceeded) {
				return fmt.Errorf("did not wait: %w", err)
			}
			return nil
		}
	}
	return map[string]func(context.Context) error{
		"follower":                      followed(journal.FollowOptions{}, 10),
		"follower that read nothing":    followed(journal.FollowOptions{}, 0),
		"follower in bulk":              followed(journal.FollowOptions{Pull: journal.ReadPull}, 10),
		"follower in bulk, in part":     followed(journal.FollowOptions{Pull: journal.ReadPull}, 2),
		"follower of a tenant":          followed(journal.FollowOptions{Tenant: "acme"}, 10),
		"follower of a tenant, in part": followed(journal.FollowOptions{Tenant: "acme", Pull: 2}, 3),
		"follower that waits":           waiting(followed(journal.FollowOptions{After: last}, 1)),
		"follower in bulk that waits":   waiting(followed(journal.FollowOptions{After: last, Pull: journal.ReadPull}, 1)),
		"read":                          func(ctx context.Context) error { return journal.Read(ctx, s, 0, last, take) },
		"read in part":                  func(ctx context.Context) error { return journal.Read(ctx, s, 0, last, stop) },
		"read that waits":               waiting(func(ctx context.Context) error { return journal.Read(ctx, s, 0, last+1, take) }),
		"read of a tenant":              func(ctx context.Context) error { return journal.ReadTenant(ctx, s, "acme", 0, last, take) },
		"read of a tenant, in part":     func(ctx context.Context) error { return journal.ReadTenant(ctx, s, "acme", 0, last, stop) },
		"count": func(ctx context.Context) error {
			_, err := s.Count(ctx, "acme", 0)
			return err
		},
	}
}

func readersLeaveNothing(t *testing.T, ctx context.Context, h Harness) {
	events := fill(t, ctx, h.Shard, "acme", 10)
	last := events[9].Seq
	f := follow(t, ctx, h.Shard, journal.FollowOptions{After: last})
	wantReaders(t, ctx, h.Shard, "one that is there", 1)
	f.Close()
	for name, read := range readings(h.Shard, last) {
		if err := read(ctx); err != nil && !errors.Is(err, errEnough) {
			t.Errorf("%s: %v", name, err)
		}
		wantReaders(t, ctx, h.Shard, name, 0)
	}
}

// wantReaders waits for a number of readers: servers of a cluster hear of it one after the other.
func wantReaders(t *testing.T, ctx context.Context, s journal.Shard, after string, want int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, readersMax)
	defer cancel()
	for {
		got, err := s.Facts(ctx)
		if err == nil && got.Consumers == want {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("%s: the stream has %d readers, want %d: %v", after, got.Consumers, want, err)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// readersMax is far below what the server gives a consumer that nobody asks.
const readersMax = 10 * time.Second

// hungWhileReading: what is read goes on where it was when the server goes on.
func hungWhileReading(t *testing.T, ctx context.Context, h Harness) {
	want := fill(t, ctx, h.Shard, "acme", 5)
	last := want[4].Seq
	var all []journal.Follower
	for _, pull := range []int{0, journal.ReadPull} {
		f := follow(t, ctx, h.Shard, journal.FollowOptions{Pull: pull, Expect: last + 3})
		read(t, ctx, f, 1)
		all = append(all, f)
	}
	resume := h.Pause(t)
	for _, f := range all {
		short, cancel := context.WithTimeout(ctx, caseShort)
		defer cancel()
		for got := 0; ; {
			events, err := f.Next(short, 2, 0)
			if got += len(events); err == nil {
				continue
			}
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("while the server hangs: %v", err)
			}
			break
		}
	}
	resume()
	fill(t, ctx, h.Shard, "umbrella", 3)
	for _, f := range all {
		events := read(t, ctx, f, 3)
		if events[0].Seq != last+1 || events[2].Seq != last+3 {
			t.Errorf("went on at %d to %d, want %d to %d", events[0].Seq, events[2].Seq, last+1, last+3)
		}
	}
}

// begunWhileKilled: a read that begins while there is nobody to answer begins once there is.
func begunWhileKilled(t *testing.T, ctx context.Context, h Harness) {
	want := fill(t, ctx, h.Shard, "acme", 5)
	h.Crash(t)
	for _, pull := range []int{0, journal.ReadPull} {
		var f journal.Follower
		for f == nil {
			var err error
			// It gives up before a slow election ends.
			if f, err = h.Shard.Follow(ctx, journal.FollowOptions{After: 1, Pull: pull}); err != nil && ctx.Err() != nil {
				t.Fatal(err)
			}
		}
		t.Cleanup(f.Close)
		wantEvents(t, read(t, ctx, f, 5), want)
	}
}
