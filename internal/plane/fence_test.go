package plane_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/refold-dev/refold/events/envelope"
	"github.com/refold-dev/refold/internal/fold"
	"github.com/refold-dev/refold/internal/plane"
	"github.com/refold-dev/refold/internal/projector"
	"github.com/refold-dev/refold/internal/testenv"
)

// projectorOf is one projector, without a supervisor that starts it anew. It counts what it folds in the audit table.
func projectorOf(p *plane.Plane) projector.Config {
	return projector.Config{DB: p.DB, Shard: p.Journal.Shard(0), Edition: 1, Schema: fold.Tables, Fold: fold.Apply, Logger: p.Logger, InTx: auditBatch}
}

func makeAudit(t *testing.T, p *plane.Plane) {
	t.Helper()
	owner, err := p.DB.Owner(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := owner.Exec(t.Context(), auditSQL); err != nil {
		t.Fatal(err)
	}
}

// TestOfTwoProjectorsOneIsFenced lets two projectors take the checkpoint from each other while events come in.
func TestOfTwoProjectorsOneIsFenced(t *testing.T) {
	p := openWith(t, fresh(t))
	makeAudit(t, p)
	all := generators(t, p, seed(t), 4)
	ctx, cancel := context.WithCancel(t.Context())
	writing, enough := context.WithCancel(t.Context())
	writers := appendAll(writing, t, p, all, 0)
	rounds := 20
	if long() {
		rounds = 1000
	}
	ended := make(chan error, 1)
	start := func() {
		moved := make(chan struct{})
		config := projectorOf(p)
		config.OnBatch = func(projector.Batch) {
			if moved != nil {
				close(moved)
				moved = nil
			}
		}
		first := moved
		go func() { ended <- projector.Run(ctx, config) }()
		select {
		case <-first: // it has the checkpoint and moves it
		case <-time.After(time.Minute):
			t.Error("a projector did not begin within a minute")
		}
	}
	start()
	for range rounds {
		start()
		if err := <-ended; !errors.Is(err, projector.ErrFenced) {
			t.Errorf("the one before ended with %v, want %v", err, projector.ErrFenced)
		}
	}
	enough()
	writers.Wait()
	settle(t, p, 1)
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	report := verifyEdition(t, p, 1)
	mustBeClean(t, report)
	mustBeQuicklyClean(t, quickly(t, p, 1))
	mustHaveSeenOnce(t, p, modelOf(all))
	t.Logf("%d takeovers, %d events", rounds, report.Events)
}

// frozenChild is a projector that halts within a transaction, until its standard input ends.
func frozenChild() int {
	ctx := context.Background()
	p, err := plane.Open(ctx, childConfig())
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	config := projectorOf(p)
	config.InTx = func(ctx context.Context, tx pgx.Tx, batch []envelope.Event) error {
		if err := auditBatch(ctx, tx, batch); err != nil {
			return err
		}
		testenv.Ready("")
		_, err := io.Copy(io.Discard, os.Stdin)
		return err
	}
	err = projector.Run(ctx, config)
	fmt.Fprintln(os.Stderr, "ended:", err)
	return 0
}

// takeoverMax bounds how long a frozen projector can hold up the next one: a claim waits 2 s, then ends it.
const takeoverMax = 10 * time.Second

func TestAFrozenProjectorDoesNotBlockTheNext(t *testing.T) {
	t.Parallel()
	config := fresh(t)
	p := openWith(t, config)
	makeAudit(t, p)
	all := generators(t, p, seed(t), 2)
	write(t, p, 50, all...)
	child := testenv.Spawn(t, "frozen", testenv.ProcessOptions{Env: planeEnv(config, testenv.Dir(t))})
	child.WaitReady()
	child.Signal(syscall.SIGSTOP) // in its tracks, as a paused machine does
	started := time.Now()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- projector.Run(ctx, projectorOf(p)) }()
	settle(t, p, 1)
	if took := time.Since(started); took > takeoverMax {
		t.Errorf("the takeover took %s, at most %s are allowed", took, takeoverMax)
	} else {
		t.Logf("the takeover took %s", took.Round(time.Millisecond))
	}
	child.Signal(syscall.SIGCONT) // the zombie wakes up and goes on where it was
	_ = child.Stdin().Close()
	if err := child.Wait(); err != nil {
		t.Errorf("the frozen projector did not end by itself: %v\n%s", err, child.Output())
	}
	eventually(t, "the frozen projector's batch fails", func() bool { return strings.Contains(child.Output(), "ended: project") })
	write(t, p, 10, all...)
	settle(t, p, 1)
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	mustBeClean(t, verifyEdition(t, p, 1))
	mustBeQuicklyClean(t, quickly(t, p, 1))
	mustHaveSeenOnce(t, p, modelOf(all))
}
