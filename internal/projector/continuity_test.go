package projector_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/refold-dev/refold/events/envelope"
	"github.com/refold-dev/refold/internal/journal/journaltest"
	"github.com/refold-dev/refold/internal/postgres/db"
	"github.com/refold-dev/refold/internal/projector"
)

// journalOf returns a journal of ten events and a checkpoint at the sixth.
func journalOf(t *testing.T) (*journaltest.Fake, db.ControlCheckpoint) {
	t.Helper()
	f := journaltest.NewFake(0, 1)
	fill(t, f, "first", 9)
	facts, err := f.Facts(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	e, err := f.At(t.Context(), 6)
	if err != nil {
		t.Fatal(err)
	}
	digest, _ := e.Digest(nil)
	return f, db.ControlCheckpoint{
		Edition: 1, JournalID: facts.JournalID, Stream: facts.Stream, Incarnation: int64(facts.Incarnation), Seq: 6, EventDigest: digest[:],
	}
}

func fill(t *testing.T, f *journaltest.Fake, text string, n int) {
	t.Helper()
	for i := range n {
		key := envelope.Key{Tenant: "acme", Entity: "note", ID: fmt.Sprintf("%s-%d", text, i)}
		if _, err := f.Append(t.Context(), journaltest.Event(key, "c", text, 1), 0); err != nil {
			t.Fatal(err)
		}
	}
}

func TestContinuity(t *testing.T) {
	for _, c := range []struct {
		what   string
		change func(*journaltest.Fake, *db.ControlCheckpoint)
		want   projector.Stop
	}{
		{"nothing happened", func(*journaltest.Fake, *db.ControlCheckpoint) {}, ""},
		{"an edition that has folded nothing", func(_ *journaltest.Fake, cp *db.ControlCheckpoint) { cp.Seq, cp.EventDigest = 0, nil }, ""},
		{"journal made anew", func(f *journaltest.Fake, _ *db.ControlCheckpoint) {
			f.Recreate("01OTHER", 0, 1)
			fill(t, f, "first", 9)
		}, projector.Replaced},
		{"another incarnation", func(_ *journaltest.Fake, cp *db.ControlCheckpoint) { cp.Incarnation++ }, projector.Replaced},
		{"another stream", func(_ *journaltest.Fake, cp *db.ControlCheckpoint) { cp.Stream += "x" }, projector.Replaced},
		{"restored from an older copy", func(f *journaltest.Fake, _ *db.ControlCheckpoint) { f.Truncate(5) }, projector.Ahead},
		{"restored to exactly the checkpoint", func(f *journaltest.Fake, _ *db.ControlCheckpoint) { f.Truncate(6) }, ""},
		{"restored, and numbers given again", func(f *journaltest.Fake, _ *db.ControlCheckpoint) { f.Truncate(5); fill(t, f, "second", 1) }, projector.Diverged},
		{"event lost behind the checkpoint", func(f *journaltest.Fake, _ *db.ControlCheckpoint) { f.Lose(3) }, projector.Truncated},
		{"event lost at the checkpoint", func(f *journaltest.Fake, _ *db.ControlCheckpoint) { f.Lose(6) }, projector.Truncated},
		{"event lost ahead of the checkpoint", func(f *journaltest.Fake, _ *db.ControlCheckpoint) { f.Lose(8) }, projector.Truncated},
		{"beginning lost", func(f *journaltest.Fake, _ *db.ControlCheckpoint) { f.Lose(1) }, projector.Truncated},
		{"digest tampered with", func(_ *journaltest.Fake, cp *db.ControlCheckpoint) { cp.EventDigest[0]++ }, projector.Diverged},
		{"digest gone", func(_ *journaltest.Fake, cp *db.ControlCheckpoint) { cp.EventDigest = nil }, projector.Diverged},
		{"checkpoint one too low", func(_ *journaltest.Fake, cp *db.ControlCheckpoint) { cp.Seq-- }, projector.Diverged},
		{"checkpoint one too high", func(_ *journaltest.Fake, cp *db.ControlCheckpoint) { cp.Seq++ }, projector.Diverged},
		{"checkpoint beyond the end", func(_ *journaltest.Fake, cp *db.ControlCheckpoint) { cp.Seq = 11 }, projector.Ahead},
	} {
		t.Run(c.what, func(t *testing.T) {
			f, cp := journalOf(t)
			c.change(f, &cp)
			err := projector.Continuity(t.Context(), f, cp)
			stopped, ok := errors.AsType[*projector.StoppedError](err)
			if !ok {
				stopped = &projector.StoppedError{}
			}
			if stopped.State != c.want || (err != nil) != ok {
				t.Fatalf("got %v, want state %q", err, c.want)
			}
		})
	}
}
