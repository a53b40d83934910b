package journal

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// embedded returns a connection to a server of its own, with an empty store.
func embedded(t testing.TB) (*nats.Conn, jetstream.JetStream) {
	t.Helper()
	s, err := server.NewServer(&server.Options{
		ServerName: "embedded", DontListen: true, NoSigs: true, NoLog: true,
		JetStream: true, StoreDir: filepath.Join(t.TempDir(), "store"), SyncAlways: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(10 * time.Second) {
		t.Fatal("the server did not get ready")
	}
	nc, err := nats.Connect("", nats.InProcessServer(s))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return nc, js
}

// opened opens the journal and closes it at the end of the test.
func opened(t testing.TB, nc *nats.Conn, config Config) *Journal {
	t.Helper()
	j, err := OpenOrCreate(t.Context(), nc, config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(j.Close)
	return j
}

// streamOf makes a stream by hand, altered from what a journal's should be.
func streamOf(t testing.TB, js jetstream.JetStream, shard, shards int, alter func(*jetstream.StreamConfig)) identity {
	t.Helper()
	config := streamConfig("01JOURNAL", shard, shards, Config{}.withDefaults())
	alter(&config)
	stream, err := js.CreateStream(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	id, err := identityOf(stream.CachedInfo())
	if err != nil {
		t.Fatal(err)
	}
	return id
}
