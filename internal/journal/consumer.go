package journal

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/oklog/ulid/v2"
)

const (
	// consumersMax bounds the consumers that this process has on one stream at a time. The server has one bound for
	// all processes and tools together, 1,000 a stream unless it is configured otherwise.
	consumersMax = 128
	// consumerWaitMax bounds how long a read waits for one of them.
	consumerWaitMax = 30 * time.Second
	// consumerIdleMax is when the server itself removes a consumer that nobody asks: that of a process that was killed.
	consumerIdleMax = time.Minute
	// placeTries bounds how many consumers are made until one is on a wanted replica; placeTriesMild where any will do.
	placeTries     = 40
	placeTriesMild = 8
	placeMax       = 20 * time.Second
)

// consumerPrefix begins the name of every consumer of refold.
const consumerPrefix = "refold-"

// ErrConsumers: there is no place for another consumer on the stream. End readers, or raise the limit that the error
// names.
var ErrConsumers = errors.New("too many readers of the stream")

// consumer is an ephemeral consumer on the server: memory, one replica, no acknowledgements. Its maker removes it.
type consumer struct {
	shard *jetShard
	name  string
	// server is the replica that it reads from; empty when the server is not part of a cluster.
	server string
	// pending is how many messages it had to deliver when it was made.
	pending uint64
}

// makeConsumer makes a consumer of everything after a sequence, or of what fits filter. It waits while this process has
// consumersMax of them on the stream.
func (s *jetShard) makeConsumer(ctx context.Context, after uint64, filter string) (*consumer, error) {
	if err := s.enter(ctx); err != nil {
		return nil, err
	}
	c, err := s.createConsumer(ctx, after, filter)
	if err != nil {
		s.leave()
		return nil, s.consumerFailed(err)
	}
	return c, nil
}

func (s *jetShard) enter(ctx context.Context) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	select {
	case s.consumers <- struct{}{}:
		return nil
	default:
	}
	timer := time.NewTimer(consumerWaitMax)
	defer timer.Stop()
	select {
	case s.consumers <- struct{}{}:
		return nil
	case <-timer.C:
		return fmt.Errorf("%w: this process has %d consumers on %s, its own limit, and none ended within %v", ErrConsumers, consumersMax, s.stream, consumerWaitMax)
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *jetShard) leave() { <-s.consumers }

// afterEnd, given as the sequence to begin after, is the last one that the chosen replica has.
const afterEnd = math.MaxUint64

// createConsumer gives the consumer its name itself: one whose creation was not answered can then be removed all the same.
func (s *jetShard) createConsumer(ctx context.Context, after uint64, filter string) (*consumer, error) {
	ctx, cancel := context.WithTimeout(ctx, makeMax)
	defer cancel()
	c := &consumer{shard: s, name: consumerPrefix + ulid.Make().String()}
	config := jetstream.ConsumerConfig{
		Name: c.name, DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: after + 1, FilterSubject: filter,
		AckPolicy: jetstream.AckNonePolicy, MaxDeliver: -1, Replicas: 1, MemoryStorage: true, InactiveThreshold: consumerIdleMax,
	}
	if after == afterEnd {
		config.DeliverPolicy, config.OptStartSeq = jetstream.DeliverNewPolicy, 0
	}
	made, err := s.js.CreateConsumer(ctx, s.stream, config)
	if err != nil {
		if _, answered := errors.AsType[*jetstream.APIError](err); !answered {
			c.delete()
		}
		return nil, err
	}
	info := made.CachedInfo()
	c.pending = info.NumPending
	if info.Cluster != nil {
		c.server = info.Cluster.Leader
	}
	return c, nil
}

// consumerFailed names the limit that was hit.
func (s *jetShard) consumerFailed(err error) error {
	if errors.Is(err, jetstream.ErrMaximumConsumersLimit) {
		return fmt.Errorf("%w: the server allows no more consumers on %s (its default_max_consumers, 1000 a stream unless configured, or the consumer limit of the account): %w",
			ErrConsumers, s.stream, err)
	}
	return gone(err)
}

// remove deletes the consumer on the server, whatever has become of the context of its reader.
func (c *consumer) remove() {
	c.delete()
	c.shard.leave()
}

func (c *consumer) delete() {
	if !c.shard.nc.IsConnected() {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), askMax)
	defer cancel()
	// Where this fails, the server removes the consumer once it is idle.
	_ = c.shard.js.DeleteConsumer(ctx, c.shard.stream, c.name)
}

// RemoveLostConsumers removes refold's own consumers of a shard's stream that are on servers which are down. Their readers
// have lost them, the server that would find them idle is away, and NATS does not let go of its replica while they exist.
func (j *Journal) RemoveLostConsumers(ctx context.Context, shard int) error {
	s, ok := j.Shard(shard).(*jetShard)
	if !ok {
		return fmt.Errorf("consumers of shard %d: the journal has no such shard", shard)
	}
	stream, err := s.js.Stream(ctx, s.stream)
	if err != nil {
		return fmt.Errorf("consumers of stream %s: %w", s.stream, gone(err))
	}
	lost := map[string]bool{}
	names := stream.ConsumerNames(ctx)
	for name := range names.Name() {
		lost[name] = strings.HasPrefix(name, consumerPrefix)
	}
	answered := stream.ListConsumers(ctx)
	for info := range answered.Info() {
		delete(lost, info.Name)
	}
	if err := errors.Join(names.Err(), answered.Err()); err != nil {
		return fmt.Errorf("consumers of stream %s: %w", s.stream, err)
	}
	for name, ours := range lost {
		if ours {
			(&consumer{shard: s, name: name}).delete()
		}
	}
	return nil
}

// placeConsumer makes a consumer on a replica that is wanted: the server chooses at random among those that are online, so
// that it takes a few. Where strict is false it takes another one in the end.
func (s *jetShard) placeConsumer(ctx context.Context, after uint64, filter string, wanted func(server string) bool, strict bool) (*consumer, error) {
	for try := 1; ; try++ {
		c, err := s.makeConsumer(ctx, after, filter)
		if err != nil {
			return nil, err
		}
		if wanted(c.server) || !strict && try >= placeTriesMild {
			return c, nil
		}
		c.remove()
		if try == placeTries {
			return nil, fmt.Errorf("%w: %d consumers of %s were made, the last one on %s, and none where one is wanted", ErrNoReplica, placeTries, s.stream, c.server)
		}
	}
}
