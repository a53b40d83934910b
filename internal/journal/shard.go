package journal

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// ErrClosed is why Append is ErrUnavailable after Journal.Close.
var ErrClosed = errors.New("the journal is closed")

// jetShard is a Shard over one stream of JetStream. It is safe for concurrent use.
type jetShard struct {
	js       jetstream.JetStream
	nc       *nats.Conn
	stream   string
	number   int
	replicas int
	// replicated: a direct get may be answered by a replica that lags behind the leader.
	replicated bool
	commits    *committer
	budget     *budget
	// consumers holds a place for every consumer that this process has on the stream.
	consumers chan struct{}
	bounds    bounds
}

var _ Shard = (*jetShard)(nil)

func newShard(js jetstream.JetStream, nc *nats.Conn, id identity) *jetShard {
	s := &jetShard{js: js, nc: nc, stream: id.stream, number: id.shard, replicas: max(id.config.Replicas, 1), replicated: id.config.Replicas > 1, budget: &budget{}, consumers: make(chan struct{}, consumersMax), bounds: patient}
	s.budget.set(id.bytes, uint64(max(id.config.MaxBytes, 0)))
	s.commits = newCommitter(s)
	return s
}

// Number implements Shard.
func (s *jetShard) Number() int { return s.number }

const (
	// patienceMax bounds how long a read waits for a stream to have a leader again; an election takes 4 to 9 s.
	patienceMax = 10 * time.Second
	// askMax bounds one question to the leader.
	askMax = 2 * time.Second

	backoffMin = 20 * time.Millisecond
	backoffMax = 500 * time.Millisecond
)

// patiently repeats a read while the stream has no leader, until ctx or patienceMax is over.
func patiently(ctx context.Context, read func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, patienceMax)
	defer cancel()
	for wait := backoffMin; ; wait = min(2*wait, backoffMax) {
		err := once(ctx, read)
		if err == nil || !leaderless(err) {
			return err
		}
		if !pause(ctx, wait) {
			return err
		}
	}
}

func once(ctx context.Context, read func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, askMax)
	defer cancel()
	return read(ctx)
}

// leaderless tells whether an error may pass once the stream has a leader and the client a connection again.
func leaderless(err error) bool {
	if api, ok := errors.AsType[*jetstream.APIError](err); ok {
		return api.Code == 503 || api.ErrorCode == codeStreamOffline
	}
	return errors.Is(err, errNoLeader) || errors.Is(err, nats.ErrNoResponders) || errors.Is(err, nats.ErrTimeout) ||
		errors.Is(err, context.DeadlineExceeded) || errors.Is(err, nats.ErrDisconnected) ||
		errors.Is(err, jetstream.ErrNoStreamResponse) || errors.Is(err, nats.ErrReconnectBufExceeded)
}

// pause waits and tells whether ctx is still alive afterwards.
func pause(ctx context.Context, wait time.Duration) bool {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
