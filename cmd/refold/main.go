// Command refold runs and operates the plane. See `refold help`.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run executes one command line and returns the exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	c := newCLI(stdout, stderr)
	root := c.root()
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	code := exitCode(err)
	if err == nil {
		return code
	}
	if ctx.Err() == nil || !errors.Is(err, context.Canceled) {
		fmt.Fprintln(stderr, "refold:", err)
	}
	_ = fromEnvironment(root.PersistentFlags()) // the line may be wrong before anything was settled
	if c.format == formatJSON && !c.shown {
		_ = c.show(map[string]any{"error": err.Error(), "exit_code": code}, nil) // one document, whatever happens
	}
	return code
}
