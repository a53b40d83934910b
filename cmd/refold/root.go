package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strconv"
	"time"

	"github.com/refold-dev/refold/internal/edition"
	"github.com/refold-dev/refold/internal/localstack"
	"github.com/refold-dev/refold/internal/plane"
	"github.com/spf13/cobra"
)

// cli is what all commands share: the settings and where to write.
type cli struct {
	stdout, stderr io.Writer
	config         plane.Config
	format         string
	noProgress     bool
	verbose        bool

	log   *logWriter
	shown bool // a result is on stdout
}

func newCLI(stdout, stderr io.Writer) *cli {
	return &cli{stdout: stdout, stderr: stderr, log: &logWriter{out: stderr}}
}

func (c *cli) root() *cobra.Command {
	root := &cobra.Command{
		Use: "refold", Short: "An event-sourced, multi-tenant data plane: a served row is provably the fold of the log",
		SilenceUsage: true, SilenceErrors: true,
		PersistentPreRunE: func(*cobra.Command, []string) error { return c.settle() },
	}
	root.SetOut(c.stdout)
	root.SetErr(c.stderr)
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	f := root.PersistentFlags()
	f.StringVar(&c.config.DataDir, "data", env("REFOLD_DATA", localstack.DefaultDataDir()), "folder of the local stack (REFOLD_DATA)")
	f.StringVar(&c.config.PostgresURL, "postgres", env("DATABASE_URL", ""), "database to use instead of a local one (DATABASE_URL)")
	f.StringVar(&c.config.NATSURL, "nats", env("REFOLD_NATS", ""), "NATS server to use instead of the embedded one (REFOLD_NATS)")
	f.StringVar(&c.config.Durability, "durability", env("REFOLD_DURABILITY", ""), "always (default): synced before the answer; relaxed: every 100 ms (REFOLD_DURABILITY)")
	f.IntVar(&c.config.Shards, "shards", envInt("REFOLD_SHARDS"), "number of shards, for a new journal (REFOLD_SHARDS; default 1)")
	f.IntVar(&c.config.Replicas, "replicas", envInt("REFOLD_REPLICAS"), "replicas of each stream, for a new journal (REFOLD_REPLICAS; default 1)")
	f.Var((*byteSize)(&c.config.MemoryBytes), "memory", "memory for the rows of a build or a verification, such as 512MB (REFOLD_MEMORY; default 1GB)")
	f.StringVarP(&c.format, "output", "o", env("REFOLD_OUTPUT", "table"), "table or json (REFOLD_OUTPUT)")
	f.BoolVar(&c.noProgress, "no-progress", os.Getenv("REFOLD_NO_PROGRESS") != "", "no progress on stderr (REFOLD_NO_PROGRESS)")
	f.BoolVarP(&c.verbose, "verbose", "v", os.Getenv("REFOLD_VERBOSE") != "", "log more (REFOLD_VERBOSE)")
	root.AddCommand(c.serve(), c.status(), c.tenant(), c.sqlReader(), c.token(), c.imports(), c.policy(), c.exports(), c.edition(), c.verify(), c.digests(), c.explain(), c.repair(), c.reconcile(), c.journal(), c.report(), c.backup(), c.restore(), c.selftest(), c.demo(), c.project(), exitCodesTopic(), issuersTopic())
	return group(root)
}

// settle checks what the flags and the environment say.
func (c *cli) settle() error {
	var faults []error
	if c.format != "table" && c.format != "json" {
		faults = append(faults, fmt.Errorf("output %q: use table or json", c.format))
	}
	if d := c.config.Durability; d != "" && d != localstack.DurabilityAlways && d != localstack.DurabilityRelaxed {
		faults = append(faults, fmt.Errorf("durability %q: use always or relaxed", d))
	}
	if v := os.Getenv("VERIFY_MIGRATIONS"); v != "" {
		verify, err := strconv.ParseBool(v)
		if err != nil {
			faults = append(faults, fmt.Errorf("VERIFY_MIGRATIONS is %q: use true or false", v))
		}
		c.config.SkipVerifyMigrations = !verify
	}
	if err := (*byteSize)(&c.config.MemoryBytes).fromEnv("REFOLD_MEMORY"); err != nil {
		faults = append(faults, err)
	}
	level := slog.LevelWarn
	if c.verbose {
		level = slog.LevelDebug
	}
	c.config.Logger = slog.New(slog.NewTextHandler(c.log, &slog.HandlerOptions{Level: level}))
	if err := errors.Join(faults...); err != nil {
		return usageError{err}
	}
	return nil
}

// open opens the plane for one command and keeps its projectors going, unless another process does. The returned
// function ends both.
func (c *cli) open(ctx context.Context) (*plane.Plane, func() error, error) {
	config := c.config
	config.ScrubRate, config.ArchiveEvery = -1, -1 // no command lives long enough
	p, err := plane.Open(ctx, config)
	if err != nil {
		return nil, nil, err
	}
	if err := p.EnsureLive(ctx, nil); err != nil {
		return nil, nil, errors.Join(err, p.Close())
	}
	alone, err := mustProject(ctx, p)
	if err != nil {
		return nil, nil, errors.Join(err, p.Close())
	}
	if !alone {
		return p, p.Close, nil
	}
	running, stop := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- p.Run(running) }()
	return p, func() error {
		stop()
		return errors.Join(<-done, p.Close())
	}, nil
}

// mustProject is false beside a process that keeps editions of our shape level. A short-lived projector of our own
// would only take a new edition from it and then leave it alone for some seconds.
func mustProject(ctx context.Context, p *plane.Plane) (bool, error) {
	if p.Stack.Owner() {
		return true, nil
	}
	replicas, err := p.Editions.Replicas(ctx)
	if err != nil {
		return false, err
	}
	return !slices.ContainsFunc(replicas, func(r edition.Replica) bool { return r.Shape == p.Shape }), nil
}

// with runs fn on an open plane.
func (c *cli) with(ctx context.Context, fn func(*plane.Plane) error) error {
	p, end, err := c.open(ctx)
	if err != nil {
		return err
	}
	return errors.Join(fn(p), end())
}

func env(name, otherwise string) string {
	if v := os.Getenv(name); v != "" {
		return v
	}
	return otherwise
}

func envInt(name string) int {
	n, _ := strconv.Atoi(os.Getenv(name))
	return n
}

// envDuration is the duration of a variable; a text that is none stops the start as a wrong flag does, by being zero.
func envDuration(name string, otherwise time.Duration) time.Duration {
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	d, _ := time.ParseDuration(text)
	return d
}

// group is a command that only has others: alone it shows them, and a command it does not have is an error.
func group(cmd *cobra.Command) *cobra.Command {
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if len(args) > 0 {
			return usageError{fmt.Errorf("%s has no command %q; see `%s --help`", cmd.CommandPath(), args[0], cmd.CommandPath())}
		}
		return nil
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	return cmd
}

// exactly is cobra.ExactArgs with an error that counts as one of the command line.
func exactly(n int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) != n {
			return usageError{fmt.Errorf("%s takes %d arguments, got %d; see `%s --help`", cmd.CommandPath(), n, len(args), cmd.CommandPath())}
		}
		return nil
	}
}
