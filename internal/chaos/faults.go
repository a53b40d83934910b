package main

import (
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"syscall"
	"time"
)

// pauseMin is how long a process is stopped at least: longer than the 4 to 9 s after which NATS elects another leader.
const pauseMin = 11 * time.Second

// fault is one thing that breaks. What a kind does not need is not used.
type fault struct {
	kind   faultKind
	shard  int // whose leader or follower
	node   int // of the NATS cluster; of a pair, the one that is spared
	server int // of refold
	after  int // so many commands were accepted since the fault before
}

// faultKind says how to break something. inject returns what mends it; nil when nothing is left to mend. Where there is
// something to mend the service must recover before.
type faultKind struct {
	name   string
	weight int // how often it comes in a campaign of weightSum
	inject func(ctx context.Context, c *campaign, f fault) (mend func(context.Context) error, err error)
}

// faultKinds are all that can be broken. Each comes at least once in a campaign of weightSum faults.
var faultKinds = []faultKind{
	{"nats-kill-leader", 3, func(ctx context.Context, c *campaign, f fault) (func(context.Context) error, error) {
		n, err := c.leaderOf(ctx, f.shard)
		if err != nil {
			return nil, err
		}
		return n.restarter(), n.kill()
	}},
	{"nats-kill-follower", 2, func(ctx context.Context, c *campaign, f fault) (func(context.Context) error, error) {
		n, err := c.followerOf(ctx, f.shard, f.node)
		if err != nil {
			return nil, err
		}
		return n.restarter(), n.kill()
	}},
	{"nats-kill-twice", 4, func(ctx context.Context, c *campaign, f fault) (func(context.Context) error, error) {
		n, err := c.leaderOf(ctx, f.shard)
		if err != nil {
			return nil, err
		}
		err = errors.Join(n.kill(), n.start())
		if err == nil {
			err = eventually(ctx, startMax, n.up)
		}
		return n.restarter(), errors.Join(err, n.kill())
	}},
	{"nats-kill-two", 2, func(_ context.Context, c *campaign, f fault) (func(context.Context) error, error) {
		return nil, c.nats.crash(func(i int) bool { return i != f.node })
	}},
	{"nats-kill-three", 2, func(_ context.Context, c *campaign, _ fault) (func(context.Context) error, error) {
		return nil, c.nats.crash(func(int) bool { return true })
	}},
	{"nats-pause-leader", 2, func(ctx context.Context, c *campaign, f fault) (func(context.Context) error, error) {
		n, err := c.leaderOf(ctx, f.shard)
		if err != nil {
			return nil, err
		}
		return stopped(n.signal)
	}},
	{"nats-pause-follower", 1, func(ctx context.Context, c *campaign, f fault) (func(context.Context) error, error) {
		n, err := c.followerOf(ctx, f.shard, f.node)
		if err != nil {
			return nil, err
		}
		return stopped(n.signal)
	}},
	{"nats-restart", 2, func(_ context.Context, c *campaign, f fault) (func(context.Context) error, error) {
		n := c.nats.nodes[f.node]
		return n.restarter(), n.halt()
	}},
	{"nats-damage-flip", 1, flip},
	{"nats-damage-cut", 1, cut},
	{"nats-damage-empty", 1, empty},
	{"refold-kill", 3, func(_ context.Context, c *campaign, f fault) (func(context.Context) error, error) {
		return nil, c.servers[f.server].kill()
	}},
	{"refold-kill-both", 1, func(_ context.Context, c *campaign, _ fault) (func(context.Context) error, error) {
		return nil, errors.Join(c.servers[0].kill(), c.servers[1].kill())
	}},
	{"refold-pause", 2, func(_ context.Context, c *campaign, f fault) (func(context.Context) error, error) {
		return stopped(c.servers[f.server].signal)
	}},
	{"postgres-kill", 2, func(ctx context.Context, c *campaign, _ fault) (func(context.Context) error, error) {
		if err := c.database.primary.Kill(); err != nil {
			return nil, err
		}
		return nil, c.database.restart(ctx)
	}},
	{"postgres-failover", 2, func(ctx context.Context, c *campaign, _ fault) (func(context.Context) error, error) {
		return c.database.follow, c.database.failover(ctx)
	}},
	{"standby-kill", 1, func(ctx context.Context, c *campaign, _ fault) (func(context.Context) error, error) {
		if err := c.database.standby.Kill(); err != nil {
			return nil, err
		}
		return nil, c.database.standby.Restart(ctx)
	}},
}

// restarter starts a node again.
func (n *node) restarter() func(context.Context) error {
	return func(context.Context) error { return n.start() }
}

// stopped sends SIGSTOP; SIGCONT follows when pauseMin has passed and the service has recovered.
func stopped(signal func(syscall.Signal) error) (func(context.Context) error, error) {
	began := time.Now()
	return func(ctx context.Context) error {
		err := pause(ctx, pauseMin-time.Since(began))
		return errors.Join(err, signal(syscall.SIGCONT))
	}, signal(syscall.SIGSTOP)
}

// crash kills nodes at once, so that none sees the others go, and starts them again.
func (c *cluster) crash(which func(i int) bool) error {
	var faults []error
	var dead []*node
	for i, n := range c.nodes {
		if which(i) {
			dead = append(dead, n)
			faults = append(faults, n.signal(syscall.SIGKILL))
		}
	}
	for _, n := range dead {
		faults = append(faults, n.kill(), n.start())
	}
	return errors.Join(faults...)
}

// leaderOf waits for an election to end.
func (c *campaign) leaderOf(ctx context.Context, shard int) (leader *node, err error) {
	err = eventually(ctx, recoverMax, func() error {
		leader, err = c.nats.leader(ctx, shard)
		return err
	})
	return leader, err
}

// followerOf is one of the other two.
func (c *campaign) followerOf(ctx context.Context, shard, which int) (*node, error) {
	leader, err := c.leaderOf(ctx, shard)
	if err != nil {
		return nil, err
	}
	for i := range natsNodes {
		if n := c.nats.nodes[(which+i)%natsNodes]; n != leader {
			return n, nil
		}
	}
	return nil, errors.New("the cluster has no follower")
}

// chosen are the kinds whose name begins with one of the prefixes; all without any.
func chosen(prefixes []string) (kinds []faultKind) {
	for _, kind := range faultKinds {
		wanted := len(prefixes) == 0
		for _, prefix := range prefixes {
			wanted = wanted || strings.HasPrefix(kind.name, prefix)
		}
		if wanted {
			kinds = append(kinds, kind)
		}
	}
	return kinds
}

func names(kinds []faultKind) (out []string) {
	for _, kind := range kinds {
		out = append(out, kind.name)
	}
	return out
}

// schedule draws faults without end: in each round every kind as often as its weight says, in an order that the random
// numbers decide.
func schedule(kinds []faultKind, random *rand.Rand) func() fault {
	var round []faultKind
	drawn := 0
	return func() fault {
		if len(round) == 0 {
			for _, kind := range kinds {
				for range kind.weight {
					round = append(round, kind)
				}
			}
			random.Shuffle(len(round), func(i, j int) { round[i], round[j] = round[j], round[i] })
		}
		f := fault{kind: round[0], shard: random.IntN(shards), node: drawn % natsNodes, server: random.IntN(servers), after: 20 + random.IntN(80)}
		round = round[1:]
		drawn++
		return f
	}
}
