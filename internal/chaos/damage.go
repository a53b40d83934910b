package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// A damaged replica is mended as docs/nats-cluster.md says.

// flip changes an event in a follower's copy of a shard while the node is down in good order, so that it does not look at
// the event when it starts: refold must name the copy. The service goes on while the node has the damage.
func flip(ctx context.Context, c *campaign, f fault) (func(context.Context) error, error) {
	n, err := c.ruin(ctx, f, (*node).halt, flipBit)
	return func(ctx context.Context) error {
		err := c.mustName(ctx, n)
		for try := 1; errors.Is(err, errUnnamed) && try < flipTries; try++ {
			// At times a node cuts its copy back to the damage when it starts, and takes the rest from the others.
			if n, err = c.ruin(ctx, f, (*node).halt, flipBit); err != nil {
				return err
			}
			err = c.mustName(ctx, n)
		}
		return errors.Join(err, c.rebuild(ctx, n))
	}, err
}

// flipTries bounds how often a copy is damaged until one stays so.
const flipTries = 3

// errUnnamed: refold finds every copy whole.
var errUnnamed = errors.New("a copy was damaged, and refold finds all whole")

// cut takes the end off a follower's copy while the node is down from a crash: it has to get that from the others.
func cut(ctx context.Context, c *campaign, f fault) (func(context.Context) error, error) {
	n, err := c.ruin(ctx, f, (*node).kill, cutTail)
	return func(ctx context.Context) error { return c.rebuild(ctx, n) }, err
}

// empty is a disk that came back with nothing on it: the node gets everything from the others.
func empty(ctx context.Context, c *campaign, f fault) (func(context.Context) error, error) {
	n, err := c.followerOf(ctx, f.shard, f.node)
	if err == nil {
		err = n.kill()
	}
	if err == nil {
		err = os.RemoveAll(n.store())
	}
	if err == nil {
		err = n.start()
	}
	return nil, err
}

// ruin ends a follower of a shard, does something to what it has of the stream, and starts it.
func (r *campaign) ruin(ctx context.Context, f fault, end func(*node) error, how func(stream string) error) (*node, error) {
	n, err := r.followerOf(ctx, f.shard, f.node)
	if err != nil {
		return nil, err
	}
	streams, err := r.nats.streams(ctx)
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(n.store(), "jetstream", natsAccount, "streams", streams[f.shard].CachedInfo().Config.Name)
	for _, step := range []func() error{func() error { return end(n) }, func() error { return how(dir) }, n.start, func() error { return eventually(ctx, startMax, n.up) }} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	return n, nil
}

// exitDamaged is refold's exit code when something is not as it was written.
const exitDamaged = 3

// mustName asks refold for a damaged copy on a node, and for nobody else's.
func (r *campaign) mustName(ctx context.Context, n *node) error {
	if err := r.nats.awaitHealthy(ctx); err != nil {
		return err
	}
	text, _, err := r.refold.run(ctx, r.servers[0].data, "--output", "json", "journal", "check", "--each-replica")
	if err == nil {
		return errUnnamed
	}
	exit, ok := errors.AsType[*exec.ExitError](err)
	var shards []struct {
		Replicas []struct{ Server, State string } `json:"replicas"`
	}
	if !ok || exit.ExitCode() != exitDamaged || json.Unmarshal([]byte(text), &shards) != nil {
		return fmt.Errorf("the copy of %s is damaged, and refold says: %v: %s", n.name, err, text)
	}
	var damaged []string
	for _, shard := range shards {
		for _, one := range shard.Replicas {
			if one.State != "whole" {
				damaged = append(damaged, one.Server)
			}
		}
	}
	if !slices.Equal(damaged, []string{n.name}) {
		return fmt.Errorf("the copy of %s is damaged, and refold names %v: %s", n.name, damaged, text)
	}
	return nil
}

// rebuild has refold make the damaged copies of a node again, and does with the node what the command says.
func (r *campaign) rebuild(ctx context.Context, n *node) error {
	cmd := r.refold.command(ctx, r.servers[0].data, "journal", "rebuild-replica", n.name)
	said, err := cmd.StderrPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	var faults []error
	var text strings.Builder
	for lines := bufio.NewScanner(said); lines.Scan(); {
		fmt.Fprintln(&text, lines.Text())
		switch {
		case strings.HasPrefix(lines.Text(), "STOP "):
			faults = append(faults, n.halt())
		case strings.HasPrefix(lines.Text(), "START "):
			faults = append(faults, n.start())
		}
	}
	if err := cmd.Wait(); err != nil {
		faults = append(faults, fmt.Errorf("refold journal rebuild-replica %s: %w: %s", n.name, err, &text))
	}
	return errors.Join(faults...)
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

// flipBit changes one bit of the content of an event, in the middle of the first block.
func flipBit(stream string) error {
	files, err := blocks(stream)
	if err != nil {
		return err
	}
	body, err := os.ReadFile(files[0])
	if err != nil {
		return err
	}
	middle := len(body) / 2
	at := bytes.Index(body[middle:], []byte(contentMark))
	if at < 0 {
		return fmt.Errorf("%s has no content in its second half", files[0])
	}
	body[middle+at] ^= 1
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
