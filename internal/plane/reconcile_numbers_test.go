package plane_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/refold-dev/refold/internal/plane"
	"github.com/refold-dev/refold/internal/postgres/db"
	"github.com/refold-dev/refold/internal/projector"
	"github.com/refold-dev/refold/internal/reconcile"
)

// continuity is what a projector of edition 1 would find.
func (a *aged) continuity() projector.Stop {
	a.Helper()
	state := projector.Stop("")
	a.examine(func(p *plane.Plane) {
		pool, err := p.DB.Operator(a.Context())
		if err != nil {
			a.Fatal(err)
		}
		cp, err := db.New(pool).CheckpointGet(a.Context(), db.CheckpointGetParams{Edition: 1})
		if err != nil {
			a.Fatal(err)
		}
		var stopped *projector.StoppedError
		if err := projector.Continuity(a.Context(), p.Journal.Shard(0), cp); errors.As(err, &stopped) {
			state = stopped.State
		} else if err != nil {
			a.Fatal(err)
		}
	})
	return state
}

// TestNumbersGivenAgain restores a copy that lacks five events, and gives their numbers to 1, 5 and 10 new ones.
func TestNumbersGivenAgain(t *testing.T) {
	t.Parallel()
	a := newAged(t)
	var all []*generator
	a.with(func(p *plane.Plane) { all = generators(t, p, seed(t), 1); write(t, p, 10, all...) })
	copied := a.copied()
	var want []string
	a.with(func(p *plane.Plane) {
		for range 5 {
			s := all[0].next()
			if _, err := p.Journal.Shard(0).Append(t.Context(), s.event, s.last); err != nil {
				t.Fatal(err)
			}
			all[0].accept(s)
			want = append(want, acked{step: s}.id())
		}
	})
	slices.Sort(want)
	for _, c := range []struct {
		fresh int
		stop  projector.Stop
		state reconcile.State
	}{{0, projector.Ahead, reconcile.Ahead}, {1, projector.Ahead, reconcile.Ahead}, {5, projector.Diverged, reconcile.Diverged}, {10, projector.Diverged, reconcile.Diverged}} {
		t.Run(fmt.Sprintf("%d new events", c.fresh), func(t *testing.T) {
			a.putBack(copied)
			p, err := plane.Open(t.Context(), a.config)
			if err != nil {
				t.Fatal(err)
			}
			write(t, p, c.fresh, newGenerator(5, 50+c.fresh, all[0].tenant))
			mustClose(t, p)
			if got := a.continuity(); got != c.stop {
				t.Errorf("a projector finds %q, want %s", got, c.stop)
			}
			f := a.look(plane.ReconcileOptions{})
			e := f.Shards[0].Editions[0]
			if e.State != c.state || e.CommonSeq != 12 || !slices.Equal(lostIDs(f), want) {
				t.Errorf("%s, agreed up to %d, lost %v; want %s, 12 and %v", e.State, e.CommonSeq, lostIDs(f), c.state, want)
			}
		})
	}
}

// TestStreamMadeAnewUnderItsName: name, metadata and genesis event are the journal's, the events behind it are not.
func TestStreamMadeAnewUnderItsName(t *testing.T) {
	t.Parallel()
	a := newAged(t)
	a.with(func(p *plane.Plane) { write(t, p, 10, generators(t, p, seed(t), 1)...) })
	js, err := jetstream.New(a.server.Connect(t))
	if err != nil {
		t.Fatal(err)
	}
	swapWithoutFlags(t, js, func(m *jetstream.RawStreamMsg) {
		if m.Sequence > 1 {
			m.Header.Set("refold-actor", "somebody else")
		}
	}, func(context.Context, jetstream.Stream) error { return nil })
	if got := a.continuity(); got != projector.Diverged {
		t.Errorf("a projector finds %q, want %s", got, projector.Diverged)
	}
	f := a.look(plane.ReconcileOptions{})
	// All commands are there, in events of another actor: nothing is to be repeated.
	if e := f.Shards[0].Editions[0]; e.State != reconcile.Diverged || e.CommonSeq != 1 || f.Shards[0].Lost != 0 || f.Shards[0].Again != 11 {
		t.Errorf("finding: %+v", f.Shards[0])
	}
}
