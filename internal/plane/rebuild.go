package plane

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/refold-dev/refold/internal/journal"
	"github.com/refold-dev/refold/internal/witness"
)

var (
	// ErrNotRebuilt: without the copy to be rebuilt too few are left that are whole. Nothing was changed.
	ErrNotRebuilt = errors.New("the copy is not let go of")
	// ErrWaiting: a rebuild waited too long for the operator or for NATS. Repeat it: it goes on where it was.
	ErrWaiting = errors.New("the rebuild is not finished: run it again to go on")
)

// RebuildOptions are what an operator says.
type RebuildOptions struct {
	Server string // whose copies are made again
	// Wait is how long each step may take: the stop and the start of the server, and the copying; 0 = 15 min.
	Wait time.Duration
	// Tell is given what the operator is to do next, and what is being waited for.
	Tell func(string)
	// Progress: see CheckOptions.
	Progress func(shard int, server string, done, total uint64)
}

const (
	rebuildWait = 15 * time.Minute
	rebuildLook = 500 * time.Millisecond
	rebuildTell = 15 * time.Second
)

// rebuild is one shard whose copy on a server is being made again.
type rebuild struct {
	shard    int
	replicas int      // that the stream must have in the end
	whole    []string // servers of copies that are whole
	leads    bool     // the server leads the stream
	released bool     // NATS has let go of the copy already
}

// RebuildReplica makes the copies of a server again that are not whole, from the other servers. It lets go of a copy only
// when a majority without it is whole and holds every event that was kept outside NATS; writes go on meanwhile. The
// operator stops and starts the server in between, as Tell says. It returns the check of the shards it has worked on,
// which is recorded as a signed report.
func (p *Plane) RebuildReplica(ctx context.Context, o RebuildOptions) ([]*witness.Result, error) {
	if o.Wait == 0 {
		o.Wait = rebuildWait
	}
	if o.Tell == nil {
		o.Tell = func(string) {}
	}
	work, err := p.rebuilds(ctx, o)
	if err != nil || len(work) == 0 {
		return nil, err
	}
	if err := p.release(ctx, o, work); err != nil {
		return nil, err
	}
	o.Tell(fmt.Sprintf("START the NATS server %s now. Waiting for NATS to copy the journal to it.", o.Server))
	// A server that is given a replica before it has seen that it lost the old one would keep the old files.
	joined := error(nil)
	err = p.awaitReplicas(ctx, o, work[0], fmt.Sprintf("%s to join the cluster", o.Server), func([]journal.Peer) (done bool, err error) {
		done, joined = p.Journal.Joined(ctx, o.Server, work[0].replicas)
		return done, nil
	})
	if err != nil {
		return nil, errors.Join(err, joined)
	}
	for _, w := range work {
		if err := p.regrow(ctx, o, w); err != nil {
			return nil, err
		}
	}
	var results []*witness.Result
	for _, w := range work {
		result, err := p.checkCopies(ctx, o, w.shard)
		if err != nil {
			return nil, err
		}
		results = append(results, result)
	}
	return results, p.recordCheck(ctx, results)
}

func (p *Plane) checkCopies(ctx context.Context, o RebuildOptions, shard int) (*witness.Result, error) {
	heads, err := p.Heads(ctx, nil, nil)
	if err != nil {
		return nil, err
	}
	check := &witness.ReplicaCheck{DB: p.DB, Journal: p.Journal, Heads: heads, Progress: func(server string, done, total uint64) {
		if o.Progress != nil {
			o.Progress(shard, server, done, total)
		}
	}}
	result, err := check.Shard(ctx, p.Journal.Shard(shard))
	if err != nil {
		return nil, fmt.Errorf("check the copies of shard %d: %w", shard, err)
	}
	return result, nil
}

// rebuilds checks every copy of every shard and returns the shards to work on, or ErrNotRebuilt where the other copies do
// not suffice.
func (p *Plane) rebuilds(ctx context.Context, o RebuildOptions) ([]*rebuild, error) {
	var work []*rebuild
	known := false
	for _, shard := range p.Journal.Shards {
		facts, err := shard.Facts(ctx)
		if err != nil {
			return nil, err
		}
		o.Tell(fmt.Sprintf("reading every copy of shard %d", shard.Number()))
		result, err := p.checkCopies(ctx, o, shard.Number())
		if err != nil {
			return nil, err
		}
		w := &rebuild{shard: shard.Number(), replicas: facts.Replicas + 1 - facts.Replicas%2, released: facts.Replicas%2 == 0}
		wrong := w.released
		for _, one := range result.Replicas {
			switch {
			case one.Server == o.Server:
				known, w.leads, w.released = true, one.Leader, false
				wrong = one.State != witness.Whole
			case one.State == witness.Whole && one.FitsKept:
				w.whole = append(w.whole, one.Server)
			}
		}
		if !wrong {
			continue
		}
		known = true
		if majority := w.replicas/2 + 1; len(w.whole) < majority {
			return nil, fmt.Errorf("%w: shard %d: without the copy on %s, %d copies (%s) are whole and fit the digests kept outside NATS; %d are needed. %s",
				ErrNotRebuilt, w.shard, o.Server, len(w.whole), strings.Join(w.whole, ", "), majority, result.Verdict)
		}
		work = append(work, w)
	}
	if !known {
		return nil, fmt.Errorf("%w: no stream of the journal has a copy on a server %q: see `refold journal check --each-replica`", ErrNotRebuilt, o.Server)
	}
	return work, nil
}

