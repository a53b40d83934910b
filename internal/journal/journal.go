// Package journal keeps all events, the only truth of the plane. A journal consists of shards; a shard is one
// JetStream stream, one total order and one sequence. This package alone knows how an event is appended with
// certainty, what an answer of JetStream means, and how to prove that a stream is still the one it was.
package journal

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/refold-dev/refold/events/envelope"
)

var (
	// ErrConflict: another event of the entity came first; nothing was stored. Load its history again and decide again.
	ErrConflict = errors.New("the entity has changed meanwhile")
	// ErrUnknown: the event may or may not be stored. Repeat the command with the same id until the answer is definite.
	ErrUnknown = errors.New("outcome unknown: repeat with the same command id")
	// ErrUnavailable: this attempt stored nothing and decided nothing, because something that it needs does not answer.
	// Repeat the command with the same id. It says nothing about earlier attempts: one that was unknown still is. No
	// error is both ErrUnknown and ErrUnavailable.
	ErrUnavailable = errors.New("unavailable: this attempt stored nothing, repeat with the same command id")
	// ErrFull: the journal's disk budget is used up; nothing was stored. Raise the budget or add shards.
	ErrFull = errors.New("the journal is full")
	// ErrTooLarge: the event exceeds the message or header limit; nothing was stored.
	ErrTooLarge = errors.New("the event is too large for the journal")
	// ErrStalled: events are there and the journal does not hand them out. The store of a server is damaged, or it is
	// overloaded: its log says more.
	ErrStalled = errors.New("the journal does not hand out the events that it has")
	// ErrNoEvent: the shard holds no event at this sequence.
	ErrNoEvent = errors.New("no event at this sequence")
)

// Unavailable returns ErrUnavailable with the reason for it. The caller has made sure that the attempt stored nothing.
func Unavailable(reason error) error { return fmt.Errorf("%w: %w", ErrUnavailable, reason) }

// Partly returns the error of one command of several as that of them all, of which something may be stored:
// ErrUnavailable becomes ErrUnknown.
func Partly(err error) error {
	if errors.Is(err, ErrUnavailable) {
		return fmt.Errorf("%w: %s", ErrUnknown, err.Error())
	}
	return err
}

// GapError: a reader was handed sequence Got where Want had to follow. Nothing may ever be deleted from a
// journal, so the reader must stop and the shard must be looked at.
type GapError struct{ Want, Got uint64 }

func (e *GapError) Error() string {
	return fmt.Sprintf("gap in the journal: want sequence %d, got %d", e.Want, e.Got)
}

// Receipt says where an accepted event stands.
type Receipt struct {
	Seq uint64
	// Repeated is true when the event had been stored by an earlier attempt of the same command.
	Repeated bool
}

// Facts are what the continuity check compares a checkpoint with.
type Facts struct {
	JournalID   string
	Incarnation uint64 // raised by a reconciliation after a restore
	Shard       int
	Shards      int
	Stream      string // name; contains a ULID and is never used again
	Created     time.Time
	FirstSeq    uint64
	LastSeq     uint64
	Messages    uint64
	Deleted     uint64 // interior deletes; anything but 0 is a fault
	Bytes       uint64
	BytesMax    uint64 // disk budget, 0 = none
	Replicas    int
	// DedupeWindow is how long JetStream itself recognises a repeated message id.
	DedupeWindow time.Duration
	Leader       string // name of the server that answers, empty when not clustered
	// Consumers is how many readers the stream has, of all processes and tools. The server allows 1,000 unless it is
	// configured otherwise.
	Consumers int
	// Compressed: an older refold made the stream. See CompressionRisk.
	Compressed bool
}

// FollowOptions say where and how a Follower reads.
type FollowOptions struct {
	After  uint64 // the first event delivered is After+1 (or the first behind it, for a filtered read)
	Tenant string // only this tenant's events; empty = all, checked for density
	Pull   int    // events asked for at once; 0 = 500
	// Expect is how many events are known to be there. While fewer have come, Next does not wait without end for the next
	// one: it fails with a *ReadError that is ErrStalled after about a minute.
	Expect uint64
}

// Follower reads a shard in order. It belongs to one goroutine.
type Follower interface {
	// Next waits until at least one event is there and returns what has already arrived, in order, up to the
	// bounds (0 = no bound; one event is returned even if it alone exceeds bytesMax). The events and their
	// payloads stay valid. It fails with ctx.Err(), a *GapError, or an error of the connection after which the
	// follower is of no more use. A message that is no event is returned with its headers as far as they could
	// be read and an empty Kind: the caller decides (see MalformedKind).
	//
	// A lost connection, a lost leader, a server that does not answer and one that does not hand out what it has are no
	// failures at first: the follower goes on from another replica, and gives up with a *ReadError after about a minute
	// without an event that must be there. A *GapError, inside a *ReadError, is believed when every replica has it.
	Next(ctx context.Context, countMax, bytesMax int) ([]envelope.Event, error)
	// Close ends the follower and removes what it has on the server.
	Close()
}

// Shard is one totally ordered part of the journal. JetStream and the fake of journaltest implement it.
type Shard interface {
	Number() int
	// Append stores the event iff last is the sequence of the newest event of its entity (0 = there is none).
	// On success e.Shard and e.Seq are set and the event is durable as far as the server promises. Every other
	// outcome is one of ErrConflict, ErrFull, ErrTooLarge, ErrUnavailable (surely not stored), ErrUnknown (perhaps stored).
	// An event stored by an earlier attempt with the same command id and request hash is a success; *e then
	// becomes the stored event. It is looked for behind last: a caller who has it in the history it read must not
	// append it again. An event that fails Check gets that error, and nothing is stored.
	Append(ctx context.Context, e *envelope.Event, last uint64) (Receipt, error)
	// History returns all events of an entity, oldest first. It may lag behind on a cluster: a decision made on
	// it is checked by Append.
	History(ctx context.Context, key envelope.Key) ([]envelope.Event, error)
	// Visit calls visit with the events of an entity up to a version, oldest first and each once, and returns its error. It
	// holds a page of them at a time, a few megabytes, however long the history is. It fails with ErrNoEvent when one of
	// them is not there.
	Visit(ctx context.Context, key envelope.Key, upTo uint64, visit func(*envelope.Event) error) error
	// Last returns the newest event of an entity, read from the leader of the stream, or nil when there is none.
	Last(ctx context.Context, key envelope.Key) (*envelope.Event, error)
	// At returns the event at a sequence, read from the leader, or from another replica when the leader has lost it. It fails
	// with ErrNoEvent when no replica has it.
	At(ctx context.Context, seq uint64) (*envelope.Event, error)
	// Facts returns the continuity facts as the leader knows them.
	Facts(ctx context.Context) (Facts, error)
	Follow(ctx context.Context, options FollowOptions) (Follower, error)
	// Count returns how many events of a tenant follow a sequence, as the stream counts them itself: who reads by
	// tenant, and so cannot see that sequences are dense, holds what was delivered against it.
	Count(ctx context.Context, tenant string, after uint64) (uint64, error)
	// Reconnects counts how often the connection to the journal was lost and made again. Whoever rests on the
	// journal's past checks its continuity anew when the number has grown.
	Reconnects() uint64
}
