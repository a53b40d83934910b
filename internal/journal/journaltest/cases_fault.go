package journaltest

import (
	"context"
	"errors"
	"testing"

	"github.com/refold-dev/refold/internal/journal"
)

func lostEvent(t *testing.T, ctx context.Context, h Harness) {
	events := fill(t, ctx, h.Shard, "acme", 4)
	h.Lose(t, events[1].Seq)
	if f := facts(t, ctx, h.Shard); f.Deleted != 1 || f.Messages != f.LastSeq-1 {
		t.Errorf("facts do not show the loss: %+v", f)
	}
	f := follow(t, ctx, h.Shard, journal.FollowOptions{After: 1})
	var err error
	for err == nil {
		_, err = f.Next(ctx, 0, 0)
	}
	gap, ok := errors.AsType[*journal.GapError](err)
	if !ok || gap.Want != events[1].Seq || gap.Got != events[2].Seq {
		t.Fatalf("follow over a gap: got %v, want a gap at %d", err, events[1].Seq)
	}
	if _, again := f.Next(ctx, 0, 0); again == nil {
		t.Fatal("the follower went on behind a gap")
	}
	_, err = h.Shard.At(ctx, events[1].Seq)
	wantErr(t, "at a lost event", err, journal.ErrNoEvent)
}

func recreatedUnderFollower(t *testing.T, ctx context.Context, h Harness) {
	events := fill(t, ctx, h.Shard, "acme", 3)
	before := facts(t, ctx, h.Shard)
	f := follow(t, ctx, h.Shard, journal.FollowOptions{After: events[2].Seq})
	after := facts(t, ctx, h.Recreate(t))
	if after.JournalID == before.JournalID || after.Stream == before.Stream || !after.Created.After(before.Created) {
		t.Fatalf("another journal has the identity of the old one:\n%+v\n%+v", before, after)
	}
	if after.LastSeq != 1 {
		t.Fatalf("the new journal is not empty: %+v", after)
	}
	// The shard stays bound to the journal that it was opened on: it must not report the new one's facts as its own.
	if stale, err := h.Shard.Facts(ctx); err == nil && stale.JournalID == before.JournalID {
		t.Fatalf("the old shard still reports the old journal: %+v", stale)
	} else if err != nil {
		wantErr(t, "facts of the old shard", err, journal.ErrNoJournal)
	}
	short, cancel := context.WithTimeout(ctx, caseShort)
	defer cancel()
	if events, err := f.Next(short, 0, 0); err == nil {
		t.Fatalf("the follower of the old journal read %v from the new one", events)
	}
}

func restoredToOlderCopy(t *testing.T, ctx context.Context, h Harness) {
	fill(t, ctx, h.Shard, "acme", 5)
	before := facts(t, ctx, h.Shard)
	restored := h.Restore(t, func(s journal.Shard) { fill(t, ctx, s, "umbrella", 4) })
	after := facts(t, ctx, restored)
	if after.LastSeq != before.LastSeq || after.Messages != before.Messages {
		t.Fatalf("the older copy ends at %d, want %d", after.LastSeq, before.LastSeq)
	}
	if after.JournalID != before.JournalID || after.Stream != before.Stream || after.Incarnation != before.Incarnation {
		t.Fatalf("the older copy has another identity:\n%+v\n%+v", before, after)
	}
	// The next event takes a sequence that had been given before: only the event itself tells.
	e := Event(note("other", "n1"), "c", "text", 1)
	if r := must(t, ctx, restored, e, 0); r.Seq != before.LastSeq+1 {
		t.Fatalf("next event at %d, want %d", r.Seq, before.LastSeq+1)
	}
}
