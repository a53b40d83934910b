package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// What --help shows ends up in tickets: no variable's text may be in it.
func TestHelpShowsNoSecrets(t *testing.T) {
	t.Setenv("DATABASE_URL", "postgres://u:hidden-password@127.0.0.1:1/db")
	t.Setenv("REFOLD_NATS", "nats://u:hidden-password@127.0.0.1:1,nats://u:hidden-password@127.0.0.1:2")
	t.Setenv("REFOLD_NATS_PRODUCERS", "nats://u:hidden-password@127.0.0.1:1")
	t.Setenv("REFOLD_BACKUP", "s3://hidden-password/bucket")
	commands := 0
	var visit func(*cobra.Command)
	visit = func(cmd *cobra.Command) {
		commands++
		var out bytes.Buffer
		args := append(strings.Fields(cmd.CommandPath())[1:], "--help")
		if code := run(t.Context(), args, &out, &out); code != exitOK || strings.Contains(out.String(), "hidden-password") {
			t.Errorf("refold %v ends with %d and prints %s", args, code, out.String())
		}
		for _, sub := range cmd.Commands() {
			visit(sub)
		}
	}
	visit(newCLI(&bytes.Buffer{}, &bytes.Buffer{}).root())
	if commands < 50 {
		t.Errorf("%d commands were asked, want all", commands)
	}
	t.Setenv("REFOLD_BACKUP", t.TempDir()) // nothing outside is asked
	for _, args := range [][]string{{"status"}, {"serve"}, {"restore"}, {"status", "-o", "json"}, {"serve", "-v"}, {"serve", "--nats", "nats://u:hidden-password@x:bad"}} {
		var out bytes.Buffer
		if code := run(t.Context(), append(args, "--data", t.TempDir()), &out, &out); code == exitOK || strings.Contains(out.String(), "hidden-password") {
			t.Errorf("refold %v ends with %d and prints %s", args, code, out.String())
		}
	}
}
