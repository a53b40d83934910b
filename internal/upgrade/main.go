// Command upgrade takes a plane from one version of refold to the next and back, with two real binaries, while
// clients go on: a schema migration as a deployment. The second binary is this tree with the overlay of
// examples/upgrade. It tells what happens, checks every step, and fails when one is not as promised.
//
// Nothing on the machine is used or left behind: a Postgres cluster and a NATS server of its own, in a temporary
// folder.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

func main() {
	if wish := os.Getenv(noiseVariable); wish != "" {
		fmt.Fprintln(os.Stderr, "upgrade:", makeNoise(wish))
		os.Exit(1)
	}
	c := config{out: os.Stdout}
	flag.IntVar(&c.commands, "commands", 500, "commands a second")
	flag.IntVar(&c.reads, "reads", 1000, "reads a second")
	flag.IntVar(&c.clients, "clients", 64, "clients")
	flag.IntVar(&c.shards, "shards", 1, "shards of the journal")
	flag.DurationVar(&c.pause, "pause", 2*time.Second, "how long each state of the deployment is under load")
	flag.DurationVar(&c.span, "sustain", 0, "no upgrade: keep the load up for so long against one process with everything in it")
	flag.DurationVar(&c.noisySpan, "noisy", 0, "no upgrade: measure a quiet tenant for so long on an idle plane, and for so long beside a noisy tenant")
	flag.IntVar(&c.noisyMemories, "noisy-memories", 20_000, "memories of the noisy tenant, with -noisy")
	flag.StringVar(&c.noisyKind, "noisy-kind", "", "one kind of noise, with -noisy: lists, search, stats, exports, feeds, messages or batches; empty = all at once")
	flag.StringVar(&c.binary, "refold", "", "a refold binary to use with -noisy or -sustain; empty = this tree is built")
	sqlc := flag.String("generate", "", "write the generated files of the overlay anew with this sqlc command, and do nothing else")
	flag.Parse()
	if err := c.validate(); err != nil {
		fmt.Fprintln(os.Stderr, "upgrade:", err)
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, c, strings.Fields(*sqlc))
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "upgrade:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, c config, sqlc []string) (err error) {
	root, err := repositoryRoot()
	if err != nil {
		return err
	}
	if len(sqlc) > 0 {
		return generate(ctx, root, sqlc)
	}
	dir, err := os.MkdirTemp("", "refold-upgrade-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if c.noisySpan > 0 {
		return c.noisy(ctx, root, dir)
	}
	if c.span > 0 {
		return c.sustain(ctx, root, dir)
	}
	c.say("building refold as it is, and with the overlay %s", overlayDir)
	programs, err := buildBinaries(ctx, root, dir)
	if err != nil {
		return err
	}
	return c.tell(ctx, dir, programs)
}
