package journal

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/refold-dev/refold/events/envelope"
)

// metaRewriting is in the metadata of a stream whose replicas are being written again, uncompressed. It holds how many
// replicas it is to have in the end, so that a move that was cut short can be repeated.
const metaRewriting = "refold-rewriting"

// ErrNotMoved is returned by Decompress when a stream was left as it is, or half way. The error says which replica stands
// in the way; put that right and repeat the command.
var ErrNotMoved = errors.New("the compressed stream was not moved")

const (
	// replicasMax bounds how long a stream may take to get or to lose replicas, beside what it takes to copy them.
	replicasMax = 10 * time.Minute
	// replicaMax bounds how long a replica may take until it serves readers.
	replicaMax = 2 * time.Minute
	// forgetWait is given to a server to remove the files of a replica before it gets another one of the same stream:
	// it removes them in the background.
	forgetWait = 10 * time.Second
)

// Decompressed is what Decompress did to a shard.
type Decompressed struct {
	Shard  int    `json:"shard"`
	Stream string `json:"stream"`
	Events uint64 `json:"events"` // that were read, in each replica, before and after
	Chain  string `json:"chain"`  // of them
	// Rewritten are the servers whose replica was written again, uncompressed.
	Rewritten []string `json:"rewritten"`
	// Note is what remains to be done, or empty.
	Note string `json:"note,omitempty"`
}

// Decompress moves the compressed shards of a journal to uncompressed ones; others are left alone. No sequence changes.
//
// The setting of a stream alone does not suffice: a server goes on compressing until it is restarted, blocks that were
// compressed stay so, and a restart is what damages them. So each replica is written again by the servers themselves: the
// stream is cut back to the replica of its leader and its other replicas are made again; then a new replica leads, and the cut is repeated.
// Before and after, every replica is read to its end, and all must have the same chain. While a stream has one replica,
// what is acknowledged rests on one server. A stream that has one replica anyway is only told not to compress any more.
//
// It may be repeated, and goes on with a move that was cut short. tell is told of each step; nil = nobody listens.
func (j *Journal) Decompress(ctx context.Context, tell func(string)) ([]Decompressed, error) {
	if tell == nil {
		tell = func(string) {}
	}
	var moved []Decompressed
	for _, s := range j.shards {
		m := &move{journal: j, shard: s, tell: func(format string, a ...any) { tell(fmt.Sprintf("shard %d: ", s.number) + fmt.Sprintf(format, a...)) }}
		one, err := m.run(ctx)
		if err != nil {
			return moved, fmt.Errorf("decompress shard %d: %w", s.number, err)
		}
		if one != nil {
			moved = append(moved, *one)
		}
	}
	return moved, nil
}

// move is the move of one stream.
type move struct {
	journal *Journal
	shard   *jetShard
	tell    func(format string, a ...any)

	upto uint64 // events up to here must have the same chain in the end
	want envelope.Digest
}

func (m *move) run(ctx context.Context) (*Decompressed, error) {
	info, err := m.info(ctx)
	if err != nil {
		return nil, err
	}
	replicas := info.Config.Replicas
	if mark := info.Config.Metadata[metaRewriting]; mark != "" {
		if replicas, err = strconv.Atoi(mark); err != nil {
			return nil, fmt.Errorf("%w: metadata %s is %q", ErrForeign, metaRewriting, mark)
		}
	} else if info.Config.Compression == jetstream.NoCompression {
		return nil, nil
	}
	m.upto = info.State.LastSeq
	if err := m.compare(ctx); err != nil {
		return nil, err
	}
	done := &Decompressed{Shard: m.shard.number, Stream: m.shard.stream, Events: m.upto, Chain: hex.EncodeToString(m.want[:])}
	if replicas <= 1 {
		done.Note = "restart the server: until then it compresses. What it has compressed stays so, which does no harm to a stream with one replica; do not give it more"
		return done, m.edit(ctx, func(c *jetstream.StreamConfig) { c.Compression = jetstream.NoCompression })
	}
	err = m.edit(ctx, func(c *jetstream.StreamConfig) {
		c.Compression, c.Metadata[metaRewriting] = jetstream.NoCompression, strconv.Itoa(replicas)
	})
	if err != nil {
		return nil, err
	}
	if done.Rewritten, err = m.rewrite(ctx, replicas); err != nil {
		return nil, err
	}
	return done, m.edit(ctx, func(c *jetstream.StreamConfig) { delete(c.Metadata, metaRewriting) })
}

