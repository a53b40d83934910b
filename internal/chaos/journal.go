package main

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	// idleMax is how long a replica may deliver nothing while it has something to deliver.
	idleMax = 15 * time.Second
	// placeAttempts bounds how many consumers are made until each node has had one: where one is placed is up to the servers.
	placeAttempts = 100
	consumerMax   = 5 * time.Second
)

// digest of a message as it is stored: subject, headers and payload.
type digest [sha256.Size]byte

// event is a message of the journal, with what the audit needs of it.
type event struct {
	Tenant, Entity, ID string
	Version            int64
	Command            string
	EventID            string
}

// copyOfShard is what one node has of one shard's stream, sequence by sequence. Err says why it could not be read to the end.
type copyOfShard struct {
	Shard   int
	Node    string
	Digests []digest // of sequences from 1
	Events  []event
	Err     error
}

// readJournal reads each stream of the journal from each node, by consumers that live on that node alone.
func (c *cluster) readJournal(ctx context.Context) ([]copyOfShard, error) {
	streams, err := c.streams(ctx)
	if err != nil {
		return nil, err
	}
	var all []copyOfShard
	for shard := range shards {
		stream, ok := streams[shard]
		if !ok {
			return nil, fmt.Errorf("shard %d has no stream", shard)
		}
		copies, err := c.readStream(ctx, stream)
		if err != nil {
			return nil, fmt.Errorf("shard %d: %w", shard, err)
		}
		for _, one := range copies {
			one.Shard = shard
			all = append(all, one)
		}
	}
	return all, nil
}

// streams are those of the journal, by shard.
func (c *cluster) streams(ctx context.Context) (map[int]jetstream.Stream, error) {
	ctx, cancel := context.WithTimeout(ctx, consumerMax)
	defer cancel()
	found := map[int]jetstream.Stream{}
	list := c.js.ListStreams(ctx)
	for info := range list.Info() {
		shard, err := strconv.Atoi(info.Config.Metadata["refold-shard"])
		if err != nil {
			continue // not of the journal
		}
		stream, err := c.js.Stream(ctx, info.Config.Name)
		if err != nil {
			return nil, err
		}
		found[shard] = stream
	}
	if err := list.Err(); err != nil && !errors.Is(err, jetstream.ErrEndOfData) {
		return nil, err
	}
	return found, nil
}

// leader of a shard's stream, or an error while there is none.
func (c *cluster) leader(ctx context.Context, shard int) (*node, error) {
	streams, err := c.streams(ctx)
	if err != nil {
		return nil, err
	}
	if streams[shard] == nil || streams[shard].CachedInfo().Cluster == nil {
		return nil, fmt.Errorf("shard %d has no stream", shard)
	}
	name := streams[shard].CachedInfo().Cluster.Leader
	for _, n := range c.nodes {
		if n.name == name {
			return n, nil
		}
	}
	return nil, fmt.Errorf("shard %d has no leader", shard)
}

func (c *cluster) readStream(ctx context.Context, stream jetstream.Stream) ([]copyOfShard, error) {
	info, err := stream.Info(ctx)
	if err != nil {
		return nil, err
	}
	consumers, err := c.oneOnEachNode(ctx, stream)
	if err != nil {
		return nil, err
	}
	var copies []copyOfShard
	for _, name := range slices.Sorted(maps.Keys(consumers)) {
		one := copyOfShard{Node: name}
		one.Err = one.read(ctx, consumers[name], info.State.LastSeq)
		copies = append(copies, one)
		_ = stream.DeleteConsumer(ctx, consumers[name].CachedInfo().Name) // it goes by itself, only later
	}
	return copies, nil
}

// oneOnEachNode makes consumers without a replica, in memory: the node that such a consumer is on reads its own store.
func (c *cluster) oneOnEachNode(ctx context.Context, stream jetstream.Stream) (map[string]jetstream.Consumer, error) {
	found := map[string]jetstream.Consumer{}
	var last error
	for range placeAttempts {
		attempt, cancel := context.WithTimeout(ctx, consumerMax)
		consumer, err := stream.CreateConsumer(attempt, jetstream.ConsumerConfig{
			DeliverPolicy: jetstream.DeliverAllPolicy, AckPolicy: jetstream.AckNonePolicy,
			Replicas: 1, MemoryStorage: true, InactiveThreshold: 5 * time.Minute,
		})
		cancel()
		if err != nil {
			last = err
			if err := pause(ctx, pollWait); err != nil {
				return nil, err
			}
			continue
		}
		info := consumer.CachedInfo()
		if info.Cluster == nil || found[info.Cluster.Leader] != nil {
			_ = stream.DeleteConsumer(ctx, info.Name)
			continue
		}
		if found[info.Cluster.Leader] = consumer; len(found) == len(c.nodes) {
			return found, nil
		}
	}
	return nil, fmt.Errorf("consumers of stream %s came to be on %v only: %w", stream.CachedInfo().Config.Name, slices.Sorted(maps.Keys(found)), errors.Join(errors.New("one on each node is needed"), last))
}

// read takes all messages up to a sequence, in order and without a gap.
func (o *copyOfShard) read(ctx context.Context, consumer jetstream.Consumer, until uint64) error {
	messages, err := consumer.Messages(jetstream.PullMaxMessages(500))
	if err != nil {
		return err
	}
	defer messages.Stop()
	for uint64(len(o.Digests)) < until {
		wait, cancel := context.WithTimeout(ctx, idleMax)
		msg, err := messages.Next(jetstream.NextContext(wait))
		cancel()
		if err != nil {
			return fmt.Errorf("nothing for %s after sequence %d of %d: %w", idleMax, len(o.Digests), until, err)
		}
		meta, err := msg.Metadata()
		if err != nil {
			return err
		}
		if want := uint64(len(o.Digests) + 1); meta.Sequence.Stream != want {
			return fmt.Errorf("sequence %d where %d is due", meta.Sequence.Stream, want)
		}
		o.Digests = append(o.Digests, digestOf(msg.Subject(), msg.Headers(), msg.Data()))
		o.Events = append(o.Events, eventOf(msg.Subject(), msg.Headers()))
	}
	return nil
}

// eventOf reads ev.<shard>.<tenant>.<entity>.<id> and the headers of refold. A message in another form is of no command.
func eventOf(subject string, header nats.Header) (e event) {
	if parts := strings.Split(subject, "."); len(parts) == 5 {
		e.Tenant, e.Entity, e.ID = parts[2], parts[3], parts[4]
	}
	e.Version, _ = strconv.ParseInt(header.Get("refold-version"), 10, 64)
	e.Command = header.Get("refold-command")
	e.EventID = header.Get("ce-id")
	return e
}

func digestOf(subject string, header nats.Header, data []byte) digest {
	var b []byte
	part := func(text string) {
		b = binary.BigEndian.AppendUint32(b, uint32(len(text)))
		b = append(b, text...)
	}
	part(subject)
	for _, name := range slices.Sorted(maps.Keys(header)) {
		part(name)
		for _, value := range header[name] {
			part(value)
		}
	}
	b = append(b, 0)
	b = append(b, data...)
	return sha256.Sum256(b)
}
