package journal

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/refold-dev/refold/events/envelope"
)

// hurried are bounds for tests that wait until they are over.
var hurried = bounds{heartbeat: 100 * time.Millisecond, silence: 2 * time.Second, idle: 300 * time.Millisecond, alone: 300 * time.Millisecond, stall: time.Second}

// filled returns a shard with a genesis event and as many others as are asked for.
func filled(t testing.TB, count int) (*jetShard, jetstream.JetStream) {
	t.Helper()
	nc, js := embedded(t)
	s := opened(t, nc, Config{}).shards[0]
	for i := range count {
		if _, err := s.Append(t.Context(), testEvent("acme", fmt.Sprintf("n%d", i), "c", 1), 0); err != nil {
			t.Fatal(err)
		}
	}
	return s, js
}

// consumersOf lists what readers have on the server.
func consumersOf(t testing.TB, js jetstream.JetStream, s *jetShard) []string {
	t.Helper()
	stream, err := js.Stream(t.Context(), s.stream)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	lister := stream.ConsumerNames(t.Context())
	for name := range lister.Name() {
		names = append(names, name)
	}
	if lister.Err() != nil {
		t.Fatal(lister.Err())
	}
	return names
}

// hold pauses the consumers that readers have now: they go on giving signs of life and hand out nothing.
func hold(t testing.TB, js jetstream.JetStream, s *jetShard) {
	t.Helper()
	for _, name := range consumersOf(t, js, s) {
		if _, err := js.PauseConsumer(t.Context(), s.stream, name, time.Now().Add(time.Hour)); err != nil {
			t.Fatal(err)
		}
	}
}

var pulls = map[string]int{"library": 2, "bulk": bulkPullMin}

// TestAStalledReadGoesOnElsewhere: a server that has events and does not hand them out is left for another source, and the
// read goes on after the last event.
func TestAStalledReadGoesOnElsewhere(t *testing.T) {
	for name, pull := range pulls {
		t.Run(name, func(t *testing.T) {
			s, js := filled(t, 5)
			s.bounds = hurried
			f, err := s.Follow(t.Context(), FollowOptions{Pull: pull, Expect: 10})
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			read(t, f, 6)
			hold(t, js, s)
			for i := range 4 {
				if _, err := s.Append(t.Context(), testEvent("acme", fmt.Sprintf("m%d", i), "c", 1), 0); err != nil {
					t.Fatal(err)
				}
			}
			if got := read(t, f, 4); got[0].Seq != 7 || got[3].Seq != 10 {
				t.Errorf("went on at %d, want 7", got[0].Seq)
			}
		})
	}
}

