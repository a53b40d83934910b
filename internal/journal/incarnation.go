package journal

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/refold-dev/refold/events/envelope"
	"github.com/refold-dev/refold/internal/failpoint"
)

// The incarnation counts how often the past of the journal was given up: an operator who has restored an older copy
// raises it, and every position of before is void. It stands in the metadata of each stream and in an event of each
// shard, the newest of the entity that the genesis event began. The event comes first: a raise that was cut short
// leaves an event that is ahead of its metadata, or shards that differ, and Open says so.

// ErrHalfRaised is returned by Open when the raising of the incarnation was cut short. It is ErrForeign as well.
// `refold reconcile --apply` completes it.
var ErrHalfRaised = fmt.Errorf("a reconciliation was cut short, run `refold reconcile`: %w", ErrForeign)

// firstIncarnation is that of a journal that was never reconciled.
const firstIncarnation = 1

// Incarnations is what one shard says of its incarnation. Unless a raise was cut short both are the same.
type Incarnations struct {
	Shard    int
	Metadata uint64
	Event    uint64
	// EventSeq is the sequence of the event; 1 is the genesis event.
	EventSeq uint64
}

func raiseID(journalID string, shard int, incarnation uint64) string {
	return raisePrefix(journalID, shard) + strconv.FormatUint(incarnation, 10)
}

func raisePrefix(journalID string, shard int) string {
	return "incarnation-" + journalID + "-" + strconv.Itoa(shard) + "-"
}

// incarnationOf reads the incarnation out of the newest event of a journal entity.
func incarnationOf(e *envelope.Event, journalID string, shard int) (uint64, error) {
	if e.CommandID == genesisID(journalID, shard) {
		return firstIncarnation, nil
	}
	text, ok := strings.CutPrefix(e.CommandID, raisePrefix(journalID, shard))
	n, err := strconv.ParseUint(text, 10, 64)
	if !ok || err != nil || n <= firstIncarnation {
		return 0, fmt.Errorf("%w: event %d of shard %d is %q, which is no record of this journal", ErrForeign, e.Seq, shard, e.CommandID)
	}
	return n, nil
}

// incarnations asks the leader of the shard.
func (s *jetShard) incarnations(ctx context.Context, stream identity) (Incarnations, error) {
	out := Incarnations{Shard: stream.shard, Metadata: stream.incarnation}
	e, err := s.Last(ctx, genesisKey(stream.shard))
	if err == nil && e == nil {
		err = fmt.Errorf("%w: stream %s holds no record of its journal", ErrForeign, stream.stream)
	}
	if err != nil {
		return out, err
	}
	out.EventSeq = e.Seq
	out.Event, err = incarnationOf(e, stream.journalID, stream.shard)
	return out, err
}

// checkIncarnation proves the metadata of a stream against its events.
func (s *jetShard) checkIncarnation(ctx context.Context, stream identity) error {
	at, err := s.incarnations(ctx, stream)
	switch {
	case err != nil:
		return err
	case at.Event > at.Metadata:
		return fmt.Errorf("%w: stream %s has incarnation %d, its event %d says %d", ErrHalfRaised, stream.stream, at.Metadata, at.EventSeq, at.Event)
	case at.Event < at.Metadata:
		return fmt.Errorf("%w: stream %s says incarnation %d, but its events know %d only; its metadata or its files were exchanged, or an older copy was restored: run `refold reconcile`",
			ErrForeign, stream.stream, at.Metadata, at.Event)
	}
	return nil
}

// Examine opens a journal for a reconciliation: as Open does, but for incarnations, which may differ between shards
// and between metadata and events. Nothing is adjusted.
func Examine(ctx context.Context, nc *nats.Conn) (*Journal, error) {
	return open(ctx, nc, Config{}, true)
}

