package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/refold-dev/refold/internal/localstack"
	"github.com/refold-dev/refold/internal/plane"
	"github.com/refold-dev/refold/internal/testenv"
)

// worksOnAPlane is one command line of each command that needs a plane and must never make one.
var worksOnAPlane = [][]string{
	{"status"}, {"tenant", "create", "acme"}, {"tenant", "list"}, {"token", "mint", "--tenant", "acme", "--subject", "ann"},
	{"sql-reader", "list"}, {"edition", "list"}, {"edition", "build"}, {"edition", "plan"}, {"verify"}, {"digests"}, {"reconcile"},
	{"journal", "head"}, {"report", "list"}, {"report", "key"}, {"explain", "memory", "857b6302-0000-4000-8000-000000000000", "--tenant", "acme"},
	{"selftest", "isolation", "--probes", "10"},
}

// A mistyped --data must not be a new plane that says it is ready.
func TestCommandsDoNotMakeAPlane(t *testing.T) {
	dir := testenv.Dir(t)
	for _, args := range worksOnAPlane {
		mistyped := filepath.Join(dir, "mistyped")
		stderr := refoldFails(t, exitLocked, append(args, "--data", mistyped)...)
		for _, want := range []string{mistyped, "refold serve", "--data"} {
			if !strings.Contains(stderr, want) {
				t.Errorf("refold %v does not name %q: %s", args, want, stderr)
			}
		}
		if _, err := os.Stat(mistyped); !os.IsNotExist(err) {
			t.Fatalf("refold %v made %s", args, mistyped)
		}
	}
}

// An empty database, or a NATS server without a journal, is not made a plane either.
func TestCommandsDoNotMakeAPlaneOnStoresElsewhere(t *testing.T) {
	t.Setenv("REFOLD_DATA", testenv.Dir(t))
	t.Setenv("DATABASE_URL", testenv.Postgres(t))
	makePlane(t)

	empty := testenv.Postgres(t)
	if stderr := refoldFails(t, exitLocked, "status", "--postgres", empty); !strings.Contains(stderr, "no control tables") {
		t.Errorf("an empty database: %s", stderr)
	}
	conn, err := pgx.Connect(t.Context(), empty)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(t.Context()) }()
	made := false
	if err := conn.QueryRow(t.Context(), "SELECT to_regnamespace('control') IS NOT NULL").Scan(&made); err != nil || made {
		t.Fatalf("control tables were made in an empty database: %v, %v", made, err)
	}

	server := testenv.NATSServer(t, localstack.NATSOptions{})
	if stderr := refoldFails(t, exitLocked, "status", "--nats", server.URL()); !strings.Contains(stderr, "there is no journal") {
		t.Errorf("a NATS server without a journal: %s", stderr)
	}
	if p, err := plane.Look(t.Context(), plane.Config{DataDir: testenv.Dir(t), PostgresURL: os.Getenv("DATABASE_URL"), NATSURL: server.URL()}); err == nil {
		t.Errorf("a journal was made on it: %s", p.Journal.ID)
	}

	// The folder of a plane that has its stores elsewhere gets none of its own when their names are forgotten.
	elsewhere := testenv.Dir(t)
	p, err := plane.Open(t.Context(), plane.Config{DataDir: elsewhere, PostgresURL: testenv.Postgres(t), NATSURL: server.URL()})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	t.Setenv("DATABASE_URL", "")
	if stderr := refoldFails(t, exitLocked, "status", "--data", elsewhere); !strings.Contains(stderr, "no database") || !strings.Contains(stderr, "no journal") {
		t.Errorf("forgotten stores: %s", stderr)
	}
	for _, name := range []string{"postgres", "nats", "nats.json"} {
		if _, err := os.Stat(filepath.Join(elsewhere, name)); !os.IsNotExist(err) {
			t.Errorf("%s was made", name)
		}
	}
}

// The demo tampers with rows, and the scratch plane of a selftest is thrown away: neither takes stores from the environment.
func TestScratchPlanesLeaveTheEnvironmentsStoresAlone(t *testing.T) {
	t.Setenv("REFOLD_DATA", filepath.Join(testenv.Dir(t), "none"))
	t.Setenv("DATABASE_URL", "postgres://nobody@127.0.0.1:1/none")
	t.Setenv("REFOLD_NATS", "nats://127.0.0.1:1")
	refold(t, exitOK, "selftest", "isolation", "--scratch", "--probes", "50")
}

// refoldFails runs one command line that ends with an exit code, and returns what it wrote to stderr.
func refoldFails(t *testing.T, want int, args ...string) string {
	t.Helper()
	var stdout, stderr bytes.Buffer
	if got := run(t.Context(), args, &stdout, &stderr); got != want {
		t.Fatalf("refold %s: got exit code %d, want %d\n%s\n%s", strings.Join(args, " "), got, want, stdout.String(), stderr.String())
	}
	return stderr.String()
}
