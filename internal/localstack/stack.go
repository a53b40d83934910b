// Package localstack gives refold its two stores on one machine without any installation of servers: a nats-server
// with JetStream inside this process, and a private PostgreSQL cluster as a child of it.
//
// One process owns a data directory, guarded by a lock that the kernel drops when the process ends. Others join: the
// owner leaves a note with loopback addresses and generated passwords in run/stack.json. Everything the owner started
// ends with it, after a kill -9 too (on Linux at once, elsewhere by the next start).
//
//	<data>/lock                 the owner's lock
//	<data>/nats.json            generated user, password and port of the journal's server
//	<data>/nats/                its store
//	<data>/postgres/            data/, password, port; or password and docker, when the cluster is a Docker volume
//	<data>/log/postgres.log
//	<data>/run/stack.json       only while the stack runs
package localstack

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"github.com/adrg/xdg"
	"github.com/nats-io/nats.go"
)

// ErrNotRunning: no process owns a stack on this data directory. Start one with "refold serve".
var ErrNotRunning = errors.New(`refold does not run here: start "refold serve", or name the data directory of a running one with --data`)

// ErrNothingHere: a store was to be found and not made, and the data directory does not have it.
var ErrNothingHere = errors.New("there is no store here")

// Config says where the stack lives and what of it exists already. All zero values are usable.
type Config struct {
	// DataDir is the folder of everything; empty = DefaultDataDir.
	DataDir string
	// PostgresURL uses this database and starts none; empty = a local one.
	PostgresURL string
	// NATSURL uses this server and starts none; empty = an embedded one.
	NATSURL string
	// NATSListen is the host and port where the embedded server listens, for producers too; empty = a free loopback port,
	// and no producers.
	NATSListen string
	// PostgresListen is the loopback host:port where the private PostgreSQL listens for SQL readers, and for nobody else; empty =
	// they connect by its Unix socket.
	PostgresListen string
	// NATSCertFile and NATSKeyFile are the TLS certificate of the embedded server, followed when they change; empty = no TLS,
	// which is refused for a NATSListen that is not on loopback.
	NATSCertFile, NATSKeyFile string
	// NATSAccess is what the server of NATSURL asks for.
	NATSAccess NATSAccess
	// Durability of the embedded journal: DurabilityAlways (also when empty) or DurabilityRelaxed.
	Durability string
	// PostgresSearchDirs are glob patterns of folders with Postgres' programs; nil = DefaultSearchDirs.
	PostgresSearchDirs []string
	// Existing fails with ErrNothingHere, and makes nothing, where a store of the data directory would have to be made.
	Existing bool
	// Logger; nil = nothing is logged.
	Logger *slog.Logger
}

