package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/refold-dev/refold/internal/auth"
	"github.com/refold-dev/refold/internal/httpapi"
	"github.com/refold-dev/refold/internal/journal"
	"github.com/refold-dev/refold/internal/plane"
	"github.com/refold-dev/refold/internal/reader"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"
)

// drainMax bounds how long requests under way may take at the end.
const drainMax = 10 * time.Second

// limits bound what one tenant can take.
var limits = httpapi.Limits{PerSecond: 2000, Burst: 4000, InFlight: 256}

func (c *cli) serve() *cobra.Command {
	var listen string
	cmd := &cobra.Command{Use: "serve", Short: "Run the plane: stores, projectors and HTTP, until interrupted", Args: exactly(0)}
	cmd.Flags().StringVar(&listen, "listen", env("REFOLD_LISTEN", "127.0.0.1:8080"), "address of the HTTP edge (REFOLD_LISTEN)")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		ctx := cmd.Context()
		p, err := plane.Open(ctx, c.config)
		if err != nil {
			return err
		}
		bar := c.progress()
		err = p.EnsureLive(ctx, bar.build)
		bar.end()
		if err != nil {
			return errors.Join(err, p.Close())
		}
		group, running := errgroup.WithContext(ctx)
		group.Go(func() error { return p.Run(running) })
		group.Go(func() error {
			return serveHTTP(running, p, listen, func(url string) {
				fmt.Fprintf(c.stderr, "refold serves %s\n  %s\n  data %s\n  health %s/readyz, contract %s/openapi.yaml\n", url, p.Stack.Describe(), p.DataDir, url, url)
			})
		})
		return errors.Join(group.Wait(), p.Close())
	}
	return cmd
}

// edge returns the HTTP edge of a plane.
func edge(p *plane.Plane) (*http.Server, error) {
	key, err := auth.LocalKey(p.DataDir)
	if err != nil {
		return nil, err
	}
	verifier, err := auth.NewVerifier(auth.Config{Issuers: []auth.Issuer{key.Issuer()}})
	if err != nil {
		return nil, err
	}
	secret, err := auth.Secret(p.DataDir, "seal.key")
	if err != nil {
		return nil, err
	}
	sealer, err := reader.NewSealer(secret)
	if err != nil {
		return nil, err
	}
	return httpapi.Server(httpapi.Config{
		Verifier: verifier, Tenants: p.Directory, Shard: func(number int) journal.Shard { return p.Journal.Shard(number) },
		Reader: reader.New(p.Live, p.DB), Sealer: sealer, Health: p, Limits: limits, Logger: p.Logger,
	}), nil
}

// serveHTTP answers until ctx ends, then lets requests under way finish. ready is called with the URL once it listens.
func serveHTTP(ctx context.Context, p *plane.Plane, address string, ready func(url string)) error {
	server, err := edge(p)
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return fmt.Errorf("listen: %w (another address: --listen)", err)
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	ready("http://" + listener.Addr().String())
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	}
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainMax)
	defer cancel()
	return server.Shutdown(drain)
}
