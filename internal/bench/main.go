// Command bench measures refold beside the physical limits and the naive ways, all in one run, so that the ratios
// hold on whatever machine it runs on. It prints `name value unit` lines, then the targets beside what was measured,
// and writes the figures as JSON.
//
// Nothing on the machine is used or left behind: a Postgres cluster and NATS servers of its own, in a temporary
// folder. Comparisons get the better end: what they are given for free (a sample read into memory before the clock
// starts, tables that stay small) is said where they are made.
package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/refold-dev/refold/internal/localstack"
)

// config is what the flags set.
type config struct {
	events  int    // of each data set
	tenants int    // that the events are spread over
	rounds  int    // of the measures that are compared; the figure is the median
	seed    uint64 // of ids and of the order of events
	json    string // file for the figures; empty = bench.json, and none for a phase alone
	strict  bool   // a missed target is a failure
	phase   string // measure this phase alone, on the data set with history
	profile string // file for a CPU profile of the phase
}

// eventsMin is more than two batches of the projector.
const eventsMin = 6000

var errMissed = errors.New("a target was missed")

func main() {
	var c config
	flag.IntVar(&c.events, "events", 300_000, "events of each data set")
	flag.IntVar(&c.tenants, "tenants", 200, "tenants")
	flag.IntVar(&c.rounds, "rounds", 3, "rounds of the measures that are compared; the figure is the median")
	flag.Uint64Var(&c.seed, "seed", 1, "seed of ids and of the order of events")
	flag.StringVar(&c.json, "json", "", "where to write the figures (default bench.json, and with -phase nowhere)")
	flag.BoolVar(&c.strict, "strict", false, "exit with 1 when a target is missed")
	flag.StringVar(&c.phase, "phase", "", "measure one phase alone: replay, verify, kept, ledger, backup, migration or producers")
	flag.StringVar(&c.profile, "cpuprofile", "", "write a CPU profile of the phase to this file")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, c)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func (c config) validate() error {
	var faults []error
	if c.events < eventsMin || c.tenants < 1 || c.rounds < 1 {
		faults = append(faults, fmt.Errorf("give at least %d events, 1 tenant and 1 round", eventsMin))
	}
	if c.phase != "" && c.phase != "replay" && c.phase != "verify" && c.phase != "kept" && c.phase != "ledger" && c.phase != "backup" && c.phase != "migration" && c.phase != "producers" {
		faults = append(faults, fmt.Errorf("phase %q: use replay, verify, kept, ledger, backup, migration or producers", c.phase))
	}
	if c.profile != "" && c.phase == "" {
		faults = append(faults, errors.New("a profile needs a -phase"))
	}
	return errors.Join(faults...)
}

func run(ctx context.Context, c config) (err error) {
	if err := c.validate(); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "refold-bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if err := os.Chmod(dir, 0o755); err != nil { // Postgres runs as another user when this is root
		return err
	}
	b := &bench{config: c, dir: dir, started: time.Now()}
	b.postgres, err = localstack.StartPostgres(ctx, filepath.Join(dir, "postgres"), localstack.PostgresOptions{
		Settings: map[string]string{"shared_buffers": "1GB", "max_wal_size": "8GB"},
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.postgres.Stop()) }()
	if c.phase != "" {
		if err := b.alone(ctx); err != nil || c.json == "" {
			return err
		}
		return b.write(c.json)
	}
	return b.everything(ctx)
}

// write keeps the figures in a file.
func (b *bench) write(name string) error {
	body, err := json.MarshalIndent(b.figures, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(name, append(body, '\n'), 0o644)
}

func (b *bench) everything(ctx context.Context) error {
	for _, part := range []func(context.Context) error{b.commands, b.producers, b.withHistory, b.rowsOnly, b.kept, b.ledger, b.backups, b.migration} {
		err := part(ctx)
		b.print()
		if err != nil {
			return err
		}
	}
	missed := b.ratios()
	if err := b.write(cmp.Or(b.json, "bench.json")); err != nil {
		return err
	}
	if missed && b.strict {
		return errMissed
	}
	return nil
}
