package journal

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"

	"github.com/refold-dev/refold/events/envelope"
)

// strange puts events into a shard, and messages between them that are none.
func strange(t testing.TB, nc *nats.Conn, s Shard) (last uint64) {
	t.Helper()
	for i := range 30 {
		e := testEvent("acme", fmt.Sprintf("n%d", i), "c", 1)
		if _, err := s.Append(t.Context(), e, 0); err != nil {
			t.Fatal(err)
		}
		m := &nats.Msg{Subject: fmt.Sprintf("ev.0.acme.note.s%d", i), Data: []byte("{}")}
		switch i {
		case 3: // no headers at all
		case 5:
			m.Header = nats.Header{"ce-id": {"x", "y"}, "Empty": {""}, "nats-batch-id": {"b"}}
		case 7:
			m.Subject, m.Header, m.Data = "ev.0.odd", nats.Header{"a": {"1"}}, nil
		default:
			continue
		}
		if _, err := nc.RequestMsg(m, 5*time.Second); err != nil {
			t.Fatal(err)
		}
	}
	facts, err := s.Facts(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return facts.LastSeq
}

// TestBulkReadTakesMessagesWithoutHeaders: they are no events, and yet lie in the stream.
func TestBulkReadTakesMessagesWithoutHeaders(t *testing.T) {
	nc, _ := embedded(t)
	s := opened(t, nc, Config{}).Shards[0]
	last := strange(t, nc, s)
	var both [2][]envelope.Event
	for i, pull := range []int{0, bulkPullMin} {
		f, err := s.Follow(t.Context(), FollowOptions{Pull: pull})
		if err != nil {
			t.Fatal(err)
		}
		both[i] = read(t, f, int(last))
		f.Close()
	}
	if diff := cmp.Diff(both[0], both[1]); diff != "" {
		t.Fatalf("the two readers differ (-library +bulk):\n%s", diff)
	}
}

// TestRawReadsAreTheSame: messages as they lie in the stream decode to what a follower hands over, by either way of reading.
func TestRawReadsAreTheSame(t *testing.T) {
	nc, _ := embedded(t)
	j := opened(t, nc, Config{})
	s := j.Shards[0].(*jetShard)
	last := strange(t, nc, s)
	f, err := s.Follow(t.Context(), FollowOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	want := read(t, f, int(last))
	byLibrary := func(ctx context.Context, after, upto uint64, each func(*Raw) error) error {
		return s.newReading(ctx, after).each(upto, func(a *arrival) error { return each(a.raw()) })
	}
	for name, way := range map[string]func(context.Context, uint64, uint64, func(*Raw) error) error{"bulk": s.readRaw, "library": byLibrary} {
		decoder := NewDecoder(0)
		var got []envelope.Event
		err := way(t.Context(), 4, last, func(m *Raw) error {
			got = append(got, decoder.Event(m))
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want[4:], got); diff != "" {
			t.Errorf("%s (-follower +raw):\n%s", name, diff)
		}
	}
	stop := errors.New("enough")
	if err := j.ReadRaw(t.Context(), 0, 0, last, func(*Raw) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("got %v, want %v", err, stop)
	}
	ctx, cancel := context.WithCancel(t.Context())
	err = j.ReadRaw(ctx, 0, 0, last+1, func(m *Raw) error {
		if m.Seq == last {
			cancel() // while it waits for one more
		}
		return nil
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
	if j.ReadRaw(t.Context(), 1, 0, 1, nil) == nil {
		t.Error("a shard that is not there was read")
	}
}

// chainOf is the chain of all events of a shard.
func chainOf(t testing.TB, read func(context.Context, int, uint64, uint64, func(*Raw) error) error, last uint64) (chain envelope.Digest) {
	t.Helper()
	decoder := NewDecoder(0)
	err := read(t.Context(), 0, 0, last, func(m *Raw) error {
		e := decoder.Event(m)
		d, _ := e.Digest(nil)
		chain = chain.Chain(d)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return chain
}

// TestRestoreKeepsEveryEvent brings a journal to another server, with a break in between, and finds the same events there.
func TestRestoreKeepsEveryEvent(t *testing.T) {
	from, _ := embedded(t)
	j := opened(t, from, Config{})
	last := strange(t, from, j.Shards[0])
	var all []Raw
	if err := j.ReadRaw(t.Context(), 0, 0, last, func(m *Raw) error {
		all = append(all, *m)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	to, _ := embedded(t)
	config := RestoreConfig{JournalID: j.ID, Incarnation: 1, Shards: 1, Backup: "B1"}
	r, err := BeginRestore(t.Context(), to, config)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Append(t.Context(), 0, all[:1]); err != nil { // one alone
		t.Fatal(err)
	}
	if err := r.Append(t.Context(), 0, all[1:20]); err != nil {
		t.Fatal(err)
	}
	// Nobody can take it for a journal yet, and no other backup can be mixed in.
	for name, open := range map[string]func(context.Context, *nats.Conn, Config) (*Journal, error){"open": Open, "create": Create, "open or create": OpenOrCreate} {
		if _, err := open(t.Context(), to, Config{}); !errors.Is(err, ErrRestoring) {
			t.Errorf("%s: got %v, want %v", name, err, ErrRestoring)
		}
	}
	other := config
	other.Backup = "B2"
	if _, err := BeginRestore(t.Context(), to, other); !errors.Is(err, ErrNotEmpty) {
		t.Errorf("another backup: got %v, want %v", err, ErrNotEmpty)
	}
	again, err := BeginRestore(t.Context(), to, config)
	if err != nil {
		t.Fatal(err)
	}
	at, err := again.Last(t.Context(), 0)
	if err != nil || at != 20 {
		t.Fatalf("at %d, %v", at, err)
	}
	// Two at once: the second one's batch finds the stream elsewhere, or where it wanted to bring it.
	if err := r.Append(t.Context(), 0, all[20:25]); err != nil {
		t.Fatal(err)
	}
	if err := again.Append(t.Context(), 0, all[20:25]); err != nil {
		t.Errorf("the same batch once more: %v", err)
	}
	if again.Append(t.Context(), 0, all[20:30]) == nil {
		t.Error("another batch was stored over what is there")
	}
	if err := again.Append(t.Context(), 0, all[25:]); err != nil {
		t.Fatal(err)
	}
	if err := again.Finish(t.Context(), []int64{1}); err != nil {
		t.Fatal(err)
	}
	k := opened(t, to, Config{})
	facts, err := k.Shards[0].Facts(t.Context())
	if err != nil || facts.JournalID != j.ID || facts.LastSeq != last || facts.BytesMax < facts.Bytes {
		t.Fatalf("%+v, %v", facts, err)
	}
	if want, got := chainOf(t, j.ReadRaw, last), chainOf(t, k.ReadRaw, last); got != want {
		t.Fatalf("chain %x, want %x", got, want)
	}
	if _, err := BeginRestore(t.Context(), to, config); !errors.Is(err, ErrNotEmpty) {
		t.Errorf("a finished journal: got %v, want %v", err, ErrNotEmpty)
	}
	if _, err := k.Shards[0].Append(t.Context(), testEvent("acme", "n0", "c2", 2), 2); err != nil {
		t.Errorf("it does not go on: %v", err)
	}
}

// TestARawReadSurvivesItsConsumer: the server lets go of a reader, and the read goes on where it was.
func TestARawReadSurvivesItsConsumer(t *testing.T) {
	nc, js := embedded(t)
	r, err := BeginRestore(t.Context(), nc, RestoreConfig{JournalID: "01J", Incarnation: 1, Shards: 1, Backup: "B"})
	if err != nil {
		t.Fatal(err)
	}
	const batches = 12
	for b := range uint64(batches) {
		var batch []Raw
		for i := range uint64(RestoreBatchMax) {
			seq := b*RestoreBatchMax + i + 1
			batch = append(batch, Raw{Seq: seq, Subject: fmt.Sprintf("ev.0.a.b.c%d", seq)})
		}
		if err := r.Append(t.Context(), 0, batch); err != nil {
			t.Fatal(err)
		}
	}
	want, dropped := uint64(0), 0
	err = r.ReadRaw(t.Context(), 0, 0, batches*RestoreBatchMax, func(m *Raw) error {
		if want++; m.Seq != want {
			return fmt.Errorf("got %d, want %d", m.Seq, want)
		}
		if m.Seq%3000 != 0 {
			return nil
		}
		stream, err := js.Stream(t.Context(), "REFOLD-0-01J")
		if err != nil {
			return err
		}
		for name := range stream.ConsumerNames(t.Context()).Name() {
			dropped++
			if err := js.DeleteConsumer(t.Context(), "REFOLD-0-01J", name); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil || want != batches*RestoreBatchMax || dropped == 0 {
		t.Fatalf("read %d, dropped %d: %v", want, dropped, err)
	}
}
