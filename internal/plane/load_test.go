package plane_test

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"testing"

	"github.com/refold-dev/refold/internal/journal"
	"github.com/refold-dev/refold/internal/plane"
)

// TestNoFalseAlarmsUnderLoad verifies again and again while writers run at full speed. Planes are fresh, so that
// what is verified stays small and the share of moving rows large.
func TestNoFalseAlarmsUnderLoad(t *testing.T) {
	planes, each := 8, 25
	if long() {
		planes = 40
	}
	random := seed(t)
	for number := range planes {
		t.Run(strconv.Itoa(number), func(t *testing.T) {
			verifyUnderLoad(t, random+uint64(number), each, func(p *plane.Plane) int64 {
				report := verifyEdition(t, p, 1)
				mustBeClean(t, report)
				return int64(report.Seq)
			})
		})
	}
}

// verifyUnderLoad verifies a plane count times while writers run at full speed. verified returns the position that it proved.
func verifyUnderLoad(t *testing.T, random uint64, count int, verified func(*plane.Plane) int64) {
	p := open(t)
	all := generators(t, p, random, 4)
	all[0].poison = 5
	ctx, cancel := context.WithCancel(t.Context())
	writers := appendAll(ctx, t, p, all, 0)
	defer writers.Wait()
	defer cancel()
	at, moved := int64(0), 0
	for range count {
		if now := verified(p); now > at {
			at, moved = now, moved+1
		}
	}
	if moved < count/2 {
		t.Fatalf("only %d of %d verifications saw new events", moved, count)
	}
	t.Logf("%d verifications, %d of them at a new position, the last one at %d", count, moved, at)
}

// appendAll appends events of every generator, each in a goroutine of its own, as a client does that repeats a command until
// its outcome is certain. It ends after n events of each (0 = without end), or with ctx once the outcome is known.
func appendAll(ctx context.Context, t testing.TB, p *plane.Plane, all []*generator, n int) *sync.WaitGroup {
	var writers sync.WaitGroup
	for _, g := range all {
		writers.Go(func() {
			for i := 0; (n == 0 || i < n) && ctx.Err() == nil; i++ {
				s := g.next()
				if !appendSurely(t, p.Journal.Shard(g.tenant.Shard), s) {
					return
				}
				g.accept(s)
			}
		})
	}
	return &writers
}

// appendSurely repeats an append until its outcome is certain. It fails the test on a definite refusal: nobody else
// writes to these entities.
func appendSurely(t testing.TB, shard journal.Shard, s *step) bool {
	for t.Context().Err() == nil {
		_, err := shard.Append(t.Context(), s.event, s.last)
		if err == nil {
			return true
		}
		if !errors.Is(err, journal.ErrUnknown) && !errors.Is(err, journal.ErrUnavailable) {
			t.Errorf("append of %s to %s: %v", s.event.CommandID, s.event.Key, err)
			return false
		}
	}
	return false
}
