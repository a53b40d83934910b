package journal

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/refold-dev/refold/events/envelope"
)

const (
	pullDefault = 500
	// Bounds of a batch, and of what is decoded ahead of the reader.
	batchMax   = 512
	batchBytes = 1 << 20
	aheadMax   = 4 * batchMax
	aheadBytes = 4 * batchBytes
	// batchSmall is below what batches are put together.
	batchSmall = 64
)

// Follow implements Shard. The consumers that it reads from have no state that could get ahead of us.
func (s *jetShard) Follow(ctx context.Context, options FollowOptions) (Follower, error) {
	filter := ""
	if options.Tenant != "" {
		var err error
		if filter, err = envelope.TenantSubjects(s.number, options.Tenant); err != nil {
			return nil, err
		}
	}
	running, stop := context.WithCancel(context.Background())
	r := s.newReading(running, options.After)
	r.filter, r.expect = filter, options.Expect
	if options.Pull > 0 {
		r.pull = options.Pull
	}
	r.bulk = r.pull >= bulkPullMin && filter == ""
	end := context.AfterFunc(ctx, stop) // until it has begun
	err := r.begin()
	if !end() && ctx.Err() != nil {
		err = errors.Join(ctx.Err(), err)
	}
	if err != nil {
		stop()
		r.close()
		return nil, fmt.Errorf("follow after sequence %d: %w", options.After, err)
	}
	f := &follower{
		reading: r, stop: stop, done: make(chan struct{}), added: make(chan struct{}, 1), taken: make(chan struct{}, 1),
		decoder: NewDecoder(s.number),
	}
	go f.pump()
	return f, nil
}

// follower decodes ahead of its reader.
type follower struct {
	reading *reading         // of the pump
	decoder *Decoder         // of the pump
	batch   []envelope.Event // of the pump: decoded and not handed over yet
	size    int              // of the pump: bytes of them
	stop    context.CancelFunc
	done    chan struct{} // closed when the pump has ended and its consumer is removed
	added   chan struct{} // holds a place when there is something new in batches, or the pump has ended
	taken   chan struct{} // holds a place when there is room again

	mu      sync.Mutex
	batches [][]envelope.Event // in order, none empty
	count   int                // events in them
	bytes   int
	err     error // why the pump has ended
}

var errFollowerClosed = errors.New("the follower is closed")

// pump hands over what has arrived, in batches.
func (f *follower) pump() {
	defer close(f.done)
	err := f.read()
	f.reading.close()
	if f.reading.ctx.Err() != nil {
		err = errFollowerClosed
	}
	f.mu.Lock()
	f.err = err
	f.mu.Unlock()
	signal(f.added)
}

func (f *follower) read() error {
	// A word of the server may have arrived with the last message, so that more seems to be on its way than there is.
	f.reading.quiet = f.flush
	for {
		a, err := f.reading.next()
		if err != nil {
			f.flush()
			return err
		}
		f.batch = append(f.batch, f.decode(&a))
		f.size += len(a.Data)
		if len(f.batch) == batchMax || f.size >= batchBytes || !f.reading.waiting() {
			f.flush()
		}
	}
}

// flush hands over what was decoded. Once the follower is closed it does nothing, and the reading ends by itself.
func (f *follower) flush() {
	if len(f.batch) == 0 {
		return
	}
	f.add(f.batch, f.size)
	f.batch, f.size = make([]envelope.Event, 0, batchMax), 0
}

func (f *follower) decode(a *arrival) envelope.Event {
	if a.fields != nil {
		return f.decoder.bulk.decoder.decode(a.Subject, a.Seq, a.fields, a.Data)
	}
	return f.decoder.Event(&a.Raw)
}

// add waits for room, or until the follower is closed.
func (f *follower) add(batch []envelope.Event, size int) {
	for {
		f.mu.Lock()
		if f.count == 0 || f.count+len(batch) <= aheadMax && f.bytes+size <= aheadBytes {
			f.batches = append(f.batches, batch)
			f.count += len(batch)
			f.bytes += size
			f.mu.Unlock()
			signal(f.added)
			return
		}
		f.mu.Unlock()
		select {
		case <-f.taken:
		case <-f.reading.ctx.Done():
			return
		}
	}
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Next implements Follower.
func (f *follower) Next(ctx context.Context, countMax, bytesMax int) ([]envelope.Event, error) {
	for {
		events, err := f.take(countMax, bytesMax)
		if len(events) > 0 || err != nil {
			signal(f.taken)
			return events, err
		}
		select {
		case <-f.added:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// take returns what is there. Large batches are handed over as they are, small ones put together.
func (f *follower) take(countMax, bytesMax int) ([]envelope.Event, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.batches) == 0 {
		return nil, f.err
	}
	events, bytes := f.cut(countMax, bytesMax, 0)
	for len(f.batches) > 0 && len(events) < batchMax && len(f.batches[0]) < batchSmall && (countMax <= 0 || len(events) < countMax) {
		left := 0
		if countMax > 0 {
			left = countMax - len(events)
		}
		more, added := f.cut(left, bytesMax, bytes)
		if len(more) == 0 {
			break
		}
		events, bytes = append(events, more...), bytes+added
	}
	return events, nil
}

// cut takes from the first batch what fits beside the bytes that were taken before; the very first event always does.
func (f *follower) cut(countMax, bytesMax, before int) (events []envelope.Event, bytes int) {
	batch := f.batches[0]
	n := 0
	for n < len(batch) && (countMax <= 0 || n < countMax) {
		size := len(batch[n].Data)
		if before+n > 0 && bytesMax > 0 && before+bytes+size > bytesMax {
			break
		}
		bytes += size
		n++
	}
	f.count -= n
	f.bytes -= bytes
	if n == len(batch) {
		f.batches[0] = nil
		f.batches = f.batches[1:]
	} else {
		f.batches[0] = batch[n:]
	}
	return batch[:n:n], bytes
}

// Close implements Follower. The consumer is gone when it returns, unless the server does not answer.
func (f *follower) Close() {
	f.stop()
	<-f.done
	f.mu.Lock()
	defer f.mu.Unlock()
	f.batches, f.count, f.bytes, f.err = nil, 0, 0, errFollowerClosed
}
