package journal

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/refold-dev/refold/events/envelope"
)

// Raw is a stored message as it lies in its stream, an event or not.
type Raw struct {
	Seq     uint64
	Subject string
	// Header is the block of all headers, those of the broker (`Nats-*`) among them: "NATS/1.0\r\n", a line each, and
	// an empty line. It is empty for a message without headers.
	Header []byte
	Data   []byte
}

// Decoder makes events of raw messages, exactly as a Follower does. It belongs to one goroutine.
type Decoder struct{ bulk bulkDecoder }

// NewDecoder returns a Decoder for the messages of one shard.
func NewDecoder(shard int) *Decoder {
	return &Decoder{bulkDecoder{decoder: decoder{shard: shard, names: map[string]string{}}}}
}

// Event never fails: what is no event has MalformedKind. It shares the payload of m.
func (d *Decoder) Event(m *Raw) envelope.Event {
	return d.bulk.decode(m.Subject, m.Seq, m.Header, m.Data)
}

// ReadRaw hands over the messages of a shard from after+1 to upto, in order, none left out. A message and its bytes stay
// valid. Where no bulk read is possible (see Follow) the header block is written anew from the parsed headers, ordered
// by name: every value is kept, the bytes between them may differ.
func (j *Journal) ReadRaw(ctx context.Context, shard int, after, upto uint64, each func(*Raw) error) error {
	s, ok := j.Shard(shard).(*jetShard)
	if !ok {
		return fmt.Errorf("read shard %d: the journal has no such shard", shard)
	}
	if err := s.readRaw(ctx, after, upto, each); err != nil {
		return fmt.Errorf("read shard %d: %w", shard, err)
	}
	return nil
}

// rawPull is how many messages are asked for at once.
const rawPull = 5000

// rawTries bounds how often a read is begun anew without having come further.
const rawTries = 5

// readRaw begins anew where it was when the read breaks off: a server lets go of a reader that is busy for too long, as
// one that sends what it has read over a slow line.
func (s *jetShard) readRaw(ctx context.Context, after, upto uint64, each func(*Raw) error) error {
	wait := backoffMin
	for tries := 0; after < upto; tries++ {
		last, err := s.readRawOnce(ctx, after, upto, each)
		var gap *GapError
		var own *callerError
		switch {
		case err == nil:
			return nil
		case errors.As(err, &own):
			return own.error
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.As(err, &gap), errors.Is(err, ErrNoJournal):
			return err
		case errors.Is(err, errNoBulk):
			return s.readRawByLibrary(ctx, after, upto, each)
		case last > after:
			after, tries, wait = last, 0, backoffMin
		case tries == rawTries:
			return err
		}
		if !pause(ctx, wait) {
			return ctx.Err()
		}
		wait = min(2*wait, backoffMax)
	}
	return nil
}

// callerError is an error of the function that takes the messages.
type callerError struct{ error }

func (s *jetShard) readRawOnce(ctx context.Context, after, upto uint64, each func(*Raw) error) (last uint64, err error) {
	f, err := s.openBulk(ctx, FollowOptions{After: after, Pull: rawPull})
	if err != nil {
		return after, gone(err)
	}
	defer f.Close()
	return f.each(ctx, upto, each)
}

// readFrom reads from one consumer alone, whose caller removes it.
func (s *jetShard) readFrom(ctx context.Context, c *consumer, after, upto uint64, each func(*Raw) error) (last uint64, err error) {
	f, err := s.dialBulk(c, FollowOptions{After: after, Pull: rawPull})
	if errors.Is(err, errNoBulk) {
		return s.readFromByLibrary(ctx, c, after, upto, each)
	}
	if err != nil {
		return after, err
	}
	defer func() { _ = f.conn.Close() }()
	return f.each(ctx, upto, each)
}

// each drives a reader up to a sequence.
func (f *bulkFollower) each(ctx context.Context, upto uint64, each func(*Raw) error) (last uint64, err error) {
	f.expecting = true
	defer context.AfterFunc(ctx, func() { _ = f.conn.Close() })()
	for f.last < upto {
		if err := f.ask(); err != nil {
			return f.last, f.failed(err)
		}
		m, ok, err := f.receive()
		if err != nil {
			return f.last, f.failed(err)
		}
		if ok {
			if err := each(&m); err != nil {
				return f.last, &callerError{err}
			}
		}
	}
	return f.last, nil
}

// rawFailed prefers the caller's own reason to the closed connection that it led to.
func rawFailed(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

func (s *jetShard) readRawByLibrary(ctx context.Context, after, upto uint64, each func(*Raw) error) error {
	c, err := s.makeConsumer(ctx, after, "")
	if err != nil {
		return err
	}
	defer c.remove()
	_, err = s.readFromByLibrary(ctx, c, after, upto, each)
	if own, ok := errors.AsType[*callerError](err); ok {
		return own.error
	}
	return err
}

func (s *jetShard) readFromByLibrary(ctx context.Context, c *consumer, after, upto uint64, each func(*Raw) error) (last uint64, err error) {
	last = after
	found, err := s.js.Consumer(ctx, s.stream, c.name)
	if err != nil {
		return last, gone(err)
	}
	messages, err := found.Messages(jetstream.PullMaxMessages(pullDefault), jetstream.PullExpiry(pullExpiry), jetstream.PullHeartbeat(heartbeat))
	if err != nil {
		return last, gone(err)
	}
	defer messages.Stop()
	defer context.AfterFunc(ctx, messages.Stop)()
	for last < upto {
		waiting, cancel := context.WithTimeoutCause(ctx, stallMax, ErrStalled)
		m, err := messages.Next(jetstream.NextContext(waiting))
		stalled := errors.Is(context.Cause(waiting), ErrStalled)
		cancel()
		if err != nil && stalled {
			err = ErrStalled
		}
		if err != nil {
			return last, rawFailed(ctx, gone(err))
		}
		seq, ok := streamSeq(m.Reply())
		if !ok {
			return last, fmt.Errorf("the reply subject %q holds no sequence", m.Reply())
		}
		if seq != last+1 {
			return last, &GapError{Want: last + 1, Got: seq}
		}
		last = seq
		if err := each(&Raw{Seq: seq, Subject: m.Subject(), Header: headerBlock(m.Headers()), Data: m.Data()}); err != nil {
			return last, &callerError{err}
		}
	}
	return last, nil
}

// headerBlock writes parsed headers, ordered by name.
func headerBlock(h nats.Header) []byte {
	if len(h) == 0 {
		return nil
	}
	b := []byte("NATS/1.0\r\n")
	for _, name := range slices.Sorted(maps.Keys(h)) {
		for _, value := range h[name] {
			b = fmt.Appendf(b, "%s: %s\r\n", name, value)
		}
	}
	return append(b, "\r\n"...)
}
