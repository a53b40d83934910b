package localstack

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
)

const joinPoll = 50 * time.Millisecond

// note is the runtime file: how another process of this user reaches the running stack. It holds passwords, has mode
// 0600 and exists only while the stack runs, or stale after a crash.
type note struct {
	PID     int    `json:"pid"`
	NATSURL string `json:"nats_url"` // without credentials
	// NATSServers is the URL as it was given, or several, of servers that run elsewhere.
	NATSServers string `json:"nats_servers,omitempty"`
	// NATSAccess is what those servers ask for.
	NATSAccess   NATSAccess `json:"nats_access,omitzero"`
	NATSUser     string     `json:"nats_user,omitempty"`
	NATSPassword string     `json:"nats_password,omitempty"`
	// NATSCertificates are the SHA-256 of the certificates that the embedded server may show; empty = it has no TLS.
	NATSCertificates []string `json:"nats_certificates,omitempty"`
	// Producers is there when they are let in.
	Producers      *ProducersLogin `json:"producers,omitempty"`
	PostgresURL    string          `json:"postgres_url"`
	PostgresSource string          `json:"postgres_source"`
	// PostgresListen is where SQL readers connect; empty = where refold does.
	PostgresListen string `json:"postgres_listen,omitempty"`
	Durability     string `json:"durability"`
	// MemoryLimit of the owner, in bytes; 0 = not known.
	MemoryLimit int64 `json:"memory_limit,omitempty"`
}

func lockPath(dataDir string) string { return filepath.Join(dataDir, "lock") }
func notePath(dataDir string) string { return filepath.Join(dataDir, "run", "stack.json") }

func (n note) write(dataDir string) error {
	path := notePath(dataDir)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	return writePrivateJSON(path, n)
}

// Join connects to the stack that another process runs on dataDir (empty = DefaultDataDir), waiting while that
// process is still starting. The error is ErrNotRunning when no process does.
func Join(ctx context.Context, dataDir string) (*Stack, error) {
	if dataDir == "" {
		dataDir = DefaultDataDir()
	}
	var lastErr error
	for {
		held, err := isLocked(lockPath(dataDir))
		if err != nil {
			return nil, err
		}
		if !held {
			return nil, fmt.Errorf("data directory %s: %w", dataDir, ErrNotRunning)
		}
		stack, err := connectNoted(dataDir)
		if err == nil {
			return stack, nil
		}
		lastErr = err
		if pause(ctx, joinPoll) != nil {
			return nil, fmt.Errorf("another process holds %s, but cannot be joined: %w", dataDir, lastErr)
		}
	}
}

// connectNoted fails on a missing or stale note; the owner is then about to replace it.
func connectNoted(dataDir string) (*Stack, error) {
	var n note
	if err := readJSON(notePath(dataDir), &n); err != nil {
		return nil, err
	}
	conn, err := n.connectNATS(dataDir)
	if err != nil {
		return nil, fmt.Errorf("connect to the journal of process %d: %w", n.PID, err)
	}
	return &Stack{dataDir: dataDir, conn: conn, note: n, producers: n.Producers}, nil
}

// connectNATS reaches the journal of the process that wrote the note.
func (n note) connectNATS(dataDir string) (*nats.Conn, error) {
	if n.NATSServers != "" {
		return n.NATSAccess.connect(n.NATSServers)
	}
	return n.connectServer(dataDir, nats.UserInfo(n.NATSUser, n.NATSPassword))
}

// connectServer reaches the embedded server of another process.
func (n note) connectServer(dataDir string, options ...nats.Option) (*nats.Conn, error) {
	return connectNATS(n.NATSURL, append(n.trusting(dataDir), options...)...)
}

func (n note) trusting(dataDir string) []nats.Option {
	if len(n.NATSCertificates) == 0 {
		return nil
	}
	return []nats.Option{pinned(dataDir)}
}

// noted is what others may know of this stack.
func (s *Stack) noted(config Config) (note, error) {
	natsURL := config.NATSURL
	n := note{
		PID: os.Getpid(), PostgresURL: s.database.URL(), PostgresSource: s.database.Source(), PostgresListen: s.database.Listening(),
		Durability: DurabilityExternal, Producers: s.producers,
		NATSURL: WithoutCredentials(natsURL), NATSServers: natsURL,
	}
	if s.server != nil {
		n.Durability, n.NATSServers = s.server.Durability(), ""
		n.NATSURL, n.NATSUser, n.NATSPassword = WithoutCredentials(s.server.URL()), s.server.options.User, s.server.options.Password
		if pair := s.server.options.Certificate; pair != nil {
			n.NATSCertificates = []string{fingerprint(pair.Current().Certificate[0])}
		}
	}
	var err error
	n.NATSAccess, err = config.NATSAccess.absolute()
	return n, err
}

// WithoutCredentials is a NATS URL, or a list of them as nats.Connect takes it, without users, passwords and tokens. It
// takes everything away that could be one, whether or not the rest is well formed.
func WithoutCredentials(servers string) string {
	all := strings.Split(servers, ",")
	for i, address := range all {
		scheme, rest, found := strings.Cut(strings.TrimSpace(address), "://")
		if !found {
			scheme, rest = "nats", scheme
		}
		all[i] = scheme + "://" + rest[strings.LastIndex(rest, "@")+1:]
	}
	return strings.Join(all, ",")
}

// CheckServers refuses addresses that nats.Connect could not parse: its error shows them, with their passwords.
func CheckServers(servers string) error {
	for i, address := range strings.Split(servers, ",") {
		if address = strings.TrimSpace(address); !strings.Contains(address, "://") {
			address = "nats://" + address
		}
		if at, err := url.Parse(address); err != nil || at.Host == "" {
			return fmt.Errorf("NATS server %d is malformed; want nats://user:password@host:port (it is not shown: it may hold a password)", i+1)
		}
	}
	return nil
}
