package testenv

import (
	"context"
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/refold-dev/refold/internal/localstack"
)

// StartNATSCluster runs size servers as processes of one cluster and waits until JetStream answers, so that streams
// with replicas can be made. options hold for each; store, name and ports are made here.
func StartNATSCluster(t testing.TB, size int, options localstack.NATSOptions) []*NATSProcess {
	t.Helper()
	peers := freePorts(t, size)
	servers := make([]*NATSProcess, size)
	for i := range servers {
		member := options
		member.StoreDir, member.Port = "", 0
		member.Name = fmt.Sprintf("n%d", i+1)
		member.Cluster = &localstack.NATSCluster{Name: "test", Port: peers[i], Peers: peers}
		servers[i] = newNATSProcess(t, member)
		servers[i].spawn()
	}
	for _, server := range servers {
		server.awaitReady()
	}
	awaitJetStream(t, servers, size)
	return servers
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
