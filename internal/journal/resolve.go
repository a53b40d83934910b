package journal

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/refold-dev/refold/events/envelope"
)

// DoubtMax bounds how long an append tries to learn its outcome before it answers ErrUnknown. It is longer than
// an election and a restart of a server take.
const DoubtMax = 20 * time.Second

// settle turns the answer to the first publish into a definite outcome, or into ErrUnknown. It reads the subject
// back from the leader, and as long as our event is absent and its expectation still holds, publishes it again
// under the same id: the expectation makes that safe, however late an earlier attempt arrives. It returns the
// stored event when it is that of an earlier attempt. What was not published is not looked for.
func (s *jetShard) settle(ctx context.Context, o *outgoing, first answer) (Receipt, *envelope.Event, error) {
	window, cancel := context.WithTimeout(ctx, DoubtMax)
	defer cancel()
	r := resolution{shard: s, o: o, last: first, doubt: first.meaning == doubtful}
	if r.last.meaning == alone {
		r.publish(window)
	}
	for wait := backoffMin; ; wait = min(2*wait, backoffMax) {
		if r.last.meaning == stored {
			return Receipt{Seq: r.last.seq}, nil, nil
		}
		if r.last.meaning == unsent {
			return Receipt{}, nil, Unavailable(r.last.err)
		}
		found, err := r.look(window)
		if done, receipt, outcome := r.judge(found, err); done {
			return receipt, found.own, outcome
		}
		if !pause(window, wait/2+rand.N(wait/2)) {
			return r.leave(ctx)
		}
		if err == nil {
			r.publish(window)
		}
	}
}

// resolution is what is known about the outcome of one append.
type resolution struct {
	shard *jetShard
	o     *outgoing
	last  answer
	doubt bool // an attempt of ours may still arrive
}

func (r *resolution) publish(ctx context.Context) {
	r.last = r.shard.publishAlone(ctx, r.o)
	r.doubt = r.doubt || r.last.meaning == doubtful
}

// finding is what the leader says about the subject of an append.
type finding struct {
	own    *envelope.Event // our event is there
	moved  bool            // another's event follows the expected one
	behind bool            // the expected event is nowhere in the journal
	lost   bool            // the leader lacks the expected event, another replica has it
}

func (r *resolution) look(ctx context.Context) (finding, error) {
	ctx, cancel := context.WithTimeout(ctx, askMax)
	defer cancel()
	if r.last.meaning == duplicate {
		return r.lookAt(ctx, r.last.seq)
	}
	return r.lookBehind(ctx)
}

// lookAt judges the event that the server took for ours because of its message id.
func (r *resolution) lookAt(ctx context.Context, seq uint64) (finding, error) {
	e, err := r.shard.ask(ctx, getRequest{Seq: seq})
	if err != nil || e == nil {
		return finding{}, err
	}
	if r.o.isOwn(e) {
		return finding{own: e}, nil
	}
	return finding{moved: true}, nil
}

// lookBehind walks over the events of the entity that follow the expected one.
func (r *resolution) lookBehind(ctx context.Context) (finding, error) {
	newest, err := r.shard.ask(ctx, getRequest{LastFor: r.o.subject})
	switch {
	case err != nil:
		return finding{}, err
	case newest == nil || newest.Seq < r.o.last:
		return r.lookElsewhere(ctx)
	case newest.Seq == r.o.last:
		return finding{}, nil
	case r.o.isOwn(newest):
		return finding{own: newest}, nil
	}
	for seq := r.o.last + 1; seq < newest.Seq; {
		e, err := r.shard.ask(ctx, getRequest{Seq: seq, NextFor: r.o.subject})
		if err != nil {
			return finding{}, err
		}
		if e == nil {
			return finding{}, fmt.Errorf("event %d of %s vanished while it was read back", seq, r.o.key)
		}
		if r.o.isOwn(e) {
			return finding{own: e}, nil
		}
		seq = e.Seq + 1
	}
	return finding{moved: true}, nil
}

// lookElsewhere tells why the leader's subject ends before the expected event: that is not in the journal, or the leader's
// copy is damaged.
func (r *resolution) lookElsewhere(ctx context.Context) (finding, error) {
	if r.o.last == 0 {
		return finding{}, nil
	}
	e, err := r.shard.elsewhere(ctx, r.o.last)
	switch {
	case errors.Is(err, ErrNoEvent):
		return finding{behind: true}, nil
	case err != nil:
		return finding{}, err
	}
	return finding{lost: e.Key == r.o.key, behind: e.Key != r.o.key}, nil
}

// judge tells whether the outcome is definite now.
func (r *resolution) judge(f finding, lookErr error) (done bool, receipt Receipt, outcome error) {
	switch {
	case lookErr != nil:
		return false, Receipt{}, nil
	case f.own != nil:
		return true, Receipt{Seq: f.own.Seq, Repeated: true}, nil
	case f.moved:
		// The expectation can never hold again, so no attempt of ours can be stored any more either.
		return true, Receipt{}, ErrConflict
	case r.doubt:
		return false, Receipt{}, nil
	case r.last.meaning == full:
		return true, Receipt{}, fmt.Errorf("%w: %w", ErrFull, r.last.err)
	case r.last.meaning == tooLarge:
		return true, Receipt{}, fmt.Errorf("%w: %w", ErrTooLarge, r.last.err)
	case f.lost && r.last.meaning == raced:
		return true, Receipt{}, Unavailable(fmt.Errorf("the leader of shard %d has lost event %d, which other replicas have: find it with `refold journal check --replicas` and rebuild it", r.shard.number, r.o.last))
	case f.behind && r.last.meaning == raced:
		return true, Receipt{}, fmt.Errorf("%w: the expected event is not in the journal", ErrConflict)
	}
	return false, Receipt{}, nil
}

// leave is called when the window of doubt or the caller's patience is over. The caller has left, so one last
// look is taken on our own time.
func (r *resolution) leave(ctx context.Context) (Receipt, *envelope.Event, error) {
	detached, cancel := context.WithTimeout(context.WithoutCancel(ctx), detachedMax)
	defer cancel()
	found, err := r.look(detached)
	if done, receipt, outcome := r.judge(found, err); done {
		return receipt, found.own, outcome
	}
	reason := errors.Join(ctx.Err(), r.last.err, err)
	// A duplicate is mostly this very event, stored by an earlier call.
	if r.doubt || r.last.meaning == duplicate {
		return Receipt{}, nil, fmt.Errorf("%w: %w", ErrUnknown, reason)
	}
	return Receipt{}, nil, Unavailable(reason)
}
