package localstack

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	stopMax      = 60 * time.Second // for a fast shutdown with its checkpoint
	portAttempts = 5
)

// Postgres is a private cluster and its server process, which ends when this process does. Methods are safe for
// concurrent use, except that the caller orders Stop, Kill and Restart.
type Postgres struct {
	cluster  cluster
	options  PostgresOptions
	password string
	sockets  string // folder of its Unix socket; "" = none

	listenHost string // where SQL readers connect; "" = by the socket alone
	listenPort int    // 0 = any

	mu    sync.Mutex // guards what a restart replaces
	port  int
	child *Child
	lock  *os.File // of the folder, from start to stop
}

// StartPostgres runs the cluster in dir, made first when absent, and returns when it takes connections with the
// password and the database exists. dir gets the data directory and three small files; when this process is root all
// of its ancestors must be open to an unprivileged user. A server that survived an earlier owner is shut down first.
func StartPostgres(ctx context.Context, dir string, options PostgresOptions) (*Postgres, error) {
	p, err := openPostgres(ctx, dir, options)
	if err != nil {
		return nil, fmt.Errorf("postgres: %w", err)
	}
	if err := p.startOnAnyPort(ctx); err != nil {
		p.unlock()
		return nil, fmt.Errorf("postgres: %w", err)
	}
	if err := p.ensureDatabase(ctx); err != nil {
		_ = p.Stop()
		return nil, fmt.Errorf("postgres: %w", err)
	}
	return p, nil
}

// InitPostgres makes the cluster in dir without running it; an existing one is left as it is.
func InitPostgres(ctx context.Context, dir string, options PostgresOptions) error {
	p, err := openPostgres(ctx, dir, options)
	if err != nil {
		return fmt.Errorf("postgres: %w", err)
	}
	p.unlock()
	return nil
}

// openPostgres returns with the lock taken and the cluster made.
func openPostgres(ctx context.Context, dir string, options PostgresOptions) (*Postgres, error) {
	options = options.withDefaults()
	c, err := openCluster(ctx, dir, options)
	if err != nil {
		return nil, err
	}
	if options.LogFile == "" {
		options.LogFile = filepath.Join(c.dir, "postgres.log")
	}
	p := &Postgres{cluster: c, options: options}
	if options.Listen != "" {
		if p.listenHost, p.listenPort, err = checkListen(options.Listen); err != nil {
			return nil, err
		}
	}
	if err := p.takeLock(); err != nil {
		return nil, err
	}
	if err = c.ensure(ctx, options); err == nil {
		p.password, err = c.password()
	}
	if err == nil {
		p.sockets, err = c.ensureSockets()
	}
	if err != nil {
		p.unlock()
		return nil, err
	}
	return p, nil
}

// access are the settings that say who may connect, and where.
func (p *Postgres) access() (map[string]string, error) {
	if !p.options.Private {
		return nil, nil
	}
	file, err := p.cluster.writeAccess(p.sockets)
	var hosts []string
	if p.sockets == "" {
		hosts = append(hosts, "127.0.0.1")
	}
	if p.listenHost != "" && !slices.Contains(hosts, p.listenHost) {
		hosts = append(hosts, p.listenHost)
	}
	return map[string]string{"hba_file": file, "listen_addresses": strings.Join(hosts, ",")}, err
}

// Listening is the host:port where SQL readers connect to a private server; empty = by its socket alone.
func (p *Postgres) Listening() string {
	if p.listenHost == "" {
		return ""
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return net.JoinHostPort(p.listenHost, strconv.Itoa(p.port))
}

// startOnAnyPort prefers the port of last time, so that a bookmarked URL stays good. A port that was asked for is taken, or
// refused.
func (p *Postgres) startOnAnyPort(ctx context.Context) error {
	if err := p.cluster.stopLeftover(ctx, p.options.Logger); err != nil {
		return err
	}
	if p.listenPort != 0 {
		err := p.startOn(ctx, p.listenPort)
		if errors.Is(err, errPortTaken) {
			err = fmt.Errorf("listen for SQL readers on %s (another address: --postgres-listen): %w", p.options.Listen, err)
		}
		return err
	}
	port := p.cluster.lastPort()
	for attempt := 1; ; attempt++ {
		if port == 0 {
			var err error
			if port, err = FreePort(); err != nil {
				return err
			}
		}
		err := p.startOn(ctx, port)
		if err == nil {
			return writePrivate(p.cluster.portFile(), []byte(strconv.Itoa(port)+"\n"))
		}
		if !errors.Is(err, errPortTaken) || attempt == portAttempts {
			return err
		}
		port = 0
	}
}

func (c cluster) lastPort() int {
	text, err := os.ReadFile(c.portFile())
	if err != nil {
		return 0
	}
	port, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return 0
	}
	return port
}

