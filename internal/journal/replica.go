package journal

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// ErrNoReplica: the stream has no replica on the server that was asked for, or it serves no reads: it is offline, or it
// has only just come back. Look at Peers.
var ErrNoReplica = errors.New("no such replica")

// Peer is one replica of a shard, as the leader of its stream sees it.
type Peer struct {
	Server  string // name; empty for a server that is not part of a cluster
	Leader  bool
	Current bool          // it has what the leader has, as far as the servers know: its bytes may be damaged all the same
	Offline bool          // the leader does not see it
	Lag     uint64        // operations that it is behind
	Active  time.Duration // since the leader has heard of it
}

// Peers lists the replicas of a shard, the leader first.
func (j *Journal) Peers(ctx context.Context, shard int) ([]Peer, error) {
	s, ok := j.Shard(shard).(*jetShard)
	if !ok {
		return nil, fmt.Errorf("replicas of shard %d: the journal has no such shard", shard)
	}
	var peers []Peer
	err := patiently(ctx, func(ctx context.Context) error {
		stream, err := s.js.Stream(ctx, s.stream)
		if err == nil {
			peers = peersOf(stream.CachedInfo().Cluster)
		}
		return gone(err)
	})
	if err != nil {
		return nil, fmt.Errorf("replicas of shard %d: %w", shard, err)
	}
	return peers, nil
}

func peersOf(cluster *jetstream.ClusterInfo) []Peer {
	if cluster == nil || cluster.Name == "" {
		return []Peer{{Leader: true, Current: true}}
	}
	peers := []Peer{{Server: cluster.Leader, Leader: true, Current: true}}
	for _, p := range cluster.Replicas {
		peers = append(peers, Peer{Server: p.Name, Current: p.Current, Offline: p.Offline, Lag: p.Lag, Active: p.Active})
	}
	return peers
}

// ReadReplica hands over the messages of a shard from after+1 to upto as one replica has them: in order, none left out.
// It does not turn to another replica: an error that is not the caller's is one of this replica, a *GapError or
// ErrStalled among them.
func (j *Journal) ReadReplica(ctx context.Context, shard int, server string, after, upto uint64, each func(*Raw) error) error {
	s, ok := j.Shard(shard).(*jetShard)
	if !ok {
		return fmt.Errorf("read shard %d: the journal has no such shard", shard)
	}
	if after >= upto {
		return nil
	}
	peers, err := j.Peers(ctx, shard)
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(peers, func(p Peer) bool { return p.Server == server && !p.Offline }) {
		return fmt.Errorf("read shard %d on %s: %w: its replicas are %+v", shard, server, ErrNoReplica, peers)
	}
	r := s.newReading(ctx, after)
	r.pull, r.bulk, r.expect, r.pinned = rawPull, true, upto-after, server
	if err := r.each(upto, func(a *arrival) error { return each(a.raw()) }); err != nil {
		return fmt.Errorf("read shard %d: %w", shard, err)
	}
	return nil
}

// Extent is what one replica says that it holds. Its bytes may be damaged all the same: only reading them tells.
type Extent struct {
	First, Last uint64
	// Messages is how many it counts from First to Last; fewer than those sequences means that some are gone.
	Messages uint64
}

// ReplicaExtent asks one replica what it holds, without reading it.
func (j *Journal) ReplicaExtent(ctx context.Context, shard int, server string) (Extent, error) {
	s, ok := j.Shard(shard).(*jetShard)
	if !ok {
		return Extent{}, fmt.Errorf("extent of shard %d: the journal has no such shard", shard)
	}
	first, messages, err := s.startOn(ctx, server, 0)
	if err != nil {
		return Extent{}, fmt.Errorf("extent of shard %d on %s: %w", shard, server, err)
	}
	next, _, err := s.startOn(ctx, server, afterEnd)
	if err != nil {
		return Extent{}, fmt.Errorf("extent of shard %d on %s: %w", shard, server, err)
	}
	return Extent{First: first, Last: next - 1, Messages: messages}, nil
}

// startOn returns where a reader of one replica that asks for what follows a sequence begins, and how many messages it
// gets.
func (s *jetShard) startOn(ctx context.Context, server string, after uint64) (start, messages uint64, err error) {
	var c *consumer
	err = patiently(ctx, func(context.Context) (err error) {
		c, err = s.placeConsumer(ctx, after, "", func(at string) bool { return at == server }, true)
		return err
	})
	if err != nil {
		return 0, 0, err
	}
	defer c.remove()
	err = patiently(ctx, func(ctx context.Context) error {
		made, err := s.js.Consumer(ctx, s.stream, c.name)
		if err == nil {
			start = made.CachedInfo().Delivered.Stream + 1
		}
		return gone(err)
	})
	return start, c.pending, err
}
