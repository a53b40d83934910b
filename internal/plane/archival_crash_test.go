package plane_test

import (
	"context"
	"errors"
	"maps"
	"testing"

	"github.com/refold-dev/refold/events/commands"
	"github.com/refold-dev/refold/internal/archival"
	"github.com/refold-dev/refold/internal/plane"
	"github.com/refold-dev/refold/internal/testenv"
)

// archiveChild applies archive policies, slowly, until it is killed. It is ready once it has archived some memories.
func archiveChild() int {
	return childOf(func(ctx context.Context, p *plane.Plane) error {
		if err := p.Live.Refresh(ctx, p.DB); err != nil {
			return err
		}
		worker := inDays(p, 40)
		worker.Rate = 20
		release, ours, err := worker.Lock(ctx)
		if err == nil && !ours {
			err = errors.New("another process archives")
		}
		if err != nil {
			return err
		}
		defer release()
		_, err = worker.Apply(ctx, archival.Options{Progress: func(r archival.Round) {
			if r.Archived == 5 {
				testenv.Ready("")
			}
		}})
		return err
	})
}

// TestArchivalGoesOnAfterAKill: while a process goes round another one waits; when it is killed in the middle, two go on
// at once, and every memory is archived exactly once, of nobody but who wanted that.
func TestArchivalGoesOnAfterAKill(t *testing.T) {
	a := planeToArchive(t)
	ann, bob, other := a.caller("acme", "ann"), a.caller("acme", "bob"), a.caller("blue", "ann")
	ids, _ := a.add(ann, "notes", "tea", 40)
	a.add(bob, "notes", "tea", 3)
	a.add(other, "notes", "tea", 3)
	a.want(ann, commands.ArchiveRule{Criteria: "global", Days: 30})
	settle(t, a.Plane, 1)

	child := testenv.Spawn(t, "archive", testenv.ProcessOptions{Env: planeEnv(a.Config, testenv.Dir(t))})
	child.WaitReady()
	if round, ours, err := a.worker(40).Alone(t.Context()); err != nil || ours {
		t.Errorf("beside another process: %+v, %t, %v", round, ours, err)
	}
	child.Kill()
	if done := len(a.events()); done < 5 || done >= len(ids) {
		t.Fatalf("killed after %d of %d", done, len(ids))
	}
	eventually(t, "the lock of the killed process is free", func() bool {
		release, ours, err := a.worker(40).Lock(t.Context())
		if ours {
			release()
		}
		return err == nil && ours
	})
	done := make(chan error, 2)
	for range 2 {
		go func() {
			round, err := a.worker(40).Apply(t.Context(), archival.Options{})
			if round.Failed > 0 {
				err = errors.Join(err, errors.New(round.Fault))
			}
			done <- err
		}()
	}
	if err := errors.Join(<-done, <-done); err != nil {
		t.Error(err)
	}
	if got, want := a.events(), texts(ids); !maps.Equal(got, want) {
		t.Errorf("archived %v, want %v", got, want)
	}
	settle(t, a.Plane, 1)
	mustBeClean(t, verifyEdition(t, a.Plane, 1))
}

// TestARoundIsNotedOnItsWay: who looks at the status sees how far a long round is.
func TestARoundIsNotedOnItsWay(t *testing.T) {
	a := planeToArchive(t)
	ann := a.caller("acme", "ann")
	a.add(ann, "notes", "tea", 3)
	a.want(ann, commands.ArchiveRule{Criteria: "global", Days: 30})
	settle(t, a.Plane, 1)
	worker := a.worker(40)
	worker.NoteEvery = 1
	var noted []archival.Round
	worker.Note = func(_ context.Context, r archival.Round) { noted = append(noted, r) }
	if _, ours, err := worker.Alone(t.Context()); err != nil || !ours {
		t.Fatal(ours, err)
	}
	if len(noted) != 4 || noted[0].Archived != 1 || !noted[2].Ended.IsZero() || noted[3].Archived != 3 || noted[3].Ended.IsZero() {
		t.Errorf("noted %+v", noted)
	}
}
