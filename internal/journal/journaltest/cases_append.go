package journaltest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/refold-dev/refold/events/envelope"
	"github.com/refold-dev/refold/internal/journal"
)

// dedupeShort is the shortest window a journal takes.
const dedupeShort = 100 * time.Millisecond

// must appends and fails the test on any error.
func must(t testing.TB, ctx context.Context, s journal.Shard, e *envelope.Event, last uint64) journal.Receipt {
	t.Helper()
	receipt, err := s.Append(ctx, e, last)
	if err != nil {
		t.Fatalf("append: %v", err)
	}
	return receipt
}

func wantErr(t testing.TB, what string, got, want error) {
	t.Helper()
	if !errors.Is(got, want) {
		t.Fatalf("%s: got %v, want %v", what, got, want)
	}
}

func facts(t testing.TB, ctx context.Context, s journal.Shard) journal.Facts {
	t.Helper()
	f, err := s.Facts(ctx)
	if err != nil {
		t.Fatalf("facts: %v", err)
	}
	return f
}

func wantLastSeq(t testing.TB, ctx context.Context, s journal.Shard, want uint64) {
	t.Helper()
	if got := facts(t, ctx, s).LastSeq; got != want {
		t.Fatalf("last sequence is %d, want %d", got, want)
	}
}

func appendAndRead(t *testing.T, ctx context.Context, h Harness) {
	s, key := h.Shard, note("acme", "n1")
	if last, err := s.Last(ctx, key); err != nil || last != nil {
		t.Fatalf("last of an unknown entity: got %v, %v", last, err)
	}
	if history, err := s.History(ctx, key); err != nil || len(history) != 0 {
		t.Fatalf("history of an unknown entity: got %v, %v", history, err)
	}
	one := Event(key, "c1", "first, with \u00fcmlauts", 1)
	one.TraceParent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	if r := must(t, ctx, s, one, 0); r.Seq != 2 || r.Repeated || one.Seq != 2 || one.Shard != s.Number() {
		t.Fatalf("first append: got %+v, event at %d/%d, want sequence 2 behind the genesis event", r, one.Shard, one.Seq)
	}
	must(t, ctx, s, Event(note("acme", "n2"), "c2", "other", 1), 0)
	two := Event(key, "c3", "second", 2)
	must(t, ctx, s, two, one.Seq)

	history := historyOf(t, ctx, s, key, 2)
	same(t, "history", &history[0], one)
	same(t, "history", &history[1], two)
	last, err := s.Last(ctx, key)
	if err != nil || last == nil {
		t.Fatalf("last: %v, %v", last, err)
	}
	same(t, "last", last, two)
	at, err := s.At(ctx, one.Seq)
	if err != nil {
		t.Fatal(err)
	}
	same(t, "at", at, one)
	_, err = s.At(ctx, 99)
	wantErr(t, "at 99", err, journal.ErrNoEvent)
	_, err = s.At(ctx, 0)
	wantErr(t, "at 0", err, journal.ErrNoEvent)
	checkFirstFacts(t, facts(t, ctx, s), s.Number())
}

func checkFirstFacts(t testing.TB, f journal.Facts, number int) {
	t.Helper()
	if f.FirstSeq != 1 || f.LastSeq != 4 || f.Messages != 4 || f.Deleted != 0 || f.Bytes == 0 {
		t.Errorf("facts do not count four events: %+v", f)
	}
	if f.JournalID == "" || !strings.Contains(f.Stream, f.JournalID) || f.Incarnation != 1 || f.Created.IsZero() || f.Shard != number {
		t.Errorf("facts do not identify the journal: %+v", f)
	}
}

