package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"github.com/refold-dev/refold/internal/localstack"
)

// stores are the one Postgres and the one NATS that all processes share, over loopback.
type stores struct {
	postgresURL, natsURL string

	postgres *localstack.Postgres // nil when it runs elsewhere
	nats     *localstack.NATS
}

// startStores starts what the URL does not name.
func startStores(ctx context.Context, dir, postgresURL string) (s *stores, err error) {
	s = &stores{postgresURL: postgresURL}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.stop())
		}
	}()
	if err := os.Chmod(dir, 0o755); err != nil { // Postgres runs as another user when this is root
		return s, err
	}
	if postgresURL == "" {
		if s.postgres, err = localstack.StartPostgres(ctx, filepath.Join(dir, "postgres"), localstack.PostgresOptions{}); err != nil {
			return s, err
		}
		s.postgresURL = s.postgres.URL()
	}
	if s.nats, err = localstack.StartNATS(ctx, localstack.NATSOptions{StoreDir: filepath.Join(dir, "nats")}); err != nil {
		return s, err
	}
	s.natsURL = s.nats.URL()
	return s, nil
}

func (s *stores) stop() error {
	if s.nats != nil {
		s.nats.Stop()
	}
	if s.postgres != nil {
		return s.postgres.Stop()
	}
	return nil
}
