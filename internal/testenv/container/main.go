// Command container runs PostgreSQL in Docker for tests: it prints the database's URL and keeps the container until
// its standard input is closed, which happens at the latest when the process that started it ends.
//
// It is a module of its own, so that the libraries for Docker are no dependency of refold. Where the image of
// testcontainers' reaper cannot be pulled, set TESTCONTAINERS_RYUK_DISABLED=true.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/testcontainers/testcontainers-go"
	"github.com/testcontainers/testcontainers-go/modules/postgres"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: container IMAGE")
		os.Exit(2)
	}
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer cancel()
	if err := run(ctx, os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "container:", err)
		os.Exit(1)
	}
}

// run always ends the container it started, one that never became ready too.
func run(ctx context.Context, image string) (err error) {
	container, err := postgres.Run(ctx, image, postgres.WithUsername("refold"), postgres.WithPassword("refold"),
		postgres.WithDatabase("refold"), postgres.BasicWaitStrategies(),
		// The data are thrown away, so their durability is not paid for.
		testcontainers.WithCmdArgs("-c", "fsync=off", "-c", "synchronous_commit=off", "-c", "max_connections=200"))
	defer func() { err = errors.Join(err, testcontainers.TerminateContainer(container)) }()
	if err != nil {
		return fmt.Errorf("run %s: %w", image, err)
	}
	url, err := container.ConnectionString(ctx, "sslmode=disable")
	if err != nil {
		return err
	}
	fmt.Println(url)
	awaitEnd(ctx, os.Stdin)
	return nil
}

// awaitEnd returns when the input ends or the process is told to stop.
func awaitEnd(ctx context.Context, input io.Reader) {
	closed := make(chan struct{})
	go func() {
		_, _ = io.Copy(io.Discard, input)
		close(closed)
	}()
	select {
	case <-closed:
	case <-ctx.Done():
	}
}