// historyOf waits until the history has as many events as are known to be there: it may lag on a cluster.
func historyOf(t testing.TB, ctx context.Context, s journal.Shard, key envelope.Key, count int) []envelope.Event {
	t.Helper()
	for {
		history, err := s.History(ctx, key)
		if err != nil {
			t.Fatalf("history: %v", err)
		}
		if len(history) == count {
			return history
		}
		if len(history) > count || ctx.Err() != nil {
			t.Fatalf("history of %s has %d events, want %d", key, len(history), count)
		}
	}
}

func longHistory(t *testing.T, ctx context.Context, h Harness) {
	const count = 510 // more than a page
	key, last := note("acme", "long"), uint64(0)
	for i := range count {
		e := Event(key, "c"+itoa(i), "text", uint64(i+1))
		last = must(t, ctx, h.Shard, e, last).Seq
	}
	for i, e := range historyOf(t, ctx, h.Shard, key, count) {
		if e.Version != uint64(i+1) {
			t.Fatalf("event %d of the history has version %d", i, e.Version)
		}
	}
	wantVersions(t, ctx, h.Shard, key, count)
	wantVersions(t, ctx, h.Shard, key, count-1)
	wantVersions(t, ctx, h.Shard, key, 1)
	wantVersions(t, ctx, h.Shard, key, 0)
}

// wantVersions visits a history up to a version.
func wantVersions(t testing.TB, ctx context.Context, s journal.Shard, key envelope.Key, upTo uint64) {
	t.Helper()
	met := uint64(0)
	err := s.Visit(ctx, key, upTo, func(e *envelope.Event) error {
		if met++; e.Version != met || e.Key != key {
			return fmt.Errorf("event %d has version %d of %s", met, e.Version, e.Key)
		}
		return nil
	})
	if err != nil || met != upTo {
		t.Fatalf("visit %s up to %d: %d events, %v", key, upTo, met, err)
	}
}

// largeHistory is larger than what a server sends at once (64 MiB), so that whoever takes a page that ends early for the last
// one misses the end.
func largeHistory(t *testing.T, ctx context.Context, h Harness) {
	const count = 70
	key, last := note("acme", "large"), uint64(0)
	text := strings.Repeat("x", 1_000_000)
	for i := range count {
		last = must(t, ctx, h.Shard, Event(key, "c"+itoa(i), text, uint64(i+1)), last).Seq
	}
	historyOf(t, ctx, h.Shard, key, count)
	wantVersions(t, ctx, h.Shard, key, count)
}

func visitEnds(t *testing.T, ctx context.Context, h Harness) {
	s, key := h.Shard, note("acme", "n1")
	first := must(t, ctx, s, Event(key, "c1", "one", 1), 0)
	must(t, ctx, s, Event(key, "c2", "two", 2), first.Seq)
	none := func(*envelope.Event) error { return nil }
	wantErr(t, "visit beyond the newest", s.Visit(ctx, key, 3, none), journal.ErrNoEvent)
	wantErr(t, "visit what is not there", s.Visit(ctx, note("acme", "n2"), 1, none), journal.ErrNoEvent)
	wantErr(t, "visit of another tenant's", s.Visit(ctx, note("umbrella", "n1"), 1, none), journal.ErrNoEvent)
	wantErr(t, "visit *", s.Visit(ctx, note("acme", "*"), 1, none), envelope.ErrSubject)
	wantErr(t, "a visitor who has had enough", s.Visit(ctx, key, 2, func(*envelope.Event) error { return errEnough }), errEnough)
}

func expectationDecides(t *testing.T, ctx context.Context, h Harness) {
	s, key := h.Shard, note("acme", "n1")
	first := must(t, ctx, s, Event(key, "c1", "one", 1), 0)
	second := must(t, ctx, s, Event(key, "c2", "two", 2), first.Seq)
	for what, last := range map[string]uint64{
		"nothing expected": 0, "older event expected": first.Seq, "event of nobody expected": second.Seq + 1000,
	} {
		_, err := s.Append(ctx, Event(key, "c3", "three", 3), last)
		wantErr(t, what, err, journal.ErrConflict)
	}
	_, err := s.Append(ctx, Event(note("acme", "n2"), "c4", "four", 1), second.Seq)
	wantErr(t, "event expected where there is none", err, journal.ErrConflict)
	wantLastSeq(t, ctx, s, second.Seq)
	must(t, ctx, s, Event(key, "c3", "three", 3), second.Seq)
}

