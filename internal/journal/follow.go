package journal

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/refold-dev/refold/events/envelope"
)

const (
	pullDefault = 500
	// The server must show a sign of life this often, or the consumer is made anew on another one.
	heartbeat  = 2 * time.Second
	pullExpiry = 30 * time.Second
	// resetsMax bounds the attempts, 1, 2, 4, 8, 10, ... seconds apart, to make the consumer anew: it covers an
	// election and ends the follower when the stream is gone.
	resetsMax = 6
)

// Follow implements Shard: an ordered consumer, which has no state on the server that could get ahead of us.
func (s *jetShard) Follow(ctx context.Context, options FollowOptions) (Follower, error) {
	if options.Pull >= bulkPullMin && options.Tenant == "" {
		if f, err := s.followBulk(ctx, options); err == nil || !errors.Is(err, errNoBulk) {
			return f, gone(err)
		}
	}
	config := jetstream.OrderedConsumerConfig{
		DeliverPolicy:    jetstream.DeliverByStartSequencePolicy,
		OptStartSeq:      options.After + 1,
		MaxResetAttempts: resetsMax,
	}
	if options.Tenant != "" {
		filter, err := envelope.TenantSubjects(s.number, options.Tenant)
		if err != nil {
			return nil, err
		}
		config.FilterSubjects = []string{filter}
	}
	pull := options.Pull
	if pull == 0 {
		pull = pullDefault
	}
	messages, err := s.messages(ctx, config, pull)
	if err != nil {
		return nil, fmt.Errorf("follow stream %s after sequence %d: %w", s.stream, options.After, gone(err))
	}
	f := &jetFollower{
		messages: messages,
		events:   make(chan envelope.Event, pull),
		quit:     make(chan struct{}),
		decoder:  decoder{shard: s.number, names: map[string]string{}},
		last:     options.After,
		dense:    options.Tenant == "",
	}
	go f.pump()
	return f, nil
}

func (s *jetShard) messages(ctx context.Context, config jetstream.OrderedConsumerConfig, pull int) (jetstream.MessagesContext, error) {
	var consumer jetstream.Consumer
	err := patiently(ctx, func(ctx context.Context) (err error) {
		consumer, err = s.js.OrderedConsumer(ctx, s.stream, config)
		return err
	})
	if err != nil {
		return nil, err
	}
	return consumer.Messages(jetstream.PullMaxMessages(pull), jetstream.PullExpiry(pullExpiry), jetstream.PullHeartbeat(heartbeat))
}

type jetFollower struct {
	messages jetstream.MessagesContext
	events   chan envelope.Event // closed by the pump, after err was set
	err      error
	quit     chan struct{}
	once     sync.Once

	// Of the pump alone.
	decoder decoder
	last    uint64
	dense   bool

	// Of the reader alone.
	held *envelope.Event // did not fit into the bytes asked for before
}

// pump decodes ahead of the reader, by one pull at most.
func (f *jetFollower) pump() {
	defer close(f.events)
	for {
		e, err := f.receive()
		if err != nil {
			f.err = err
			return
		}
		select {
		case f.events <- e:
		case <-f.quit:
			f.err = errFollowerClosed
			return
		}
	}
}

var errFollowerClosed = errors.New("the follower is closed")

func (f *jetFollower) receive() (envelope.Event, error) {
	m, err := f.messages.Next()
	if err != nil {
		return envelope.Event{}, fmt.Errorf("follow after sequence %d: %w", f.last, gone(err))
	}
	seq, ok := streamSeq(m.Reply())
	if !ok {
		return envelope.Event{}, fmt.Errorf("follow after sequence %d: the reply subject %q holds no sequence", f.last, m.Reply())
	}
	if seq <= f.last || (f.dense && seq != f.last+1) {
		return envelope.Event{}, &GapError{Want: f.last + 1, Got: seq}
	}
	f.last = seq
	return f.decoder.decode(m.Subject(), seq, m.Headers(), m.Data()), nil
}

// Next implements Follower.
func (f *jetFollower) Next(ctx context.Context, countMax, bytesMax int) ([]envelope.Event, error) {
	first, err := f.first(ctx)
	if err != nil {
		return nil, err
	}
	events := append(make([]envelope.Event, 0, 1+len(f.events)), first)
	bytes := len(first.Data)
	for countMax <= 0 || len(events) < countMax {
		select {
		case e, ok := <-f.events:
			if !ok {
				return events, nil // the next call says why
			}
			if bytes += len(e.Data); bytesMax > 0 && bytes > bytesMax {
				f.held = &e
				return events, nil
			}
			events = append(events, e)
		default:
			return events, nil
		}
	}
	return events, nil
}

func (f *jetFollower) first(ctx context.Context) (envelope.Event, error) {
	if held := f.held; held != nil {
		f.held = nil
		return *held, nil
	}
	select {
	case e, ok := <-f.events:
		if !ok {
			return envelope.Event{}, f.err
		}
		return e, nil
	case <-ctx.Done():
		return envelope.Event{}, ctx.Err()
	}
}

// Close implements Follower.
func (f *jetFollower) Close() {
	f.once.Do(func() {
		close(f.quit)
		// The client holds its lock while it makes a consumer anew, up to seconds.
		go f.messages.Stop()
	})
}

// streamSeq reads the stream sequence out of "$JS.ACK.<stream>.<consumer>.<delivered>.<seq>...", or the longer form
// with domain and account, without splitting it.
func streamSeq(reply string) (uint64, bool) {
	position := 5
	if strings.Count(reply, ".") >= 10 {
		position = 7
	}
	for range position {
		_, rest, ok := strings.Cut(reply, ".")
		if !ok {
			return 0, false
		}
		reply = rest
	}
	token, _, _ := strings.Cut(reply, ".")
	var seq uint64
	for i := 0; i < len(token); i++ {
		if token[i] < '0' || token[i] > '9' {
			return 0, false
		}
		seq = seq*10 + uint64(token[i]-'0')
	}
	return seq, seq > 0
}
