package projector

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/refold-dev/refold/events/envelope"
	"github.com/refold-dev/refold/internal/journal"
	"github.com/refold-dev/refold/internal/postgres/db"
)

// Stop is a state in which journal and edition disagree about the past. It is latched in the checkpoint: the
// projector stops, the shard takes no commands, reads go on with their age, and only an operator's named command
// goes on. Nothing is repaired by itself.
type Stop string

// The stop states.
const (
	Ahead     Stop = "PROJECTION_AHEAD" // the edition has folded events that the journal does not hold
	Diverged  Stop = "DIVERGED"         // the journal holds another event at the checkpoint
	Truncated Stop = "LOG_TRUNCATED"    // events are missing from the journal
	Replaced  Stop = "LOG_REPLACED"     // the journal is another one, or another incarnation of it
)

// GivenUp is what a reconciliation leaves on an edition that has folded events which the journal does not hold. It
// answers readers until another one is live, and never goes on.
const GivenUp Stop = "GIVEN_UP"

// StoppedError: the checkpoint carries a stop state. See `refold status`, find out what happened to the journal or
// to the database (most often a restore, for which there is `refold reconcile`), then resume or rebuild.
type StoppedError struct {
	Edition int64
	Shard   int32
	State   Stop
	Detail  string
}

func (e *StoppedError) Error() string {
	return fmt.Sprintf("edition %d shard %d stopped: %s: %s", e.Edition, e.Shard, e.State, e.Detail)
}

// Continuity compares a checkpoint with the journal. It returns a *StoppedError when they disagree about the past,
// another error when the journal could not be asked, and nil when the journal continues the checkpoint. Of one that is stopped
// as Truncated it also reads the event that follows, which is the one that was missing unless the journal's facts showed it.
func Continuity(ctx context.Context, shard journal.Shard, cp db.ControlCheckpoint) error {
	stopped := func(state Stop, format string, args ...any) error {
		return &StoppedError{cp.Edition, cp.Shard, state, fmt.Sprintf(format, args...)}
	}
	facts, err := shard.Facts(ctx)
	if errors.Is(err, journal.ErrNoJournal) {
		return stopped(Replaced, "checkpoint is of stream %s, which is gone", cp.Stream)
	}
	if err != nil {
		return fmt.Errorf("continuity facts of shard %d: %w", cp.Shard, err)
	}
	seq := uint64(cp.Seq)
	switch {
	case facts.JournalID != cp.JournalID || facts.Stream != cp.Stream:
		return stopped(Replaced, "checkpoint is of journal %s/%s, found %s/%s", cp.JournalID, cp.Stream, facts.JournalID, facts.Stream)
	case int64(facts.Incarnation) != cp.Incarnation:
		return stopped(Replaced, "checkpoint is of incarnation %d, the journal of %d: one of the two was restored, see `refold reconcile`",
			cp.Incarnation, facts.Incarnation)
	case facts.LastSeq < seq:
		return stopped(Ahead, "checkpoint is at %d, the journal ends at %d", seq, facts.LastSeq)
	case facts.LastSeq > 0 && (facts.FirstSeq != 1 || facts.Deleted != 0 || facts.Messages != facts.LastSeq):
		return stopped(Truncated, "the journal begins at %d, holds %d of %d events, %d deleted",
			facts.FirstSeq, facts.Messages, facts.LastSeq, facts.Deleted)
	}
	if cp.Stopped != nil && Stop(*cp.Stopped) == Truncated && seq < facts.LastSeq {
		if err := readNext(ctx, shard, seq); err != nil {
			var gap *journal.GapError
			if errors.As(err, &gap) {
				return stopped(Truncated, "%s", gap)
			}
			return err
		}
	}
	if seq == 0 {
		return nil
	}
	e, err := shard.At(ctx, seq)
	if errors.Is(err, journal.ErrNoEvent) {
		return stopped(Truncated, "the journal holds no event at %d", seq)
	}
	if err != nil {
		return fmt.Errorf("event %d of shard %d: %w", seq, cp.Shard, err)
	}
	if digest, _ := e.Digest(nil); !bytes.Equal(digest[:], cp.EventDigest) {
		return stopped(Diverged, "event %d has digest %x, the checkpoint stands on %x", seq, digest[:8], cp.EventDigest[:min(8, len(cp.EventDigest))])
	}
	return nil
}

// nextMax bounds the read of the event after a stopped checkpoint.
const nextMax = 10 * time.Second

func readNext(ctx context.Context, shard journal.Shard, seq uint64) error {
	ctx, cancel := context.WithTimeout(ctx, nextMax)
	defer cancel()
	return journal.Read(ctx, shard, seq, seq+1, func(*envelope.Event) error { return nil })
}
