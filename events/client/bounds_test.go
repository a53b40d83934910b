package client_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/refold-dev/refold/events/client"
	"github.com/refold-dev/refold/events/commands"
	"github.com/refold-dev/refold/events/envelope"
	"github.com/refold-dev/refold/events/storable"
	"github.com/refold-dev/refold/internal/journal"
)

// TestLargestCommands: what is valid can be sent, however it is written; what cannot is refused before, and takes nobody
// with it.
func TestLargestCommands(t *testing.T) {
	s := newStack(t)
	s.serve(t)
	c := s.client(t)
	html := strings.Repeat("<b>", storable.ContentBytesMax/3)
	controls := strings.Repeat("\x01", storable.ContentBytesMax) // six bytes each
	results, err := c.DoAll(t.Context(), []commands.Wish{add("", html), add("", "c"), add("", html)})
	check(t, err)
	for i, r := range results {
		if err := client.Err(r); err != nil {
			t.Errorf("command %d: %v", i, err)
		}
	}
	if _, err := c.DoAll(t.Context(), []commands.Wish{add("", "c"), add("", controls)}); !errors.As(err, new(*commands.InvalidError)) {
		t.Errorf("larger than a request: %v, want an InvalidError", err)
	}
	b := client.NewBatcher(c, client.BatcherConfig{WaitMax: time.Second, CountMax: 3})
	defer b.Close()
	var all sync.WaitGroup
	for _, content := range []string{"c", html, "d", controls} {
		all.Go(func() {
			_, err := b.Do(t.Context(), add("", content))
			if invalid := errors.As(err, new(*commands.InvalidError)); err != nil && !invalid || invalid != (content == controls) {
				t.Errorf("%.3q: %v", content, err)
			}
		})
	}
	all.Wait()
}

// TestMaxPayload: what the connection does not take was surely not stored.
func TestMaxPayload(t *testing.T) {
	s := newStack(t)
	s.serve(t)
	var large atomic.Bool
	good := s.token(t)
	c := s.client(t, func(c *client.Config) {
		c.RetryMax = 5 * time.Second
		c.Token = func(context.Context) (string, error) {
			if large.Load() {
				return good + strings.Repeat("x", commands.BatchBytesMax), nil
			}
			return good, nil
		}
	})
	large.Store(true)
	_, err := c.Do(t.Context(), add("k", "c"))
	if refused, ok := errors.AsType[*client.RefusedError](err); !ok || refused.Code != "too_large" {
		t.Errorf("got %v, want it refused as too_large", err)
	}
	large.Store(false)
	_, err = c.Do(t.Context(), add("k", "c"))
	check(t, err)
}

// TestClosed: what is under way when the client is closed is not known, what comes later was surely not sent; nobody
// waits for the end of RetryMax.
func TestClosed(t *testing.T) {
	s := newStack(t)
	s.serve(t)
	arrived, release := make(chan struct{}, 10), make(chan struct{})
	s.hook(func(ctx context.Context, shard journal.Shard, e *envelope.Event, expected uint64) (journal.Receipt, error) {
		arrived <- struct{}{}
		<-release
		return shard.Append(ctx, e, expected)
	})
	defer close(release)
	const retryMax = 10 * time.Second
	c := s.client(t, func(c *client.Config) { c.AttemptMax, c.RetryMax = retryMax, retryMax })
	b := client.NewBatcher(c, client.BatcherConfig{})
	began := time.Now()
	errs := make(chan error, 2)
	go func() { _, err := c.Do(t.Context(), add("", "alone")); errs <- err }()
	go func() { _, err := b.Do(t.Context(), add("", "in a batch")); errs <- err }()
	<-arrived
	<-arrived
	c.Close()
	c.Close()
	for range 2 {
		if err := <-errs; !errors.Is(err, client.ErrUnknown) {
			t.Errorf("under way: %v, want ErrUnknown", err)
		}
	}
	if _, err := c.Do(t.Context(), add("", "later")); !errors.Is(err, client.ErrClosed) {
		t.Errorf("later: %v, want ErrClosed", err)
	}
	if _, err := b.Do(t.Context(), add("", "later")); !errors.Is(err, client.ErrClosed) {
		t.Errorf("later, in a batch: %v, want ErrClosed", err)
	}
	b.Close()
	if took := time.Since(began); took >= retryMax {
		t.Errorf("it took %v", took)
	}
}

// TestClosedWhileItPauses: the plane has asked to wait for a minute.
func TestClosedWhileItPauses(t *testing.T) {
	s := newStack(t)
	s.serve(t)
	arrived := make(chan struct{}, 10)
	s.hook(func(context.Context, journal.Shard, *envelope.Event, uint64) (journal.Receipt, error) {
		arrived <- struct{}{}
		return journal.Receipt{}, journal.ErrFull
	})
	c := s.client(t, func(c *client.Config) { c.RetryMax = 10 * time.Second })
	began := time.Now()
	go func() { <-arrived; c.Close() }()
	if _, err := c.Do(t.Context(), add("", "c")); err == nil || time.Since(began) > 9*time.Second {
		t.Errorf("%v after %v", err, time.Since(began))
	}
}

// TestFloodIsWaitedFor: batches beyond the tenant's part of the plane are refused for now, and come again until all are
// stored.
func TestFloodIsWaitedFor(t *testing.T) {
	s := newStack(t)
	s.serve(t)
	const batches = 20
	var attempts atomic.Int64
	again, release := make(chan struct{}, 1), make(chan struct{})
	good := s.token(t)
	c := s.client(t, func(c *client.Config) {
		c.AttemptMax, c.RetryMax = time.Minute, time.Minute // only a refusal makes a second attempt
		c.Token = func(context.Context) (string, error) {
			if attempts.Add(1) == batches+1 {
				again <- struct{}{}
			}
			return good, nil
		}
	})
	attempts.Store(0) // the connection has taken some
	s.hook(func(ctx context.Context, shard journal.Shard, e *envelope.Event, expected uint64) (journal.Receipt, error) {
		<-release
		return shard.Append(ctx, e, expected)
	})
	before := s.lastSeq(t)
	var all sync.WaitGroup
	for i := range batches {
		all.Go(func() {
			wishes := make([]commands.Wish, commands.BatchMax)
			for n := range wishes {
				wishes[n] = add(fmt.Sprintf("k%d-%d", i, n), "c")
			}
			results, err := c.DoAll(t.Context(), wishes)
			if err != nil {
				t.Errorf("batch %d: %v", i, err)
				return
			}
			for _, r := range results {
				if err := client.Err(r); err != nil {
					t.Errorf("batch %d: %v", i, err)
					return
				}
			}
		})
	}
	<-again
	close(release)
	all.Wait()
	if got := s.lastSeq(t) - before; got != batches*commands.BatchMax+1 { // and the user
		t.Errorf("%d events of %d commands", got, batches*commands.BatchMax)
	}
}
