package main

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// variableOf is the annotation of a flag that names its environment variable.
const variableOf = "refold_variable"

// variable binds a flag that has been defined to an environment variable, and says so in its usage. The variable takes
// the place of the flag where the command line does not have it, and is checked like it.
func variable(f *pflag.FlagSet, flag, name string) {
	bound := f.Lookup(flag)
	bound.Usage += " (" + name + ")"
	bound.Annotations = map[string][]string{variableOf: {name}}
}

func variableFor(f *pflag.Flag) string {
	if names := f.Annotations[variableOf]; len(names) > 0 {
		return names[0]
	}
	return ""
}

// fromEnvironment gives every flag that is not on the command line the value of its variable. The error names all
// variables whose text is not a value of their flag.
func fromEnvironment(f *pflag.FlagSet) error {
	var faults []error
	f.VisitAll(func(flag *pflag.Flag) {
		name := variableFor(flag)
		text := os.Getenv(name)
		if name == "" || text == "" || flag.Changed {
			return
		}
		if err := flag.Value.Set(text); err != nil {
			faults = append(faults, fmt.Errorf("%s is %q: %s", name, text, wanted(flag, err)))
		}
	})
	return errors.Join(faults...)
}

// wanted says what a flag takes, in words where its type is one of Go's.
func wanted(flag *pflag.Flag, err error) string {
	switch flag.Value.Type() {
	case "bool":
		return "use true or false"
	case "int", "int64":
		return "use a whole number"
	case "duration":
		return "use a duration such as 30s or 24h"
	}
	return err.Error()
}

// choice is a flag that takes one of some words.
type choice struct {
	value *string
	of    []string
}

func oneOf(value *string, first string, words ...string) *choice {
	*value = first
	return &choice{value, words}
}

func (c *choice) Set(text string) error {
	if !slices.Contains(c.of, text) {
		return fmt.Errorf("use %s", strings.Join(c.of, " or "))
	}
	*c.value = text
	return nil
}

func (c *choice) String() string { return *c.value }

// Type is what the help calls it.
func (c *choice) Type() string { return strings.Join(c.of, "|") }

// foreignVariables are those that begin as refold's do and are read by others: by tests, by clients, by Compose, and by
// Kubernetes, which sets some for a service that is called refold.
var foreignVariables = regexp.MustCompile(`^REFOLD_(AS_CHILD|CHAOS|FAILPOINTS|MCP_TOKEN|NATS_PASSWORD|OPENMEMORY_EXPORTS|POSTGRES_PASSWORD|SEED|TEST_.*|TOKEN|UPGRADE|` +
	`(.*_)?SERVICE_(HOST|PORT.*)|PORT|PORT_.*)$`)

// warnUnknown names variables that look like refold's and are not, with the one that may be meant.
func warnUnknown(w io.Writer, root *cobra.Command, environment []string) {
	known := slices.Sorted(maps.Keys(variablesOf(root)))
	for _, entry := range environment {
		name, _, _ := strings.Cut(entry, "=")
		if !strings.HasPrefix(name, "REFOLD_") || foreignVariables.MatchString(name) || slices.Contains(known, name) {
			continue
		}
		fmt.Fprintf(w, "refold: warning: the environment variable %s is not one of refold's and has no effect; the nearest is %s (see `refold help environment`)\n",
			name, slices.MinFunc(known, func(a, b string) int { return distance(name, a) - distance(name, b) }))
	}
}

// distance is how many letters have to be added, removed or replaced to make b of a.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

// variablesOf lists the flags of every variable: the name of the flag with the commands that have it.
func variablesOf(root *cobra.Command) map[string][]string {
	all := map[string][]string{}
	var visit func(*cobra.Command)
	visit = func(cmd *cobra.Command) {
		add := func(flag *pflag.Flag) {
			name, of := variableFor(flag), "--"+flag.Name
			if cmd != root {
				of += " of " + cmd.CommandPath()
			}
			if name != "" && !slices.Contains(all[name], of) {
				all[name] = append(all[name], of)
			}
		}
		cmd.LocalNonPersistentFlags().VisitAll(add)
		cmd.PersistentFlags().VisitAll(add)
		for _, sub := range cmd.Commands() {
			visit(sub)
		}
	}
	visit(root)
	return all
}

// environmentTopic is `refold help environment`.
func environmentTopic(root *cobra.Command) *cobra.Command {
	var text strings.Builder
	text.WriteString("A flag goes over its variable; an empty variable is none. A variable is checked like the flag.\n\n")
	all := variablesOf(root)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		fmt.Fprintf(&text, "%-34s%s\n", name, strings.Join(all[name], ", "))
	}
	text.WriteString("\nVERIFY_MIGRATIONS                 true (default) or false: false lets migrations and cutovers happen unproven\n" +
		"GOGC, GOMEMLIMIT, NO_COLOR        as everywhere\n")
	return &cobra.Command{Use: "environment", Short: "Which environment variable stands for which flag", Long: text.String()}
}
