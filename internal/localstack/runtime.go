package localstack

import (
	"context"
	"errors"
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
	PID          int    `json:"pid"`
	NATSURL      string `json:"nats_url"` // without credentials
	NATSUser     string `json:"nats_user,omitempty"`
	NATSPassword string `json:"nats_password,omitempty"`
	// Producers is there when they are let in.
	Producers      *ProducersLogin `json:"producers,omitempty"`
	PostgresURL    string          `json:"postgres_url"`
	PostgresSource string          `json:"postgres_source"`
	Durability     string          `json:"durability"`
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
	conn, err := nats.Connect(n.NATSURL, nats.UserInfo(n.NATSUser, n.NATSPassword), nats.Name("refold"), nats.MaxReconnects(-1), shortQueues)
	if err != nil {
		return nil, fmt.Errorf("connect to the journal of process %d: %w", n.PID, err)
	}
	return &Stack{dataDir: dataDir, conn: conn, note: n, producers: n.Producers}, nil
}

// noted is what others may know of this stack.
func (s *Stack) noted(natsURL string) (note, error) {
	n := note{PID: os.Getpid(), PostgresURL: s.database.URL(), PostgresSource: s.database.Source(), Durability: DurabilityExternal, Producers: s.producers}
	if s.server != nil {
		n.Durability = s.server.Durability()
		natsURL = s.server.URL()
	}
	// nats.Connect takes a list of servers, each with the same credentials as a rule.
	first, rest, _ := strings.Cut(natsURL, ",")
	address, err := url.Parse(first)
	if err != nil {
		return note{}, errors.New("the NATS URL is malformed") // its text holds the password
	}
	if address.User != nil && rest == "" {
		n.NATSUser = address.User.Username()
		n.NATSPassword, _ = address.User.Password()
		address.User = nil
		natsURL = address.String()
	}
	n.NATSURL = natsURL
	return n, nil
}
