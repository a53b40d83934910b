package main

import (
	"bytes"
	"testing"
	"testing/synctest"
	"time"

	"github.com/refold-dev/refold/internal/plane"
	"github.com/refold-dev/refold/internal/verify"
)

// What is left of a verification is what is left of all its parts and shards, and not of the part at hand.
func TestTimeLeftIsThatOfAllParts(t *testing.T) {
	for _, c := range []struct {
		shards int
		want   time.Duration
	}{{1, 7 * 10 * time.Second}, {2, (7 + 10) * 10 * time.Second}} {
		synctest.Test(t, func(t *testing.T) {
			bar := newCLI(&bytes.Buffer{}, &bytes.Buffer{}).progress()
			s := shardsProgress{bar: bar, at: map[int]verify.Progress{}}
			for part := 1; part <= 3; part++ {
				for done := range uint64(11) { // 100 events a second, 1,000 events a part, 10 parts
					s.tell(plane.ShardProgress{Shards: c.shards, Progress: verify.Progress{Phase: "fold", Part: part, Parts: 10, Done: done * 100, Total: 1000}})
					if done < 10 {
						time.Sleep(time.Second)
					}
				}
				s.tell(plane.ShardProgress{Shards: c.shards, Progress: verify.Progress{Phase: "compare", Part: part, Parts: 10, Done: 1000, Total: 1000}})
			}
			if left := bar.now().left; (left - c.want).Abs() > 5*time.Second {
				t.Errorf("with %d shards %v are left, want %v", c.shards, left, c.want)
			}
			bar.end()
		})
	}
}
