package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/refold-dev/refold/events/envelope"
	"github.com/refold-dev/refold/internal/journal"
	"github.com/refold-dev/refold/internal/journal/journaltest"
	"github.com/refold-dev/refold/internal/localstack"
	"github.com/refold-dev/refold/internal/plane"
	"github.com/refold-dev/refold/internal/testenv"
	"github.com/refold-dev/refold/internal/witness"
)

// said is what a command has printed so far.
type said struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (s *said) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(p)
}

func (s *said) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// await waits until the command has said something, or has ended.
func (s *said) await(t *testing.T, what string, ended <-chan int) {
	t.Helper()
	for begun := time.Now(); !strings.Contains(s.String(), what); {
		select {
		case code := <-ended:
			t.Fatalf("the command ended with %d and never said %q:\n%s", code, what, s)
		case <-time.After(50 * time.Millisecond):
		}
		if time.Since(begun) > 3*time.Minute {
			t.Fatalf("the command did not say %q:\n%s", what, s)
		}
	}
}

// replicated is a plane on three servers in processes of their own.
type replicated struct {
	*testenv.NATSCluster
	journal *journal.Journal
	last    uint64 // of the events that were accepted
}

func newReplicated(t *testing.T) *replicated {
	t.Helper()
	r := &replicated{NATSCluster: testenv.StartNATSCluster(t, 3, localstack.NATSOptions{})}
	t.Setenv("REFOLD_DATA", testenv.Dir(t))
	t.Setenv("DATABASE_URL", testenv.Postgres(t))
	t.Setenv("REFOLD_NATS", r.URL())
	t.Setenv("REFOLD_OUTPUT", "json")
	config := planeConfig()
	config.NATSURL, config.Replicas, config.JournalBytes = r.URL(), 3, 1<<30
	made, err := plane.Open(t.Context(), config)
	if err == nil {
		err = made.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	refold(t, exitOK, "tenant", "create", "acme")
	if r.journal, err = journal.Open(t.Context(), r.Connect(t), journal.Config{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.journal.Close)
	facts, err := r.journal.Shards[0].Facts(t.Context())
	if err != nil || facts.Replicas != 3 {
		t.Fatalf("got %+v, %v, want three replicas", facts, err)
	}
	r.last = facts.LastSeq
	return r
}

func marked(n uint64) string { return fmt.Sprintf("event number %06d %s", n, strings.Repeat("x", 500)) }

// append adds an event until it is accepted, whatever happens to the servers.
func (r *replicated) append(ctx context.Context) error {
	key := envelope.Key{Tenant: "acme", Entity: "note", ID: fmt.Sprintf("n%d", r.last+1)}
	e := journaltest.Event(key, "c", marked(r.last+1), 1)
	for {
		receipt, err := r.journal.Shards[0].Append(ctx, e, 0)
		if err == nil {
			r.last = receipt.Seq
			return nil
		}
		if !errors.Is(err, journal.ErrUnknown) && !errors.Is(err, journal.ErrUnavailable) {
			return err
		}
	}
}

func (r *replicated) damage(t *testing.T, server string, seq uint64) {
	t.Helper()
	r.Server(server).Damage("REFOLD-0-*", marked(seq))
}

// check runs the command until every server is there again, which takes an election after a restart.
func (r *replicated) check(t *testing.T) *witness.Result {
	t.Helper()
	for begun := time.Now(); ; {
		var stdout, stderr bytes.Buffer
		code := run(t.Context(), []string{"journal", "check", "--each-replica"}, &stdout, &stderr)
		if code != exitOK && code != exitMismatch {
			t.Fatalf("journal check: exit code %d\n%s", code, stderr.String())
		}
		result := into[[]*witness.Result](t, stdout.String())[0]
		there := len(result.Replicas) == 3
		for _, one := range result.Replicas {
			there = there && one.State != witness.Unreachable && one.State != witness.Behind
		}
		if there {
			if result.Clean != (code == exitOK) {
				t.Fatalf("exit code %d for %+v", code, result)
			}
			return result
		}
		if time.Since(begun) > 2*time.Minute {
			t.Fatalf("not all there: %s", stdout.String())
		}
	}
}

// TestRebuildReplica damages a server's copy, and follows what the command says, while events are appended: first where
// the server follows, then where it leads. See docs/nats-cluster.md.
func TestRebuildReplica(t *testing.T) {
	r := newReplicated(t)
	for r.last < 400 {
		if err := r.append(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	refold(t, exitOK, "journal", "head") // keeps the digests
	for _, leads := range []bool{false, true} {
		t.Run(map[bool]string{false: "follower", true: "leader"}[leads], func(t *testing.T) { r.rebuilt(t, leads) })
	}
	before, err := r.journal.Peers(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	refold(t, exitOK, "journal", "rebuild-replica", before[1].Server) // it is whole
	refold(t, exitRefused, "journal", "rebuild-replica", "n9")
	r.damage(t, before[1].Server, 100)
	r.check(t)
	r.Server(before[2].Server).Stop()
	refold(t, exitRefused, "journal", "rebuild-replica", before[1].Server) // which is one of the last two
}

// readFrom leaves a consumer on a server behind, as a reader does that ends when it goes down.
func (r *replicated) readFrom(t *testing.T, server string) {
	t.Helper()
	js, err := jetstream.New(r.Connect(t))
	if err != nil {
		t.Fatal(err)
	}
	facts, err := r.journal.Shards[0].Facts(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for try := 0; try < 100; try++ {
		c, err := js.CreateConsumer(t.Context(), facts.Stream, jetstream.ConsumerConfig{
			Name: fmt.Sprintf("refold-left-%s-%d", server, try), AckPolicy: jetstream.AckNonePolicy, Replicas: 1, MemoryStorage: true, InactiveThreshold: time.Minute,
		})
		if err != nil {
			t.Fatal(err)
		}
		if c.CachedInfo().Cluster.Leader == server {
			return
		}
	}
	t.Fatalf("no consumer was placed on %s", server)
}

func (r *replicated) rebuilt(t *testing.T, leads bool) {
	sick := ""
	for sick == "" {
		peers, err := r.journal.Peers(t.Context(), 0)
		if err != nil {
			t.Fatal(err)
		}
		sick = peers[1].Server
	}
	r.damage(t, sick, 200)
	result := r.check(t)
	if leads {
		for begun := time.Now(); result.Replicas[0].Server != sick; result = r.check(t) {
			if time.Since(begun) > 2*time.Minute {
				t.Fatalf("%s does not lead: %+v", sick, result.Replicas)
			}
			_ = r.journal.StepDown(t.Context(), 0, sick)
		}
	}
	for _, one := range result.Replicas {
		want := witness.Whole
		if one.Server == sick {
			want = witness.Missing
		}
		if one.State != want || one.Server == sick && one.FirstBad != 200 {
			t.Fatalf("%s was damaged at 200: %s", sick, one)
		}
	}

	writing, stop := context.WithCancel(t.Context())
	defer stop()
	written := make(chan error, 1)
	go func() {
		var err error
		for writing.Err() == nil && err == nil {
			err = r.append(t.Context())
		}
		written <- err
	}()
	first := r.last
	var stdout bytes.Buffer
	stderr, ended := &said{}, make(chan int, 1)
	go func() {
		ended <- run(t.Context(), []string{"journal", "rebuild-replica", sick}, &stdout, stderr)
	}()
	stderr.await(t, "STOP the NATS server "+sick, ended)
	r.readFrom(t, sick)
	r.Server(sick).Stop()
	stderr.await(t, "START the NATS server "+sick, ended)
	r.Server(sick).Restart()
	if code := <-ended; code != exitOK {
		t.Fatalf("rebuild-replica ended with %d:\n%s\n%s", code, stderr, stdout.String())
	}
	stop()
	if err := <-written; err != nil {
		t.Fatal(err)
	}
	rebuilt := into[[]*witness.Result](t, stdout.String())
	if len(rebuilt) != 1 || !rebuilt[0].Clean || len(rebuilt[0].Replicas) != 3 || rebuilt[0].Seq <= first {
		t.Fatalf("rebuilt while %d became %d: %s", first, r.last, stdout.String())
	}
	if result := r.check(t); !result.Clean || result.Seq != r.last || result.Events != r.last {
		t.Fatalf("after event %d: %+v", r.last, result)
	}
}
