// Package testenv gives tests real stores: an empty PostgreSQL database, a NATS server with JetStream on disk, and
// processes that can be killed. There are no fakes here, and nothing is ever skipped: a missing Postgres fails.
//
// A package that uses it has one function in its tests:
//
//	func TestMain(m *testing.M) { testenv.Main(m) }
//
// `go test` runs a process per package. Each starts, when its first test asks, a throw-away cluster of its own from a
// cached copy of initdb's work; no state is shared between packages that run in parallel, and the cluster ends with
// the process. With DATABASE_URL set, databases are made in that server instead; it needs the right CREATEDB.
package testenv

import (
	"fmt"
	"os"
	"testing"
)

// Children are functions that a test runs as processes of their own: Spawn starts this test binary again, and Main
// calls the function of that name instead of the tests. Its result is the exit code.
type Children map[string]func() int

// childVariable names the child that this process is to be.
const childVariable = "REFOLD_TEST_CHILD"

// Main runs the tests and exits, or is the child that Spawn asked for. It never returns.
func Main(m *testing.M, children ...Children) {
	if name := os.Getenv(childVariable); name != "" {
		os.Exit(runChild(name, children))
	}
	shared.ready = true
	code := m.Run()
	if err := shared.close(); err != nil {
		fmt.Fprintln(os.Stderr, "testenv:", err)
		code = max(code, 1)
	}
	os.Exit(code)
}

func runChild(name string, children []Children) int {
	if name == natsChild {
		return runNATS()
	}
	for _, set := range children {
		if run, ok := set[name]; ok {
			return run()
		}
	}
	fmt.Fprintf(os.Stderr, "testenv: no child %q was handed to testenv.Main\n", name)
	return 2
}