// release makes NATS let go of the copies on the server, which the operator stops for it: of several copies NATS gives
// up the one that is offline.
func (p *Plane) release(ctx context.Context, o RebuildOptions, work []*rebuild) error {
	waiting := slices.DeleteFunc(slices.Clone(work), func(w *rebuild) bool { return w.released })
	if len(waiting) == 0 {
		return nil
	}
	for _, w := range waiting {
		if !w.leads {
			continue
		}
		o.Tell(fmt.Sprintf("shard %d is led by %s: handing over to %s", w.shard, o.Server, w.whole[0]))
		err := p.awaitReplicas(ctx, o, w, fmt.Sprintf("another leader than %s", o.Server), func(peers []journal.Peer) (bool, error) {
			if peers[0].Server != o.Server {
				return true, nil
			}
			return false, p.Journal.StepDown(ctx, w.shard, w.whole[0])
		})
		if err != nil {
			return err
		}
	}
	o.Tell(fmt.Sprintf("STOP the NATS server %s now, and leave it stopped until the next message.", o.Server))
	for _, w := range waiting {
		err := p.awaitReplicas(ctx, o, w, fmt.Sprintf("NATS to see %s offline", o.Server), func(peers []journal.Peer) (bool, error) {
			for _, peer := range peers {
				if peer.Server != o.Server && peer.Offline {
					return false, nil // NATS must not take that one for the one to give up
				}
			}
			return slices.ContainsFunc(peers, func(peer journal.Peer) bool { return peer.Server == o.Server && peer.Offline }), nil
		})
		if err != nil {
			return err
		}
		if err := p.Journal.SetReplicas(ctx, w.shard, w.replicas-1); err != nil {
			return err
		}
		err = p.awaitReplicas(ctx, o, w, fmt.Sprintf("NATS to let go of the copy on %s", o.Server), func(peers []journal.Peer) (bool, error) {
			if len(peers) == w.replicas-1 {
				return true, nil
			}
			return false, p.Journal.RemoveLostConsumers(ctx, w.shard)
		})
		if err != nil {
			return err
		}
		peers, err := p.Journal.Peers(ctx, w.shard)
		if err != nil {
			return err
		}
		if slices.ContainsFunc(peers, func(peer journal.Peer) bool { return peer.Server == o.Server }) {
			// Its files are untouched: with all replicas it is a member again.
			return errors.Join(fmt.Errorf("shard %d: NATS gave up another copy than that on %s; all replicas are asked for again: run `refold journal check --each-replica`", w.shard, o.Server),
				p.Journal.SetReplicas(ctx, w.shard, w.replicas))
		}
		o.Tell(fmt.Sprintf("shard %d: NATS has let go of the copy on %s", w.shard, o.Server))
	}
	return nil
}

// regrow asks for all replicas again and waits until the new one holds what the stream held when it was there.
func (p *Plane) regrow(ctx context.Context, o RebuildOptions, w *rebuild) error {
	refused := error(nil)
	err := p.awaitReplicas(ctx, o, w, "a server for the new copy", func(peers []journal.Peer) (bool, error) {
		if len(peers) == w.replicas {
			return true, nil
		}
		refused = p.Journal.SetReplicas(ctx, w.shard, w.replicas) // until the server is there
		return false, nil
	})
	if err != nil {
		return errors.Join(err, refused)
	}
	facts, err := p.Journal.Shard(w.shard).Facts(ctx)
	if err != nil {
		return err
	}
	return p.awaitReplicas(ctx, o, w, fmt.Sprintf("the new copy to reach sequence %d", facts.LastSeq), func(peers []journal.Peer) (bool, error) {
		for _, peer := range peers {
			if slices.Contains(w.whole, peer.Server) {
				continue
			}
			extent, err := p.Journal.ReplicaExtent(ctx, w.shard, peer.Server)
			if err != nil || extent.Last < facts.LastSeq { // NATS calls it current long before
				return false, nil
			}
		}
		return true, nil
	})
}

// awaitReplicas looks at the replicas of a shard until they are as wanted, or fails with ErrWaiting.
func (p *Plane) awaitReplicas(ctx context.Context, o RebuildOptions, w *rebuild, what string, reached func([]journal.Peer) (bool, error)) error {
	told := time.Now()
	for begun := told; ; {
		peers, err := p.Journal.Peers(ctx, w.shard)
		if time.Since(told) > rebuildTell {
			o.Tell(fmt.Sprintf("shard %d: still waiting for %s; NATS says %+v", w.shard, what, peers))
			told = time.Now()
		}
		if err == nil {
			var done bool
			if done, err = reached(peers); done {
				return err
			}
		}
		if time.Since(begun) > o.Wait {
			return errors.Join(fmt.Errorf("%w: shard %d: waited %s for %s", ErrWaiting, w.shard, o.Wait, what), err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(rebuildLook):
		}
	}
}
