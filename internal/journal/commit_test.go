package journal

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/refold-dev/refold/events/envelope"
)

// newCollector returns a committer that does not run, with a queue to put events into.
func newCollector() *committer { return &committer{queue: make(chan *waiting, queueMax)} }

func put(c *committer, subject string, bytes int) *waiting { return putFor(c, "acme", subject, bytes) }

func putFor(c *committer, tenant, subject string, bytes int) *waiting {
	w := &waiting{outgoing: &outgoing{key: envelope.Key{Tenant: tenant}, subject: subject, bytes: bytes}, answer: make(chan answer, 1)}
	c.queue <- w
	return w
}

// TestCollectInTurns: what comes of another tenant is in the next batch, however much of the first waits, and its second
// event comes before the first tenant's third.
func TestCollectInTurns(t *testing.T) {
	c := newCollector()
	for i := range 3 * tenantMax {
		putFor(c, "noisy", fmt.Sprintf("n%d", i), 100)
	}
	b := newCollection()
	c.collect(b, 0)
	if batch := b.cut(); len(batch) != tenantMax || !b.full() {
		t.Fatalf("of one tenant: a batch of %d, another one full: %t", len(batch), b.full())
	}
	for i := range 2 {
		putFor(c, "quiet", fmt.Sprintf("q%d", i), 100)
	}
	c.collect(b, 0)
	b.again()
	batch := b.cut()
	var order []string
	for _, w := range batch[:5] {
		order = append(order, w.subject)
	}
	if got, want := fmt.Sprint(order), fmt.Sprintf("[n%d q0 n%d q1 n%d]", tenantMax, tenantMax+1, tenantMax+2); got != want || len(batch) != tenantMax+2 {
		t.Fatalf("the next batch of %d begins with %s, want %s", len(batch), got, want)
	}
}

func TestCollectOneOfEachEntity(t *testing.T) {
	c := newCollector()
	for i := range 6 {
		put(c, fmt.Sprintf("ev.0.acme.note.n%d", i%3), 100)
	}
	b := newCollection()
	c.collect(b, 0)
	first := b.cut()
	if len(first) != 3 || b.size() != 3 {
		t.Fatalf("got a batch of %d and %d left, want 3 and 3", len(first), b.size())
	}
	put(c, "ev.0.acme.note.other", 100)
	c.collect(b, 0)
	if batch := b.cut(); len(batch) != 1 || b.size() != 3 {
		t.Fatalf("beside the first: got a batch of %d and %d left, want only the one of another entity", len(batch), b.size())
	}
	b.free(first)
	if batch := b.cut(); len(batch) != 3 || b.size() != 0 {
		t.Fatalf("after it: got a batch of %d and %d left, want 3 and 0", len(batch), b.size())
	}
}

func TestCollectWithinBounds(t *testing.T) {
	c := newCollector()
	for i := range BatchMax + 10 {
		putFor(c, fmt.Sprintf("t%d", i%32), fmt.Sprintf("s%d", i), 100)
	}
	b := newCollection()
	c.collect(b, 0)
	if full, batch := b.full(), b.cut(); !full || len(batch) != BatchMax || b.size() != 10 || len(c.queue) != 0 {
		t.Fatalf("got a batch of %d, %d left, %d queued, want %d, 10, 0", len(batch), b.size(), len(c.queue), BatchMax)
	}
	c = newCollector()
	for i := range 6 {
		put(c, fmt.Sprintf("s%d", i), batchBytesMax/3)
	}
	b = newCollection()
	c.collect(b, 0)
	if full, batch := b.full(), b.cut(); !full || len(batch) != 3 || b.size() != 3 {
		t.Fatalf("large events: got a batch of %d and %d left, want 3 and 3", len(batch), b.size())
	}
}

