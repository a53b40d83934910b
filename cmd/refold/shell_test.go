package main

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/refold-dev/refold/internal/auth"
	"github.com/refold-dev/refold/internal/plane"
	"github.com/refold-dev/refold/internal/testenv"
)

func TestVersion(t *testing.T) {
	if got, want := refold(t, exitOK, "--version"), "refold "+plane.ToolVersion()+"\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// offered asks for completions as a shell does.
func offered(t *testing.T, line ...string) []string {
	t.Helper()
	var words []string
	for text := range strings.Lines(refold(t, exitOK, append([]string{"__complete"}, line...)...)) {
		word, _, _ := strings.Cut(strings.TrimSpace(text), "\t")
		if !strings.HasPrefix(word, ":") {
			words = append(words, word)
		}
	}
	return words
}

// TestShellsAreOfferedValues: each flag that takes one of some words offers them, in every command that has it.
func TestShellsAreOfferedValues(t *testing.T) {
	t.Setenv("REFOLD_DATA", testenv.Dir(t))
	met := 0
	var visit func(cmd *cobra.Command)
	visit = func(cmd *cobra.Command) {
		look := func(f *pflag.Flag) {
			if chosen, fixed := f.Value.(*choice); fixed {
				met++
				line := append(strings.Fields(cmd.CommandPath())[1:], "--"+f.Name, "")
				got := slices.DeleteFunc(offered(t, line...), func(word string) bool { return word == "" })
				want := slices.DeleteFunc(slices.Clone(chosen.of), func(word string) bool { return word == "" })
				slices.Sort(got)
				slices.Sort(want)
				if !slices.Equal(got, want) {
					t.Errorf("%v: %q, want %q", line, got, want)
				}
			}
		}
		cmd.LocalNonPersistentFlags().VisitAll(look)
		cmd.PersistentFlags().VisitAll(look)
		for _, sub := range cmd.Commands() {
			visit(sub)
		}
	}
	var out bytes.Buffer
	visit(newCLI(&out, &out).root())
	if met < 6 {
		t.Errorf("only %d flags with fixed values", met)
	}
	if got := offered(t, "token", "mint", "--scope", ""); !slices.Contains(got, auth.MemoriesRead) {
		t.Errorf("scopes: %q", got)
	}
	if got := offered(t, "repair", "--entity", ""); !slices.Contains(got, "memory") || !slices.Contains(got, "archive-policy") {
		t.Errorf("entities: %q", got)
	}
}

func TestLogLevelAndFormat(t *testing.T) {
	for _, c := range []struct {
		args []string
		want int // lines, of one at each level
	}{
		{nil, 2}, {[]string{"--log-level", "debug"}, 4}, {[]string{"-v"}, 4}, {[]string{"--log-level", "info"}, 3}, {[]string{"--log-level", "error", "--log-format", "json"}, 1},
		{[]string{"-v", "--log-format", "json"}, 4},
	} {
		var out bytes.Buffer
		cli := newCLI(&out, &out)
		root := cli.root()
		root.SetArgs(append([]string{"help"}, c.args...))
		if err := root.ParseFlags(c.args); err != nil {
			t.Fatal(err)
		}
		if err := cli.settle(); err != nil {
			t.Fatal(err)
		}
		out.Reset()
		for _, level := range []slog.Level{slog.LevelDebug, slog.LevelInfo, slog.LevelWarn, slog.LevelError} {
			cli.config.Logger.Log(t.Context(), level, "said", "level_of", level.String())
		}
		if got := strings.Count(out.String(), "said"); got != c.want {
			t.Errorf("%v: %d lines, want %d: %s", c.args, got, c.want, &out)
		}
		out.Reset()
		cli.announce("text for people", "a message", "url", "http://x")
		if slices.Contains(c.args, "json") {
			var line struct{ Msg, URL string }
			if err := json.Unmarshal(out.Bytes(), &line); err != nil || line.Msg != "a message" || line.URL != "http://x" {
				t.Errorf("%v: %s, %v", c.args, &out, err)
			}
		} else if out.String() != "text for people\n" {
			t.Errorf("%v: %q", c.args, out.String())
		}
	}
	var out bytes.Buffer
	if got := run(t.Context(), []string{"status", "--log-level", "loud"}, &out, &out); got != exitUsage {
		t.Errorf("an unknown level: exit code %d", got)
	}
}
