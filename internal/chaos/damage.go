package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
)

// damage ruins what one node has of one shard's stream while the node is down, and starts it. The service goes on while
// the node has the damage; what an operator does about it is done then.
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
		dir := n.streamDir(streams[f.shard].CachedInfo().Config.Name)
		for _, step := range []func() error{n.kill, func() error { return ruin(dir) }, n.start, func() error { return eventually(ctx, startMax, n.up) }} {
			if err := step(); err != nil {
				return nil, err
			}
		}
		return func(context.Context) error { return n.rebuild(dir) }, nil
	}
}

// streamDir holds what a node has of a stream.
func (n *node) streamDir(stream string) string {
	return filepath.Join(n.store(), "jetstream", natsAccount, "streams", stream)
}

// rebuild is what an operator does about a damaged replica: end the node, remove what it has of the stream, start it.
// The other nodes give it the stream again.
func (n *node) rebuild(streamDir string) error {
	if err := n.halt(); err != nil {
		return err
	}
	return errors.Join(os.RemoveAll(streamDir), n.start())
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