func (c Config) withDefaults() Config {
	if c.DataDir == "" {
		c.DataDir = DefaultDataDir()
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

// DefaultDataDir is "refold" in the XDG data home. Root gets /var/lib/refold unless XDG_DATA_HOME is set: Postgres
// runs as another user then, who may not enter root's home.
func DefaultDataDir() string {
	if os.Geteuid() == 0 && os.Getenv("XDG_DATA_HOME") == "" {
		return "/var/lib/refold"
	}
	return filepath.Join(xdg.DataHome, "refold")
}

// Stack is a journal server and a database, ready for use.
type Stack struct {
	dataDir string
	conn    *nats.Conn
	noting  sync.Mutex // over what is noted while the stack runs
	note    note
	lock    *os.File // nil when joined
	server  *NATS    // nil when joined or external
	// producers is how to reach those who send commands; nil when they are not let in here.
	producers *ProducersLogin
	database  database // nil when joined
	closing   chan struct{}

	closeOnce sync.Once
	closeErr  error
}

// Start runs the stack on the data directory, or joins the process that already does. ctx bounds the start only; give
// it a minute when an image may have to be pulled. The caller closes the stack.
func Start(ctx context.Context, config Config) (*Stack, error) {
	config = config.withDefaults()
	for {
		if err := config.mayStart(); err != nil {
			return nil, err
		}
		lock, err := takeLock(lockPath(config.DataDir))
		if err == nil {
			return own(ctx, config, lock)
		}
		if !errors.Is(err, ErrLocked) {
			return nil, err
		}
		stack, err := Join(ctx, config.DataDir)
		if errors.Is(err, ErrNotRunning) {
			continue // the owner ended, or somebody merely looked at the lock
		}
		if err != nil {
			return nil, err
		}
		return stack.fits(config)
	}
}

// mayStart refuses to make a store where it has to exist. A process that runs the stack has made, or makes, what it needs.
func (c Config) mayStart() error {
	if !c.Existing {
		return nil
	}
	if running, err := Running(c.DataDir); running || err != nil {
		return err
	}
	var missing []string
	if c.PostgresURL == "" && !hasDatabase(c.DataDir) {
		missing = append(missing, "no database (one that runs elsewhere is named by --postgres or DATABASE_URL)")
	}
	if c.NATSURL == "" && !hasFile(loginPath(c.DataDir)) {
		missing = append(missing, "no journal (a NATS server elsewhere is named by --nats or REFOLD_NATS)")
	}
	if len(missing) == 0 {
		return nil
	}
	return fmt.Errorf("%w: data directory %s has %s", ErrNothingHere, c.DataDir, strings.Join(missing, " and "))
}

// Running reports whether a process runs a stack on the data directory.
func Running(dataDir string) (bool, error) { return isLocked(lockPath(dataDir)) }

// fits refuses to join a stack that is not the one asked for.
func (s *Stack) fits(config Config) (*Stack, error) {
	var err error
	if config.PostgresURL != "" && config.PostgresURL != s.note.PostgresURL {
		err = fmt.Errorf("it uses %s, and --postgres or DATABASE_URL names another database", s.note.PostgresSource)
	}
	if config.PostgresListen != "" && config.PostgresListen != s.note.PostgresListen {
		err = errors.Join(err, errors.New("it does not listen for SQL readers there (--postgres-listen)"))
	}
	if config.Durability != "" && config.Durability != s.note.Durability {
		err = errors.Join(err, fmt.Errorf("it runs with durability %s, not %s", s.note.Durability, config.Durability))
	}
	if err == nil {
		return s, nil
	}
	_ = s.Close()
	return nil, fmt.Errorf("process %d runs refold on %s already: %w: end it or use another --data", s.note.PID, s.dataDir, err)
}

func own(ctx context.Context, config Config, lock *os.File) (*Stack, error) {
	s := &Stack{dataDir: config.DataDir, lock: lock, closing: make(chan struct{})}
	if err := s.start(ctx, config); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func (s *Stack) start(ctx context.Context, config Config) error {
	if err := os.Remove(notePath(s.dataDir)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err // a crash's note must not be joined
	}
	var err error
	if s.database, err = startDatabase(ctx, config); err != nil {
		return err
	}
	if err := s.startJournal(ctx, config); err != nil {
		return err
	}
	if s.note, err = s.noted(config); err != nil {
		return err
	}
	if err := s.note.write(s.dataDir); err != nil {
		return err
	}
	go s.watch(config.Logger)
	if s.server != nil && s.server.options.Certificate != nil {
		go s.followCertificate(config.Logger)
	}
	return nil
}

// watch reports a database that ended without us; its clients see it by their own errors.
func (s *Stack) watch(logger *slog.Logger) {
	select {
	case <-s.closing:
	case <-s.database.Done():
		select {
		case <-s.closing:
		default:
			logger.Error("the local PostgreSQL server has ended: restart refold", "log", filepath.Join(s.dataDir, "log", "postgres.log"))
		}
	}
}

// NATS is the connection to the journal's server; the stack closes it.
func (s *Stack) NATS() *nats.Conn { return s.conn }

// NATSURL is the journal's address without credentials.
func (s *Stack) NATSURL() string { return s.note.NATSURL }

// PostgresURL is the database with its credentials: do not print it.
func (s *Stack) PostgresURL() string { return s.note.PostgresURL }

// ReaderAddress is how a SQL reader connects.
func (s *Stack) ReaderAddress() (ReaderAddress, error) {
	config, err := parseURL(s.note.PostgresURL)
	if err != nil {
		return ReaderAddress{}, err
	}
	a := ReaderAddress{Host: config.Host, Port: int(config.Port), Database: config.Database}
	if s.note.PostgresListen != "" {
		host, port, err := net.SplitHostPort(s.note.PostgresListen)
		if err != nil {
			return ReaderAddress{}, err
		}
		a.Host = host
		if a.Port, err = strconv.Atoi(port); err != nil {
			return ReaderAddress{}, err
		}
	}
	a.Socket = strings.HasPrefix(a.Host, "/")
	return a, nil
}

// ReaderAddress is where a SQL reader connects.
type ReaderAddress struct {
	Host     string // or the folder of a Unix socket
	Port     int
	Database string
	Socket   bool
}

// PostgresSource says which of the possible databases was taken, for people.
func (s *Stack) PostgresSource() string { return s.note.PostgresSource }

// Durability is DurabilityAlways, DurabilityRelaxed or DurabilityExternal.
func (s *Stack) Durability() string { return s.note.Durability }

// Owner is false when another process runs this stack.
func (s *Stack) Owner() bool { return s.lock != nil }

// OwnerPID is the process that runs this stack.
func (s *Stack) OwnerPID() int { return s.note.PID }

// MemoryLimit of the process that runs this stack, in bytes, as NoteMemoryLimit has it; 0 = not known.
func (s *Stack) MemoryLimit() int64 { return s.note.MemoryLimit }

// NoteMemoryLimit lets those that join know the memory limit of the process that runs this stack; others note nothing.
func (s *Stack) NoteMemoryLimit(bytes int64) error {
	if !s.Owner() {
		return nil
	}
	s.noting.Lock()
	defer s.noting.Unlock()
	s.note.MemoryLimit = bytes
	return s.note.write(s.dataDir)
}

// Producers is how a service reaches those who send commands over this server, or nil when they are not let in.
func (s *Stack) Producers() *ProducersLogin { return s.producers }

// ConnectProducers opens a connection of a service in the account of producers. The caller closes it.
func (s *Stack) ConnectProducers(options ...nats.Option) (*nats.Conn, error) {
	if s.producers == nil {
		return nil, errors.New("producers are not let in here")
	}
	options = append([]nats.Option{nats.UserInfo(s.producers.User, s.producers.Password)}, options...)
	if s.server != nil {
		return s.server.Connect(options...)
	}
	return s.note.connectServer(s.dataDir, options...)
}

// Describe is one line for the log or the terminal, without secrets.
func (s *Stack) Describe() string {
	owner := "own"
	if !s.Owner() {
		owner = fmt.Sprintf("joined process %d", s.note.PID)
	}
	return fmt.Sprintf("%s (%s): journal %s, durability %s; database %s", s.dataDir, owner, s.NATSURL(), s.Durability(), s.PostgresSource())
}

// Close ends what this process started and nothing else. It returns when both stores are closed and the data
// directory is free. Closing twice is harmless.
func (s *Stack) Close() error {
	s.closeOnce.Do(func() { s.closeErr = s.close() })
	return s.closeErr
}

func (s *Stack) close() error {
	if s.closing != nil {
		close(s.closing)
	}
	if s.conn != nil {
		s.conn.Close()
	}
	if !s.Owner() {
		return nil
	}
	_ = os.Remove(notePath(s.dataDir))
	if s.server != nil {
		s.server.Stop()
	}
	var err error
	if s.database != nil {
		err = s.database.Stop()
	}
	return errors.Join(err, s.lock.Close())
}
