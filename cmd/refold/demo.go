package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/refold-dev/refold/internal/auth"
	"github.com/refold-dev/refold/internal/directory"
	"github.com/refold-dev/refold/internal/plane"
	"github.com/spf13/cobra"
)

func (c *cli) demo() *cobra.Command {
	s := &story{cli: c}
	cmd := &cobra.Command{
		Use: "demo", Short: "Tell the story of refold on sample data, in a data directory of its own", Args: exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !cmd.Flags().Changed("data") {
				c.config.DataDir += "-demo"
			}
			c.config.PostgresURL, c.config.NATSURL = "", "" // it tampers with rows: only ever with its own
			err := s.tell(cmd.Context())
			return errors.Join(err, s.close())
		},
	}
	cmd.Flags().BoolVar(&s.keep, "keep", false, "go on serving at the end, until interrupted")
	cmd.Flags().StringVar(&s.listen, "listen", "127.0.0.1:0", "address of the HTTP edge")
	return cmd
}

// story is the demo: each step does something and checks that it went as promised.
type story struct {
	*cli
	keep    bool
	listen  string
	plane   *plane.Plane
	acme    directory.Tenant
	blue    directory.Tenant
	edition int64 // the live one
	latency latencies

	url  string
	stop context.CancelFunc // ends projectors and HTTP; nil while they do not run
	done chan error
}

func (s *story) tell(ctx context.Context) error {
	for _, step := range []func(context.Context) error{s.begin, s.migrate, s.tamper, s.recover, s.kill, s.mend, s.finish} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (s *story) close() error {
	var err error
	if s.stop != nil {
		s.stop()
		err = <-s.done
	}
	if s.plane != nil {
		err = errors.Join(err, s.plane.Close())
	}
	return err
}

func (s *story) title(text string) { fmt.Fprintf(s.stdout, "\n%s\n", text) }

func (s *story) say(format string, args ...any) { fmt.Fprintf(s.stdout, "   "+format+"\n", args...) }

// begin starts the stack, brings data in and measures.
func (s *story) begin(ctx context.Context) error {
	s.title("1. A plane with two tenants")
	started := time.Now()
	if err := freshDemoDir(s.config.DataDir); err != nil {
		return err
	}
	var err error
	if s.plane, err = plane.Open(ctx, s.config); err != nil {
		return err
	}
	s.plane.OnBatch = s.latency.committed
	if err := s.plane.EnsureLive(ctx, nil); err != nil {
		return err
	}
	s.edition = 1
	if err := s.start(ctx); err != nil {
		return err
	}
	s.say("%s, started in %s", s.plane.Stack.Describe(), time.Since(started).Round(time.Millisecond))
	if s.acme, _, err = s.plane.CreateTenant(ctx, "acme", "Acme", "demo"); err != nil {
		return err
	}
	if s.blue, _, err = s.plane.CreateTenant(ctx, "blue", "Blue", "demo"); err != nil {
		return err
	}
	if err := s.importSample(ctx); err != nil {
		return err
	}
	return s.measure(ctx)
}

// start runs projectors and HTTP until stop.
func (s *story) start(ctx context.Context) error {
	parts, err := edgeParts(s.plane)
	if err != nil {
		return err
	}
	running, stop := context.WithCancel(ctx)
	s.stop, s.done = stop, make(chan error, 1)
	listening := make(chan string, 1)
	go func() {
		ended := make(chan error, 2)
		go func() { ended <- s.plane.Run(running) }()
		go func() {
			ended <- serveHTTP(running, running, s.plane, parts, nil, edgeFlags{listen: s.listen}, func(url string) { listening <- url })
		}()
		first := <-ended
		stop()
		s.done <- errors.Join(first, <-ended)
	}()
	select {
	case s.url = <-listening:
		return nil
	case err := <-s.done:
		s.stop = nil
		return err
	}
}

// demoMark is a file that says that a folder may be removed by the next demo.
const demoMark = "this-is-a-demo"

// freshDemoDir makes an empty folder; what an earlier demo left in it is removed, anything else is not.
func freshDemoDir(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if len(entries) > 0 {
		if _, err := os.Stat(filepath.Join(dir, demoMark)); err != nil {
			return fmt.Errorf("%s holds something that is no demo: name another folder with --data", dir)
		}
	}
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, demoMark), nil, 0o644)
}

// finish says where to look, and serves on when asked to.
func (s *story) finish(ctx context.Context) error {
	s.title("6. Look around")
	key, err := auth.LocalKey(s.config.DataDir)
	if err != nil {
		return err
	}
	token, err := s.plane.Tokens.Mint(ctx, key, auth.TokenRequest{Tenant: s.acme.ID, Subject: demoSubject, Scopes: auth.AllScopes(), TTL: 24 * time.Hour}, operator())
	if err != nil {
		return err
	}
	s.say("API %s, contract %s/openapi.yaml, health %s/readyz", s.url, s.url, s.url)
	s.say("database %s", s.plane.Stack.PostgresSource())
	s.say("a token of %s in tenant %s:", demoSubject, s.acme.ID)
	fmt.Fprintf(s.stdout, `
TOKEN=%s
curl -s -H "Authorization: Bearer $TOKEN" %s/v1/memories
curl -s -H "Authorization: Bearer $TOKEN" -H 'Content-Type: application/json' -d '{"content": "refold remembers", "app": "curl"}' %s/v1/memories
curl -s -H "Authorization: Bearer $TOKEN" %s/v1/apps

`, token.Token, s.url, s.url, s.url)
	if s.keep {
		s.say("serving until interrupted; beside it try: refold status --data %s", s.config.DataDir)
		select {
		case <-ctx.Done():
			return nil
		case err := <-s.done:
			s.stop = nil
			return err
		}
	}
	s.say("it ends here; `make demo DEMO_FLAGS=--keep` leaves it serving, `refold serve` starts a plane of your own")
	return nil
}