// TestAFollowerFindsThatItIsStalled: it expects nothing, and yet learns from the leader that there is more. One of a tenant
// that has nothing more waits.
func TestAFollowerFindsThatItIsStalled(t *testing.T) {
	s, js := filled(t, 2)
	s.bounds = hurried
	all, err := s.Follow(t.Context(), FollowOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer all.Close()
	other, err := s.Follow(t.Context(), FollowOptions{Tenant: "umbrella"})
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	read(t, all, 3)
	hold(t, js, s)
	if _, err := s.Append(t.Context(), testEvent("acme", "more", "c", 1), 0); err != nil {
		t.Fatal(err)
	}
	if got := read(t, all, 1); got[0].Seq != 4 {
		t.Errorf("got sequence %d, want 4", got[0].Seq)
	}
	if _, err := s.Append(t.Context(), testEvent("umbrella", "more", "c", 1), 0); err != nil {
		t.Fatal(err)
	}
	if got := read(t, other, 1); got[0].Seq != 5 {
		t.Errorf("got sequence %d, want 5", got[0].Seq)
	}
}

// TestAReadThatStallsForGood fails with its name, and only when events must be there.
func TestAReadThatStallsForGood(t *testing.T) {
	for name, pull := range pulls {
		t.Run(name, func(t *testing.T) {
			s, _ := filled(t, 3)
			s.bounds = hurried
			last := uint64(0)
			// There are four events; the read is told of five.
			err := ReadWith(t.Context(), s, FollowOptions{Pull: pull}, 5, func(e *envelope.Event) error {
				last = e.Seq
				return nil
			})
			failed, ok := errors.AsType[*ReadError](err)
			if !ok || !errors.Is(err, ErrStalled) || failed.Stream != s.stream || failed.After != 4 || last != 4 {
				t.Errorf("got %v after event %d, want stream %s stalled after 4", err, last, s.stream)
			}
		})
	}
	s, _ := filled(t, 1)
	s.bounds = hurried
	f, err := s.Follow(t.Context(), FollowOptions{After: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	waiting, cancel := context.WithTimeout(t.Context(), 4*hurried.stall)
	defer cancel()
	if events, err := f.Next(waiting, 0, 0); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a follower at the end: got %v, %v, want it to wait", events, err)
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	if err := Read(cancelled, s, 0, 5, func(*envelope.Event) error { return nil }); !errors.Is(err, context.Canceled) || errors.Is(err, ErrStalled) {
		t.Errorf("cancelled: %v", err)
	}
}

// TestReadTenantHoldsTheCount: an event that the stream counts and does not deliver ends the read.
func TestReadTenantHoldsTheCount(t *testing.T) {
	s, _ := filled(t, 3)
	s.bounds = hurried
	read := 0
	each := func(*envelope.Event) error { read++; return nil }
	if err := ReadTenant(t.Context(), s, "acme", 0, 4, each); err != nil || read != 3 {
		t.Errorf("read %d of 3 events: %v", read, err)
	}
	err := ReadTenant(t.Context(), oneMore{s}, "acme", 0, 10, each)
	if !errors.Is(err, ErrStalled) || !strings.Contains(err.Error(), "counts 4 events of tenant acme") {
		t.Errorf("got %v, want the count in it", err)
	}
}

// oneMore counts an event that is not there.
type oneMore struct{ *jetShard }

func (s oneMore) Count(ctx context.Context, tenant string, after uint64) (uint64, error) {
	n, err := s.jetShard.Count(ctx, tenant, after)
	return n + 1, err
}

// TestAPullThatFindsNobody is repeated, and then made to another consumer.
func TestAPullThatFindsNobody(t *testing.T) {
	for name, bulk := range map[string]bool{"library": false, "bulk": true} {
		t.Run(name, func(t *testing.T) {
			s, js := filled(t, 3)
			r := s.newReading(t.Context(), 0)
			r.bulk, r.expect = bulk, 4
			if err := r.begin(); err != nil {
				t.Fatal(err)
			}
			if err := js.DeleteConsumer(t.Context(), s.stream, r.source.consumer.name); err != nil {
				t.Fatal(err)
			}
			count := 0
			if err := r.each(4, func(*arrival) error { count++; return nil }); err != nil || count != 4 {
				t.Errorf("read %d of 4 events: %v", count, err)
			}
			if left := consumersOf(t, js, s); len(left) > 0 {
				t.Errorf("the reads left %q", left)
			}
		})
	}
}

// TestReadsLeaveNoConsumer: however they end.
func TestReadsLeaveNoConsumer(t *testing.T) {
	s, js := filled(t, 20)
	stop := errors.New("enough")
	for name, read := range map[string]func(ctx context.Context) error{
		"read": func(ctx context.Context) error {
			return Read(ctx, s, 0, 21, func(*envelope.Event) error { return nil })
		},
		"read in part": func(ctx context.Context) error {
			return Read(ctx, s, 0, 21, func(*envelope.Event) error { return stop })
		},
		"tenant": func(ctx context.Context) error {
			return ReadTenant(ctx, s, "acme", 0, 21, func(*envelope.Event) error { return nil })
		},
		"raw":         func(ctx context.Context) error { return s.readRaw(ctx, 0, 21, func(*Raw) error { return nil }) },
		"raw in part": func(ctx context.Context) error { return s.readRaw(ctx, 0, 21, func(*Raw) error { return stop }) },
		"count": func(ctx context.Context) error {
			_, err := s.Count(ctx, "acme", 3)
			return err
		},
		"followed, context over": func(ctx context.Context) error {
			ctx, cancel := context.WithCancel(ctx)
			f, err := s.Follow(ctx, FollowOptions{})
			cancel()
			if err == nil {
				f.Close()
			}
			return err
		},
		"context over before": func(ctx context.Context) error {
			ctx, cancel := context.WithCancel(ctx)
			cancel()
			f, err := s.Follow(ctx, FollowOptions{})
			if err == nil {
				f.Close()
			}
			return nil
		},
		"context over while it waits": func(ctx context.Context) error {
			ctx, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
			defer cancel()
			err := s.readRaw(ctx, 0, 22, func(*Raw) error { return nil })
			if errors.Is(err, context.DeadlineExceeded) {
				err = nil
			}
			return err
		},
	} {
		if err := read(t.Context()); err != nil && !errors.Is(err, stop) {
			t.Errorf("%s: %v", name, err)
		}
		// A server that is slow may carry the removal out after it was given up; one that was left idle stays twice as long.
		left := consumersOf(t, js, s)
		for began := time.Now(); len(left) > 0 && time.Since(began) < consumerIdleMax/2; left = consumersOf(t, js, s) {
			pause(t.Context(), 10*time.Millisecond)
		}
		if len(left) > 0 {
			t.Errorf("%s left %d consumers", name, len(left))
		}
	}
	if len(s.consumers) > 0 {
		t.Errorf("%d places are still taken", len(s.consumers))
	}
}

// TestTooManyReaders: the limit that was hit is named, that of the server and our own.
func TestTooManyReaders(t *testing.T) {
	nc, js := embedded(t)
	j := opened(t, nc, Config{})
	s := j.shards[0]
	stream, err := js.Stream(t.Context(), s.stream)
	if err != nil {
		t.Fatal(err)
	}
	config := stream.CachedInfo().Config
	config.MaxConsumers = 2
	// The number of consumers cannot be changed later: another stream stands for a server whose limit is reached.
	config.Name, config.Subjects = "LIMITED", []string{"limited.>"}
	config.Metadata = nil
	if _, err := js.CreateStream(t.Context(), config); err != nil {
		t.Fatal(err)
	}
	limited := &jetShard{js: js, nc: nc, stream: "LIMITED", replicas: 1, consumers: make(chan struct{}, consumersMax), bounds: hurried}
	for range 2 {
		c, err := limited.makeConsumer(t.Context(), 0, "")
		if err != nil {
			t.Fatal(err)
		}
		defer c.remove()
	}
	_, err = limited.makeConsumer(t.Context(), 0, "")
	if !errors.Is(err, ErrConsumers) || !strings.Contains(err.Error(), "default_max_consumers") {
		t.Errorf("got %v, want the limit of the server named", err)
	}
	facts, err := s.Facts(t.Context())
	if err != nil || facts.Consumers != 0 {
		t.Errorf("facts: got %d consumers, %v, want none", facts.Consumers, err)
	}
	s.consumers = make(chan struct{}, 1)
	c, err := s.makeConsumer(t.Context(), 0, "")
	if err != nil {
		t.Fatal(err)
	}
	defer c.remove()
	if facts, err = s.Facts(t.Context()); err != nil || facts.Consumers != 1 {
		t.Errorf("facts: got %d consumers, %v, want one", facts.Consumers, err)
	}
	short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := s.makeConsumer(short, 0, ""); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("one too many: got %v, want it to wait", err)
	}
}

// TestAGapIsBelievedOfAllReplicasOnly: what one replica lacks, it has lost for itself.
func TestAGapIsBelievedOfAllReplicasOnly(t *testing.T) {
	gap := &GapError{Want: 3, Got: 5}
	r := (&jetShard{replicas: 3, stream: "S", bounds: patient}).newReading(t.Context(), 2)
	for server, want := range map[string]bool{"": true} {
		if got := r.believe(server, gap); got != want {
			t.Errorf("outside of a cluster: got %v, want %v", got, want)
		}
	}
	clear(r.gaps)
	for i, server := range []string{"n1", "n2", "n2", "n3"} {
		if got := r.believe(server, gap); got != (i == 3) {
			t.Errorf("after the gap of %s: got %v", server, got)
		}
		// What ends the reading before every replica was asked is something else.
		for last, want := range map[error]error{gap: ErrStalled, ErrNoReplica: ErrNoReplica} {
			err := r.failed(last)
			_, believed := errors.AsType[*GapError](err)
			if believed != (i == 3) || !believed && !errors.Is(err, want) || !strings.Contains(err.Error(), "n1") || !strings.Contains(err.Error(), gap.Error()) {
				t.Errorf("after the gap of %s and %v: failed with %v", server, last, err)
			}
		}
	}
	err := r.failed(gap)
	if found, ok := errors.AsType[*GapError](err); !ok || found.Got != 5 || !strings.Contains(err.Error(), "n1, n2, n3") {
		t.Errorf("got %v, want the gap and all servers that have it", err)
	}
	r.pinned = "n1"
	if clear(r.gaps); !r.believe("n1", gap) {
		t.Error("a read of one replica turns to others")
	}
}

// scripted is a wire that delivers what it was given and then nothing more.
type scripted struct {
	ctx context.Context
	all []func() (arrival, bool, string, error)
}

func (w *scripted) ask(string, string) error { return nil }
func (w *scripted) close()                   {}
func (w *scripted) waiting() bool            { return len(w.all) > 0 }

func (w *scripted) receive() (arrival, bool, string, error) {
	if len(w.all) == 0 {
		<-w.ctx.Done()
		return arrival{}, false, "", w.ctx.Err()
	}
	next := w.all[0]
	w.all = w.all[1:]
	return next()
}

// TestTheLastEventIsHandedOverAtOnce: also when a heartbeat comes with it, so that the connection seems to hold more.
func TestTheLastEventIsHandedOverAtOnce(t *testing.T) {
	s, _ := filled(t, 1)
	ctx, cancel := context.WithCancel(t.Context())
	c, err := s.makeConsumer(ctx, 0, "")
	if err != nil {
		t.Fatal(err)
	}
	message := func() (arrival, bool, string, error) {
		return arrival{Raw: Raw{Seq: 1, Subject: "ev.0.acme.note.n"}}, true, "", nil
	}
	status := func() (arrival, bool, string, error) { return arrival{}, false, "100 Idle Heartbeat\r\n", nil }
	r := s.newReading(ctx, 0)
	r.source = &source{consumer: c, wire: &scripted{ctx, []func() (arrival, bool, string, error){message, status}}, pull: 10}
	f := &follower{reading: r, stop: cancel, done: make(chan struct{}), added: make(chan struct{}, 1), taken: make(chan struct{}, 1), decoder: NewDecoder(0)}
	go f.pump()
	defer f.Close()
	read(t, f, 1)
}