// FreePort returns a TCP port of loopback that nobody listens on at the moment.
func FreePort() (int, error) {
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer func() { _ = listener.Close() }()
	return listener.Addr().(*net.TCPAddr).Port, nil
}

// URL of the database Database as the superuser. It stays the same over Kill and Restart.
func (p *Postgres) URL() string { return p.urlOf(Database) }

func (p *Postgres) urlOf(database string) string {
	if p.options.Private && p.sockets != "" {
		return p.socketURL(database)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	address := url.URL{
		Scheme: "postgres", User: url.UserPassword(Superuser, p.password),
		Host: net.JoinHostPort("127.0.0.1", strconv.Itoa(p.port)), Path: database, RawQuery: "sslmode=disable",
	}
	return address.String()
}

// SocketURL is URL by way of a Unix socket, which costs about half of what loopback does; it is URL where the path of the
// cluster is too long for one.
func (p *Postgres) SocketURL() string {
	if p.sockets == "" {
		return p.URL()
	}
	return p.socketURL(Database)
}

func (p *Postgres) socketURL(database string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	address := url.URL{
		Scheme: "postgres", User: url.UserPassword(Superuser, p.password), Path: "/" + database,
		RawQuery: url.Values{"host": {p.sockets}, "port": {strconv.Itoa(p.port)}, "sslmode": {"disable"}}.Encode(),
	}
	return address.String()
}

// PID of the postmaster, the last one when it has ended.
func (p *Postgres) PID() int { return p.current().PID() }

// Done is closed when the present server process has ended, for whatever reason.
func (p *Postgres) Done() <-chan struct{} { return p.current().Done() }

// Source names the programs in use.
func (p *Postgres) Source() string {
	return fmt.Sprintf("PostgreSQL %d from %s", p.cluster.binaries.Major, p.cluster.binaries.Dir)
}

func (p *Postgres) current() *Child {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.child
}

// takeLock makes sure that no other process takes our server for a leftover; taking it twice is harmless.
func (p *Postgres) takeLock() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.lock != nil {
		return nil
	}
	var err error
	p.lock, err = takeLock(filepath.Join(p.cluster.dir, "lock"))
	return err
}

func (p *Postgres) unlock() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.lock != nil {
		_ = p.lock.Close()
		p.lock = nil
	}
}

// Kill ends all processes of the server at once (SIGKILL), as a crash does, and returns when the postmaster is gone.
func (p *Postgres) Kill() error {
	child := p.current()
	select {
	case <-child.Done():
		return nil
	default:
	}
	// Backends run in sessions of their own and would live on until they notice; a crash has no such grace.
	backends := children(child.PID())
	err := child.Signal(syscall.SIGKILL)
	for _, pid := range backends {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	<-child.Done()
	return err
}

// Stop shuts down fast: sessions are cut, a checkpoint is written. Stopping twice is harmless. The error says that the
// server had to be killed, or how it ended; data are safe in either case, the next start recovers.
func (p *Postgres) Stop() error {
	defer p.unlock()
	child := p.current()
	select {
	case <-child.Done():
		return nil
	default:
	}
	if err := child.Signal(syscall.SIGINT); err != nil {
		return err
	}
	timeout := time.NewTimer(stopMax)
	defer timeout.Stop()
	select {
	case <-child.Done():
		return child.Err()
	case <-timeout.C:
		return errors.Join(fmt.Errorf("postgres did not stop within %s and was killed", stopMax), p.Kill())
	}
}

// Restart starts the server again at the same URL, after a Stop if it still runs.
func (p *Postgres) Restart(ctx context.Context) error {
	if err := p.Stop(); err != nil {
		return err
	}
	if err := p.takeLock(); err != nil {
		return fmt.Errorf("postgres: restart: %w", err)
	}
	if err := p.startOn(ctx, p.port); err != nil {
		return fmt.Errorf("postgres: restart: %w", err)
	}
	return nil
}

// ensureDatabase also proves that the password fits the cluster.
func (p *Postgres) ensureDatabase(ctx context.Context) error {
	conn, err := pgx.Connect(ctx, p.urlOf("postgres"))
	if err != nil {
		return fmt.Errorf("the server runs but refuses %s's password from %s: %w", Superuser, p.cluster.passwordFile(), err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	var exists bool
	if err := conn.QueryRow(ctx, "SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)", Database).Scan(&exists); err != nil || exists {
		return err
	}
	_, err = conn.Exec(ctx, "CREATE DATABASE "+pgx.Identifier{Database}.Sanitize())
	return err
}
