package testenv

import (
	"context"
	"errors"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"testing"

	"github.com/refold-dev/refold/internal/localstack"
)

// PostgresPair is a durable primary and a hot standby that streams from it, for this test alone. `SELECT pg_promote()`
// makes the standby a primary.
func PostgresPair(t testing.TB, options localstack.PostgresOptions) (primary, standby *localstack.Postgres) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*startMax)
	defer cancel()
	dir := Dir(t)
	primary = PostgresCluster(t, filepath.Join(dir, "primary"), options)
	standby, err := standbyOf(ctx, primary, filepath.Join(dir, "primary"), filepath.Join(dir, "standby"), options)
	if err != nil {
		t.Fatalf("testenv: a postgres standby: %v", err)
	}
	t.Cleanup(func() { _ = standby.Kill(); _ = standby.Stop() })
	return primary, standby
}

// standbyOf copies the folder of the primary while that is stopped, and starts the copy as its standby.
func standbyOf(ctx context.Context, primary *localstack.Postgres, from, dir string, options localstack.PostgresOptions) (*localstack.Postgres, error) {
	err := primary.Stop()
	if err == nil {
		err = copyTree(from, dir)
	}
	if err == nil {
		err = primary.Restart(ctx)
	}
	if err == nil {
		err = os.Remove(filepath.Join(dir, "port"))
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "data", "standby.signal"), nil, 0o600)
	}
	address, invalid := url.Parse(primary.URL())
	if err := errors.Join(err, invalid); err != nil {
		return nil, err
	}
	address.Path = ""
	options.Settings = maps.Clone(options.Settings)
	if options.Settings == nil {
		options.Settings = map[string]string{}
	}
	options.Settings["primary_conninfo"] = address.String()
	options.LogFile = ""
	return localstack.StartPostgres(ctx, dir, options)
}
