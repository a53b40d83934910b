package localstack_test

import (
	"context"
	"errors"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/refold-dev/refold/internal/localstack"
	"github.com/refold-dev/refold/internal/testenv"
)

func TestPostgresSettingsAreDurable(t *testing.T) {
	server := testenv.PostgresServer(t, localstack.PostgresOptions{Settings: map[string]string{"max_connections": "17"}})
	conn := open(t, server.URL())
	want := map[string]string{
		"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on", "data_checksums": "on",
		"server_encoding": "UTF8", "listen_addresses": "127.0.0.1", "max_connections": "17", "password_encryption": "scram-sha-256",
	}
	for name, value := range want {
		var got string
		if err := conn.QueryRow(t.Context(), "SELECT current_setting($1)", name).Scan(&got); err != nil {
			t.Fatal(err)
		}
		if got != value {
			t.Errorf("%s is %s, want %s", name, got, value)
		}
	}
}

func TestPostgresWantsThePassword(t *testing.T) {
	server := testenv.PostgresServer(t, localstack.PostgresOptions{})
	address, err := url.Parse(server.URL())
	if err != nil {
		t.Fatal(err)
	}
	address.User = url.UserPassword(localstack.Superuser, "wrong")
	if conn, err := pgx.Connect(t.Context(), address.String()); err == nil {
		_ = conn.Close(context.Background())
		t.Error("a wrong password was accepted")
	}
}

func TestPostgresDoesNotRunAsRoot(t *testing.T) {
	server := testenv.PostgresServer(t, localstack.PostgresOptions{})
	info, err := os.Stat("/proc/" + strconv.Itoa(server.PID()))
	if errors.Is(err, os.ErrNotExist) {
		return // no /proc on this system
	}
	if err != nil {
		t.Fatal(err)
	}
	if owner := info.Sys().(*syscall.Stat_t).Uid; owner == 0 {
		t.Error("postgres runs as root")
	}
}

func TestRootIsToldWhichFolderBarsTheWay(t *testing.T) {
	if os.Geteuid() != 0 {
		return // others run Postgres as themselves
	}
	closed := filepath.Join(testenv.Dir(t), "closed")
	if err := os.Mkdir(closed, 0o700); err != nil {
		t.Fatal(err)
	}
	_, err := localstack.StartPostgres(t.Context(), filepath.Join(closed, "postgres"), localstack.PostgresOptions{})
	if err == nil || !strings.Contains(err.Error(), "may not enter "+closed+" ") {
		t.Errorf("got %v, want an error that names %s", err, closed)
	}
}

func TestPostgresTakesAnotherPortWhenItsOwnIsTaken(t *testing.T) {
	dir := testenv.Dir(t)
	first := startPostgres(t, dir)
	if err := first.Stop(); err != nil {
		t.Fatal(err)
	}
	address, err := url.Parse(first.URL())
	if err != nil {
		t.Fatal(err)
	}
	squatter, err := net.Listen("tcp4", address.Host)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = squatter.Close() }()
	if second := startPostgres(t, dir); second.URL() == first.URL() {
		t.Errorf("runs at %s, which is taken", address.Host)
	}
}

func TestPostgresOfAnotherVersionIsLeftUntouched(t *testing.T) {
	dir := testenv.Dir(t)
	server := startPostgres(t, dir)
	if err := server.Stop(); err != nil {
		t.Fatal(err)
	}
	version := filepath.Join(dir, "data", "PG_VERSION")
	if err := os.WriteFile(version, []byte("14\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := localstack.StartPostgres(t.Context(), dir, localstack.PostgresOptions{})
	if err == nil || !errors.Is(err, localstack.ErrNoPostgres) || !strings.Contains(err.Error(), "belongs to PostgreSQL 14 and was left untouched") {
		t.Fatalf("got %v, want an explanation", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "data", "base")); err != nil {
		t.Errorf("the cluster was touched: %v", err)
	}
}

func TestUnknownFilesAreNoCluster(t *testing.T) {
	dir := testenv.Dir(t)
	if err := os.MkdirAll(filepath.Join(dir, "data", "photos"), 0o700); err != nil {
		t.Fatal(err)
	}
	_, err := localstack.StartPostgres(t.Context(), dir, localstack.PostgresOptions{})
	if err == nil || !strings.Contains(err.Error(), "no PG_VERSION") {
		t.Errorf("got %v, want a refusal", err)
	}
}

func TestLeftoverServerIsStopped(t *testing.T) {
	dir := testenv.Dir(t)
	server := startPostgres(t, dir)
	// A server that survived its owner looks like one that runs without our lock.
	left := localstack.Abandon(server)
	second := startPostgres(t, dir)
	<-server.Done()
	if second.PID() == left {
		t.Error("the old process was taken for the new one")
	}
}

func startPostgres(t *testing.T, dir string) *localstack.Postgres {
	t.Helper()
	server, err := localstack.StartPostgres(testContext(t), dir, localstack.PostgresOptions{Fast: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Kill(); _ = server.Stop() })
	return server
}
