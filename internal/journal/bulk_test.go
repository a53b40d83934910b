package journal

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/refold-dev/refold/events/envelope"
)

// read takes the given number of events from a follower.
func read(t *testing.T, f Follower, n int) []envelope.Event {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var out []envelope.Event
	for len(out) < n {
		batch, err := f.Next(ctx, 7, 4096)
		if err != nil {
			t.Fatalf("after %d of %d events: %v", len(out), n, err)
		}
		if len(batch) == 0 || len(batch) > 7 {
			t.Fatalf("got a batch of %d events, want 1 to 7", len(batch))
		}
		out = append(out, batch...)
	}
	return out
}

// TestBulkReadIsTheSameRead holds the bulk reader against the client library, over what was there before and what
// came while it waited.
func TestBulkReadIsTheSameRead(t *testing.T) {
	nc, _ := embedded(t)
	s := opened(t, nc, Config{}).Shards[0]
	add := func(from, to int) {
		for i := from; i < to; i++ {
			e := testEvent("acme", fmt.Sprintf("n%d", i), "c", 1)
			if i%3 == 0 {
				e.TraceParent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
			}
			if _, err := s.Append(t.Context(), e, 0); err != nil {
				t.Fatal(err)
			}
		}
	}
	add(0, 50)
	bulk, err := s.Follow(t.Context(), FollowOptions{After: 10, Pull: bulkPullMin})
	if err != nil {
		t.Fatal(err)
	}
	defer bulk.Close()
	if _, ok := bulk.(*bulkFollower); !ok {
		t.Fatalf("got a %T, want a bulk read", bulk)
	}
	first := read(t, bulk, 41) // the genesis event is sequence 1
	add(50, 60)
	got := append(first, read(t, bulk, 10)...)

	plain, err := s.Follow(t.Context(), FollowOptions{After: 10})
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	if diff := cmp.Diff(read(t, plain, 51), got); diff != "" {
		t.Fatalf("the two readers differ (-library +bulk):\n%s", diff)
	}
	bulk.Close()
	if _, err := bulk.Next(t.Context(), 0, 0); !errors.Is(err, errFollowerClosed) {
		t.Fatalf("a closed follower gave %v", err)
	}
}
