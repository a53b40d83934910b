package localstack

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/jackc/pgx/v5"
)

// database is a Postgres that the stack has chosen.
type database interface {
	URL() string
	Source() string
	Done() <-chan struct{} // closed when the server has ended; nil when it is not ours
	Stop() error
}

// remote is a database that somebody else runs.
type remote struct{ url, source string }

func (r remote) URL() string         { return r.url }
func (r remote) Source() string      { return r.source }
func (remote) Done() <-chan struct{} { return nil }
func (remote) Stop() error           { return nil }

// local is the private cluster of the stack, as processes of this machine reach it.
type local struct{ *Postgres }

func (l local) URL() string { return l.SocketURL() }

func startLocal(ctx context.Context, dir string, options PostgresOptions) (database, error) {
	p, err := StartPostgres(ctx, dir, options)
	if err != nil {
		return nil, err
	}
	return local{p}, nil
}

// postgresURL is the explicit choice, from the flag before the environment.
func (c Config) postgresURL() (url, source string) {
	if c.PostgresURL != "" {
		return c.PostgresURL, "--postgres"
	}
	return os.Getenv("DATABASE_URL"), "DATABASE_URL"
}

// startDatabase tries in this order: the explicit URL, the cluster refold made before, local programs, Docker.
func startDatabase(ctx context.Context, config Config) (database, error) {
	if url, source := config.postgresURL(); url != "" {
		return connectRemote(ctx, url, source)
	}
	dir := filepath.Join(config.DataDir, "postgres")
	logFile := filepath.Join(config.DataDir, "log", "postgres.log")
	if hasFile(dockerMarker(dir)) {
		return startDocker(ctx, dir, logFile)
	}
	options := PostgresOptions{SearchDirs: config.PostgresSearchDirs, LogFile: logFile, Logger: config.Logger}
	if hasFile(filepath.Join(dir, "data", "PG_VERSION")) {
		return startLocal(ctx, dir, options)
	}
	_, missing := FindBinaries(ctx, options.SearchDirs, 0)
	if missing == nil {
		config.Logger.Info("making a private PostgreSQL cluster", "dir", dir)
		return startLocal(ctx, dir, options)
	}
	if err := dockerAnswers(ctx); err != nil {
		return nil, fmt.Errorf("%w; %w\n%s", missing, err, installAdvice)
	}
	config.Logger.Info("running PostgreSQL in Docker", "image", DockerImage)
	return startDocker(ctx, dir, logFile)
}

func startDocker(ctx context.Context, dir, logFile string) (database, error) {
	c, err := startContainer(ctx, dir, logFile)
	if err != nil {
		return nil, err // and not a nil pointer in an interface that is not nil
	}
	return c, nil
}

func hasFile(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// connectRemote proves that the database answers and is new enough. Errors of pgx do not hold the password.
func connectRemote(ctx context.Context, url, source string) (database, error) {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return nil, fmt.Errorf("the database of %s: %w", source, err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	var version int
	if err := conn.QueryRow(ctx, "SELECT current_setting('server_version_num')::int").Scan(&version); err != nil {
		return nil, fmt.Errorf("the database of %s: %w", source, err)
	}
	if version/10000 < MajorMin {
		return nil, errors.Join(ErrNoPostgres, fmt.Errorf("the database of %s runs PostgreSQL %d, refold needs %d or newer", source, version/10000, MajorMin))
	}
	return remote{url, source}, nil
}
