package witness_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/refold-dev/refold/events/envelope"
	"github.com/refold-dev/refold/internal/journal"
	"github.com/refold-dev/refold/internal/journal/journaltest"
	"github.com/refold-dev/refold/internal/localstack"
	"github.com/refold-dev/refold/internal/testenv"
	"github.com/refold-dev/refold/internal/witness"
)

// servers are several servers, each with a stream of its own, that stand for the replicas of one: their bytes can be
// forged, which no replica of a cluster lets happen without its checksums noticing.
type servers struct {
	journals []*journal.Journal
	// silentAfter is the last event that a server hands over; it then hangs.
	silentAfter map[string]uint64
}

func (s *servers) name(i int) string { return fmt.Sprintf("n%d", i+1) }

func (s *servers) Peers(context.Context, int) ([]journal.Peer, error) {
	var peers []journal.Peer
	for i := range s.journals {
		peers = append(peers, journal.Peer{Server: s.name(i), Leader: i == 0, Current: true})
	}
	return peers, nil
}

func (s *servers) at(server string) *journal.Journal { return s.journals[server[1]-'1'] }

func (s *servers) ReplicaExtent(ctx context.Context, shard int, server string) (journal.Extent, error) {
	return s.at(server).ReplicaExtent(ctx, shard, "")
}

func (s *servers) ReadReplica(ctx context.Context, shard int, server string, after, upto uint64, each func(*journal.Raw) error) error {
	last, silent := s.silentAfter[server]
	if silent && after >= last {
		<-ctx.Done()
		return ctx.Err()
	}
	return s.at(server).ReadReplica(ctx, shard, "", after, upto, func(m *journal.Raw) error {
		if silent && m.Seq > last {
			<-ctx.Done()
			return ctx.Err()
		}
		return each(m)
	})
}

// states are the names of the states of a result, with the first bad sequence.
func states(r *witness.Result) string {
	var out []string
	for _, one := range r.Replicas {
		text := one.Server + " " + one.State
		if one.FirstBad > 0 {
			text += fmt.Sprintf(" %d", one.FirstBad)
		}
		out = append(out, text)
	}
	return strings.Join(out, ", ")
}

// TestReplicasThatDiffer: what is wrong with which copy, whatever the majority says.
func TestReplicasThatDiffer(t *testing.T) {
	t.Parallel()
	s := newStand(t)
	s.append(t, 39) // 40 with the genesis event
	s.advance(t)
	s.append(t, 10) // nobody has witnessed 41 to 50
	config, original := s.messages(t)
	altered := func(seqs ...int) []message {
		ms := slices.Clone(original)
		for _, seq := range seqs {
			ms[seq-1].data = append(bytes.Clone(ms[seq-1].data), ' ')
		}
		return ms
	}
	whole := forge(t, config, original)
	for name, c := range map[string]struct {
		copies  [][]message // nil = whole
		silent  map[string]uint64
		kept    string // SQL that changes what was kept
		want    string
		clean   bool
		verdict string
	}{
		"all the same":          {copies: [][]message{nil, nil, nil}, want: "n1 whole, n2 whole, n3 whole", clean: true, verdict: "all 3 copies are the same and fit the digests kept outside NATS"},
		"one copy":              {copies: [][]message{nil}, want: "n1 whole", clean: true, verdict: "the stream has one copy, which fits"},
		"a follower":            {copies: [][]message{nil, altered(12), nil}, want: "n1 whole, n2 changed 12, n3 whole", verdict: "n1, n3: whole, fits the digests kept outside NATS; rebuild n2"},
		"the leader":            {copies: [][]message{altered(12), nil, nil}, want: "n1 changed 12, n2 whole, n3 whole", verdict: "rebuild n1"},
		"the majority":          {copies: [][]message{altered(12), altered(12), nil}, want: "n1 changed 12, n2 changed 12, n3 whole", verdict: "only n3 of 3 copies is whole"},
		"all alike":             {copies: [][]message{altered(9), altered(9), altered(9)}, want: "n1 changed 9, n2 changed 9, n3 changed 9", verdict: "no copy fits"},
		"what nobody witnessed": {copies: [][]message{nil, nil, altered(45, 47)}, want: "n1 whole, n2 whole, n3 changed 45", verdict: "rebuild n3"},
		"an end":                {copies: [][]message{nil, original[:44], nil}, want: "n1 whole, n2 behind 45, n3 whole", verdict: "rebuild n2"},
		"one that hangs":        {copies: [][]message{nil, nil, nil}, silent: map[string]uint64{"n3": 17}, want: "n1 whole, n2 whole, n3 unreadable 18", verdict: "rebuild n3"},
		"nothing kept":          {copies: [][]message{nil, altered(12), nil}, kept: "DELETE FROM control.journal_page", want: "n1 whole, n2 changed 12, n3 whole", verdict: "fits each other"},
		"nothing tells":         {copies: [][]message{nil, altered(12)}, kept: "DELETE FROM control.journal_page", want: "n1 changed, n2 changed", verdict: "nothing tells which is right"},
	} {
		t.Run(name, func(t *testing.T) {
			all := &servers{silentAfter: c.silent}
			for _, messages := range c.copies {
				j := whole
				if messages != nil {
					j = forge(t, config, messages)
				}
				all.journals = append(all.journals, j)
			}
			if c.kept != "" {
				pages := s.pages(t)
				s.exec(t, c.kept)
				defer pages()
			}
			check := witness.ReplicaCheck{DB: s.DB, Journal: all, IdleMax: time.Second, LagMax: time.Millisecond, Heads: witness.Heads{Known: s.heads(t)}}
			r, err := check.Shard(t.Context(), all.journals[0].Shards[0])
			if err != nil {
				t.Fatal(err)
			}
			if got := states(r); got != c.want || r.Clean != c.clean || !strings.Contains(r.Verdict, c.verdict) {
				t.Errorf("got %s, clean %t, %q, want %s, clean %t, %q", got, r.Clean, r.Verdict, c.want, c.clean, c.verdict)
			}
		})
	}
}

