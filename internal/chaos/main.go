// Command chaos runs refold as operators run it on three machines, breaks what it stands on again and again while
// clients work, and then holds everything against what the clients were told: a cluster of three nats-server processes,
// Postgres with a synchronous standby, and two `refold serve`, all real binaries on loopback.
//
// A seed decides which faults come in which order. Between faults every shard must take a command again and show it.
// At the end the rows over HTTP, `refold verify` and the journal as each NATS server has it on disk must agree with the
// answers. Any difference is a violation: the exit code is 1, and the data folder is kept.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

// config is what the flags set.
type config struct {
	faults  int           // at least so many
	span    time.Duration // go on with faults for so long; 0 = only as many as faults says
	seed    uint64        // 0 = one is made up
	kinds   string        // prefixes of the kinds of faults to inject, by comma; empty = all
	clients int           // who write and read
	pause   time.Duration // of a client between two requests
	binary  string        // of refold; empty = built from the tree
	report  string        // file for the report as JSON; empty = none
	dir     string        // where the data folder is made; empty = the system's temporary folder
	keep    bool          // keep the data folder in any case
	out     io.Writer
}

func main() {
	c := config{out: os.Stdout}
	flag.IntVar(&c.faults, "faults", 32, "number of faults")
	flag.DurationVar(&c.span, "for", 0, "go on for so long, with more faults than -faults where there is time")
	flag.Uint64Var(&c.seed, "seed", 0, "decides the faults and their order; 0 = a new one, which is printed")
	flag.StringVar(&c.kinds, "kinds", "", "only faults whose kind begins with one of these, such as nats-kill,postgres")
	flag.IntVar(&c.clients, "clients", 16, "clients")
	flag.DurationVar(&c.pause, "pause", 50*time.Millisecond, "of a client between two requests")
	flag.StringVar(&c.binary, "refold", "", "binary of refold to use, such as one of another version; empty = built from the tree")
	flag.StringVar(&c.report, "report", "", "file for the report as JSON")
	flag.StringVar(&c.dir, "dir", "", "where to make the data folder; empty = the system's temporary folder")
	flag.BoolVar(&c.keep, "keep", false, "keep the data folder in any case")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := c.run(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "chaos:", err)
		os.Exit(1)
	}
}

func (c config) say(format string, args ...any) {
	fmt.Fprintf(c.out, time.Now().Format("15:04:05 ")+format+"\n", args...)
}

// run makes the data folder, which goes when all was well.
func (c config) run(ctx context.Context) (err error) {
	if c.clients < 2 || c.faults < 1 || c.pause < 0 {
		return errors.New("give at least 2 clients and 1 fault, and a pause of 0 or more")
	}
	kinds := chosen(strings.FieldsFunc(c.kinds, func(r rune) bool { return r == ',' }))
	if len(kinds) == 0 {
		return fmt.Errorf("no kind of fault begins with %q; there are %s", c.kinds, strings.Join(names(faultKinds), ", "))
	}
	dir, err := os.MkdirTemp(c.dir, "refold-chaos-")
	if err != nil {
		return err
	}
	defer func() {
		if err == nil && !c.keep {
			err = os.RemoveAll(dir)
			return
		}
		c.say("the data folder is kept: %s", dir)
	}()
	// Postgres runs as another user when this is root.
	if err := os.Chmod(dir, 0o711); err != nil {
		return err
	}
	return c.campaign(ctx, dir, kinds)
}
