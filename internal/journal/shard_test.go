package journal

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/refold-dev/refold/events/envelope"
)

func testEvent(tenant, id, commandID string, version uint64) *envelope.Event {
	key := envelope.Key{Tenant: tenant, Entity: "note", ID: id}
	return &envelope.Event{
		Key: key, EventID: envelope.MessageID([]byte("key"), key, commandID), Kind: "note.taken.v1", Version: version,
		Time: time.Now().UTC().Truncate(time.Microsecond), Actor: "tester", CommandID: commandID,
		Data: envelope.Compose([]byte(`{"n":1}`), []byte(`{"text":"x"}`), "hash-of-"+commandID),
	}
}

// TestGap needs a stream from which a message can be deleted, which Open would refuse.
func TestGap(t *testing.T) {
	nc, js := embedded(t)
	id := streamOf(t, js, 0, 1, func(c *jetstream.StreamConfig) { c.DenyDelete = false })
	s := newShard(js, nc, id)
	t.Cleanup(s.commits.stop)
	for i := range 5 {
		if _, err := s.Append(t.Context(), testEvent("acme", fmt.Sprintf("n%d", i), "c", 1), 0); err != nil {
			t.Fatal(err)
		}
	}
	stream, err := js.Stream(t.Context(), id.stream)
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.DeleteMsg(t.Context(), 3); err != nil {
		t.Fatal(err)
	}
	facts, err := s.Facts(t.Context())
	if err != nil || facts.Deleted != 1 || facts.Messages != 4 || facts.LastSeq != 5 {
		t.Errorf("facts: got %+v, %v, want one deleted of five", facts, err)
	}
	if _, err := s.At(t.Context(), 3); !errors.Is(err, ErrNoEvent) {
		t.Errorf("at 3: got %v, want %v", err, ErrNoEvent)
	}
	wantGap(t, s, FollowOptions{}, 3, 4)
	// A start on the very hole shows it, too.
	wantGap(t, s, FollowOptions{After: 2}, 3, 4)
}

