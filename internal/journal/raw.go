package journal

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/nats-io/nats.go"

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

func (s *jetShard) readRaw(ctx context.Context, after, upto uint64, each func(*Raw) error) error {
	if after >= upto {
		return nil
	}
	r := s.newReading(ctx, after)
	r.pull, r.bulk, r.expect = rawPull, true, upto-after
	return r.each(upto, func(a *arrival) error { return each(a.raw()) })
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
