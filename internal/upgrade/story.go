package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/refold-dev/refold/internal/plane"
)

// config is what the flags set.
type config struct {
	commands, reads int // a second
	clients         int
	shards          int
	pause           time.Duration // how long each state of the deployment is under load
	span            time.Duration // of a load without an upgrade; 0 = an upgrade
	noisySpan       time.Duration // of a measurement of a quiet tenant beside a noisy one; 0 = none
	noisyMemories   int
	noisyKind       string // empty = all
	binary          string // of refold; empty: this tree is built
	postgres        string // a database to use; empty: a server of its own
	out             io.Writer
}

func (c config) validate() error {
	if c.commands < 1 || c.reads < 1 || c.clients < len(tenants) || c.shards < 1 {
		return fmt.Errorf("give at least 1 command and 1 read a second, %d clients and 1 shard", len(tenants))
	}
	isKind := slices.ContainsFunc(noiseKinds, func(k noiseKind) bool { return k.name == c.noisyKind })
	switch {
	case c.noisyKind != "" && !isKind:
		return fmt.Errorf("-noisy-kind %s: there is no such kind of noise, see -help", c.noisyKind)
	case c.noisySpan == 0 && c.noisyKind != "":
		return errors.New("-noisy-kind says what kind of noise -noisy makes: give -noisy, and for how long")
	case c.noisySpan == 0 && c.span == 0 && c.binary != "":
		return errors.New("-refold names the binary for -noisy or -sustain: give one of them, and for how long")
	}
	return nil
}

func (c config) say(format string, args ...any) { fmt.Fprintf(c.out, format+"\n", args...) }

// story is a plane that is taken from one version to the next, back, and forward again.
type story struct {
	config
	stores *stores
	proxy  *proxy
	plane  *plane.Plane // to look at the stores; it runs nothing

	old, new       program
	oldRun, newRun *running // nil while it does not run
	load           *load
	witness        *client // its memory shows the mended fold
}

const (
	drain      = "2s"
	lateMax    = time.Second // of a client behind its pace
	exitRefuse = 6           // of refold, see `refold help exit-codes`
)

var tenants = []string{"acme", "blue", "cyan"}

func (c config) tell(ctx context.Context, dir string, programs binaries) (err error) {
	s := &story{config: c}
	defer func() { err = errors.Join(err, s.close()) }()
	if err := s.open(ctx, dir, programs); err != nil {
		return err
	}
	for _, step := range []func(context.Context) error{
		s.begin, s.forward, s.oldEnds, s.back, s.newEnds, s.again, s.gate, s.retire, s.finish,
	} {
		if err := step(ctx); err != nil {
			return errors.Join(err, s.noFailure())
		}
		if err := s.noFailure(); err != nil {
			return err
		}
	}
	return nil
}

func (s *story) begin(ctx context.Context) (err error) {
	s.say("\n1. The old binary serves")
	if s.oldRun, err = s.start(ctx, s.old); err != nil {
		return err
	}
	if err := s.oldRun.await(ctx, true); err != nil {
		return err
	}
	for _, tenant := range tenants {
		if _, err := s.old.must(ctx, "tenant", "create", tenant); err != nil {
			return err
		}
	}
	if err := s.importSample(ctx); err != nil {
		return err
	}
	s.plane, err = plane.Open(ctx, plane.Config{DataDir: s.old.on.dir, Join: true})
	if err != nil {
		return err
	}
	if s.load, err = s.newLoad(s.proxy.url); err != nil {
		return err
	}
	if s.witness, err = s.load.client(tenants[0], "witness"); err != nil {
		return err
	}
	if err := s.bearWitness(); err != nil {
		return err
	}
	if err := s.witnessed(oldFold); err != nil {
		return err
	}
	s.load.start()
	s.say("   %d clients of %d tenants begin: %d commands/s and %d reads/s, through a load balancer that follows /readyz", s.clients, len(tenants), s.commands, s.reads)
	return s.under(ctx, "old alone")
}

func (s *story) forward(ctx context.Context) (err error) {
	s.say("\n2. The new binary is deployed beside it: other tables, another fold, one more kind of event")
	if err := s.plan(ctx); err != nil {
		return err
	}
	began := time.Now()
	if s.newRun, err = s.start(ctx, s.new); err != nil {
		return err
	}
	if err := s.newRun.await(ctx, true); err != nil {
		return err
	}
	s.say("   it has built edition 2 out of the journal, verified every row, and is ready after %s", time.Since(began).Round(10*time.Millisecond))
	if err := s.awaitLive(ctx, 2); err != nil {
		return err
	}
	s.say("   edition 2 is live; nobody was told to do anything")
	return s.under(ctx, "both")
}

// plan asks the new binary what it would change.
func (s *story) plan(ctx context.Context) error {
	output, err := s.new.must(ctx, "edition", "plan")
	if err != nil {
		return err
	}
	tables, _, _ := strings.Cut(output, "\nTENANT")
	s.quote("refold-new edition plan", tables+"... and the same by tenant, with examples and an estimate")
	for _, change := range []string{"words", "confirmed_at", "memory_revision", "updated_at"} {
		if !strings.Contains(output, change) {
			return fmt.Errorf("the plan says nothing of %s", change)
		}
	}
	return nil
}

