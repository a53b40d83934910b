package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/refold-dev/refold/internal/testenv"
)

func TestCommandLinesThatCannotBeUnderstood(t *testing.T) {
	t.Setenv("REFOLD_DATA", t.TempDir())
	for _, args := range [][]string{
		{"unknown"}, {"edition", "unknown"}, {"status", "extra"}, {"status", "--unknown"}, {"status", "-o", "yaml"}, {"edition", "verify", "x"},
		{"edition", "cutover"}, {"import", "openmemory", "x.zip"}, {"import", "openmemory"}, {"explain", "memory", "x"},
		{"status", "--durability", "sometimes"},
	} {
		refold(t, exitUsage, args...)
	}
	t.Setenv("VERIFY_MIGRATIONS", "perhaps")
	refold(t, exitUsage, "status")
}

// A failure is one document too.
func TestRefusalsAreDocuments(t *testing.T) {
	t.Setenv("REFOLD_DATA", testenv.Dir(t))
	t.Setenv("DATABASE_URL", testenv.Postgres(t))
	t.Setenv("REFOLD_OUTPUT", "json")
	makePlane(t)
	refold(t, exitOK, "tenant", "create", "acme", "--name", "Acme")
	for _, args := range [][]string{
		{"explain", "memory", "857b6302-0000-4000-8000-000000000000", "--tenant", "acme"},
		{"explain", "memory", "857b6302-0000-4000-8000-000000000000", "--tenant", "nobody"},
		{"edition", "rollback"},
	} {
		type failure struct {
			Error    string `json:"error"`
			ExitCode int    `json:"exit_code"`
		}
		if got := into[failure](t, refold(t, exitRefused, args...)); got.ExitCode != exitRefused || got.Error == "" {
			t.Errorf("refold %v: %+v", args, got)
		}
	}
}

func TestProgressWithoutATerminalIsPlainLines(t *testing.T) {
	var stderr bytes.Buffer
	c := newCLI(&bytes.Buffer{}, &stderr)
	bar := c.progress()
	bar.tell("replay", 1, 10)
	bar.tell("index", 1, 1)
	bar.end()
	if got := stderr.String(); !strings.HasPrefix(got, "replay: 1 of 10, 10 %") || strings.Contains(got, "\x1b") {
		t.Errorf("got %q, want plain lines", got)
	}
	c.noProgress = true
	stderr.Reset()
	bar = c.progress()
	bar.tell("replay", 1, 10)
	bar.end()
	if stderr.Len() > 0 {
		t.Errorf("got %q, want no progress", stderr.String())
	}
}
