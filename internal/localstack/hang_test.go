package localstack_test

import (
	"net"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/refold-dev/refold/internal/localstack"
	"github.com/refold-dev/refold/internal/testenv"
)

// TestAServerThatHangsIsLeft: a server that is stopped, or behind a network that is gone, keeps its connections open.
func TestAServerThatHangsIsLeft(t *testing.T) {
	t.Parallel()
	hanging, other := testenv.NATSServer(t, localstack.NATSOptions{Name: "hanging"}), testenv.NATSServer(t, localstack.NATSOptions{Name: "other"})
	address, hang := through(t, hanging.Address().String())
	conn, err := localstack.Dial("nats://"+address+",nats://"+other.Address().String(), localstack.NATSAccess{})(nats.DontRandomize())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if conn.ConnectedServerName() != "hanging" {
		t.Fatalf("connected to %q", conn.ConnectedServerName())
	}
	hang()
	began := time.Now()
	for conn.ConnectedServerName() != "other" {
		if time.Since(began) > time.Minute {
			t.Fatal("still connected to a server that says nothing")
		}
		select {
		case <-conn.StatusChanged(nats.CONNECTED):
		case <-time.After(time.Second):
		}
	}
}

// through passes bytes on between whoever connects and an address, until hang keeps them back for good.
func through(t *testing.T, to string) (address string, hang func()) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	hung, over := make(chan struct{}), make(chan struct{})
	t.Cleanup(func() {
		close(over)
		_ = listener.Close()
	})
	pass := func(to, from net.Conn) {
		buffer := make([]byte, 64<<10)
		for {
			n, err := from.Read(buffer)
			select {
			case <-hung:
				<-over
			default:
			}
			if n > 0 {
				_, _ = to.Write(buffer[:n])
			}
			if err != nil {
				_ = to.Close()
				return
			}
		}
	}
	go func() {
		for {
			near, err := listener.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("tcp", to)
			if err != nil {
				_ = near.Close()
				continue
			}
			go pass(far, near)
			go pass(near, far)
		}
	}()
	return listener.Addr().String(), func() { close(hung) }
}
