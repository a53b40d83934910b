package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// A variable with a bad text must stop the start as the flag does: read as zero, it would fix the number of shards at one.
func TestBadVariablesStopTheStart(t *testing.T) {
	t.Setenv("REFOLD_DATA", t.TempDir())
	for _, c := range []struct{ name, text, says string }{
		{"REFOLD_SHARDS", "x", "whole number"},
		{"REFOLD_SHARDS", "-1", "use 1 to 256"},
		{"REFOLD_SHARDS", "1000", "use 1 to 256"},
		{"REFOLD_REPLICAS", "three", "whole number"},
		{"REFOLD_REPLICAS", "2", "use 1, 3 or 5"},
		{"REFOLD_DURABILITY", "sometimes", "use always or relaxed"},
		{"REFOLD_OUTPUT", "yaml", "use table or json"},
		{"REFOLD_MEMORY", "1.5GB", "is no size"},
		{"REFOLD_VERBOSE", "yes", "true or false"},
		{"REFOLD_NO_PROGRESS", "on", "true or false"},
		{"REFOLD_CUTOVER", "later", "use auto or manual"},
		{"REFOLD_CUTOVER_REPLICAS", "all", "whole number"},
		{"REFOLD_CUTOVER_REPLICAS", "0", "use 1 or more"},
		{"REFOLD_SCRUB_RATE", "fast", "whole number"},
		{"REFOLD_ARCHIVE_EVERY", "daily", "duration"},
		{"REFOLD_ACCESS_LOG_KEEP", "90 days", "duration"},
		{"REFOLD_ACCESS_LOG_KEEP", "0s", "above zero"},
	} {
		t.Run(c.name+"="+c.text, func(t *testing.T) {
			t.Setenv(c.name, c.text)
			if stderr := refoldFails(t, exitUsage, "serve"); !strings.Contains(stderr, c.name) || !strings.Contains(stderr, c.says) {
				t.Errorf("%s=%s is refused with %s", c.name, c.text, stderr)
			}
		})
	}
	t.Run("all at once, as one document", func(t *testing.T) {
		t.Setenv("REFOLD_OUTPUT", "json")
		t.Setenv("REFOLD_SHARDS", "x")
		t.Setenv("REFOLD_BUILD_RATE", "y")
		document := into[map[string]any](t, refold(t, exitUsage, "edition", "build"))
		for _, name := range []string{"REFOLD_SHARDS", "REFOLD_BUILD_RATE"} {
			if !strings.Contains(document["error"].(string), name) {
				t.Errorf("%s is not named: %v", name, document)
			}
		}
	})
}

func TestFlagsGoOverTheirVariables(t *testing.T) {
	t.Setenv("REFOLD_SHARDS", "4")
	t.Setenv("REFOLD_ORIGINS", "https://a.example,https://b.example")
	t.Setenv("REFOLD_VERBOSE", "")
	for _, c := range []struct {
		args            []string
		shards, origins string
	}{
		{nil, "4", "[https://a.example,https://b.example]"},
		{[]string{"--shards", "2", "--origin", "https://c.example"}, "2", "[https://c.example]"},
	} {
		root := newCLI(&bytes.Buffer{}, &bytes.Buffer{}).root()
		serve, _, err := root.Find([]string{"serve"})
		if err != nil {
			t.Fatal(err)
		}
		if err := serve.ParseFlags(c.args); err != nil {
			t.Fatal(err)
		}
		if err := fromEnvironment(serve.Flags()); err != nil {
			t.Fatal(err)
		}
		shards, origins := serve.Flags().Lookup("shards").Value.String(), serve.Flags().Lookup("origin").Value.String()
		if shards != c.shards || origins != c.origins {
			t.Errorf("%v: shards %s, origins %s", c.args, shards, origins)
		}
	}
}

// Whatever a flag's usage says about its variable is what is read.
func TestEveryVariableIsBound(t *testing.T) {
	root := newCLI(&bytes.Buffer{}, &bytes.Buffer{}).root()
	topic, _, err := root.Find([]string{"environment"})
	if err != nil {
		t.Fatal(err)
	}
	everyFlag(root, func(cmd *cobra.Command, flag *pflag.Flag) {
		name := variableFor(flag)
		if named := strings.Contains(flag.Usage, "(REFOLD_") || strings.Contains(flag.Usage, "(DATABASE_URL"); named != (name != "") {
			t.Errorf("%s --%s: usage %q, variable %q", cmd.CommandPath(), flag.Name, flag.Usage, name)
		}
		if !strings.Contains(topic.Long, name) {
			t.Errorf("help environment does not have %s", name)
		}
	})
}

func everyFlag(cmd *cobra.Command, do func(*cobra.Command, *pflag.Flag)) {
	cmd.LocalFlags().VisitAll(func(f *pflag.Flag) { do(cmd, f) })
	for _, sub := range cmd.Commands() {
		everyFlag(sub, do)
	}
}

func TestUnknownVariablesAreNamed(t *testing.T) {
	for variable, nearest := range map[string]string{
		"REFOLD_SHARD=4": "REFOLD_SHARDS", "REFOLD_DURABLE=relaxed": "REFOLD_DURABILITY", "REFOLD_DATABASE_URL=x": "", // any, but named
		"REFOLD_TEST_NATS=x": "-", "REFOLD_SERVICE_HOST=10.0.0.1": "-", "REFOLD_PORT_8080_TCP_ADDR=10.0.0.1": "-", "REFOLD_MCP_TOKEN=secret": "-",
		"HOME=/": "-", "REFOLD_MEMORY=1GB": "-",
	} {
		var out bytes.Buffer
		warnUnknown(&out, newCLI(&out, &out).root(), []string{variable})
		name, value, _ := strings.Cut(variable, "=")
		switch got := out.String(); {
		case nearest == "-" && got != "":
			t.Errorf("%s: %s", variable, got)
		case nearest != "-" && (!strings.Contains(got, name) || !strings.Contains(got, nearest) || strings.Contains(got, "="+value)):
			t.Errorf("%s: %q", variable, got)
		}
	}
}
