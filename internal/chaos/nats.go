package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/refold-dev/refold/internal/localstack"
)

const (
	natsNodes     = 3
	natsAccount   = "JOURNAL"
	natsUser      = "refold"
	natsProducers = "refold-producers"
	natsSecret    = "chaos"
	pollWait      = 200 * time.Millisecond
	// startMax bounds the start of a server, and until all are well again.
	startMax = 90 * time.Second
)

// cluster is three nats-server processes on this machine.
type cluster struct {
	nodes [natsNodes]*node
	conn  *nats.Conn // of the campaign itself, to whichever node is up
	js    jetstream.JetStream
}

// node is one nats-server with a store of its own.
type node struct {
	name    string
	dir     string
	program string
	port    int
	monitor int
	child   *localstack.Child // nil before the first start
}

const natsConfig = `# one of three servers
server_name: %[1]s
listen: "127.0.0.1:%[2]d"
http: "127.0.0.1:%[3]d"
accounts {
  %[9]s: { jetstream: enabled, users: [ { user: %[4]s, password: %[5]s } ] }
  PRODUCERS: { users: [ { user: %[10]s, password: %[5]s } ] }
}
authorization {
  auth_callout { issuer: %[11]s, account: PRODUCERS, auth_users: [ %[4]s, %[10]s ] }
}
max_control_line: 16KB
jetstream {
  store_dir: %[6]q
  sync_interval: always
  max_file_store: 1TB
}
cluster {
  name: chaos
  listen: "127.0.0.1:%[7]d"
  routes: [%[8]s]
}
`

// startCluster runs the nodes and returns when they place streams with three replicas.
func startCluster(ctx context.Context, program, dir, issuer string) (c *cluster, err error) {
	ports, err := takePorts(3 * natsNodes)
	if err != nil {
		return nil, err
	}
	var routes []string
	for i := range natsNodes {
		routes = append(routes, fmt.Sprintf("\"nats://127.0.0.1:%d\"", ports[2*natsNodes+i]))
	}
	c = &cluster{}
	for i := range c.nodes {
		n := &node{name: fmt.Sprintf("n%d", i+1), program: program, port: ports[i], monitor: ports[natsNodes+i]}
		n.dir = filepath.Join(dir, n.name)
		c.nodes[i] = n
		text := fmt.Sprintf(natsConfig, n.name, n.port, n.monitor, natsUser, natsSecret, n.store(), ports[2*natsNodes+i], strings.Join(routes, ", "), natsAccount, natsProducers, issuer)
		err := os.MkdirAll(n.dir, 0o700)
		if err == nil {
			err = os.WriteFile(n.configFile(), []byte(text), 0o600)
		}
		if err == nil {
			err = n.start()
		}
		if err != nil {
			return nil, errors.Join(err, c.stop())
		}
	}
	if err = c.connect(ctx); err == nil {
		err = c.awaitHealthy(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, c.stop())
	}
	return c, nil
}

func (c *cluster) connect(ctx context.Context) (err error) {
	err = eventually(ctx, startMax, func() error {
		c.conn, err = nats.Connect(c.url(natsUser), nats.Name("chaos"), nats.MaxReconnects(-1), nats.ReconnectWait(100*time.Millisecond))
		return err
	})
	if err != nil {
		return err
	}
	c.js, err = jetstream.New(c.conn)
	return err
}

// url names all nodes, with the login of a user; without a user it is for producers, who log in by a token.
func (c *cluster) url(user string) string {
	login := ""
	if user != "" {
		login = user + ":" + natsSecret + "@"
	}
	var all []string
	for _, n := range c.nodes {
		all = append(all, fmt.Sprintf("nats://%s127.0.0.1:%d", login, n.port))
	}
	return strings.Join(all, ",")
}

// awaitHealthy returns when each node says that its streams and consumers are level with the leaders.
func (c *cluster) awaitHealthy(ctx context.Context) error {
	for _, n := range c.nodes {
		if err := eventually(ctx, startMax, n.healthy); err != nil {
			return err
		}
	}
	return nil
}

func (c *cluster) stop() error {
	if c.conn != nil {
		c.conn.Close()
	}
	var faults []error
	for _, n := range c.nodes {
		if n != nil {
			faults = append(faults, n.kill())
		}
	}
	return errors.Join(faults...)
}

func (n *node) url() string {
	return fmt.Sprintf("nats://%s:%s@127.0.0.1:%d", natsUser, natsSecret, n.port)
}
func (n *node) configFile() string { return filepath.Join(n.dir, "nats.conf") }
func (n *node) store() string      { return filepath.Join(n.dir, "store") }
func (n *node) logFile() string    { return filepath.Join(n.dir, "nats.log") }

// start returns at once; the log goes on where it was.
func (n *node) start() error {
	log, err := os.OpenFile(n.logFile(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	cmd := exec.Command(n.program, "--config", n.configFile())
	cmd.Stdout, cmd.Stderr = log, log
	child, err := localstack.Spawn(cmd, syscall.SIGKILL)
	if err != nil {
		return fmt.Errorf("start %s: %w", n.name, err)
	}
	n.child = child
	return nil
}

func (n *node) signal(s syscall.Signal) error { return n.child.Signal(s) }

// kill is kill -9; it returns when the process is gone. A node that never started or has ended is no error.
func (n *node) kill() error {
	if n.child == nil {
		return nil
	}
	err := n.child.Signal(syscall.SIGKILL)
	<-n.child.Done()
	return err
}

// halt is SIGTERM: the node hands its leaderships over and ends.
func (n *node) halt() error {
	if err := n.child.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case <-n.child.Done():
		return nil
	case <-time.After(startMax):
		return errors.Join(fmt.Errorf("%s did not end within %s of SIGTERM", n.name, startMax), n.kill())
	}
}

// monitorClient waits longer than a check takes on a machine that is short of time.
var monitorClient = &http.Client{Timeout: 10 * time.Second}

// up says whether the node answers at all; it may still be behind.
func (n *node) up() error {
	if status, body := ask(monitorClient, fmt.Sprintf("http://127.0.0.1:%d/varz", n.monitor)); status != http.StatusOK {
		return fmt.Errorf("%s is not up: %d %s", n.name, status, body)
	}
	return nil
}

// healthy asks the node's own check.
func (n *node) healthy() error {
	select {
	case <-n.child.Done():
		return fmt.Errorf("%s has ended: %v; its log: %s", n.name, n.child.Err(), n.logFile())
	default:
	}
	status, body := ask(monitorClient, fmt.Sprintf("http://127.0.0.1:%d/healthz", n.monitor))
	if status != http.StatusOK {
		return fmt.Errorf("%s is not healthy: %d %s", n.name, status, body)
	}
	return nil
}

// eventually tries until it holds.
func eventually(ctx context.Context, limit time.Duration, holds func() error) error {
	deadline := time.Now().Add(limit)
	for {
		err := holds()
		if err == nil {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("not within %s: %w", limit, err)
		}
		if errPause := pause(ctx, pollWait); errPause != nil {
			return errors.Join(errPause, err)
		}
	}
}

func pause(ctx context.Context, length time.Duration) error {
	timer := time.NewTimer(length)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