func cannotBeStored(t *testing.T, ctx context.Context, h Harness) {
	s := h.Shard
	limit := Event(note("acme", "limit"), "c1", "", 1)
	bytes, err := journal.Check(s.Number(), limit)
	if err != nil {
		t.Fatal(err)
	}
	subject, _ := envelope.Subject(s.Number(), limit.Key)
	room := journal.EventBytesMax - (bytes - len(subject))
	over := *limit
	limit.Data = padded(limit.Data, room)
	over.Data = padded(over.Data, room+1)
	_, err = s.Append(ctx, &over, 0)
	wantErr(t, "one byte too many", err, journal.ErrTooLarge)
	seq := must(t, ctx, s, limit, 0).Seq

	headers := Event(note("acme", "headers"), "c2", "text", 1)
	headers.Actor = strings.Repeat("a", journal.HeadersBytesMax)
	_, err = s.Append(ctx, headers, 0)
	wantErr(t, "headers too large", err, journal.ErrTooLarge)

	for _, command := range []string{"two\nlines", " blank", "blank ", "\x00", ""} {
		_, err = s.Append(ctx, Event(note("acme", "n1"), command, "text", 1), 0)
		wantErr(t, "command id "+command, err, envelope.ErrEnvelope)
	}
	for _, id := range []string{"", "a.b", "*", ">", "a b"} {
		_, err = s.Append(ctx, Event(note("acme", id), "c", "text", 1), 0)
		wantErr(t, "id "+id, err, envelope.ErrSubject)
	}
	wantLastSeq(t, ctx, s, seq)
}

// padded lengthens the last string of a payload.
func padded(data []byte, by int) []byte {
	return append(append(append([]byte(nil), data[:len(data)-1]...), `,"pad":"`+strings.Repeat("p", by-len(`,"pad":""`))+`"`...), '}')
}

// fullBytesMax is small enough to be filled, and large enough for the stores to keep their accounts in.
const fullBytesMax = 4 << 20

func fullJournal(t *testing.T, ctx context.Context, h Harness) {
	s := h.Shard
	text := strings.Repeat("x", 100_000)
	full := func(tenant string) *envelope.Event {
		for i := range 100 {
			e := Event(note(tenant, "n"+itoa(i)), "c", text, 1)
			before := facts(t, ctx, s).LastSeq
			if _, err := s.Append(ctx, e, 0); err != nil {
				wantErr(t, "append to a full journal", err, journal.ErrFull)
				wantLastSeq(t, ctx, s, before)
				return e
			}
		}
		t.Fatalf("100 events of 100 kB were stored for %s under a budget of %d", tenant, fullBytesMax)
		return nil
	}
	refused := full("acme")
	must(t, ctx, s, Event(note(envelope.PlaneTenant, "p1"), "c", "the plane has room left", 1), 0)
	full(envelope.PlaneTenant)
	if f := facts(t, ctx, s); f.Bytes > f.BytesMax || f.BytesMax != fullBytesMax || f.Deleted != 0 || f.FirstSeq != 1 {
		t.Fatalf("facts of a full journal: %+v", f)
	}
	// What is stored is found, full or not.
	if r := must(t, ctx, s, Event(note("acme", "n0"), "c", text, 1), 0); !r.Repeated || r.Seq != 2 {
		t.Fatalf("repeated append to a full journal: got %+v", r)
	}
	if last, err := s.Last(ctx, refused.Key); err != nil || last != nil {
		t.Fatalf("refused event: got %v, %v, want nothing", last, err)
	}
}
