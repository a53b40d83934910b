package edition

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/refold-dev/refold/events/envelope"
	"github.com/refold-dev/refold/internal/journal"
)

// silent hands out what it has, and then nothing more.
type silent struct {
	journal.Shard
	journal.Follower
	has []envelope.Event
}

func (s *silent) Number() int { return 0 }
func (s *silent) Close()      {}

func (s *silent) Follow(context.Context, journal.FollowOptions) (journal.Follower, error) {
	return s, nil
}

func (s *silent) Next(ctx context.Context, _, _ int) ([]envelope.Event, error) {
	if batch := s.has; len(batch) > 0 {
		s.has = nil
		return batch, nil
	}
	<-ctx.Done()
	return nil, ctx.Err()
}

// A journal that does not hand out what it has, because a block of it is damaged, ends a read; whoever has cancelled it
// is told just that.
func TestReadDoesNotWaitForEver(t *testing.T) {
	defer func(was time.Duration) { stallMax = was }(stallMax)
	stallMax = 10 * time.Millisecond
	read := 0
	each := func(*envelope.Event) error { read++; return nil }
	shard := &silent{has: []envelope.Event{{Seq: 1}, {Seq: 2}}}
	if err := Read(t.Context(), shard, 0, 3, each); !errors.Is(err, ErrStalled) || read != 2 {
		t.Errorf("read %d of 2 events: %v, want %v", read, err, ErrStalled)
	}
	stallMax = time.Minute
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	if err := Read(cancelled, &silent{}, 0, 3, each); !errors.Is(err, context.Canceled) || errors.Is(err, ErrStalled) {
		t.Errorf("cancelled: %v", err)
	}
}
