package testenv

import (
	"context"
	"testing"

	"github.com/refold-dev/refold/internal/localstack"
)

// CopyDir copies a folder with modes and owners, as the restore of a store's files does. Whoever works on it must have
// ended; to must not exist, but its parent.
func CopyDir(t testing.TB, from, to string) {
	t.Helper()
	if err := copyTree(from, to); err != nil {
		t.Fatalf("testenv: copy %s: %v", from, err)
	}
}

// PostgresCluster is PostgresServer with its files in a folder below one of Dir, made when there is none: for tests that
// copy and exchange them.
func PostgresCluster(t testing.TB, dir string, options localstack.PostgresOptions) *localstack.Postgres {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), startMax)
	defer cancel()
	server, err := clusterIn(ctx, dir, options)
	if err != nil {
		t.Fatalf("testenv: a postgres server of its own: %v", err)
	}
	t.Cleanup(func() { _ = server.Kill(); _ = server.Stop() })
	return server
}
