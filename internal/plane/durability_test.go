package plane_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/refold-dev/refold/internal/localstack"
	"github.com/refold-dev/refold/internal/plane"
	"github.com/refold-dev/refold/internal/postgres"
	"github.com/refold-dev/refold/internal/testenv"
)

func TestADatabaseThatLosesCommitsIsRefused(t *testing.T) {
	t.Parallel()
	server := testenv.PostgresServer(t, localstack.PostgresOptions{Settings: map[string]string{"full_page_writes": "off"}})
	config := plane.Config{DataDir: testenv.Dir(t), PostgresURL: server.URL()}
	if p, err := plane.Open(t.Context(), config); !errors.Is(err, postgres.ErrNotDurable) || !strings.Contains(err.Error(), "full_page_writes is off") {
		t.Errorf("it is opened: %v", err)
		if err == nil {
			_ = p.Close()
		}
	}
	config.Durability = localstack.DurabilityRelaxed
	p := openPlane(t, config)
	s := p.Status(t.Context())
	said := func(n string) bool { return strings.Contains(n, "full_page_writes is off") }
	if !slices.ContainsFunc(s.Notes, said) || slices.ContainsFunc(s.Faults, said) {
		t.Errorf("status does not say so: notes %q, faults %q", s.Notes, s.Faults)
	}
}

// Settings can be changed while the plane serves.
func TestADatabaseThatBeginsToLoseCommitsIsAFault(t *testing.T) {
	t.Parallel()
	at := testenv.PostgresServer(t, localstack.PostgresOptions{}).URL()
	p := openPlane(t, plane.Config{DataDir: testenv.Dir(t), PostgresURL: at})
	faults := func() string {
		return strings.Join(p.Status(t.Context()).Faults, "\n")
	}
	if f := faults(); strings.Contains(f, "synchronous_commit") {
		t.Errorf("a durable database: %s", f)
	}
	pool, err := p.DB.Owner(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := pool.Exec(t.Context(), "ALTER DATABASE refold SET synchronous_commit = off"); err != nil {
		t.Fatal(err)
	}
	if f := faults(); !strings.Contains(f, "synchronous_commit is off") || !strings.Contains(f, "ALTER DATABASE ... RESET synchronous_commit") {
		t.Errorf("synchronous_commit was turned off for the database: %s", f)
	}
}

func openPlane(t *testing.T, config plane.Config) *plane.Plane {
	t.Helper()
	p, err := plane.Open(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}
