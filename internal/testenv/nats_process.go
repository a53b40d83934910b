package testenv

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/refold-dev/refold/internal/localstack"
)

const (
	natsChild    = "testenv-nats"
	natsVariable = "REFOLD_TEST_NATS"
)

// NATSProcess is a nats-server in a process of its own, which can be killed as a crash does. Its store and its port
// stay, so that clients reconnect after Restart.
type NATSProcess struct {
	t       testing.TB
	options localstack.NATSOptions
	process *Process
}

// StartNATSProcess runs the server and waits until it takes connections. An empty StoreDir is a new folder.
// For several that replicate see StartNATSCluster.
func StartNATSProcess(t testing.TB, options localstack.NATSOptions) *NATSProcess {
	t.Helper()
	n := newNATSProcess(t, options)
	n.Restart()
	return n
}

func newNATSProcess(t testing.TB, options localstack.NATSOptions) *NATSProcess {
	t.Helper()
	if options.StoreDir == "" {
		options.StoreDir = t.TempDir()
	}
	options.Logger = nil // the child has its own
	return &NATSProcess{t: t, options: options}
}

// Restart starts the server after Kill or Stop, killing it first when it still runs.
func (n *NATSProcess) Restart() {
	n.t.Helper()
	n.spawn()
	n.awaitReady()
}

func (n *NATSProcess) spawn() {
	n.t.Helper()
	if n.process != nil {
		n.process.Kill()
	}
	text, err := json.Marshal(n.options)
	if err != nil {
		n.t.Fatal(err)
	}
	n.process = Spawn(n.t, natsChild, ProcessOptions{Env: []string{natsVariable + "=" + string(text)}})
}

func (n *NATSProcess) awaitReady() {
	n.t.Helper()
	port, err := strconv.Atoi(n.process.WaitReady())
	if err != nil {
		n.t.Fatal(err)
	}
	n.options.Port = port
}

// URL is the address with user and password, the same over restarts.
func (n *NATSProcess) URL() string {
	credentials := ""
	if n.options.User != "" {
		credentials = n.options.User + ":" + n.options.Password + "@"
	}
	return fmt.Sprintf("nats://%s127.0.0.1:%d", credentials, n.options.Port)
}

// Connect opens a connection that reconnects for ever, closed in the cleanup.
func (n *NATSProcess) Connect(t testing.TB) *nats.Conn {
	t.Helper()
	return connect(t, n.URL())
}

// Kill is kill -9.
func (n *NATSProcess) Kill() { n.t.Helper(); n.process.Kill() }

// Pause stops the process in its tracks, as a stalled machine does; Resume lets it go on.
func (n *NATSProcess) Pause() { n.t.Helper(); n.process.Signal(syscall.SIGSTOP) }

// Resume ends a Pause.
func (n *NATSProcess) Resume() { n.t.Helper(); n.process.Signal(syscall.SIGCONT) }

// Stop shuts the server down in order.
func (n *NATSProcess) Stop() {
	n.t.Helper()
	n.process.Signal(syscall.SIGTERM)
	if err := n.process.Wait(); err != nil {
		n.t.Errorf("testenv: nats: %v\n%s", err, n.process.Output())
	}
}

// runNATS is the child.
func runNATS() int {
	if err := serveNATS(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func serveNATS() error {
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer cancel()
	var options localstack.NATSOptions
	if err := json.Unmarshal([]byte(os.Getenv(natsVariable)), &options); err != nil {
		return err
	}
	options.Logger = slog.New(slog.NewTextHandler(os.Stderr, nil))
	server, err := localstack.StartNATS(ctx, options)
	if err != nil {
		return err
	}
	Ready(strconv.Itoa(server.Address().Port))
	<-ctx.Done()
	server.Stop()
	return nil
}

// StoreDir is the folder of the server's store. Tests damage it while the server is down.
func (n *NATSProcess) StoreDir() string { return n.options.StoreDir }

// Output is what the server has logged since it was last started.
func (n *NATSProcess) Output() string { return n.process.Output() }

// Damage flips a bit of a message in the server's copy of a stream and leaves the server running again. The message is one
// that holds text, which stands nowhere else in the stream; the bit is one of text. stream may be a pattern, see filepath.Match.
// mend flips the bit back, in the same way.
func (n *NATSProcess) Damage(stream, text string) (mend func()) {
	n.t.Helper()
	var file string
	var at int
	flip := func() {
		n.t.Helper()
		n.Stop() // it may have the block in memory, and not have written all of it
		var err error
		if file == "" {
			file, at, err = find(filepath.Join(n.StoreDir(), "jetstream", "$G", "streams", stream, "msgs", "*.blk"), []byte(text))
		}
		var content []byte
		if err == nil {
			content, err = os.ReadFile(file)
		}
		if err == nil {
			content[at+len(text)/2] ^= 1
			err = os.WriteFile(file, content, 0o600)
		}
		if err != nil {
			n.t.Fatalf("testenv: %s: %v", n.options.Name, err)
		}
		n.Restart()
	}
	flip()
	return flip
}

// find returns the file that holds text, and where.
func find(pattern string, text []byte) (file string, at int, err error) {
	files, err := filepath.Glob(pattern)
	if err != nil {
		return "", 0, err
	}
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			return "", 0, err
		}
		if at := bytes.Index(content, text); at >= 0 {
			return file, at, nil
		}
	}
	return "", 0, fmt.Errorf("none of %d files like %s holds %q", len(files), pattern, text)
}