// rewrite has every replica written again, those of the others first and that of the leader then.
func (m *move) rewrite(ctx context.Context, replicas int) (rewritten []string, err error) {
	for len(rewritten) < replicas {
		kept, err := m.cutBack(ctx, rewritten)
		if err != nil {
			return rewritten, err
		}
		peers, err := m.grow(ctx, replicas)
		if err != nil {
			return rewritten, err
		}
		if err := m.compare(ctx); err != nil {
			return rewritten, err
		}
		before := len(rewritten)
		for _, p := range peers {
			if p.Server != kept && !slices.Contains(rewritten, p.Server) {
				rewritten = append(rewritten, p.Server)
			}
		}
		if len(rewritten) == before {
			return rewritten, fmt.Errorf("%w: the replica on %s would be kept once more", ErrNotMoved, kept)
		}
	}
	return rewritten, nil
}

// cutBack leaves one replica, which is one of those that were rewritten when there are any, and returns its server.
func (m *move) cutBack(ctx context.Context, rewritten []string) (string, error) {
	info, err := m.info(ctx)
	if err != nil {
		return "", err
	}
	if info.Config.Replicas > 1 {
		if len(rewritten) > 0 {
			if err := m.lead(ctx, rewritten[0]); err != nil {
				return "", err
			}
		}
		m.tell("cut back to one replica")
		if err := m.edit(ctx, func(c *jetstream.StreamConfig) { c.Replicas = 1 }); err != nil {
			return "", err
		}
	}
	peers, err := m.await(ctx, "has one replica", func(info *jetstream.StreamInfo) bool {
		return info.Cluster != nil && info.Cluster.Leader != "" && len(info.Cluster.Replicas) == 0
	})
	if err != nil {
		return "", err
	}
	if len(rewritten) > 0 && !slices.Contains(rewritten, peers[0].Server) {
		return "", fmt.Errorf("%w: the server kept the replica on %s, which was not written again yet; repeat the command", ErrNotMoved, peers[0].Server)
	}
	if !pause(ctx, forgetWait) {
		return "", ctx.Err()
	}
	return peers[0].Server, nil
}

// grow gives the stream its replicas again and waits until they have everything.
func (m *move) grow(ctx context.Context, replicas int) ([]Peer, error) {
	m.tell("copy to %d replicas", replicas)
	if err := m.edit(ctx, func(c *jetstream.StreamConfig) { c.Replicas = replicas }); err != nil {
		return nil, err
	}
	return m.await(ctx, fmt.Sprintf("has %d replicas that are current", replicas), func(info *jetstream.StreamInfo) bool {
		return info.Cluster != nil && info.Cluster.Leader != "" && len(info.Cluster.Replicas) == replicas-1 &&
			!slices.ContainsFunc(info.Cluster.Replicas, func(p *jetstream.PeerInfo) bool { return !p.Current || p.Offline })
	})
}

// lead makes a server the leader.
func (m *move) lead(ctx context.Context, server string) error {
	body, err := json.Marshal(map[string]any{"placement": map[string]string{"preferred": server}})
	if err != nil {
		return err
	}
	_, err = m.await(ctx, "is led by "+server, func(info *jetstream.StreamInfo) bool {
		if info.Cluster == nil || info.Cluster.Leader == server {
			return info.Cluster != nil
		}
		// It may be refused while the new replica is not ready to lead: it is asked again.
		_ = once(ctx, func(ctx context.Context) error {
			_, err := m.shard.nc.RequestWithContext(ctx, "$JS.API.STREAM.LEADER.STEPDOWN."+m.shard.stream, body)
			return err
		})
		return false
	})
	return err
}

