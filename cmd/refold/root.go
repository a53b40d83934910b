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

	"github.com/refold-dev/refold/internal/edition"
	"github.com/refold-dev/refold/internal/journal"
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
	makes          bool // this command may make a plane
	verbose        bool
	logLevel       string
	logFormat      string
	limit          memoryLimit

	log   *logWriter
	shown bool // a result is on stdout
}

func newCLI(stdout, stderr io.Writer) *cli {
	return &cli{stdout: stdout, stderr: stderr, log: &logWriter{out: stderr}}
}

func (c *cli) root() *cobra.Command {
	root := &cobra.Command{
		Use: "refold", Short: "An event-sourced, multi-tenant data plane: a served row is provably the fold of the log",
		SilenceUsage: true, SilenceErrors: true, Version: plane.ToolVersion(),
	}
	root.SetVersionTemplate("refold {{.Version}}\n")
	root.PersistentPreRunE = func(cmd *cobra.Command, _ []string) error {
		if err := fromEnvironment(cmd.Flags()); err != nil {
			return usageError{err}
		}
		warnUnknown(c.stderr, root, os.Environ())
		return c.settle()
	}
	root.SetOut(c.stdout)
	root.SetErr(c.stderr)
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	f := root.PersistentFlags()
	f.StringVar(&c.config.DataDir, "data", localstack.DefaultDataDir(), "folder of the local stack")
	f.StringVar(&c.config.PostgresURL, "postgres", "", "URL of a database to use instead of a local one")
	f.StringVar(&c.config.NATSURL, "nats", "", "URL of a NATS server to use instead of the embedded one, or several separated by commas")
	access := &c.config.NATSAccess
	f.StringVar(&access.CredsFile, "nats-creds", "", "credentials file (JWT and seed) for the servers of --nats")
	f.StringVar(&access.SeedFile, "nats-nkey", "", "file with the seed of the nkey for the servers of --nats")
	f.StringVar(&access.CAFile, "nats-ca", "", "file with the authorities that sign the certificates of the servers of --nats; none = those of the system")
	f.StringVar(&access.CertFile, "nats-client-cert", "", "file with the TLS certificate that refold shows to the servers of --nats")
	f.StringVar(&access.KeyFile, "nats-client-key", "", "file with its key")
	f.Var(oneOf(&c.config.Durability, "", localstack.DurabilityAlways, localstack.DurabilityRelaxed), "durability", "always (default): synced before the answer; relaxed: every 100 ms")
	f.IntVar(&c.config.Shards, "shards", 0, "number of shards, for a new journal; 0 = 1")
	f.IntVar(&c.config.Replicas, "replicas", 0, "replicas of each stream, for a new journal: 1, 3 or 5; 0 = 1")
	f.Var((*byteSize)(&c.config.JournalBytes), "journal-bytes",
		"disk budget of the journal with its access log, on each server with a replica, such as 200GB; none = as it is, or for a new journal a third of the free disk")
	f.Var((*byteSize)(&c.config.MemoryBytes), "memory", "memory for the rows of a build or a verification, such as 512MB; the memory limit of the command is 150MB more; default 1GB, or half of the memory limit")
	f.Var(&c.limit.given, "memory-limit", "memory that this process may take; default what it needs, at most half of what the machine or the cgroup has, and 90 % of it where Postgres runs elsewhere")
	f.VarP(oneOf(&c.format, formatTable, formatTable, formatJSON), "output", "o", "table or json")
	f.BoolVar(&c.noProgress, "no-progress", false, "no progress on stderr")
	f.BoolVarP(&c.verbose, "verbose", "v", false, "log everything: --log-level debug")
	f.Var(oneOf(&c.logLevel, levelWarn, levelDebug, "info", levelWarn, "error"), "log-level", "least level of what is logged, on stderr")
	f.Var(oneOf(&c.logFormat, formatText, formatText, formatJSON), "log-format", "text or json")
	for flag, name := range map[string]string{
		"data": "REFOLD_DATA", "postgres": "DATABASE_URL", "nats": "REFOLD_NATS", "nats-creds": "REFOLD_NATS_CREDS", "nats-nkey": "REFOLD_NATS_NKEY", "nats-ca": "REFOLD_NATS_CA",
		"nats-client-cert": "REFOLD_NATS_CLIENT_CERT", "nats-client-key": "REFOLD_NATS_CLIENT_KEY", "durability": "REFOLD_DURABILITY", "shards": "REFOLD_SHARDS",
		"replicas": "REFOLD_REPLICAS", "journal-bytes": "REFOLD_JOURNAL_BYTES", "memory": "REFOLD_MEMORY", "memory-limit": "REFOLD_MEMORY_LIMIT", "output": "REFOLD_OUTPUT", "no-progress": "REFOLD_NO_PROGRESS", "verbose": "REFOLD_VERBOSE",
		"log-level": "REFOLD_LOG_LEVEL", "log-format": "REFOLD_LOG_FORMAT",
	} {
		variable(f, flag, name)
	}
	root.AddCommand(c.serve(), c.status(), c.tenant(), c.sqlReader(), c.token(), c.imports(), c.policy(), c.exports(), c.edition(), c.verify(), c.audit(), c.digests(), c.explain(), c.repair(), c.reconcile(), c.journal(), c.report(), c.backup(), c.restore(), c.selftest(), c.demo(), c.project(), c.uiProxy(), exitCodesTopic(), issuersTopic())
	root.AddCommand(environmentTopic(root))
	complete(root)
	return group(root)
}

