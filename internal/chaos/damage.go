package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
)

// damage ruins what one node has of one shard's stream while the node is down, and starts it. What an operator has to do
// about it is done before the campaign goes on.
func damage(ruin func(stream string) error) func(context.Context, *campaign, fault) (func(context.Context) error, error) {
	return func(ctx context.Context, c *campaign, f fault) (func(context.Context) error, error) {
		n, err := c.followerOf(ctx, f.shard, f.node)
		if err != nil {
			return nil, err
		}
		streams, err := c.nats.streams(ctx)
		if err != nil {
			return nil, err
		}
		name := streams[f.shard].CachedInfo().Config.Name
		if err := n.kill(); err != nil {
			return nil, err
		}
		return func(context.Context) error { return c.rebuild(n, name) }, ruin(n.streamDir(name))
	}
}

// streamDir holds what a node has of a stream.
func (n *node) streamDir(stream string) string {
	return filepath.Join(n.store(), "jetstream", "$G", "streams", stream)
}

// rebuild is what an operator does about a damaged replica: with the node down, remove what it has of the stream, and
// start it. NATS copies the stream from the other nodes.
func (c *campaign) rebuild(n *node, stream string) error {
	err := n.kill()
	if err == nil {
		err = os.RemoveAll(n.streamDir(stream))
	}
	return errors.Join(err, n.start())
}

// blocks of a stream with messages in them, oldest first.
func blocks(stream string) ([]string, error) {
	files, err := filepath.Glob(filepath.Join(stream, "msgs", "*.blk"))
	if err == nil && len(files) == 0 {
		err = fmt.Errorf("%s has no blocks of messages", stream)
	}
	slices.Sort(files)
	return files, err
}

// flipBytes changes some bytes in the middle of the first block.
func flipBytes(stream string) error {
	files, err := blocks(stream)
	if err != nil {
		return err
	}
	body, err := os.ReadFile(files[0])
	if err != nil {
		return err
	}
	for i := len(body) / 2; i < len(body)/2+64 && i < len(body); i++ {
		body[i] ^= 0xff
	}
	return os.WriteFile(files[0], body, 0o600)
}

// cutTail takes a third off the last block.
func cutTail(stream string) error {
	files, err := blocks(stream)
	if err != nil {
		return err
	}
	last := files[len(files)-1]
	info, err := os.Stat(last)
	if err != nil {
		return err
	}
	return os.Truncate(last, info.Size()-info.Size()/3)
}

// deleteAll is a disk that came back empty.
func deleteAll(stream string) error { return os.RemoveAll(stream) }