// await asks for the stream until it is as wanted.
func (m *move) await(ctx context.Context, what string, as func(*jetstream.StreamInfo) bool) ([]Peer, error) {
	ctx, cancel := context.WithTimeout(ctx, replicasMax)
	defer cancel()
	for {
		info, err := m.info(ctx)
		if err == nil && as(info) {
			return peersOf(info.Cluster), nil
		}
		if !pause(ctx, backoffMax) {
			return nil, fmt.Errorf("%w: wait until stream %s %s: %w", ErrNotMoved, m.shard.stream, what, errors.Join(err, ctx.Err()))
		}
	}
}

func (m *move) info(ctx context.Context) (info *jetstream.StreamInfo, err error) {
	err = patiently(ctx, func(ctx context.Context) error {
		stream, err := m.shard.js.Stream(ctx, m.shard.stream)
		if err == nil {
			info = stream.CachedInfo()
		}
		return gone(err)
	})
	return info, err
}

func (m *move) edit(ctx context.Context, change func(*jetstream.StreamConfig)) error {
	info, err := m.info(ctx)
	if err != nil {
		return err
	}
	config := info.Config
	change(&config)
	err = patiently(ctx, func(ctx context.Context) error {
		_, err := m.shard.js.UpdateStream(ctx, config)
		return err
	})
	if err != nil {
		return fmt.Errorf("update stream %s: %w", m.shard.stream, err)
	}
	return nil
}

// compare reads every replica to the end that the leader has now: all have the same chain, and up to m.upto it is the one
// that the first look found.
func (m *move) compare(ctx context.Context) error {
	info, err := m.info(ctx)
	if err != nil {
		return err
	}
	last := info.State.LastSeq
	if last < m.upto {
		return fmt.Errorf("%w: stream %s ends at %d, it had %d events", ErrNotMoved, m.shard.stream, last, m.upto)
	}
	var all envelope.Digest
	for i, peer := range peersOf(info.Cluster) {
		m.tell("read the replica on %s", peer.Server)
		some, whole, err := m.chainPatiently(ctx, peer.Server, last)
		if err != nil {
			return fmt.Errorf("%w: %w", ErrNotMoved, err)
		}
		if m.want == (envelope.Digest{}) {
			m.want = some
		}
		if i == 0 {
			all = whole
		}
		if some != m.want || whole != all {
			return fmt.Errorf("%w: the replica of stream %s on %s has other events; see `refold journal check --each-replica`", ErrNotMoved, m.shard.stream, peer.Server)
		}
	}
	return nil
}

// chainPatiently waits for a replica that takes no readers yet: the servers let it once all of them know it.
func (m *move) chainPatiently(ctx context.Context, server string, last uint64) (some, whole envelope.Digest, err error) {
	waiting, cancel := context.WithTimeout(ctx, replicaMax)
	defer cancel()
	for {
		some, whole, err = m.chain(ctx, server, last)
		if !errors.Is(err, ErrNoReplica) || !pause(waiting, backoffMax) {
			return some, whole, err
		}
	}
}

// chain reads one replica and returns the chains up to m.upto and up to last.
func (m *move) chain(ctx context.Context, server string, last uint64) (some, whole envelope.Digest, err error) {
	decoder := NewDecoder(m.shard.number)
	var scratch []byte
	err = m.journal.ReadReplica(ctx, m.shard.number, server, 0, last, func(raw *Raw) error {
		e := decoder.Event(raw)
		var digest envelope.Digest
		digest, scratch = e.Digest(scratch)
		whole = whole.Chain(digest)
		if raw.Seq == m.upto {
			some = whole
		}
		return nil
	})
	return some, whole, err
}
