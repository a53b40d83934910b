package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"
)

// running is a process behind the proxy.
type running struct {
	*process
	*backend
}

// open starts the stores and the load balancer, and two machines without anything on them.
func (s *story) open(ctx context.Context, dir string, programs binaries) (err error) {
	if s.stores, err = startStores(ctx, dir, s.postgres); err != nil {
		return err
	}
	first, err := newMachine(filepath.Join(dir, "machine-1"), "", s.stores)
	if err != nil {
		return err
	}
	second, err := newMachine(filepath.Join(dir, "machine-2"), first.dir, s.stores)
	if err != nil {
		return err
	}
	s.old = program{"old", programs.old, first, s.shards}
	s.new = program{"new", programs.new, second, s.shards}
	s.proxy, err = startProxy()
	return err
}

func (s *story) close() error {
	var faults []error
	if s.load != nil {
		s.load.stop()
	}
	if s.proxy != nil {
		faults = append(faults, s.proxy.close())
	}
	for _, r := range []*running{s.oldRun, s.newRun} {
		if r != nil {
			faults = append(faults, r.kill())
		}
	}
	if s.plane != nil {
		faults = append(faults, s.plane.Close())
	}
	if s.stores != nil {
		faults = append(faults, s.stores.stop())
	}
	return errors.Join(faults...)
}

// start runs a program behind the proxy, which sends requests there once it is ready.
func (s *story) start(ctx context.Context, p program, flags ...string) (*running, error) {
	process, err := p.serve(ctx, append([]string{"--drain", drain}, flags...)...)
	if err != nil {
		return nil, err
	}
	r := &running{process: process}
	if r.backend, err = s.proxy.add(process); err != nil {
		return nil, errors.Join(err, process.kill())
	}
	return r, nil
}

// end is SIGTERM for a process: it says that it is not ready, answers on, and ends.
func (s *story) end(ctx context.Context, r **running) error {
	began := time.Now()
	if err := (*r).process.stop(ctx); err != nil {
		return err
	}
	s.proxy.remove((*r).backend)
	s.say("   %s is gone, %s after SIGTERM; it had answered %d requests", (*r).name, time.Since(began).Round(10*time.Millisecond), (*r).served.Load())
	*r = nil
	return nil
}

// under lets the load go on for a while and says what the clients saw since the last time.
func (s *story) under(ctx context.Context, what string) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(s.pause):
	}
	t := s.load.account.lap()
	s.say("   %-9s  %s", what, t)
	return nil
}

// noFailure is the promise.
func (s *story) noFailure() error {
	if s.load == nil {
		return nil
	}
	t, failures := s.load.account.sum()
	if s.proxy != nil && s.proxy.again.Load() > 0 {
		return fmt.Errorf("%d requests had to be sent twice: a process closed connections before it was drained", s.proxy.again.Load())
	}
	if t.failed == 0 {
		return nil
	}
	return fmt.Errorf("%d answers were not as promised:\n%s", t.failed, strings.Join(failures, "\n"))
}

// quote shows a command and what it printed.
func (s *story) quote(command, output string) {
	s.say("   $ %s", command)
	for line := range strings.Lines(strings.TrimSpace(output)) {
		s.say("     %s", strings.TrimRight(line, "\n"))
	}
}
