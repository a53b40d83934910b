package journaltest

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/refold-dev/refold/events/envelope"
	"github.com/refold-dev/refold/internal/journal"
)

// read takes exactly count events from a follower.
func read(t testing.TB, ctx context.Context, f journal.Follower, count int) []envelope.Event {
	t.Helper()
	var events []envelope.Event
	for len(events) < count {
		more, err := f.Next(ctx, count-len(events), 0)
		if err != nil {
			t.Fatalf("follow, after %d of %d events: %v", len(events), count, err)
		}
		if len(more) == 0 {
			t.Fatal("Next returned nothing")
		}
		events = append(events, more...)
	}
	return events
}

func follow(t testing.TB, ctx context.Context, s journal.Shard, o journal.FollowOptions) journal.Follower {
	t.Helper()
	f, err := s.Follow(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Close)
	return f
}

// fill appends count events of a tenant, each of an entity of its own.
func fill(t testing.TB, ctx context.Context, s journal.Shard, tenant string, count int) []envelope.Event {
	t.Helper()
	var events []envelope.Event
	for i := range count {
		e := Event(note(tenant, "f"+itoa(i)), "c", "text "+itoa(i), 1)
		must(t, ctx, s, e, 0)
		events = append(events, *e)
	}
	return events
}

func wantEvents(t testing.TB, got, want []envelope.Event) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d events were read, want %d", len(got), len(want))
	}
	for i := range want {
		same(t, "followed", &got[i], &want[i])
	}
}

func followAll(t *testing.T, ctx context.Context, h Harness) {
	want := fill(t, ctx, h.Shard, "acme", 5)
	f := follow(t, ctx, h.Shard, journal.FollowOptions{})
	got := read(t, ctx, f, 6)
	if got[0].Seq != 1 || got[0].Tenant != envelope.PlaneTenant || got[0].Kind != "journal.created.v1" {
		t.Fatalf("first event: got %+v, want the genesis event", got[0])
	}
	wantEvents(t, got[1:], want)

	// Nothing is there: Next waits, and gives up with its context.
	short, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
	defer cancel()
	if events, err := f.Next(short, 0, 0); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("nothing there: got %v, %v", events, err)
	}
	// It goes on with what comes later.
	later := fill(t, ctx, h.Shard, "umbrella", 3)
	wantEvents(t, read(t, ctx, f, 3), later)
	f.Close()
	f.Close()
	if events, err := f.Next(ctx, 0, 0); err == nil {
		t.Fatalf("closed follower returned %v", events)
	}
}

func followFromSequence(t *testing.T, ctx context.Context, h Harness) {
	want := fill(t, ctx, h.Shard, "acme", 6)
	f := follow(t, ctx, h.Shard, journal.FollowOptions{After: want[2].Seq, Pull: 2})
	wantEvents(t, read(t, ctx, f, 3), want[3:])
	// From the end: only what is new.
	f = follow(t, ctx, h.Shard, journal.FollowOptions{After: want[5].Seq})
	later := fill(t, ctx, h.Shard, "umbrella", 2)
	wantEvents(t, read(t, ctx, f, 2), later)
}

func followTenant(t *testing.T, ctx context.Context, h Harness) {
	var want []envelope.Event
	for i := range 4 {
		for _, tenant := range []string{"acme", "acme-2", "umbrella"} {
			e := Event(note(tenant, "t"+itoa(i)), "c", "text", 1)
			must(t, ctx, h.Shard, e, 0)
			if tenant == "acme" {
				want = append(want, *e)
			}
		}
	}
	f := follow(t, ctx, h.Shard, journal.FollowOptions{Tenant: "acme", After: 1})
	wantEvents(t, read(t, ctx, f, 4), want)
	if _, err := h.Shard.Follow(ctx, journal.FollowOptions{Tenant: "*"}); !errors.Is(err, envelope.ErrSubject) {
		t.Fatalf("follow tenant *: got %v, want %v", err, envelope.ErrSubject)
	}
	last := want[len(want)-1].Seq
	for _, c := range []struct {
		tenant      string
		after, want uint64
	}{{"acme", 0, 4}, {"acme", want[0].Seq, 3}, {"acme", last - 1, 1}, {"acme", last, 0}, {"acme", last + 100, 0}, {"nobody", 0, 0}} {
		if n, err := h.Shard.Count(ctx, c.tenant, c.after); err != nil || n != c.want {
			t.Fatalf("count of tenant %s after %d: got %d, %v, want %d", c.tenant, c.after, n, err, c.want)
		}
	}
	if _, err := h.Shard.Count(ctx, ">", 0); !errors.Is(err, envelope.ErrSubject) {
		t.Fatalf("count tenant >: got %v, want %v", err, envelope.ErrSubject)
	}
}

func followWithinBounds(t *testing.T, ctx context.Context, h Harness) {
	want := fill(t, ctx, h.Shard, "acme", 8)
	f := follow(t, ctx, h.Shard, journal.FollowOptions{After: 1})
	bytesMax := len(want[0].Data) + len(want[1].Data)
	var got []envelope.Event
	for len(got) < len(want) {
		events, err := f.Next(ctx, 3, bytesMax)
		if err != nil || len(events) == 0 || len(events) > 2 {
			t.Fatalf("next of at most 3 events and %d bytes: got %d events, %v", bytesMax, len(events), err)
		}
		got = append(got, events...)
	}
	wantEvents(t, got, want)
	// One event is returned even if it alone is too large.
	f = follow(t, ctx, h.Shard, journal.FollowOptions{After: 1})
	events, err := f.Next(ctx, 0, 1)
	if err != nil || len(events) != 1 {
		t.Fatalf("next of at most 1 byte: got %d events, %v", len(events), err)
	}
}
