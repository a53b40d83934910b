package journal

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/refold-dev/refold/events/envelope"
	"github.com/refold-dev/refold/internal/localstack"
	"github.com/refold-dev/refold/internal/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m) }

// replicated is a journal of one shard on three servers in processes of their own.
type replicated struct {
	*testenv.NATSCluster
	nc      *nats.Conn // notices soon that its server hangs
	js      jetstream.JetStream
	journal *Journal
	*jetShard
	last uint64 // of the events that append has added
}

func newReplicated(t *testing.T) *replicated {
	t.Helper()
	c := &replicated{NATSCluster: testenv.StartNATSCluster(t, 3, localstack.NATSOptions{})}
	var err error
	c.nc, err = nats.Connect(c.URL(), nats.MaxReconnects(-1), nats.ReconnectWait(50*time.Millisecond), nats.PingInterval(200*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.nc.Close)
	if c.js, err = jetstream.New(c.nc); err != nil {
		t.Fatal(err)
	}
	c.journal = opened(t, c.nc, Config{Replicas: 3})
	c.jetShard = c.journal.shards[0]
	c.bounds = hurried
	c.bounds.silence = time.Second
	c.bounds.stall = 30 * time.Second // an election may come in between
	c.last = genesisSeq
	return c
}

// text is what the payload of an event holds and no other.
func text(seq uint64) string { return fmt.Sprintf("event number %06d", seq) }

// append adds events, each with its text, whatever happens to the servers.
func (c *replicated) append(ctx context.Context, n int) error {
	for range n {
		e := testEvent("acme", fmt.Sprintf("n%d", c.last+1), "c", 1)
		e.Data = envelope.Compose([]byte(`{"n":1}`), fmt.Appendf(nil, `{"text":%q}`, text(c.last+1)), "hash")
		receipt, err := c.Append(ctx, e, 0)
		for errors.Is(err, ErrUnknown) && ctx.Err() == nil {
			receipt, err = c.Append(ctx, e, 0)
		}
		if err != nil || receipt.Seq != c.last+1 {
			return fmt.Errorf("append %d: got %+v, %w", c.last+1, receipt, err)
		}
		c.last++
	}
	return nil
}

func (c *replicated) mustAppend(t *testing.T, n int) {
	t.Helper()
	if err := c.append(t.Context(), n); err != nil {
		t.Fatal(err)
	}
}

// followOn follows from the beginning and has read what is there. It begins on a server, empty = on any.
func (c *replicated) followOn(t *testing.T, pull int, server string) (f Follower) {
	t.Helper()
	within(t, "a follower on "+server, func() bool {
		var err error
		if f, err = c.Follow(t.Context(), FollowOptions{Pull: pull}); err != nil {
			t.Fatal(err)
		}
		if server != "" && c.servesFollower(t) != server {
			f.Close()
			return false
		}
		return true
	})
	t.Cleanup(f.Close)
	c.wantInOrder(t, f, 1)
	return f
}

// servesFollower returns the server that the newest consumer of the stream is on: those of readers that ended while a server
// hung may be there still.
func (c *replicated) servesFollower(t *testing.T) (server string) {
	t.Helper()
	within(t, "the newest consumer", func() bool {
		stream, err := c.js.Stream(t.Context(), c.stream)
		if err != nil {
			return false
		}
		newest, lister := "", stream.ListConsumers(t.Context())
		for info := range lister.Info() {
			if info.Name > newest && info.Cluster != nil {
				newest, server = info.Name, info.Cluster.Leader
			}
		}
		return lister.Err() == nil && server != ""
	})
	return server
}

// within waits until a condition holds.
func within(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for begun := time.Now(); !condition(); time.Sleep(20 * time.Millisecond) {
		if time.Since(begun) > time.Minute {
			t.Fatalf("%s: not within a minute", what)
		}
	}
}

// wantInOrder reads from a sequence to the end: each event once, and the one that was appended there.
func (c *replicated) wantInOrder(t *testing.T, f Follower, from uint64) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for seq := from; seq <= c.last; {
		events, err := f.Next(ctx, 0, 0)
		if err != nil {
			t.Fatalf("after %d of %d: %v", seq-1, c.last, err)
		}
		for i := range events {
			if events[i].Seq != seq || seq > genesisSeq && !strings.Contains(string(events[i].Data), text(seq)) {
				t.Fatalf("got event %d %s, want %d", events[i].Seq, events[i].Data, seq)
			}
			seq++
		}
	}
}

