package testenv

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/refold-dev/refold/internal/localstack"
)

// Postgres is the URL of a new, empty database for this test alone, dropped in its cleanup together with whatever
// connections are left.
func Postgres(t testing.TB) string {
	t.Helper()
	server, err := shared.start()
	if err != nil {
		t.Fatalf("testenv: postgres: %v", err)
	}
	name := "test_" + strings.ToLower(rand.Text())[:16]
	if err := execute(server, "CREATE DATABASE "+name); err != nil {
		t.Fatalf("testenv: %v", err)
	}
	t.Cleanup(func() {
		if err := execute(server, "DROP DATABASE "+name+" WITH (FORCE)"); err != nil {
			t.Errorf("testenv: %v", err)
		}
	})
	address, err := withDatabase(server, name)
	if err != nil {
		t.Fatalf("testenv: DATABASE_URL: %v", err)
	}
	return address
}

// execute runs one statement in a connection of its own. Not in the test's context: it has ended when cleanups run.
func execute(server, statement string) error {
	ctx, cancel := context.WithTimeout(context.Background(), startMax)
	defer cancel()
	conn, err := pgx.Connect(ctx, server)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(ctx) }()
	if _, err := conn.Exec(ctx, statement); err != nil {
		return fmt.Errorf("%s: %w", statement, err)
	}
	return nil
}

func withDatabase(server, name string) (string, error) {
	address, err := url.Parse(server)
	if err != nil || address.Host == "" {
		return "", fmt.Errorf("want the form postgres://user:password@host:port/database")
	}
	address.Path = "/" + name
	return address.String(), nil
}

// PostgresServer is a durable cluster for this test alone, to be killed and restarted: fsync is on unless options say
// otherwise. It needs local programs, a container will not do. It is stopped and removed in the cleanup.
func PostgresServer(t testing.TB, options localstack.PostgresOptions) *localstack.Postgres {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), startMax)
	defer cancel()
	server, err := fromTemplate(ctx, Dir(t), options)
	if err != nil {
		t.Fatalf("testenv: a postgres server that can be killed: %v\ninstall PostgreSQL %d or newer: apt-get install postgresql, brew install postgresql@18",
			err, localstack.MajorMin)
	}
	t.Cleanup(func() { _ = server.Kill(); _ = server.Stop() })
	return server
}
