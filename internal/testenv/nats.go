package testenv

import (
	"context"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/refold-dev/refold/internal/localstack"
)

// NATS is a connection to a server of this test alone, with JetStream on disk that syncs before it acknowledges. Both
// are closed in the cleanup. The server listens on loopback too: see ConnectedUrl.
func NATS(t testing.TB) *nats.Conn {
	t.Helper()
	return Connect(t, NATSServer(t, localstack.NATSOptions{}))
}

// NATSServer is a server within the test process, stopped in the cleanup. An empty StoreDir is a new folder.
func NATSServer(t testing.TB, options localstack.NATSOptions) *localstack.NATS {
	t.Helper()
	if options.StoreDir == "" {
		options.StoreDir = t.TempDir()
	}
	ctx, cancel := context.WithTimeout(t.Context(), startMax)
	defer cancel()
	server, err := localstack.StartNATS(ctx, options)
	if err != nil {
		t.Fatalf("testenv: %v", err)
	}
	t.Cleanup(server.Stop)
	return server
}

// Connect opens a connection to the server over loopback, as another process would, closed in the cleanup.
func Connect(t testing.TB, server *localstack.NATS) *nats.Conn {
	t.Helper()
	return connect(t, server.URL())
}

func connect(t testing.TB, url string) *nats.Conn {
	t.Helper()
	conn, err := nats.Connect(url, nats.MaxReconnects(-1), nats.ReconnectWait(50*time.Millisecond))
	if err != nil {
		t.Fatalf("testenv: connect to nats: %v", err)
	}
	t.Cleanup(conn.Close)
	return conn
}
