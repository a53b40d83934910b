package journal

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/refold-dev/refold/events/envelope"
)

// Facts implements Shard. Only the leader of a stream answers for it.
func (s *jetShard) Facts(ctx context.Context) (Facts, error) {
	var facts Facts
	err := patiently(ctx, func(ctx context.Context) error {
		info, err := ledInfo(ctx, s.js, s.stream)
		if err != nil {
			return gone(err)
		}
		facts, err = factsOf(info)
		return err
	})
	if err != nil {
		return Facts{}, fmt.Errorf("facts of stream %s: %w", s.stream, err)
	}
	s.budget.set(facts.Bytes, facts.BytesMax)
	return facts, nil
}

// errNoLeader: most of the servers that hold the stream are down, or it is about to elect a leader.
var errNoLeader = errors.New("the stream has no leader")

// ledInfo is what the leader of a stream says of it. Without a leader any server answers, by what it holds itself: it may be
// behind, and takes no event.
func ledInfo(ctx context.Context, js jetstream.JetStream, name string) (*jetstream.StreamInfo, error) {
	stream, err := js.Stream(ctx, name)
	if err != nil {
		return nil, err
	}
	info := stream.CachedInfo()
	if info.Cluster != nil && info.Cluster.Leader == "" {
		return nil, errNoLeader
	}
	return info, nil
}

func factsOf(info *jetstream.StreamInfo) (Facts, error) {
	id, err := identityOf(info)
	if err != nil {
		return Facts{}, err
	}
	facts := Facts{
		JournalID:    id.journalID,
		Incarnation:  id.incarnation,
		Shard:        id.shard,
		Shards:       id.shards,
		Stream:       id.stream,
		Created:      info.Created.UTC(),
		FirstSeq:     info.State.FirstSeq,
		LastSeq:      info.State.LastSeq,
		Messages:     info.State.Msgs,
		Deleted:      uint64(info.State.NumDeleted),
		Bytes:        info.State.Bytes,
		BytesMax:     uint64(max(info.Config.MaxBytes, 0)),
		Replicas:     info.Config.Replicas,
		DedupeWindow: info.Config.Duplicates,
		Consumers:    info.State.Consumers,
		Compressed:   compressed(info.Config),
	}
	if info.Cluster != nil {
		facts.Leader = info.Cluster.Leader
	}
	return facts, nil
}

// Reconnects implements Shard.
func (s *jetShard) Reconnects() uint64 { return s.nc.Stats().Reconnects }

// Count implements Shard. A consumer knows what it has still to deliver; this one delivers nothing.
func (s *jetShard) Count(ctx context.Context, tenant string, after uint64) (uint64, error) {
	filter, err := envelope.TenantSubjects(s.number, tenant)
	if err != nil {
		return 0, err
	}
	var count uint64
	err = patiently(ctx, func(ctx context.Context) error {
		c, err := s.makeConsumer(ctx, after, filter)
		if err != nil {
			return err
		}
		count = c.pending
		c.remove()
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("count events of tenant %s after sequence %d: %w", tenant, after, err)
	}
	return count, nil
}
