// Package command turns a wish into at most one event: history -> Evolve -> Decide -> append -> outcome.
// It knows no entity; Evolve and Decide are handed to it.
package command

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/refold-dev/refold/events/envelope"
	"github.com/refold-dev/refold/internal/journal"
)

// AttemptsMax bounds how often a command is decided again after a lost race.
const AttemptsMax = 64

// ErrBusy: the entity is so contended that the command lost every one of AttemptsMax races. Nothing was stored;
// try again later.
var ErrBusy = errors.New("the entity is too busy: nothing was stored, try again")

// Payload is the content of an event as Decide returns it.
type Payload interface {
	Kind() string
	Halves() (public, private []byte, err error)
}

// Request is what surrounds a command: who, about what, under which idempotency key.
type Request struct {
	Key envelope.Key
	// TenantKey makes message ids unguessable and apart for each tenant.
	TenantKey []byte
	// CommandID is the idempotency key: the same id with the same RequestHash on the same entity is the same
	// command, for ever.
	CommandID string
	// RequestHash is a digest over everything that makes up the command.
	RequestHash string
	Actor       string
	TraceParent string
	// Fresh tells that the entity most likely does not exist (a create under a new id), so nothing is read first.
	Fresh bool
	// IfVersion, when not nil, refuses with PreconditionFailed unless the entity is at this version.
	IfVersion *uint64
}

// Outcome is the answer to an accepted command.
type Outcome struct {
	Version  uint64 // entity version after the command
	Seq      uint64 // position of its newest event in the shard
	Event    *envelope.Event
	Repeated bool // an earlier attempt had been accepted
	Nothing  bool // there was nothing to do
}

// Evolve folds one event into a state. It is pure.
type Evolve[S any] func(S, *envelope.Event) (S, error)

// Decide answers a command in a state: an event, a *Refusal, or nil and nil when there is nothing to do.
// It is pure.
type Decide[S, C any, E Payload] func(S, C) (E, error)

// Execute runs one command. On return the outcome is definite (accepted, or a *Refusal, ErrBusy,
// journal.ErrFull, journal.ErrTooLarge, journal.ErrUnavailable: surely not stored by this call) or
// journal.ErrUnknown (perhaps stored; repeat with the same CommandID). A refusal is given only after the leader
// confirmed that the state it rests on is the newest.
func Execute[S, C any, E Payload](ctx context.Context, shard journal.Shard, r Request, evolve Evolve[S], decide Decide[S, C, E], cmd C) (Outcome, error) {
	fresh := r.Fresh
	// Whatever was appended in an earlier round lost its race and can never be stored, so what cannot be read in a later
	// one leaves nothing in doubt.
	for range AttemptsMax {
		known, err := load(ctx, shard, r, evolve, fresh)
		if err != nil {
			return Outcome{}, journal.Unavailable(err)
		}
		fresh = false
		if known.own != nil {
			return repeated(r, known.own)
		}
		event, err := decideOne(known, r, decide, cmd)
		if event == nil {
			// A refusal, or nothing to do: only true if the state is the newest.
			newest, lastErr := isNewest(ctx, shard, r.Key, known.seq)
			if lastErr != nil {
				return Outcome{}, journal.Unavailable(lastErr)
			}
			if !newest {
				continue
			}
			return Outcome{Version: known.version, Seq: known.seq, Nothing: true}, err
		}
		receipt, err := shard.Append(ctx, event, known.seq)
		if errors.Is(err, journal.ErrConflict) {
			continue
		}
		if err != nil {
			return Outcome{}, err
		}
		return Outcome{Version: event.Version, Seq: receipt.Seq, Event: event, Repeated: receipt.Repeated}, nil
	}
	return Outcome{}, ErrBusy
}

// known is what the history of an entity says.
type known[S any] struct {
	state   S
	version uint64
	seq     uint64
	own     *envelope.Event // the event of this very command, if it is there
}

func load[S any](ctx context.Context, shard journal.Shard, r Request, evolve Evolve[S], fresh bool) (known[S], error) {
	var k known[S]
	if fresh {
		return k, nil
	}
	history, err := shard.History(ctx, r.Key)
	if err != nil {
		return k, fmt.Errorf("history of %s: %w", r.Key, err)
	}
	for i := range history {
		e := &history[i]
		if e.CommandID == r.CommandID && (e.Actor == r.Actor || envelope.RequestHash(e.Data) == r.RequestHash) {
			k.own = e // a key is its actor's: that somebody else has used it must not tell that there is something
		}
		if k.state, err = evolve(k.state, e); err != nil {
			return k, fmt.Errorf("evolve %s at sequence %d: %w", r.Key, e.Seq, err)
		}
		k.version, k.seq = e.Version, e.Seq
	}
	return k, nil
}

func repeated(r Request, own *envelope.Event) (Outcome, error) {
	if envelope.RequestHash(own.Data) != r.RequestHash {
		return Outcome{}, Refuse(KeyReused, "idempotency key %q was used for another command", r.CommandID)
	}
	return Outcome{Version: own.Version, Seq: own.Seq, Event: own, Repeated: true}, nil
}

// decideOne returns the event to append, or nil with a refusal or with nothing. Versions are compared last (RFC 9110,
// section 13.2.1): a caller to whom the entity is absent must not learn which version it has.
func decideOne[S, C any, E Payload](k known[S], r Request, decide Decide[S, C, E], cmd C) (*envelope.Event, error) {
	payload, err := decide(k.state, cmd)
	if err != nil {
		return nil, err
	}
	if r.IfVersion != nil && *r.IfVersion != k.version {
		if k.version == 0 {
			return nil, Refuse(NotFound, "not found")
		}
		return nil, Refuse(PreconditionFailed, "the entity is at version %d, not %d", k.version, *r.IfVersion)
	}
	if any(payload) == nil {
		return nil, nil
	}
	public, private, err := payload.Halves()
	if err != nil {
		return nil, Refuse(Invalid, "encode %s: %v", payload.Kind(), err)
	}
	return &envelope.Event{
		Key:         r.Key,
		EventID:     envelope.MessageID(r.TenantKey, r.Key, r.CommandID),
		Kind:        payload.Kind(),
		Version:     k.version + 1,
		Time:        time.Now().UTC().Truncate(time.Microsecond),
		Actor:       r.Actor,
		CommandID:   r.CommandID,
		TraceParent: r.TraceParent,
		Data:        envelope.Compose(public, private, r.RequestHash),
	}, nil
}

func isNewest(ctx context.Context, shard journal.Shard, key envelope.Key, seq uint64) (bool, error) {
	last, err := shard.Last(ctx, key)
	if err != nil {
		return false, fmt.Errorf("newest event of %s: %w", key, err)
	}
	if last == nil {
		return seq == 0, nil
	}
	return last.Seq == seq, nil
}
