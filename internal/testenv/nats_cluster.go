package testenv

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/refold-dev/refold/internal/localstack"
)

// NATSCluster is several servers that replicate, in processes of their own. Each has a name.
type NATSCluster struct {
	servers []*NATSProcess
}

// StartNATSCluster runs size servers, named n1, n2 and so on, and waits until JetStream answers, so that streams with replicas
// can be made. options hold for each; store, name and ports are made here.
func StartNATSCluster(t testing.TB, size int, options localstack.NATSOptions) *NATSCluster {
	t.Helper()
	peers := freePorts(t, size)
	c := &NATSCluster{servers: make([]*NATSProcess, size)}
	for i := range c.servers {
		member := options
		member.StoreDir, member.Port = "", 0
		member.Name = fmt.Sprintf("n%d", i+1)
		member.Cluster = &localstack.NATSCluster{Name: "test", Port: peers[i], Peers: peers}
		c.servers[i] = newNATSProcess(t, member)
		c.servers[i].spawn()
	}
	for _, server := range c.servers {
		server.awaitReady()
	}
	awaitJetStream(t, c.servers, size)
	return c
}

// Server returns the one of that name.
func (c *NATSCluster) Server(name string) *NATSProcess {
	i := slices.IndexFunc(c.servers, func(n *NATSProcess) bool { return n.options.Name == name })
	return c.servers[i]
}

// URL names every server, so that a client finds another one when its own is down.
func (c *NATSCluster) URL() string {
	var urls []string
	for _, server := range c.servers {
		urls = append(urls, server.URL())
	}
	return strings.Join(urls, ",")
}

// Connect opens a connection to any of the servers, closed in the cleanup.
func (c *NATSCluster) Connect(t testing.TB) *nats.Conn {
	t.Helper()
	return connect(t, c.URL())
}

// awaitJetStream waits for an elected leader and a stream with all replicas placed: before, the cluster takes requests
// and lets them time out.
func awaitJetStream(t testing.TB, servers []*NATSProcess, replicas int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), startMax)
	defer cancel()
	js, err := jetstream.New(servers[0].Connect(t))
	if err != nil {
		t.Fatal(err)
	}
	probe := jetstream.StreamConfig{Name: "testenv-probe", Subjects: []string{"testenv-probe"}, Replicas: replicas}
	for {
		attempt, cancel := context.WithTimeout(ctx, time.Second)
		_, err = js.CreateOrUpdateStream(attempt, probe)
		cancel()
		if err == nil {
			break
		}
		select {
		case <-ctx.Done():
			t.Fatalf("testenv: the nats cluster does not answer: %v", err)
		case <-time.After(50 * time.Millisecond): // a refusal such as "not enough servers yet" comes at once
		}
	}
	if err := js.DeleteStream(ctx, probe.Name); err != nil {
		t.Fatal(err)
	}
}

// freePorts holds all of them open until each is known, so that they differ.
func freePorts(t testing.TB, count int) []int {
	t.Helper()
	ports := make([]int, count)
	for i := range ports {
		listener, err := net.Listen("tcp4", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = listener.Close() }()
		ports[i] = listener.Addr().(*net.TCPAddr).Port
	}
	return ports
}