// settle checks what the flags and the environment say.
func (c *cli) settle() error {
	var faults []error
	if n := c.config.Shards; n < 0 || n > journal.ShardsMax {
		faults = append(faults, fmt.Errorf("shards (--shards, REFOLD_SHARDS) is %d: use 1 to %d", n, journal.ShardsMax))
	}
	if n := c.config.Replicas; !slices.Contains([]int{0, 1, 3, 5}, n) {
		faults = append(faults, fmt.Errorf("replicas (--replicas, REFOLD_REPLICAS) is %d: use 1, 3 or 5", n))
	}
	if err := c.config.NATSAccess.Check(); err != nil {
		faults = append(faults, err)
	}
	if v := os.Getenv("VERIFY_MIGRATIONS"); v != "" {
		verify, err := strconv.ParseBool(v)
		if err != nil {
			faults = append(faults, fmt.Errorf("VERIFY_MIGRATIONS is %q: use true or false", v))
		}
		c.config.SkipVerifyMigrations = !verify
	}
	if err := c.limitMemory(os.DirFS("/")); err != nil {
		faults = append(faults, err)
	}
	if c.verbose {
		c.logLevel = levelDebug
	}
	var level slog.Level
	if err := level.UnmarshalText([]byte(c.logLevel)); err != nil {
		faults = append(faults, err)
	}
	c.config.Logger = c.logger(level)
	if err := errors.Join(faults...); err != nil {
		return usageError{err}
	}
	return nil
}

// logger writes what is of the level, or above it, in the format that was asked for.
func (c *cli) logger(level slog.Level) *slog.Logger {
	options := &slog.HandlerOptions{Level: level}
	if c.logFormat == formatJSON {
		return slog.New(slog.NewJSONHandler(c.log, options))
	}
	return slog.New(slog.NewTextHandler(c.log, options))
}

// open opens the plane for one command and keeps its projectors going, unless another process does. The returned
// function ends both.
func (c *cli) open(ctx context.Context) (*plane.Plane, func() error, error) {
	config := c.existing()
	config.ScrubRate, config.AuditEvery, config.ArchiveEvery = -1, -1, -1 // no command lives long enough
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

// existing is the configuration of commands that work on a plane and never make one: a mistyped --data is an error.
func (c *cli) existing() plane.Config {
	config := c.config
	config.Existing = !c.makes
	if config.Existing {
		config.JournalBytes = 0 // `serve` and `journal budget` change it, and no other
	}
	return config
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