// peers returns who leads and who follows, once every replica is there.
func (c *replicated) peers(t *testing.T) (leader string, followers []string) {
	t.Helper()
	within(t, "every replica is there", func() bool {
		peers, err := c.journal.Peers(t.Context(), 0)
		if err != nil || len(peers) != 3 || peers[0].Server == "" || slices.ContainsFunc(peers, func(p Peer) bool { return p.Offline || !p.Current }) {
			return false
		}
		leader, followers = peers[0].Server, []string{peers[1].Server, peers[2].Server}
		return true
	})
	return leader, followers
}

// TestAServerAloneThatHangs: who waits for events that must be there is told which stream could not be read, and from where
// on. One who expects nothing is told as well, because the server gives no sign of life.
func TestAServerAloneThatHangs(t *testing.T) {
	t.Parallel()
	server := testenv.StartNATSProcess(t, localstack.NATSOptions{})
	s := opened(t, server.Connect(t), Config{}).shards[0]
	s.bounds = hurried
	var all []Follower
	for _, pull := range pulls {
		for _, expect := range []uint64{0, 5} {
			f, err := s.Follow(t.Context(), FollowOptions{Pull: pull, Expect: expect})
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			read(t, f, 1)
			all = append(all, f)
		}
	}
	server.Pause()
	defer server.Resume()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for _, f := range all {
		_, err := f.Next(ctx, 0, 0)
		if failed, ok := errors.AsType[*ReadError](err); !ok || failed.Stream != s.stream || failed.After != 1 || !strings.Contains(err.Error(), s.stream+" after sequence 1") {
			t.Errorf("got %v, want a ReadError of %s after 1", err, s.stream)
		}
	}
}

// TestReadingsOfACluster: what happens to single servers and copies while they are read.
func TestReadingsOfACluster(t *testing.T) {
	t.Parallel()
	c := newReplicated(t)
	c.mustAppend(t, 9)
	t.Run("the server that serves hangs", c.serverHangs)
	t.Run("the server of the connection hangs", c.connectionHangs)
	t.Run("the leader is killed", c.leaderKilled)
	t.Run("begun while there is no leader", c.begunWithoutLeader)
	t.Run("copies lack an event", c.copiesLackAnEvent)
}

// hasty is the shard for a read that is to give up soon.
func (c *replicated) hasty() *jetShard {
	s := *c.jetShard
	s.bounds.stall = time.Second
	return &s
}

func (c *replicated) serverHangs(t *testing.T) {
	leader, followers := c.peers(t)
	server := followers[0]
	if server == c.nc.ConnectedServerName() {
		server = followers[1]
	}
	before := c.last
	var all []Follower
	var alone []*reading // they read the copy of this server and no other, so that they have nowhere to go
	for _, pull := range pulls {
		all = append(all, c.followOn(t, pull, server))
		r := c.hasty().newReading(t.Context(), 0)
		defer r.close()
		r.pull, r.bulk, r.expect, r.pinned = pull, pull >= bulkPullMin, before+1, server
		for range before {
			if _, err := r.next(); err != nil {
				t.Fatal(err)
			}
		}
		alone = append(alone, r)
	}
	c.Server(server).Pause()
	c.mustAppend(t, 5)
	for _, f := range all {
		c.wantInOrder(t, f, before+1)
	}
	for _, r := range alone {
		_, err := r.next()
		if failed, ok := errors.AsType[*ReadError](err); !ok || failed.Stream != c.stream || failed.Server != server || failed.After != before {
			t.Errorf("the copy on %s alone, after %d, while %s leads: got %v", server, before, leader, err)
		}
	}
	c.Server(server).Resume()
}

func (c *replicated) connectionHangs(t *testing.T) {
	c.peers(t)
	f := c.followOn(t, pulls["bulk"], "")
	before, server := c.last, c.nc.ConnectedServerName()
	c.Server(server).Pause()
	c.mustAppend(t, 5)
	c.wantInOrder(t, f, before+1)
	c.Server(server).Resume()
}

