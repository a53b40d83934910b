package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"time"
)

const (
	lapMax = 30 * time.Second // between two lines of progress
	// keptUp is the part of the asked-for rate that must have been answered: the first and the last period of a client are cut.
	keptUp = 0.99
)

var errNotSustained = errors.New("the rate was not sustained")

// sustain lets the clients go on for a while against one process with everything in it, and fails when one of them had
// anything to complain about, or when they did not get through at the rate asked for.
func (c config) sustain(ctx context.Context, root, dir string) (err error) {
	s, process, stop, err := c.alone(ctx, root, dir, tenants)
	if err != nil {
		return err
	}
	defer func() {
		if s.load != nil {
			s.load.stop()
		}
		err = errors.Join(err, stop())
	}()
	if s.load, err = s.newLoad(process.url); err != nil {
		return err
	}
	s.say("%d clients of %d tenants: %d commands/s and %d reads/s for %s, against one process with everything in it", c.clients, len(tenants), c.commands, c.reads, c.span)
	began := time.Now()
	s.load.start()
	for left := c.span; left > 0; left = c.span - time.Since(began) {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-process.child.Done():
			return fmt.Errorf("the process ended: %w\n%s", process.child.Err(), process.log)
		case <-time.After(min(left, lapMax)):
		}
		s.say("%6s  %s", time.Since(began).Round(time.Second), s.load.account.lap())
	}
	s.load.stop()
	return s.sustained(ctx, time.Since(began))
}

// alone starts one process with everything in it, with these tenants. stop must be called when there is no error.
func (c config) alone(ctx context.Context, root, dir string, tenants []string, flags ...string) (s *story, p *process, stop func() error, err error) {
	refold := c.binary
	if refold == "" {
		refold = filepath.Join(dir, "refold")
		if err := goCommand(ctx, root, "build", "-o", refold, "./cmd/refold"); err != nil {
			return nil, nil, nil, err
		}
	}
	if err := os.Chmod(dir, 0o755); err != nil { // Postgres runs as another user when this is root
		return nil, nil, nil, err
	}
	s = &story{config: c, old: program{"refold", refold, machine{dir: filepath.Join(dir, "data")}, c.shards}}
	if p, err = s.old.serve(ctx, flags...); err != nil {
		return nil, nil, nil, err
	}
	// Not killed even when all went wrong: its Postgres would still write into dir while that is being removed.
	stop = func() error { return p.stop(context.WithoutCancel(ctx)) }
	defer func() {
		if err != nil {
			err = errors.Join(err, stop())
		}
	}()
	err = eventually(ctx, readyMax, func() error {
		if status, body := ask(ctx, p.url+"/readyz"); status != http.StatusOK {
			return fmt.Errorf("not ready: %d %s", status, body)
		}
		return nil
	})
	for _, tenant := range tenants {
		if err == nil {
			_, err = s.old.must(ctx, "tenant", "create", tenant)
		}
	}
	return s, p, stop, err
}

// sustained says what was seen, and lets the rows be held against the journal.
func (s *story) sustained(ctx context.Context, took time.Duration) error {
	t, _ := s.load.account.sum()
	s.say("\nin all  %s", t)
	s.say("        slowest command %s, slowest read %s; a client was behind its pace by %s at most",
		slices.Max(t.commands).Round(time.Millisecond), slices.Max(t.reads).Round(time.Millisecond), t.behind.Round(time.Millisecond))
	if err := s.noFailure(); err != nil {
		return err
	}
	output, err := s.old.must(ctx, "verify")
	if err != nil {
		return err
	}
	s.quote("refold verify", output)
	for _, rate := range []struct {
		what         string
		count, asked int
	}{{"commands", len(t.commands), s.commands}, {"reads", len(t.reads), s.reads}} {
		if got := float64(rate.count) / took.Seconds(); got < keptUp*float64(rate.asked) {
			return fmt.Errorf("%w: %.0f %s/s of %d", errNotSustained, got, rate.what, rate.asked)
		}
	}
	return nil
}
