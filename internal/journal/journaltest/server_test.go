package journaltest_test

import (
	"encoding/json"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// serverEnv makes the test binary a NATS server: its value is a node in JSON. A process of its own can be killed
// for real.
const serverEnv = "REFOLD_JOURNALTEST_SERVER"

func TestMain(m *testing.M) {
	if settings := os.Getenv(serverEnv); settings != "" {
		serve(settings)
	}
	os.Exit(m.Run())
}

// node is one NATS server.
type node struct {
	Name    string
	Port    int // 0 = any, for a server in this process
	Store   string
	Cluster string // empty = none
	Routed  int    // port for the other nodes
	Routes  []string

	process *exec.Cmd
}

func (n *node) options() *server.Options {
	o := &server.Options{
		ServerName: n.Name, Host: "127.0.0.1", Port: n.Port, NoSigs: true, NoLog: true,
		JetStream: true, StoreDir: n.Store, SyncAlways: true,
	}
	if n.Port == 0 {
		o.Port = server.RANDOM_PORT
	}
	if n.Cluster != "" {
		o.Cluster = server.ClusterOpts{Name: n.Cluster, Host: "127.0.0.1", Port: n.Routed, PoolSize: -1}
		for _, route := range n.Routes {
			o.Routes = append(o.Routes, &url.URL{Scheme: "nats", Host: route})
		}
	}
	return o
}

// serve runs a server until the process is killed, or its parent is gone.
func serve(settings string) {
	var n node
	if err := json.Unmarshal([]byte(settings), &n); err != nil {
		fail(err)
	}
	s, err := server.NewServer(n.options())
	if err != nil {
		fail(err)
	}
	s.Start()
	// The parent holds the other end of standard input and never writes.
	_, _ = os.Stdin.Read(make([]byte, 1))
	os.Exit(1)
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(2)
}

// start runs the node as a process; it is killed at the end of the test.
func (n *node) start(t testing.TB) {
	t.Helper()
	settings, err := json.Marshal(n)
	if err != nil {
		t.Fatal(err)
	}
	n.process = exec.Command(os.Args[0])
	n.process.Env = append(os.Environ(), serverEnv+"="+string(settings))
	n.process.Stderr = os.Stderr
	if _, err := n.process.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := n.process.Start(); err != nil {
		t.Fatal(err)
	}
}

// kill ends the process with SIGKILL.
func (n *node) kill() {
	_ = n.process.Process.Kill()
	_ = n.process.Wait()
}

// pause stops the process with SIGSTOP.
func (n *node) pause(t testing.TB) (resume func()) {
	send := func(signal os.Signal) {
		if err := n.process.Process.Signal(signal); err != nil {
			t.Error(err)
		}
	}
	send(syscall.SIGSTOP)
	return func() { send(syscall.SIGCONT) }
}

func (n *node) url() string { return fmt.Sprintf("nats://127.0.0.1:%d", n.Port) }

// freePorts returns ports that were free a moment ago.
func freePorts(t testing.TB, count int) []int {
	t.Helper()
	var ports []int
	for range count {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports
}

// embed starts a server in this process.
func embed(t testing.TB, store string) *server.Server {
	t.Helper()
	s, err := server.NewServer((&node{Name: "embedded", Store: store}).options())
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	if !s.ReadyForConnections(10 * time.Second) {
		t.Fatal("the server did not get ready")
	}
	return s
}

func connect(t testing.TB, urls string, options ...nats.Option) *nats.Conn {
	t.Helper()
	options = append(options, nats.MaxReconnects(-1), nats.ReconnectWait(50*time.Millisecond),
		nats.RetryOnFailedConnect(true), nats.CustomInboxPrefix("_INBOX"))
	nc, err := nats.Connect(urls, options...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc
}

func copyStore(t testing.TB, from, to string) {
	t.Helper()
	if err := os.RemoveAll(to); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
}

func storeDir(t testing.TB) string { return filepath.Join(t.TempDir(), "store") }
