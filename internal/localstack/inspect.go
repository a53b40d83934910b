package localstack

import (
	"context"
	"errors"
	"fmt"
	"os"
)

// Inspect is Start for somebody who wants to know what is wrong: the stack comes with the stores that answer, and with why
// the others do not. Nothing is made. NATS is nil, and PostgresURL empty, where there is none.
func Inspect(ctx context.Context, config Config) (*Stack, []error, error) {
	config = config.withDefaults()
	lock, err := takeLock(lockPath(config.DataDir))
	if errors.Is(err, ErrLocked) {
		return inspectNoted(config.DataDir)
	}
	if err != nil {
		return nil, nil, err
	}
	s := &Stack{dataDir: config.DataDir, lock: lock, closing: make(chan struct{})}
	s.note = note{PID: os.Getpid(), Durability: DurabilityExternal}
	return s, s.inspect(ctx, config), nil
}

// inspect starts, or connects to, each store by itself.
func (s *Stack) inspect(ctx context.Context, config Config) (faults []error) {
	if config.PostgresURL == "" && !hasDatabase(config.DataDir) {
		faults = append(faults, fmt.Errorf("PostgreSQL: data directory %s has no database, and none is named by --postgres or DATABASE_URL", config.DataDir))
	} else if database, err := startDatabase(ctx, config); err != nil {
		faults = append(faults, fmt.Errorf("PostgreSQL: %w", err))
	} else {
		s.database, s.note.PostgresURL, s.note.PostgresSource = database, database.URL(), database.Source()
	}
	if config.NATSURL == "" && !hasFile(loginPath(config.DataDir)) {
		faults = append(faults, fmt.Errorf("NATS: data directory %s has no journal, and no server is named by --nats or REFOLD_NATS", config.DataDir))
	} else if err := s.startJournal(ctx, config); err != nil {
		faults = append(faults, fmt.Errorf("NATS: %w", err))
	}
	if s.server != nil {
		s.note.Durability = s.server.Durability()
	}
	return faults
}

// inspectNoted joins what the process that runs the stack has noted, as far as it answers.
func inspectNoted(dataDir string) (*Stack, []error, error) {
	var n note
	if err := readJSON(notePath(dataDir), &n); err != nil {
		return nil, nil, fmt.Errorf("another process holds %s, and has not noted how to join it: %w", dataDir, err)
	}
	s := &Stack{dataDir: dataDir, note: n}
	conn, err := n.connectNATS(dataDir)
	if err != nil {
		return s, []error{fmt.Errorf("NATS: the journal of process %d: %w", n.PID, err)}, nil
	}
	s.conn = conn
	return s, nil, nil
}