// TestCollectLeavesOutWhoHasLeft: an event whose caller has left before it was published is never published.
func TestCollectLeavesOutWhoHasLeft(t *testing.T) {
	c := newCollector()
	left, stays := put(c, "s1", 100), put(c, "s2", 100)
	if !left.take() || left.take() {
		t.Fatal("take does not belong to the first alone")
	}
	b := newCollection()
	c.collect(b, 0)
	if batch := b.cut(); len(batch) != 1 || batch[0] != stays || b.size() != 0 {
		t.Fatalf("got a batch of %d and %d left, want only who stays", len(batch), b.size())
	}
}

// TestLeftBeforePublished: whoever leaves while an event waits, in the queue or for a place in it, knows that it was not sent.
func TestLeftBeforePublished(t *testing.T) {
	c := newCollector()
	left, cancel := context.WithCancel(t.Context())
	cancel()
	for range queueMax + 1 {
		if a := c.submit(left, &outgoing{subject: "s"}); a.meaning != unsent {
			t.Fatalf("with %d in the queue: got %+v, want unsent", len(c.queue), a)
		}
	}
}

// TestBatchSequences: the events of a batch are stored without a gap, in its order, up to the acknowledged one.
func TestBatchSequences(t *testing.T) {
	nc, _ := embedded(t)
	s := opened(t, nc, Config{}).Shards[0].(*jetShard)
	var batch []*waiting
	for i := range 100 {
		o, err := newOutgoing(0, testEvent("acme", fmt.Sprintf("n%d", i), "c", 1), 0)
		if err != nil {
			t.Fatal(err)
		}
		batch = append(batch, &waiting{outgoing: o})
	}
	for i, a := range s.commits.publishTogether(batch) {
		if a.meaning != stored || a.seq != uint64(i+2) {
			t.Fatalf("answer %d: got %+v, want stored at %d", i, a, i+2)
		}
		e, err := s.At(t.Context(), a.seq)
		if err != nil || !batch[i].isOwn(e) {
			t.Fatalf("event at %d: got %+v, %v, want that of %s", a.seq, e, err, batch[i].key)
		}
	}
}

// TestRefusedBatch: one event that cannot be stored does not keep the others out, nor does one that is stored already.
func TestRefusedBatch(t *testing.T) {
	nc, _ := embedded(t)
	s := opened(t, nc, Config{}).Shards[0].(*jetShard)
	repeated := testEvent("acme", "repeated", "c", 1)
	if _, err := s.Append(t.Context(), repeated, 0); err != nil {
		t.Fatal(err)
	}
	for _, spoiler := range []struct {
		event *envelope.Event
		last  uint64
	}{{testEvent("acme", "conflict", "c", 1), 99}, {testEvent("acme", "repeated", "c", 1), 0}} {
		var batch []*waiting
		for i, e := range []*envelope.Event{testEvent("acme", "a", "c", 1), spoiler.event, testEvent("acme", "b", "c", 1)} {
			last := uint64(0)
			if i == 1 {
				last = spoiler.last
			}
			o, err := newOutgoing(0, e, last)
			if err != nil {
				t.Fatal(err)
			}
			batch = append(batch, &waiting{outgoing: o})
		}
		for i, a := range s.commits.publishTogether(batch) {
			if a.meaning != alone {
				t.Fatalf("answer %d: got %+v, want each to be tried alone", i, a)
			}
		}
		if facts, err := s.Facts(t.Context()); err != nil || facts.LastSeq != 2 {
			t.Fatalf("a refused batch left %+v, %v, want nothing", facts, err)
		}
	}
}

// TestRefusedBatchIsHalved: of many events only the few around the one that cannot be stored are left to be tried alone.
func TestRefusedBatchIsHalved(t *testing.T) {
	nc, _ := embedded(t)
	s := opened(t, nc, Config{}).Shards[0].(*jetShard)
	const count, spoiler = BatchMax, 333
	var batch []*waiting
	for i := range count {
		last := uint64(0)
		if i == spoiler {
			last = 99
		}
		o, err := newOutgoing(0, testEvent("acme", fmt.Sprintf("n%d", i), "c", 1), last)
		if err != nil {
			t.Fatal(err)
		}
		batch = append(batch, &waiting{outgoing: o, answer: make(chan answer, 1)})
	}
	s.commits.publishHalving(batch)
	seen, left := map[uint64]bool{}, 0
	for i, w := range batch {
		switch a := <-w.answer; a.meaning {
		case stored:
			seen[a.seq] = true
		case alone:
			left++
		default:
			t.Fatalf("answer %d: got %+v", i, a)
		}
	}
	facts, err := s.Facts(t.Context())
	if err != nil || left == 0 || left >= 2*batchMin || len(seen)+left != count || facts.LastSeq != uint64(1+len(seen)) {
		t.Fatalf("%d stored at places of their own, %d left, %+v, %v", len(seen), left, facts, err)
	}
}

