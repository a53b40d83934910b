package localstack

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// database is a Postgres that the stack has chosen.
type database interface {
	URL() string
	Source() string
	Listening() string     // host:port for SQL readers; empty = what the URL says
	Done() <-chan struct{} // closed when the server has ended; nil when it is not ours
	Stop() error
}

// remote is a database that somebody else runs.
type remote struct{ url, source string }

func (r remote) URL() string         { return r.url }
func (r remote) Source() string      { return r.source }
func (remote) Listening() string     { return "" }
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

// hasDatabase reports whether a cluster was made in the data directory, by local programs or in Docker.
func hasDatabase(dataDir string) bool {
	dir := filepath.Join(dataDir, "postgres")
	return hasFile(dockerMarker(dir)) || hasFile(filepath.Join(dir, "data", "PG_VERSION"))
}

// startDatabase tries in this order: the explicit URL, the cluster refold made before, local programs, Docker.
func startDatabase(ctx context.Context, config Config) (database, error) {
	if config.PostgresURL != "" && config.PostgresListen != "" {
		return nil, errors.New("--postgres-listen is for the private PostgreSQL, and --postgres or DATABASE_URL names another: set listen_addresses there")
	}
	if config.PostgresURL != "" {
		return connectRemote(ctx, config.PostgresURL)
	}
	dir := filepath.Join(config.DataDir, "postgres")
	logFile := filepath.Join(config.DataDir, "log", "postgres.log")
	if hasFile(dockerMarker(dir)) {
		return startDocker(ctx, dir, logFile, config.PostgresListen)
	}
	options := PostgresOptions{SearchDirs: config.PostgresSearchDirs, LogFile: logFile, Logger: config.Logger, Private: true, Listen: config.PostgresListen}
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
	return startDocker(ctx, dir, logFile, config.PostgresListen)
}

func startDocker(ctx context.Context, dir, logFile, listen string) (database, error) {
	c, err := startContainer(ctx, dir, logFile, listen)
	if err != nil {
		return nil, err // and not a nil pointer in an interface that is not nil
	}
	return c, nil
}

// parseURL fails without any part of the URL in the error: what is malformed may be a password.
func parseURL(url string) (*pgx.ConnConfig, error) {
	config, err := pgxpool.ParseConfig(url)
	if err == nil {
		return config.ConnConfig, nil
	}
	text := err.Error()
	_, why, found := strings.Cut(text[strings.LastIndex(text, "`")+1:], ": ")
	if !found || strings.ContainsAny(why, `"'@/`) { // it quotes
		why = "it is malformed"
	}
	return nil, fmt.Errorf("%s; want postgres://user:password@host:port/database (the URL is not shown: it may hold a password)", why)
}

// hosts names the servers of a connection, without user and password.
func hosts(config *pgx.ConnConfig) string {
	all := []string{net.JoinHostPort(config.Host, strconv.Itoa(int(config.Port)))}
	for _, f := range config.Fallbacks {
		if at := net.JoinHostPort(f.Host, strconv.Itoa(int(f.Port))); !slices.Contains(all, at) { // one more for each way of TLS
			all = append(all, at)
		}
	}
	return strings.Join(all, ",")
}

func hasFile(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// connectRemote proves that the database answers and is new enough. Errors of pgx do not hold the password.
func connectRemote(ctx context.Context, url string) (database, error) {
	config, err := parseURL(url)
	if err != nil {
		return nil, fmt.Errorf("--postgres or DATABASE_URL: %w", err)
	}
	source := fmt.Sprintf("%s on %s", config.Database, hosts(config))
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("database %s: %w", source, err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	var version int
	if err := conn.QueryRow(ctx, "SELECT current_setting('server_version_num')::int").Scan(&version); err != nil {
		return nil, fmt.Errorf("database %s: %w", source, err)
	}
	if version/10000 < MajorMin {
		return nil, errors.Join(ErrNoPostgres, fmt.Errorf("database %s runs on PostgreSQL %d, refold needs %d or newer", source, version/10000, MajorMin))
	}
	return remote{url, source}, nil
}