func wantGap(t *testing.T, s *jetShard, o FollowOptions, want, got uint64) {
	t.Helper()
	f, err := s.Follow(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for err == nil {
		_, err = f.Next(t.Context(), 0, 0)
	}
	if gap, ok := errors.AsType[*GapError](err); !ok || gap.Want != want || gap.Got != got {
		t.Fatalf("follow %+v: got %v, want a gap at %d before %d", o, err, want, got)
	}
}

// TestMalformed: what is no event comes through with an empty kind, and no read fails because of it.
func TestMalformed(t *testing.T) {
	nc, js := embedded(t)
	s := opened(t, nc, Config{}).Shards[0]
	for _, m := range []*nats.Msg{
		{Subject: "ev.0.acme.note.n1", Data: []byte("no headers")},
		{Subject: "ev.0.acme", Data: []byte("no entity"), Header: nats.Header{"ce-id": {"x"}}},
	} {
		if _, err := js.PublishMsg(t.Context(), m); err != nil {
			t.Fatal(err)
		}
	}
	f, err := s.Follow(t.Context(), FollowOptions{After: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for seq := uint64(2); seq <= 3; seq++ {
		events, err := f.Next(t.Context(), 1, 0)
		if err != nil || events[0].Kind != MalformedKind || events[0].Seq != seq {
			t.Fatalf("follow: got %+v, %v, want a malformed event at %d", events, err, seq)
		}
	}
	key := envelope.Key{Tenant: "acme", Entity: "note", ID: "n1"}
	if history, err := s.History(t.Context(), key); err != nil || len(history) != 1 || string(history[0].Data) != "no headers" {
		t.Fatalf("history: got %+v, %v", history, err)
	}
	if last, err := s.Last(t.Context(), key); err != nil || last.Kind != MalformedKind || last.Key != key {
		t.Fatalf("last: got %+v, %v", last, err)
	}
}

// TestHistoryHole: an event that is missing in the middle of a history must not become a wrong state.
func TestHistoryHole(t *testing.T) {
	nc, _ := embedded(t)
	s := opened(t, nc, Config{}).Shards[0]
	first := testEvent("acme", "n1", "c1", 1)
	for i, e := range []*envelope.Event{first, testEvent("acme", "n1", "c3", 3)} {
		if _, err := s.Append(t.Context(), e, uint64(2*i)); err != nil {
			t.Fatal(err)
		}
	}
	if history, err := s.History(t.Context(), first.Key); err == nil {
		t.Fatalf("history with a hole: got %+v", history)
	}
}

// storeNotMade is "error creating store for stream".
const storeNotMade = 10049

// TestForeignAcknowledgement: another stream that captured our subjects must never pass for the journal.
func TestForeignAcknowledgement(t *testing.T) {
	nc, js := embedded(t)
	s := opened(t, nc, Config{}).Shards[0].(*jetShard)
	if err := js.DeleteStream(t.Context(), s.stream); err != nil {
		t.Fatal(err)
	}
	// The server removes a stream's files in the background, and now and then cannot make another store meanwhile.
	for deadline := time.Now().Add(10 * time.Second); ; {
		_, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "THIEF", Subjects: []string{"ev.>"}})
		if err == nil {
			break
		}
		if api, ok := errors.AsType[*jetstream.APIError](err); !ok || api.ErrorCode != storeNotMade || time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if r, err := s.Append(ctx, testEvent("acme", "n1", "c1", 1), 0); !errors.Is(err, ErrUnknown) {
		t.Fatalf("append while another stream answers: got %+v, %v, want %v", r, err, ErrUnknown)
	}
	info, err := js.Stream(t.Context(), "THIEF")
	if err != nil || info.CachedInfo().State.Msgs != 0 {
		t.Fatalf("the other stream holds %+v, %v, want nothing", info.CachedInfo().State, err)
	}
}

func TestAnswers(t *testing.T) {
	api := func(status int, code jetstream.ErrorCode, text string) error {
		return fmt.Errorf("nats: %w", &jetstream.APIError{Code: status, ErrorCode: code, Description: text})
	}
	ack := func(stream string, duplicate bool) *jetstream.PubAck {
		return &jetstream.PubAck{Stream: stream, Sequence: 7, Duplicate: duplicate}
	}
	for name, c := range map[string]struct {
		ack  *jetstream.PubAck
		err  error
		want meaning
	}{
		"acknowledged":           {ack: ack("S", false), want: stored},
		"duplicate":              {ack: ack("S", true), want: duplicate},
		"of another stream":      {ack: ack("OTHER", false), want: doubtful},
		"wrong last sequence":    {err: api(400, 10071, "wrong last sequence: 5"), want: raced},
		"wrong last, replicated": {err: api(400, 10164, "wrong last sequence"), want: raced},
		"same id in flight":      {err: api(409, 10158, "duplicate message id is in process"), want: doubtful},
		"too large":              {err: api(400, 10054, ""), want: tooLarge},
		"headers too large":      {err: api(400, 10097, ""), want: tooLarge},
		"no room":                {err: api(503, 10077, "maximum bytes exceeded"), want: full},
		"store failed otherwise": {err: api(503, 10077, "input/output error"), want: doubtful},
		"storage used up":        {err: api(500, 10047, "insufficient storage resources available"), want: full},
		"no leader":              {err: api(503, 10008, "JetStream system temporarily unavailable"), want: doubtful},
		"too many":               {err: api(429, 10210, ""), want: doubtful},
		"no responders":          {err: nats.ErrNoResponders, want: doubtful},
		"timeout":                {err: context.DeadlineExceeded, want: doubtful},
		"cancelled":              {err: context.Canceled, want: doubtful},
		"connection closed":      {err: nats.ErrConnectionClosed, want: doubtful},
	} {
		if got := answerOf("S", c.ack, c.err); got.meaning != c.want {
			t.Errorf("%s: got meaning %d, want %d", name, got.meaning, c.want)
		}
	}
}

func TestStreamSeq(t *testing.T) {
	for reply, want := range map[string]uint64{
		"$JS.ACK.S.c_1.1.42.3.1700000000.0":          42,
		"$JS.ACK.hub.acc.S.c_1.1.43.3.1700000000.0":  43,
		"$JS.ACK.hub.acc.S.c_1.1.44.3.17000.0.token": 44,
		"$JS.ACK.S.c_1.1.x.3.1700000000.0":           0,
		"_INBOX.abc":                                 0,
		"":                                           0,
	} {
		if got, ok := replyNumber(reply, replySeq); got != want || ok != (want != 0) {
			t.Errorf("%q: got %d, %v, want %d", reply, got, ok, want)
		}
	}
}

// TestServerGone: without a server the outcome is unknown, in bounded time, and a read says what is wrong.
func TestServerGone(t *testing.T) {
	nc, _ := embedded(t)
	s := opened(t, nc, Config{}).Shards[0]
	e := testEvent("acme", "n1", "c1", 1)
	nc.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := s.Append(ctx, e, 0); !errors.Is(err, ErrUnknown) {
		t.Fatalf("append: got %v, want %v", err, ErrUnknown)
	}
	if _, err := s.Last(t.Context(), e.Key); !errors.Is(err, nats.ErrConnectionClosed) {
		t.Fatalf("last: got %v, want %v", err, nats.ErrConnectionClosed)
	}
}

// TestInDoubtOrNot: a server that does not answer any more leaves an append in doubt only if an attempt may be stored.
func TestInDoubtOrNot(t *testing.T) {
	nc, _ := embedded(t)
	s := opened(t, nc, Config{}).Shards[0].(*jetShard)
	nc.Close()
	for name, c := range map[string]struct {
		first meaning
		want  error
	}{
		"not sent":       {unsent, ErrUnavailable},
		"raced":          {raced, ErrUnavailable},
		"full":           {full, ErrUnavailable},
		"doubtful":       {doubtful, ErrUnknown},
		"seen before":    {duplicate, ErrUnknown},
		"the batch only": {alone, ErrUnknown}, // it is sent once more
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o, err := newOutgoing(0, testEvent("acme", "n1", "c1", 1), 0)
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
			defer cancel()
			_, own, err := s.settle(ctx, o, answer{meaning: c.first, seq: 1, err: errors.New("said the server")})
			if !errors.Is(err, c.want) || errors.Is(err, ErrUnknown) && errors.Is(err, ErrUnavailable) || own != nil {
				t.Errorf("got %+v, %v, want %v alone", own, err, c.want)
			}
		})
	}
}

// TestCatchUp: what a replica did not have is taken from the leader.
func TestCatchUp(t *testing.T) {
	nc, _ := embedded(t)
	s := opened(t, nc, Config{}).Shards[0].(*jetShard)
	var want []envelope.Event
	for i := range 4 {
		e := testEvent("acme", "n1", fmt.Sprintf("c%d", i), uint64(i+1))
		last := lastSeq(want)
		if _, err := s.Append(t.Context(), testEvent("acme", fmt.Sprintf("other%d", i), "c", 1), 0); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Append(t.Context(), e, last); err != nil {
			t.Fatal(err)
		}
		want = append(want, *e)
	}
	for had := range len(want) + 1 {
		got := s.catchUp(t.Context(), "ev.0.acme.note.n1", slices.Clone(want[:had]))
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("caught up from %d events (-want +got):\n%s", had, diff)
		}
	}
}
