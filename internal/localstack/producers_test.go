package localstack_test

import (
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/refold-dev/refold/internal/localstack"
	"github.com/refold-dev/refold/internal/testenv"
)

// TestStreamsStayWhenProducersAreLetIn: letting producers in, and no longer, leaves the streams of a data directory
// where they were, and out of the reach of the account of producers.
func TestStreamsStayWhenProducersAreLetIn(t *testing.T) {
	config := localstack.Config{DataDir: testenv.Dir(t), PostgresURL: testenv.Postgres(t), Durability: localstack.DurabilityRelaxed}
	for round, listen := range []string{"", "127.0.0.1:0", "", "127.0.0.1:0"} {
		config.NATSListen = listen
		stack, err := localstack.Start(t.Context(), config)
		if err != nil {
			t.Fatal(err)
		}
		js, err := jetstream.New(stack.NATS())
		if err != nil {
			t.Fatal(err)
		}
		if round == 0 {
			if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "KEPT", Subjects: []string{"kept.>"}}); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := js.Publish(t.Context(), "kept.x", nil); err != nil {
			t.Fatal(err)
		}
		stream, err := js.Stream(t.Context(), "KEPT")
		if err != nil || stream.CachedInfo().State.Msgs != uint64(round+1) {
			t.Fatalf("round %d: %v, %+v", round, err, stream)
		}
		if (stack.Producers() != nil) != (listen != "") {
			t.Errorf("listening on %q: producers %v", listen, stack.Producers())
		}
		if listen != "" {
			seesNothing(t, config.DataDir, stack)
		}
		if err := stack.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// seesNothing looks from the account of producers, by the owner and by a process that joins.
func seesNothing(t *testing.T, dataDir string, owner *localstack.Stack) {
	t.Helper()
	joined, err := localstack.Join(t.Context(), dataDir)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = joined.Close() }()
	for _, stack := range []*localstack.Stack{owner, joined} {
		conn, err := stack.ConnectProducers()
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		js, err := jetstream.New(conn)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := js.Stream(t.Context(), "KEPT"); err == nil {
			t.Error("the account of producers sees the stream")
		}
	}
}
