package journaltest

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/refold-dev/refold/events/envelope"
	"github.com/refold-dev/refold/internal/journal"
)

func itoa(i int) string { return strconv.Itoa(i) }

func retryFindsItself(t *testing.T, ctx context.Context, h Harness) {
	s, key := h.Shard, note("acme", "n1")
	first := Event(key, "c1", "one", 1)
	must(t, ctx, s, first, 0)
	second := Event(key, "c2", "two", 2)
	must(t, ctx, s, second, first.Seq)
	must(t, ctx, s, Event(key, "c3", "three", 3), second.Seq)
	wantRepeated(t, ctx, s, first, 0)
	wantRepeated(t, ctx, s, second, first.Seq)
	wantRepeated(t, ctx, s, second, 0) // decided on an even older history
	wantLastSeq(t, ctx, s, 4)
}

// wantRepeated sends the command of an event once more, made at another time, and wants the stored event back.
func wantRepeated(t testing.TB, ctx context.Context, s journal.Shard, stored *envelope.Event, last uint64) {
	t.Helper()
	again := *stored
	again.Seq, again.Time, again.Version = 0, stored.Time.Add(time.Second), 99
	if r := must(t, ctx, s, &again, last); r.Seq != stored.Seq || !r.Repeated {
		t.Fatalf("repeated append: got %+v, want sequence %d again", r, stored.Seq)
	}
	same(t, "repeated append", &again, stored)
}

func retryOutsideTheWindow(t *testing.T, ctx context.Context, h Harness) {
	s, key := h.Shard, note("acme", "n1")
	first := Event(key, "c1", "one", 1)
	must(t, ctx, s, first, 0)
	// Nothing tells when a store forgets a message id; several windows are surely enough.
	select {
	case <-time.After(5 * dedupeShort):
	case <-ctx.Done():
	}
	wantRepeated(t, ctx, s, first, 0)
	wantLastSeq(t, ctx, s, first.Seq)
}

func oneKeyTwoTenants(t *testing.T, ctx context.Context, h Harness) {
	one, two := Event(note("acme", "n1"), "c1", "text", 1), Event(note("umbrella", "n1"), "c1", "text", 1)
	must(t, ctx, h.Shard, one, 0)
	if r := must(t, ctx, h.Shard, two, 0); r.Repeated || r.Seq == one.Seq {
		t.Fatalf("the same key of another tenant: got %+v, want an event of its own", r)
	}
}

func oneKeyTwoPayloads(t *testing.T, ctx context.Context, h Harness) {
	s, key := h.Shard, note("acme", "n1")
	first := must(t, ctx, s, Event(key, "c1", "one", 1), 0)
	for _, last := range []uint64{0, first.Seq} {
		_, err := s.Append(ctx, Event(key, "c1", "another", 1), last)
		wantErr(t, "other payload under the same key", err, journal.ErrConflict)
	}
	wantLastSeq(t, ctx, s, first.Seq)
}

// opened returns the shard as eight processes have it, which share nothing but the stream.
func opened(t testing.TB, h Harness) []journal.Shard {
	t.Helper()
	shards := []journal.Shard{h.Shard}
	for range 7 {
		shards = append(shards, h.Again(t))
	}
	return shards
}

func oneCommandAtOnce(t *testing.T, ctx context.Context, h Harness) {
	const callers = 60
	receipts := make([]journal.Receipt, callers)
	errs := make([]error, callers)
	shards := opened(t, h)
	var all sync.WaitGroup
	for i := range callers {
		s := shards[i%len(shards)]
		all.Go(func() { receipts[i], errs[i] = s.Append(ctx, Event(note("acme", "n1"), "c1", "text", 1), 0) })
	}
	all.Wait()
	fresh := 0
	for i, r := range receipts {
		if errs[i] != nil || r.Seq != 2 {
			t.Fatalf("caller %d: got %+v, %v, want sequence 2", i, r, errs[i])
		}
		if !r.Repeated {
			fresh++
		}
	}
	if fresh > 1 {
		t.Fatalf("%d callers were told to be the first", fresh)
	}
	wantLastSeq(t, ctx, h.Shard, 2)
}

func callerWhoHasLeft(t *testing.T, ctx context.Context, h Harness) {
	gone, cancel := context.WithCancel(ctx)
	cancel()
	e := Event(note("acme", "n1"), "c1", "text", 1)
	_, err := h.Shard.Append(gone, e, 0)
	wantErr(t, "append without a caller", err, journal.ErrUnavailable)
	must(t, ctx, h.Shard, e, 0)

	// Callers who leave while their event is under way: whatever they hear, the repetition is definite, and there
	// is one event in the end. It is none of the first attempt's if that one was said to have stored nothing.
	const callers = 32
	unavailable := make([]bool, callers)
	var all sync.WaitGroup
	for i := range callers {
		all.Go(func() {
			short, cancel := context.WithTimeout(ctx, time.Duration(i)*200*time.Microsecond)
			defer cancel()
			_, err := h.Shard.Append(short, Event(note("acme", "left"+itoa(i)), "c", "text", 1), 0)
			unavailable[i] = errors.Is(err, journal.ErrUnavailable)
			if err != nil && unavailable[i] == errors.Is(err, journal.ErrUnknown) {
				t.Errorf("caller %d: got %v, want either %v or %v", i, err, journal.ErrUnknown, journal.ErrUnavailable)
			}
		})
	}
	all.Wait()
	for i := range callers {
		r := must(t, ctx, h.Shard, Event(note("acme", "left"+itoa(i)), "c", "text", 1), 0)
		if r.Repeated && unavailable[i] {
			t.Errorf("caller %d was told that nothing is stored, and the event was there", i)
		}
	}
	wantLastSeq(t, ctx, h.Shard, 2+callers)
}
