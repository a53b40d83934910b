package journal

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
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
	if _, ok := bulk.(*follower).reading.source.wire.(*bulkWire); !ok {
		t.Fatal("a large pull is no bulk read")
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

// TestConnectLineIsJSON: whatever is in a password, the server gets just that.
func TestConnectLineIsJSON(t *testing.T) {
	for _, password := range []string{"plain", "\x01\x7f\a\v", `quote " and \ slash`, "☃ 🦊", "a\r\nPING\r\n", "\u2028"} {
		line, err := connectLine("user", password, password)
		if err != nil {
			t.Fatal(err)
		}
		body, ok := strings.CutPrefix(line, "CONNECT ")
		body, end := strings.CutSuffix(body, "\r\nPING\r\n")
		var got struct{ User, Pass, Auth_token string }
		if err := json.Unmarshal([]byte(body), &got); !ok || !end || err != nil || strings.ContainsAny(body, "\r\n") {
			t.Errorf("%q: %v in %q", password, err, line)
		}
		if got.User != "user" || got.Pass != password || got.Auth_token != password {
			t.Errorf("%q came as %+v", password, got)
		}
	}
}

// TestBulkReadWithAnyPassword logs in as the library does.
func TestBulkReadWithAnyPassword(t *testing.T) {
	for _, password := range []string{"\x01\x7f\a", "☃ \U0001F98A \" \\"} {
		s, err := server.NewServer(&server.Options{ServerName: "embedded", Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true, Username: "refold", Password: password})
		if err != nil {
			t.Fatal(err)
		}
		s.Start()
		defer s.Shutdown()
		if !s.ReadyForConnections(10 * time.Second) {
			t.Fatal("the server did not get ready")
		}
		nc, err := nats.Connect(s.ClientURL(), nats.UserInfo("refold", password))
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		w, err := newBulkWire(t.Context(), nc, time.Second)
		if err != nil {
			t.Fatalf("password %q: %v", password, err)
		}
		w.close()
	}
}