// TestManyAppends: more appends at once than two batches hold, each entity twice in a row, and one entity that many want.
func TestManyAppends(t *testing.T) {
	nc, _ := embedded(t)
	s := opened(t, nc, Config{}).Shards[0]
	const entities, rivals = 3*BatchMax + 7, 50
	var all sync.WaitGroup
	var places sync.Map
	var won, lost atomic.Int32
	for i := range entities {
		all.Go(func() {
			last := uint64(0)
			for version := range uint64(2) {
				receipt, err := s.Append(t.Context(), testEvent("acme", fmt.Sprintf("n%d", i), fmt.Sprintf("c%d", version), version+1), last)
				if err != nil {
					t.Errorf("entity %d, event %d: %v", i, version+1, err)
					return
				}
				if _, twice := places.LoadOrStore(receipt.Seq, true); twice || receipt.Seq <= last {
					t.Errorf("entity %d, event %d: place %d after %d, taken before: %v", i, version+1, receipt.Seq, last, twice)
				}
				last = receipt.Seq
			}
		})
	}
	for i := range rivals {
		all.Go(func() {
			switch _, err := s.Append(t.Context(), testEvent("acme", "wanted", fmt.Sprintf("r%d", i), 1), 0); {
			case err == nil:
				won.Add(1)
			case errors.Is(err, ErrConflict):
				lost.Add(1)
			default:
				t.Errorf("rival %d: %v", i, err)
			}
		})
	}
	all.Wait()
	facts, err := s.Facts(t.Context())
	if err != nil || won.Load() != 1 || lost.Load() != rivals-1 || facts.LastSeq != 1+2*entities+1 {
		t.Fatalf("%d rivals won and %d lost, the last place is %d, want %d: %v", won.Load(), lost.Load(), facts.LastSeq, 2+2*entities, err)
	}
}

// BenchmarkAppend measures durable events a second under writers on entities of their own.
func BenchmarkAppend(b *testing.B) {
	for _, writers := range []int{1, 16, 256} {
		b.Run(fmt.Sprintf("writers=%d", writers), func(b *testing.B) {
			nc, _ := embedded(b)
			s := opened(b, nc, Config{}).Shards[0]
			var next atomic.Int64
			b.ResetTimer()
			var all sync.WaitGroup
			for w := range writers {
				all.Go(func() {
					for i := next.Add(1); i <= int64(b.N); i = next.Add(1) {
						if _, err := s.Append(b.Context(), testEvent("acme", fmt.Sprintf("w%d-%d", w, i), "c", 1), 0); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			all.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
		})
	}
}

// BenchmarkFollow measures how fast a shard is read and decoded.
func BenchmarkFollow(b *testing.B) {
	nc, _ := embedded(b)
	s := opened(b, nc, Config{}).Shards[0]
	var all sync.WaitGroup
	for w := range 256 {
		all.Go(func() {
			for i := w; i < b.N; i += 256 {
				if _, err := s.Append(b.Context(), testEvent("acme", fmt.Sprintf("n%d", i), "c", 1), 0); err != nil {
					b.Error(err)
				}
			}
		})
	}
	all.Wait()
	b.ResetTimer()
	f, err := s.Follow(b.Context(), FollowOptions{})
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	for count := 0; count < b.N; {
		events, err := f.Next(b.Context(), 0, 0)
		if err != nil {
			b.Fatal(err)
		}
		count += len(events)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
}
