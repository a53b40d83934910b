package activity

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Bounds of the stream and of what is on its way.
const (
	streamAgeMax = 7 * 24 * time.Hour
	// StreamBytesMax is the most that the stream keeps of what is on its way.
	StreamBytesMax = 256 << 20
	batchCountMax  = 1000
	batchBytesMax  = 1 << 20
	// linger lets a batch fill up.
	linger      = 200 * time.Millisecond
	publishWait = 5 * time.Second
	// flushWait bounds the last batches of a process that ends.
	flushWait  = 3 * time.Second
	ackWait    = 30 * time.Second
	fetchCount = 16
	fetchWait  = 2 * time.Second
	retryMin   = 100 * time.Millisecond
	retryMax   = 5 * time.Second
	durable    = "writer"
)

// batch is one message of the stream.
type batch struct {
	ID       uuid.UUID `json:"id"`
	Accesses []Access  `json:"accesses"`
	// Lost is how many accesses its process dropped before it.
	Lost int64 `json:"lost,omitempty"`
}

// stream is the stream of the accesses. Its name contains the journal's ULID: it is never used for another plane.
type stream struct {
	js      jetstream.JetStream
	name    string
	subject string
}

func newStream(nc *nats.Conn, journalID string) (*stream, error) {
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, fmt.Errorf("stream of accesses: %w", err)
	}
	return &stream{js, "REFOLD-ACTIVITY-" + journalID, "activity." + journalID}, nil
}

// ensure makes the stream and its consumer, or brings them to their settings.
func (s *stream) ensure(ctx context.Context, replicas int, bytesMax int64) (jetstream.Consumer, error) {
	made, err := s.js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{
		Name: s.name, Description: "refold accesses: no journal, drops its oldest", Subjects: []string{s.subject},
		Storage: jetstream.FileStorage, Retention: jetstream.WorkQueuePolicy, Discard: jetstream.DiscardOld,
		MaxAge: streamAgeMax, MaxBytes: cmp.Or(bytesMax, StreamBytesMax), MaxMsgSize: batchBytesMax, Replicas: max(replicas, 1),
	})
	if err != nil {
		return nil, fmt.Errorf("stream %s: %w", s.name, err)
	}
	consumer, err := made.CreateOrUpdateConsumer(ctx, jetstream.ConsumerConfig{
		Durable: durable, AckPolicy: jetstream.AckExplicitPolicy, DeliverPolicy: jetstream.DeliverAllPolicy,
		AckWait: ackWait, MaxDeliver: -1, MaxAckPending: 4 * fetchCount,
	})
	if err != nil {
		return nil, fmt.Errorf("consumer of stream %s: %w", s.name, err)
	}
	return consumer, nil
}

func (s *stream) publish(ctx context.Context, b batch) error {
	body, err := json.Marshal(b)
	if err != nil {
		return fmt.Errorf("batch of accesses: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, publishWait)
	defer cancel()
	_, err = s.js.Publish(ctx, s.subject, body, jetstream.WithMsgID(b.ID.String()))
	return err
}

// fill carries what the recorder takes into the stream until ctx ends, and then what still waits, for a moment. A batch
// that the stream does not take is tried again, under its id, and meanwhile the recorder fills up.
func (l *Log) fill(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return l.flush(ctx)
		case <-l.Recorder.some():
		}
		select {
		case <-ctx.Done():
			return l.flush(ctx)
		case <-time.After(linger):
		}
		if err := l.send(ctx, l.next()); err != nil {
			return l.flush(ctx)
		}
	}
}

// next is the batch to send: the one that failed, or a new one.
func (l *Log) next() batch {
	if l.unsent == nil {
		b := batch{ID: uuid.Must(uuid.NewV7())}
		b.Accesses, b.Lost = l.Recorder.take(batchCountMax)
		l.unsent = &b
	}
	return *l.unsent
}

// send tries until the stream has the batch; it fails only when ctx ends.
func (l *Log) send(ctx context.Context, b batch) error {
	for pause := retryMin; ; pause = min(2*pause, retryMax) {
		err := l.stream.publish(ctx, b)
		if err == nil {
			l.unsent = nil
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		l.Logger.Warn("accesses could not be handed to their stream, which is tried again", "error", err)
		if errors.Is(err, nats.ErrNoStreamResponse) || errors.Is(err, jetstream.ErrNoStreamResponse) {
			// Somebody has removed it. What was in it is lost; the gap shows when it is emptied.
			if _, err := l.stream.ensure(ctx, l.Replicas, l.BytesMax); err != nil && ctx.Err() == nil {
				l.Logger.Warn("the stream of accesses could not be made", "error", err)
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
	}
}

func (l *Log) flush(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), flushWait)
	defer cancel()
	for l.unsent != nil || l.Recorder.Counts().Waiting > 0 {
		if l.send(ctx, l.next()) != nil {
			left := int64(0)
			if l.unsent != nil {
				left = l.unsent.size()
			}
			l.Logger.Warn("accesses were lost at the end of the process: their stream does not answer", "accesses", left+l.Recorder.Counts().Waiting)
			return nil
		}
	}
	return nil
}

func (b batch) size() (n int64) {
	for _, a := range b.Accesses {
		n += int64(len(a.Memories))
	}
	return n
}
