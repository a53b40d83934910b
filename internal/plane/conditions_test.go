package plane

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/refold-dev/refold/internal/readiness"
)

// TestConditionsAreToldAtOnce: whoever asks for health does not wait for stores that are slow while something recent is known;
// what is known is never told for long when they have stopped to answer.
func TestConditionsAreToldAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &conditions{}
		get := func(takes time.Duration) (found []readiness.Condition, took time.Duration) {
			began := time.Now()
			found = c.get(t.Context(), func(ctx context.Context) []readiness.Condition {
				select {
				case <-time.After(takes):
				case <-ctx.Done():
				}
				return nil
			})
			return found, time.Since(began)
		}
		if _, took := get(200 * time.Millisecond); took != 200*time.Millisecond {
			t.Errorf("the first answer after %s", took)
		}
		time.Sleep(conditionsFresh)
		if _, took := get(time.Second); took != 0 {
			t.Errorf("while a second look is under way, an answer after %s", took)
		}
		time.Sleep(conditionsRecent)
		if _, took := get(time.Second); took > conditionsWait {
			t.Errorf("of what is not recent, an answer after %s", took)
		}
		c.mu.Lock()
		c.at = c.at.Add(-conditionsOld)
		c.mu.Unlock()
		if found, _ := get(time.Hour); len(found) != 0 { // the look ends with its time, and has found nothing
			t.Errorf("found %v", found)
		}
		c.end()
		synctest.Wait()
	})
}
