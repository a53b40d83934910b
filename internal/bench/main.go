// Command bench measures refold beside the physical limits and the naive ways, all in one run, so that the ratios
// hold on whatever machine it runs on. It prints `name value unit` lines and writes them as JSON.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"time"

	"github.com/refold-dev/refold/internal/localstack"
	"github.com/refold-dev/refold/internal/plane"
)

// figure is one measured line.
type figure struct {
	Name  string  `json:"name"`
	Value float64 `json:"value"`
	Unit  string  `json:"unit"`
}

type bench struct {
	dir      string
	events   int
	tenants  int
	figures  []figure
	postgres *localstack.Postgres
	servers  int
}

func main() {
	b := &bench{}
	var out string
	var strict bool
	flag.IntVar(&b.events, "events", 300_000, "events of each data set")
	flag.IntVar(&b.tenants, "tenants", 200, "tenants")
	flag.StringVar(&out, "json", "bench.json", "where to write the figures")
	flag.BoolVar(&strict, "strict", false, "exit with 1 when a target is missed")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	missed, err := b.run(ctx, out)
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
	if missed > 0 && strict {
		os.Exit(1)
	}
}

func (b *bench) run(ctx context.Context, out string) (missed int, err error) {
	if b.dir, err = os.MkdirTemp("", "refold-bench-"); err != nil {
		return 0, err
	}
	defer os.RemoveAll(b.dir)
	if err := os.Chmod(b.dir, 0o755); err != nil { // Postgres runs as another user when this is root
		return 0, err
	}
	b.postgres, err = localstack.StartPostgres(ctx, filepath.Join(b.dir, "postgres"), localstack.PostgresOptions{
		Settings: map[string]string{"shared_buffers": "1GB", "max_wal_size": "8GB", "max_connections": "200"},
	})
	if err != nil {
		return 0, err
	}
	defer b.postgres.Stop()
	for _, part := range []func(context.Context) error{b.commands, b.withHistory, b.rowsOnly} {
		if err := part(ctx); err != nil {
			return 0, err
		}
	}
	missed = b.ratios()
	body, err := json.MarshalIndent(b.figures, "", "  ")
	if err != nil {
		return missed, err
	}
	return missed, os.WriteFile(out, append(body, '\n'), 0o644)
}

func (b *bench) say(name string, value float64, unit string) {
	b.figures = append(b.figures, figure{name, value, unit})
	fmt.Printf("%s %.4g %s\n", name, value, unit)
}

func (b *bench) value(name string) float64 {
	for _, f := range b.figures {
		if f.Name == name {
			return f.Value
		}
	}
	return 0
}

// open returns a plane with a database and a journal of its own.
func (b *bench) open(ctx context.Context, durability string) (*plane.Plane, func(), error) {
	b.servers++
	name := fmt.Sprintf("plane%d", b.servers)
	server, err := localstack.StartNATS(ctx, localstack.NATSOptions{StoreDir: filepath.Join(b.dir, name), Durability: durability})
	if err != nil {
		return nil, nil, err
	}
	url, err := b.database(ctx, name)
	if err != nil {
		server.Stop()
		return nil, nil, err
	}
	p, err := plane.Open(ctx, plane.Config{DataDir: b.dir, PostgresURL: url, NATSURL: server.URL()})
	if err == nil {
		err = p.EnsureLive(ctx, nil)
	}
	if err != nil {
		server.Stop()
		return nil, nil, err
	}
	return p, func() { _ = p.Close(); server.Stop() }, nil
}

// ratios prints the targets beside what was measured and counts those missed.
func (b *bench) ratios() (missed int) {
	replay := b.value("replay_with_history")
	for _, r := range []struct {
		name   string
		value  float64
		target float64
		least  bool
	}{
		{"ratio.replay_over_naive", replay / b.value("naive"), 60, true},
		{"ratio.replay_over_batched_upsert", replay / b.value("batched_upsert"), 3, true},
		{"ratio.replay_wall_over_raw_copy_wall", b.value("raw_copy_with_history") / replay, 4, false},
		{"ratio.verify_over_replay", b.value("verify") / replay, 0.5, true},
		{"ratio.replay_over_drain", replay / b.value("drain"), 0, true},
		{"accepted_to_readable_at_500.p99", b.value("accepted_to_readable_at_500.p99"), 25, false},
	} {
		verdict := "ok"
		if r.least && r.value < r.target || !r.least && r.value > r.target {
			verdict = "MISS"
			missed++
		}
		bound := "at most"
		if r.least {
			bound = "at least"
		}
		if r.target == 0 {
			bound, verdict = "for information, at least", "ok"
		}
		b.figures = append(b.figures, figure{r.name, r.value, "x"})
		fmt.Printf("%-40s %8.3g   %s %g: %s\n", r.name, r.value, bound, r.target, verdict)
	}
	return missed
}

// rate is n things in the time since started.
func rate(n int, started time.Time) float64 { return float64(n) / time.Since(started).Seconds() }