// Incarnations asks every shard for its incarnation.
func (j *Journal) Incarnations(ctx context.Context) ([]Incarnations, error) {
	found, err := findStreamsPatiently(ctx, j.js)
	if err != nil {
		return nil, err
	}
	var out []Incarnations
	for i, stream := range found {
		if i >= len(j.shards) || stream.stream != j.shards[i].stream {
			return nil, fmt.Errorf("%w: stream %s has appeared meanwhile", ErrForeign, stream.stream)
		}
		at, err := j.shards[i].incarnations(ctx, stream)
		if err != nil {
			return nil, fmt.Errorf("incarnation of shard %d: %w", stream.shard, err)
		}
		out = append(out, at)
	}
	if len(out) != len(j.shards) {
		return nil, fmt.Errorf("%w: %d of %d shards are left", ErrIncomplete, len(out), len(j.shards))
	}
	return out, nil
}

// RaiseIncarnation gives every shard an incarnation: its event first, then its metadata. What event returns for a
// shard becomes kind and payload of its event. Shards that have it already are left alone, so that a raise that was
// cut short is simply repeated with the same number; a lower one than any shard has is refused with ErrForeign.
// Nobody may append meanwhile who has not heard of it: the caller sees to that.
func (j *Journal) RaiseIncarnation(ctx context.Context, incarnation uint64, event func(shard int) (kind string, public, private []byte, err error)) error {
	at, err := j.Incarnations(ctx)
	if err != nil {
		return fmt.Errorf("raise incarnation to %d: %w", incarnation, err)
	}
	for _, one := range at {
		if max(one.Metadata, one.Event) > incarnation {
			return fmt.Errorf("raise incarnation to %d: %w: shard %d has %d already", incarnation, ErrForeign, one.Shard, max(one.Metadata, one.Event))
		}
	}
	for i, one := range at {
		if one.Event == incarnation {
			continue
		}
		if err := j.shards[i].appendIncarnation(ctx, j.ID, incarnation, event); err != nil {
			return fmt.Errorf("raise incarnation of shard %d to %d: %w", i, incarnation, err)
		}
		if err := failpoint.Hit("journal.incarnation-appended"); err != nil {
			return err
		}
	}
	for i, one := range at {
		if one.Metadata == incarnation {
			continue
		}
		if err := j.shards[i].setIncarnation(ctx, incarnation); err != nil {
			return fmt.Errorf("raise incarnation of shard %d to %d: %w", i, incarnation, err)
		}
		if err := failpoint.Hit("journal.incarnation-raised"); err != nil {
			return err
		}
	}
	j.Incarnation = incarnation
	return nil
}

func (s *jetShard) appendIncarnation(ctx context.Context, journalID string, incarnation uint64, event func(int) (string, []byte, []byte, error)) error {
	key := genesisKey(s.number)
	last, err := s.Last(ctx, key)
	if err != nil {
		return err
	}
	if last == nil {
		return fmt.Errorf("%w: there is no genesis event", ErrForeign)
	}
	kind, public, private, err := event(s.number)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(public)
	id := raiseID(journalID, s.number, incarnation)
	e := envelope.Event{
		Key: key, EventID: id, CommandID: id, Kind: kind, Version: last.Version + 1,
		Time: time.Now().UTC().Truncate(time.Microsecond), Actor: genesisActor,
		Data: envelope.Compose(public, private, hex.EncodeToString(sum[:])),
	}
	_, err = s.Append(ctx, &e, last.Seq)
	return err
}

func (s *jetShard) setIncarnation(ctx context.Context, incarnation uint64) error {
	return patiently(ctx, func(ctx context.Context) error {
		stream, err := s.js.Stream(ctx, s.stream)
		if err != nil {
			return gone(err)
		}
		config := stream.CachedInfo().Config
		config.Metadata[metaIncarnation] = strconv.FormatUint(incarnation, 10)
		_, err = s.js.UpdateStream(ctx, config)
		return err
	})
}

// checkOneIncarnation holds when all shards have the same incarnation.
func checkOneIncarnation(found []identity) error {
	for _, s := range found {
		if s.incarnation != found[0].incarnation {
			return fmt.Errorf("%w: stream %s has incarnation %d, stream %s has %d", ErrHalfRaised, found[0].stream, found[0].incarnation, s.stream, s.incarnation)
		}
	}
	return nil
}