// growing is a shard that grows, and whose new events are kept, whenever it has said where it ends.
type growing struct {
	journal.Shard
	grow func()
}

func (g *growing) Facts(ctx context.Context) (journal.Facts, error) {
	facts, err := g.Shard.Facts(ctx)
	g.grow()
	return facts, err
}

// TestACheckWhileEventsAreKept: what is appended and kept while a check runs is not lost.
func TestACheckWhileEventsAreKept(t *testing.T) {
	t.Parallel()
	s := newStand(t)
	s.append(t, 25)
	s.advance(t)
	j, err := journal.Open(t.Context(), s.nc, journal.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(j.Close)
	shard := &growing{j.Shards[0], func() { s.append(t, 7); s.advance(t) }}
	if r := s.check(t, shard); !r.Clean {
		t.Errorf("one read: %+v", r.Faults)
	}
	check := witness.ReplicaCheck{DB: s.DB, Journal: j}
	if r, err := check.Shard(t.Context(), shard); err != nil || !r.Clean {
		t.Errorf("every replica: %+v, %v", r, err)
	}
}

// pages returns a function that puts the kept digests back as they are now.
func (s *stand) pages(t *testing.T) (restore func()) {
	t.Helper()
	s.exec(t, "CREATE TABLE public.pages_before AS TABLE control.journal_page")
	return func() {
		s.exec(t, "INSERT INTO control.journal_page SELECT * FROM public.pages_before")
		pool, err := s.DB.Owner(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := pool.Exec(t.Context(), "DROP TABLE public.pages_before"); err != nil {
			t.Fatal(err)
		}
	}
}

// cluster is three servers in processes of their own, with a journal that each has a replica of, and its witness.
type cluster struct {
	*witness.Witness
	*testenv.NATSCluster
	nc      *nats.Conn
	journal *journal.Journal
}

func newCluster(t *testing.T) *cluster {
	t.Helper()
	servers := testenv.StartNATSCluster(t, 3, localstack.NATSOptions{})
	c := &cluster{NATSCluster: servers, nc: servers.Connect(t)}
	var err error
	if c.journal, err = journal.Create(t.Context(), c.nc, journal.Config{Replicas: 3}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.journal.Close)
	c.Witness = newWitness(t, c.journal)
	return c
}

// text is what the payload of an event holds and no other.
func text(seq uint64) string {
	return fmt.Sprintf("event number %06d %s", seq, strings.Repeat("x", 500))
}

// append adds events, each with its text.
func (c *cluster) append(t *testing.T, n int) {
	t.Helper()
	shard := c.journal.Shards[0]
	facts, err := shard.Facts(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for seq := facts.LastSeq + 1; seq <= facts.LastSeq+uint64(n); seq++ {
		e := journaltest.Event(envelope.Key{Tenant: "acme", Entity: "note", ID: fmt.Sprintf("n%d", seq)}, "c", text(seq), 1)
		receipt, err := shard.Append(t.Context(), e, 0)
		for errors.Is(err, journal.ErrUnknown) || errors.Is(err, journal.ErrUnavailable) {
			receipt, err = shard.Append(t.Context(), e, 0)
		}
		if err != nil || receipt.Seq != seq {
			t.Fatalf("append %d: got %+v, %v", seq, receipt, err)
		}
	}
}

func (c *cluster) check(t *testing.T) *witness.Result {
	t.Helper()
	check := witness.ReplicaCheck{DB: c.DB, Journal: c.journal, IdleMax: 5 * time.Second}
	r, err := check.Shard(t.Context(), c.journal.Shards[0])
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func (c *cluster) peers(t *testing.T) (leader string, followers []string) {
	t.Helper()
	peers, err := c.journal.Peers(t.Context(), 0)
	if err != nil || len(peers) != 3 {
		t.Fatalf("got %+v, %v, want three replicas", peers, err)
	}
	return peers[0].Server, []string{peers[1].Server, peers[2].Server}
}

// TestASickReplicaIsNamed on a cluster of processes: a flipped bit on a follower and on the leader, a server that is down
// and one that hangs. NATS calls the first two current.
func TestASickReplicaIsNamed(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	c.append(t, 900)
	if err := c.Advance(t.Context()); err != nil {
		t.Fatal(err)
	}
	c.append(t, 5)
	if r := c.check(t); !r.Clean || r.Seq != 906 || r.Witnessed != 901 || len(r.Replicas) != 3 {
		t.Fatalf("a whole cluster: %+v", r)
	}
	leader, followers := c.peers(t)
	sick, hung := followers[0], followers[1]

	c.Server(sick).Damage("REFOLD-0-*", text(300))
	r := c.await(t, func(r *witness.Result) bool {
		return r.Replicas[0].State == witness.Whole && named(r, sick).State != witness.Unreachable
	})
	if one := named(r, sick); one.State != witness.Missing || one.FirstBad != 300 || one.FitsKept || one.Total != 1 {
		t.Errorf("a flipped bit on a follower: %+v", one)
	}
	if one := named(r, leader); one.State != witness.Whole || !slices.Equal(one.SameAs, []string{hung}) || !one.FitsKept {
		t.Errorf("the leader beside it: %+v", one)
	}

	c.avoid(t, hung)
	c.Server(hung).Pause()
	begun := time.Now()
	r = c.check(t)
	if one := named(r, hung); one.State != witness.Unreachable && one.State != witness.Unreadable {
		t.Errorf("a server that hangs: %+v", one)
	}
	if took := time.Since(begun); took > 90*time.Second {
		t.Errorf("the check of a server that hangs took %s", took)
	}
	c.Server(hung).Resume()
	c.await(t, func(r *witness.Result) bool { return named(r, hung).State == witness.Whole })
}

// avoid moves our own connection away from a server, which would notice only after minutes that it hangs.
func (c *cluster) avoid(t *testing.T, server string) {
	t.Helper()
	for begun := time.Now(); c.nc.ConnectedServerName() == server || !c.nc.IsConnected(); {
		if time.Since(begun) > time.Minute {
			t.Fatalf("still connected to %s", server)
		}
		if c.nc.IsConnected() {
			if err := c.nc.ForceReconnect(); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func named(r *witness.Result, server string) witness.Replica {
	for _, one := range r.Replicas {
		if one.Server == server {
			return one
		}
	}
	return witness.Replica{}
}

// await checks until what it finds is as wanted: elections and catching up take their time.
func (c *cluster) await(t *testing.T, wanted func(*witness.Result) bool) *witness.Result {
	t.Helper()
	for begun := time.Now(); ; {
		r := c.check(t)
		if wanted(r) {
			return r
		}
		if time.Since(begun) > 2*time.Minute {
			t.Fatalf("not in two minutes: %s: %s", states(r), r.Verdict)
		}
	}
}
