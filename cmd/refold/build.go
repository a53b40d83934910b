package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/refold-dev/refold/internal/plane"
	"github.com/spf13/cobra"
)

// builtView is what a build prints.
type builtView struct {
	Edition int64 `json:"edition"`
}

func (c *cli) editionBuild() *cobra.Command {
	var wait, patience time.Duration
	var rate int
	var lagMax int64
	var free, skipDisk bool
	var gate gateFlags
	cmd := &cobra.Command{
		Use: "build", Short: "Build a new edition by replay, or go on with an unfinished one", Args: exactly(0),
		Long: "Build a new edition by replay, or go on with an unfinished one: it may be interrupted at any time and repeated.\n\n" +
			"The build makes way for the live edition whenever that falls behind, and never needs more than --memory for rows.\n" +
			"It is refused, before anything is made, when the disk of the database will not suffice. `refold edition abort` gives it up.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.with(cmd.Context(), func(p *plane.Plane) error {
				if err := c.passGate(cmd.Context(), p, gate, "edition build"); err != nil {
					return err
				}
				e := p.Editions
				e.Rate, e.LagMax, e.NotHeldBack, e.SkipDiskCheck, e.Patience = rate, lagMax, free, skipDisk, patience
				number, err := c.build(cmd.Context(), p, wait)
				if err != nil {
					return err
				}
				return c.show(builtView{number}, func(w *tabwriter.Writer) {
					row(w, fmt.Sprintf("edition %d is built and has caught up; next: refold edition verify %d", number, number))
				})
			})
		},
	}
	f := cmd.Flags()
	gate.add(f)
	f.IntVar(&rate, "rate", 0, "events a second to read at most; 0 = as many as it can")
	variable(f, "rate", "REFOLD_BUILD_RATE")
	f.Int64Var(&lagMax, "lag-max", 0, "events the live edition may be behind before the build slows down; 0 = 500")
	variable(f, "lag-max", "REFOLD_LAG_MAX")
	f.BoolVar(&free, "unthrottled", false, "do not slow down for the live edition")
	f.BoolVar(&skipDisk, "skip-disk-check", false, "build although the disk may not suffice")
	f.DurationVar(&wait, "wait", 10*time.Minute, "how long to wait for it to catch up")
	f.DurationVar(&patience, "patience", time.Minute, "how long to watch it come no nearer to the end of the journal before giving up")
	return cmd
}

// build makes an edition and waits until it has caught up.
func (c *cli) build(ctx context.Context, p *plane.Plane, wait time.Duration) (int64, error) {
	bar := c.progress()
	defer bar.end()
	number, err := p.Editions.Build(ctx, bar.build)
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	return number, p.Editions.CatchUp(ctx, number, bar.build)
}

func (c *cli) editionAbort() *cobra.Command {
	return &cobra.Command{
		Use: "abort EDITION", Short: "Give up an edition that is being built or never became live, and remove it", Args: exactly(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			number, err := editionNumber(args[0])
			if err != nil {
				return err
			}
			return c.with(cmd.Context(), func(p *plane.Plane) error {
				if err := p.Editions.Abort(cmd.Context(), number); err != nil {
					return err
				}
				return c.show(map[string]int64{"aborted": number}, func(w *tabwriter.Writer) {
					row(w, fmt.Sprintf("edition %d is given up and removed", number))
				})
			})
		},
	}
}

// byteSize is a flag such as 512MB or 2GB; a bare number is bytes.
type byteSize int

var byteUnits = []struct {
	suffix string
	bytes  int
}{{"TB", 1 << 40}, {"GB", 1 << 30}, {"MB", 1 << 20}, {"KB", 1 << 10}, {"B", 1}, {"", 1}}

// memoryMin is the least budget that makes sense.
const memoryMin = 1 << 20

func (b *byteSize) Set(text string) error {
	for _, unit := range byteUnits {
		number, ok := strings.CutSuffix(strings.ToUpper(strings.TrimSpace(text)), unit.suffix)
		if !ok {
			continue
		}
		n, err := strconv.Atoi(strings.TrimSpace(number))
		if err != nil || n > (1<<62)/unit.bytes {
			break
		}
		if n *= unit.bytes; n < memoryMin {
			return errors.New("at least 1MB")
		}
		*b = byteSize(n)
		return nil
	}
	return fmt.Errorf("%q is no size: use a number with KB, MB, GB or TB", text)
}

func (b *byteSize) String() string {
	if *b == 0 {
		return ""
	}
	return fmt.Sprintf("%dMB", int(*b)>>20)
}

// Type is what the help calls it.
func (b *byteSize) Type() string { return "size" }
