package projector

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/refold-dev/refold/events/envelope"
)

// ended is a follower that has failed for good.
type ended struct{ err error }

func (f ended) Next(context.Context, int, int) ([]envelope.Event, error) { return nil, f.err }
func (ended) Close()                                                     {}

func TestAFollowerThatEndedWithADeadlineOfItsOwnIsAFailure(t *testing.T) {
	reason := fmt.Errorf("consumer was not made anew: %w", context.DeadlineExceeded)
	if _, err := new(projector).next(t.Context(), ended{reason}); !errors.Is(err, reason) {
		t.Fatalf("got %v, want %v: the projector would spin on a follower that is gone", err, reason)
	}
}