func (s *story) oldEnds(ctx context.Context) error {
	s.say("\n3. The old binary goes")
	if err := s.end(ctx, &s.oldRun); err != nil {
		return err
	}
	if err := s.witnessed(newFold); err != nil {
		return err
	}
	return s.under(ctx, "new alone")
}

func (s *story) back(ctx context.Context) (err error) {
	s.say("\n4. Second thoughts: the old binary comes back")
	began := time.Now()
	if s.oldRun, err = s.start(ctx, s.old); err != nil {
		return err
	}
	if err := s.oldRun.await(ctx, true); err != nil {
		return err
	}
	s.say("   it has caught up with its own edition, and is ready after %s", time.Since(began).Round(10*time.Millisecond))
	if err := s.under(ctx, "both"); err != nil {
		return err
	}
	if err := s.mustBeLive(ctx, 2); err != nil {
		return fmt.Errorf("an old version took over by itself: %w", err)
	}
	s.say("   it stands by: to go back is an operator's decision")
	output, err := s.old.must(ctx, "edition", "rollback")
	if err != nil {
		return err
	}
	s.quote("refold-old edition rollback", output)
	return s.awaitLive(ctx, 1)
}

func (s *story) newEnds(ctx context.Context) error {
	s.say("\n5. The new binary goes")
	if err := s.end(ctx, &s.newRun); err != nil {
		return err
	}
	if err := s.witnessed(oldFold); err != nil {
		return err
	}
	return s.under(ctx, "old alone")
}

func (s *story) again(ctx context.Context) (err error) {
	s.say("\n6. Forward again")
	if s.newRun, err = s.start(ctx, s.new); err != nil {
		return err
	}
	if err := s.newRun.await(ctx, true); err != nil {
		return err
	}
	if err := s.mustBeLive(ctx, 1); err != nil {
		return fmt.Errorf("a version that an operator had left took over by itself: %w", err)
	}
	output, err := s.new.must(ctx, "edition", "cutover", "2")
	if err != nil {
		return err
	}
	s.quote("refold-new edition cutover 2", output)
	if err := s.awaitLive(ctx, 2); err != nil {
		return err
	}
	return s.under(ctx, "both")
}

// gate shows that there is no way back to code that cannot fold what is in the journal.
func (s *story) gate(ctx context.Context) error {
	s.say("\n7. An event of a kind that the old binary does not know")
	id := uuid.New()
	if err := s.publishConfirmed(ctx, id); err != nil {
		return err
	}
	s.say("   %s of memory %s is in the journal", confirmedKind, id)
	if err := s.awaitConfirmed(ctx, id); err != nil {
		return err
	}
	output, code, err := s.old.run(ctx, "edition", "rollback")
	if err != nil {
		return err
	}
	s.quote("refold-old edition rollback", output)
	if code != exitRefuse || !strings.Contains(output, confirmedKind) {
		return fmt.Errorf("a rollback over %s was not refused: exit code %d, want %d and the kind", confirmedKind, code, exitRefuse)
	}
	return s.mustBeLive(ctx, 2)
}

func (s *story) retire(ctx context.Context) error {
	s.say("\n8. The old binary goes for good")
	output, code, err := s.new.run(ctx, "edition", "retire", "1", "--now")
	if err != nil {
		return err
	}
	if code != exitRefuse {
		return fmt.Errorf("an edition was retired under a process that answers from it: exit code %d\n%s", code, output)
	}
	s.quote("refold-new edition retire 1 --now", output)
	if err := s.end(ctx, &s.oldRun); err != nil {
		return err
	}
	if output, err = s.new.must(ctx, "edition", "retire", "1", "--now"); err != nil {
		return err
	}
	s.quote("refold-new edition retire 1 --now", output)
	return s.under(ctx, "new alone")
}

func (s *story) finish(ctx context.Context) error {
	s.say("\n9. What is left")
	s.load.stop()
	if err := s.noFailure(); err != nil {
		return err
	}
	if err := s.witnessed(newFold); err != nil {
		return err
	}
	if err := s.checkRows(ctx, 2); err != nil {
		return err
	}
	output, err := s.new.must(ctx, "verify")
	if err != nil {
		return err
	}
	s.quote("refold-new verify", output)
	if err := s.mustHaveFlipped(ctx, "first cutover rollback cutover"); err != nil {
		return err
	}
	t, _ := s.load.account.sum()
	s.say("   all in all %s", t)
	s.say("   %d reads asked for a position and waited for it; none was older. Of those that did not ask, %d were older than an earlier answer", t.waited, t.older)
	s.say("   %d lists were read to their end, each of one edition; %d began again after a 410", t.scans, t.restarts)
	if t.behind > lateMax {
		s.say("   asked for were %d commands/s and %d reads/s: this machine does not sustain that beside everything else it runs here,", s.commands, s.reads)
		s.say("   so the clients sent one request after another, as fast as they were answered")
	}
	return s.end(ctx, &s.newRun)
}