func (c *replicated) leaderKilled(t *testing.T) {
	leader, _ := c.peers(t)
	var all []Follower
	for name, pull := range pulls {
		f, err := c.Follow(t.Context(), FollowOptions{Pull: pull})
		if err != nil {
			t.Fatal(name, err)
		}
		defer f.Close()
		all = append(all, f)
	}
	first := c.last + 1
	c.mustAppend(t, 20)
	for _, f := range all {
		c.wantInOrder(t, f, 1)
	}
	first = c.last + 1
	c.Server(leader).Kill()
	c.mustAppend(t, 20)
	for _, f := range all {
		c.wantInOrder(t, f, first)
	}
	c.Server(leader).Restart()
}

func (c *replicated) begunWithoutLeader(t *testing.T) {
	leader, followers := c.peers(t)
	for _, server := range []string{leader, followers[0]} {
		c.Server(server).Kill()
	}
	ended := make(chan error, 1)
	go func() {
		r := c.newReading(t.Context(), 0)
		r.expect = c.last
		ended <- r.each(c.last, func(*arrival) error { return nil })
	}()
	for _, server := range []string{leader, followers[0]} {
		c.Server(server).Restart()
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// copiesLackAnEvent damages one copy after the other.
func (c *replicated) copiesLackAnEvent(t *testing.T) {
	const seq = 6
	leader, followers := c.peers(t)
	damage := func(server string) {
		t.Helper()
		c.Server(server).Damage(c.stream, text(seq))
		c.peers(t)
		err := c.journal.ReadReplica(t.Context(), 0, server, 0, c.last, func(*Raw) error { return nil })
		if gap, ok := errors.AsType[*GapError](err); !ok || gap.Want != seq {
			t.Fatalf("%s was damaged: got %v, want a gap at %d", server, err, seq)
		}
	}
	wantHeld := func() {
		t.Helper()
		f := c.followOn(t, pulls["bulk"], "")
		f.Close()
		if e, err := c.At(t.Context(), seq); err != nil || !strings.Contains(string(e.Data), text(seq)) {
			t.Errorf("event %d: %+v, %v", seq, e, err)
		}
	}
	damage(followers[0])
	f := c.followOn(t, pulls["library"], followers[0])
	f.Close()
	wantHeld()
	c.leads(t, followers[0])
	wantHeld()

	// One whole copy is left, and cannot be asked for a while: nobody knows that the event is lost.
	damage(followers[1])
	c.leads(t, followers[0])
	c.Server(leader).Pause()
	hasty := c.hasty()
	err := Read(t.Context(), hasty, 0, c.last, func(*envelope.Event) error { return nil })
	if gap, ok := errors.AsType[*GapError](err); err == nil || ok || !strings.Contains(err.Error(), "gap in the journal") {
		t.Errorf("the whole copy hangs: got %v, %v, want an error that is no gap", err, gap)
	}
	if _, err := hasty.At(t.Context(), seq); err == nil || errors.Is(err, ErrNoEvent) {
		t.Errorf("the whole copy hangs: event %d: %v, want not to know", seq, err)
	}
	c.Server(leader).Resume()
	c.peers(t)
	wantHeld()

	damage(leader)
	err = Read(t.Context(), c.jetShard, 0, c.last, func(*envelope.Event) error { return nil })
	if gap, ok := errors.AsType[*GapError](err); !ok || gap.Want != seq || !strings.Contains(err.Error(), "n1, n2, n3") {
		t.Errorf("no copy holds it: got %v", err)
	}
	if _, err := c.At(t.Context(), seq); !errors.Is(err, ErrNoEvent) {
		t.Errorf("no copy holds it: event %d: %v, want %v", seq, err, ErrNoEvent)
	}
}

// leads makes a server the leader.
func (c *replicated) leads(t *testing.T, server string) {
	t.Helper()
	within(t, server+" leads", func() bool {
		leader, _ := c.peers(t)
		if leader != server {
			_ = c.journal.StepDown(t.Context(), 0, server)
		}
		return leader == server
	})
}
