package journal

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/refold-dev/refold/events/envelope"
)

const (
	// publishMax bounds the wait for the answer to one publish.
	publishMax = 2 * time.Second
	// detachedMax bounds what is still done for a caller who has left: one attempt to learn the outcome.
	detachedMax = 2 * time.Second
)

// Append implements Shard. When an earlier attempt of the same command is found in the journal, *e becomes the
// event that is stored there.
func (s *jetShard) Append(ctx context.Context, e *envelope.Event, last uint64) (Receipt, error) {
	o, err := newOutgoing(s.number, e, last)
	if err != nil {
		return Receipt{}, err
	}
	if err := ctx.Err(); err != nil {
		return Receipt{}, Unavailable(err)
	}
	first := s.firstAnswer(ctx, o)
	receipt, own, err := s.settle(ctx, o, first)
	if err != nil {
		return Receipt{}, fmt.Errorf("append to %s after sequence %d: %w", o.key, o.last, err)
	}
	if own != nil {
		*e = *own
	}
	e.Shard, e.Seq = s.number, receipt.Seq
	return receipt, nil
}

// firstAnswer publishes the event, together with others that wait. Everything that is not plain success is
// settled afterwards for each event by itself.
func (s *jetShard) firstAnswer(ctx context.Context, o *outgoing) answer {
	s.refreshBudget(ctx)
	if !s.budget.admits(o.key.Tenant, o.bytes) {
		return answer{meaning: full, err: errors.New("the last part of the budget is kept for the plane's own events")}
	}
	return s.commits.submit(ctx, o)
}

func (s *jetShard) refreshBudget(ctx context.Context) {
	if !s.budget.stale() {
		return
	}
	// A failure is no reason not to append: the estimate goes on, and the stream has the last word.
	_ = once(ctx, func(ctx context.Context) error {
		stream, err := s.js.Stream(ctx, s.stream)
		if err != nil {
			return err
		}
		info := stream.CachedInfo()
		s.budget.set(info.State.Bytes, uint64(max(info.Config.MaxBytes, 0)))
		return nil
	})
}

// publishAlone publishes one event and waits for the answer.
func (s *jetShard) publishAlone(ctx context.Context, o *outgoing) answer {
	ctx, cancel := context.WithTimeout(ctx, publishMax)
	defer cancel()
	// The client's own retries would hold up the others of the round; settle repeats for this event alone.
	ack, err := s.js.PublishMsg(ctx, o.message(s.stream), jetstream.WithRetryAttempts(0))
	a := answerOf(s.stream, ack, err)
	if a.meaning == stored {
		s.budget.add(o.bytes)
	}
	return a
}
