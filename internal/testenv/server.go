package testenv

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/refold-dev/refold/internal/localstack"
)

// startMax bounds the start of a store, image pull included.
const startMax = 2 * time.Minute

// shared is the process's Postgres server, started when first asked for.
var shared sharedServer

type sharedServer struct {
	ready bool // Main runs and will close it

	once sync.Once
	url  string
	err  error
	stop func() error
}

func (s *sharedServer) start() (string, error) {
	s.once.Do(func() {
		if !s.ready {
			s.err = errors.New("this package's tests need: func TestMain(m *testing.M) { testenv.Main(m) }")
			return
		}
		ctx, cancel := context.WithTimeout(context.Background(), startMax)
		defer cancel()
		s.url, s.stop, s.err = startServer(ctx)
	})
	return s.url, s.err
}

func (s *sharedServer) close() error {
	if s.stop == nil {
		return nil
	}
	return s.stop()
}

// startServer takes DATABASE_URL, else local programs, else a container.
func startServer(ctx context.Context) (string, func() error, error) {
	if url := os.Getenv("DATABASE_URL"); url != "" {
		return url, nil, nil
	}
	url, stop, err := startLocal(ctx)
	if !errors.Is(err, localstack.ErrNoPostgres) {
		return url, stop, err
	}
	url, stop, containerErr := startContainer(ctx)
	if containerErr != nil {
		return "", nil, fmt.Errorf("%w; and no container instead: %w\ninstall PostgreSQL %d or newer (apt-get install postgresql; brew install postgresql@18), start a Docker engine, or set DATABASE_URL",
			err, containerErr, localstack.MajorMin)
	}
	return url, stop, nil
}

func startLocal(ctx context.Context) (string, func() error, error) {
	sweep()
	dir, err := newScratch()
	if err != nil {
		return "", nil, err
	}
	options := localstack.PostgresOptions{Fast: true}
	server, err := fromTemplate(ctx, dir.path, options)
	if err != nil {
		return "", nil, errors.Join(err, dir.remove())
	}
	stop := func() error {
		// Nothing is to be kept, so there is no point in a shutdown with a checkpoint.
		return errors.Join(server.Kill(), server.Stop(), dir.remove())
	}
	return server.URL(), stop, nil
}
