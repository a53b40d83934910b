package journaltest_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/refold-dev/refold/internal/journal"
	"github.com/refold-dev/refold/internal/journal/journaltest"
)

func TestFake(t *testing.T) {
	t.Parallel()
	open := func(t testing.TB, setup journaltest.Setup) journaltest.Harness {
		fake := journaltest.NewFake(0, 1)
		fake.BytesMax = uint64(setup.BytesMax)
		return journaltest.Harness{
			Shard: fake,
			Again: func(testing.TB) journal.Shard { return fake },
			Recreate: func(testing.TB) journal.Shard {
				fake.Recreate("01FAKE9999999999999999", 0, 1)
				return fake
			},
			Restore: func(t testing.TB, between func(journal.Shard)) journal.Shard {
				facts, err := fake.Facts(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				between(fake)
				fake.Truncate(facts.LastSeq)
				return fake
			},
			Lose: func(_ testing.TB, seq uint64) { fake.Lose(seq) },
		}
	}
	journaltest.Conformance(t, "the fake", open(t, journaltest.Setup{}), open)
}

// TestEmbedded runs against one server inside this process, as the local stack runs it.
func TestEmbedded(t *testing.T) {
	t.Parallel()
	can := journaltest.Harness{
		Recreate: func(testing.TB) journal.Shard { return nil },
		Restore:  func(testing.TB, func(journal.Shard)) journal.Shard { return nil },
	}
	journaltest.Conformance(t, "embedded R1", can, func(t testing.TB, setup journaltest.Setup) journaltest.Harness {
		e := &embedded{store: storeDir(t), setup: setup}
		t.Cleanup(e.stop)
		return journaltest.Harness{
			Shard:    e.start(t),
			Again:    func(t testing.TB) journal.Shard { return again(t, "", nats.InProcessServer(e.server)) },
			Recreate: e.recreate, Restore: e.restore,
		}
	})
}

type embedded struct {
	store   string
	setup   journaltest.Setup
	server  *server.Server
	nc      *nats.Conn
	journal *journal.Journal
}

func (e *embedded) start(t testing.TB) journal.Shard {
	e.server = embed(t, e.store)
	e.nc = connect(t, "", nats.InProcessServer(e.server))
	e.journal = create(t, e.nc, 1, e.setup)
	return e.journal.Shards[0]
}

func (e *embedded) stop() {
	e.journal.Close()
	e.nc.Close()
	e.server.Shutdown()
	e.server.WaitForShutdown()
}

func (e *embedded) recreate(t testing.TB) journal.Shard {
	deleteJournal(t, e.nc)
	return create(t, e.nc, 1, e.setup).Shards[0]
}

func (e *embedded) restore(t testing.TB, between func(journal.Shard)) journal.Shard {
	copied := e.store + "-copy"
	// A running store is never copied: stop, copy, go on.
	e.stop()
	copyStore(t, e.store, copied)
	between(e.start(t))
	e.stop()
	copyStore(t, copied, e.store)
	return e.start(t)
}

// TestProcess runs against one server in a process of its own, which can be killed.
func TestProcess(t *testing.T) {
	t.Parallel()
	n := &node{Name: "alone", Port: freePorts(t, 1)[0], Store: storeDir(t)}
	n.start(t)
	t.Cleanup(n.kill)
	nc := connect(t, n.url())
	crash := func(t testing.TB) {
		n.kill()
		n.start(t)
	}
	journaltest.Conformance(t, "R1 in a process", journaltest.Harness{Crash: crash, Pause: n.pause}, func(t testing.TB, setup journaltest.Setup) journaltest.Harness {
		deleteJournal(t, nc)
		return journaltest.Harness{
			Shard: create(t, nc, 1, setup).Shards[0], Crash: crash, Pause: n.pause,
			Again: func(t testing.TB) journal.Shard { return again(t, n.url()) },
		}
	})
}

// TestCluster runs against three servers in processes of their own.
func TestCluster(t *testing.T) {
	t.Parallel()
	c := startCluster(t)
	can := journaltest.Harness{
		Crash:    c.killLeader,
		Pause:    c.pauseLeader,
		Recreate: func(testing.TB) journal.Shard { return nil },
	}
	journaltest.Conformance(t, "R3", can, func(t testing.TB, setup journaltest.Setup) journaltest.Harness {
		deleteJournal(t, c.nc)
		c.journal = create(t, c.nc, 3, setup)
		return journaltest.Harness{
			Shard: c.journal.Shards[0], Crash: c.killLeader, Pause: c.pauseLeader,
			Again: func(t testing.TB) journal.Shard { return again(t, c.urls) },
			Recreate: func(t testing.TB) journal.Shard {
				deleteJournal(t, c.nc)
				return create(t, c.nc, 3, setup).Shards[0]
			},
		}
	})
}

type cluster struct {
	nodes   []*node
	urls    string
	nc      *nats.Conn
	journal *journal.Journal
}

func startCluster(t *testing.T) *cluster {
	const size = 3
	ports := freePorts(t, 2*size)
	c := &cluster{}
	var routes, urls []string
	for i := range size {
		routes = append(routes, fmt.Sprintf("127.0.0.1:%d", ports[size+i]))
	}
	for i := range size {
		n := &node{Name: fmt.Sprintf("n%d", i), Port: ports[i], Store: storeDir(t), Cluster: "journaltest", Routed: ports[size+i], Routes: routes}
		n.start(t)
		t.Cleanup(n.kill)
		c.nodes = append(c.nodes, n)
		urls = append(urls, n.url())
	}
	c.urls = strings.Join(urls, ",")
	c.nc = connect(t, c.urls)
	awaitPeers(t, c.nc)
	return c
}

// awaitPeers waits until the cluster places a stream on three servers.
func awaitPeers(t *testing.T, nc *nats.Conn) {
	t.Helper()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for ctx.Err() == nil {
		// A request that comes before the first election is never answered.
		if err = probe(ctx, js); err == nil {
			return
		}
		select {
		case <-ctx.Done():
		case <-time.After(100 * time.Millisecond):
		}
	}
	t.Fatalf("the cluster did not form: %v", err)
}

func probe(ctx context.Context, js jetstream.JetStream) error {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	_, err := js.CreateStream(ctx, jetstream.StreamConfig{Name: "PROBE", Subjects: []string{"probe"}, Replicas: 3})
	return err
}

// killLeader kills the leader of the stream and starts it again.
func (c *cluster) killLeader(t testing.TB) {
	if n := c.leader(t); n != nil {
		n.kill()
		n.start(t)
	}
}

func (c *cluster) pauseLeader(t testing.TB) (resume func()) {
	if n := c.leader(t); n != nil {
		return n.pause(t)
	}
	return func() {}
}

// leader is called by other goroutines than that of the test.
func (c *cluster) leader(t testing.TB) *node {
	facts, err := c.journal.Shards[0].Facts(t.Context())
	if err != nil {
		t.Errorf("who is the leader: %v", err)
		return nil
	}
	for _, n := range c.nodes {
		if n.Name == facts.Leader {
			return n
		}
	}
	t.Errorf("the leader is %q, which is none of ours", facts.Leader)
	return nil
}

func create(t testing.TB, nc *nats.Conn, replicas int, setup journaltest.Setup) *journal.Journal {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	j, err := journal.Create(ctx, nc, journal.Config{Replicas: replicas, BytesMax: setup.BytesMax, DedupeWindow: setup.DedupeWindow})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(j.Close)
	return j
}

// again opens the shard over another connection.
func again(t testing.TB, urls string, options ...nats.Option) journal.Shard {
	t.Helper()
	j, err := journal.Open(t.Context(), connect(t, urls, options...), journal.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(j.Close)
	return j.Shards[0]
}

// deleteJournal removes all streams, which only a test does.
func deleteJournal(t testing.TB, nc *nats.Conn) {
	t.Helper()
	response, err := nc.Request("$JS.API.STREAM.NAMES", nil, 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	var names struct{ Streams []string }
	if err := json.Unmarshal(response.Data, &names); err != nil {
		t.Fatal(err)
	}
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names.Streams {
		if err := js.DeleteStream(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
}
