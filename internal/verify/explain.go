package verify

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/refold-dev/refold/events/envelope"
	"github.com/refold-dev/refold/internal/journal"
	"github.com/refold-dev/refold/internal/rows"
)

// Step is one event of an entity and what it does to the rows.
type Step struct {
	Seq       uint64        `json:"seq"`
	Version   uint64        `json:"version"`
	Kind      string        `json:"kind"`
	Time      time.Time     `json:"time"`
	Actor     string        `json:"actor"`
	CommandID string        `json:"command_id"`
	Held      bool          `json:"held,omitempty"` // the event waits in quarantine
	Changes   []rows.Change `json:"changes"`
}

// Explain replays the events of one entity up to a sequence (0 = all) and says what each did to its rows. No rows
// are read: it is what the rows must be.
func Explain(ctx context.Context, shard journal.Shard, schema *rows.Schema, fold rows.Fold, key envelope.Key, upto uint64) ([]Step, error) {
	history, err := shard.History(ctx, key)
	if err != nil {
		return nil, fmt.Errorf("events of %s: %w", key, err)
	}
	replay := rows.NewHistory(schema)
	steps := []Step{}
	for i := range history {
		e := &history[i]
		if upto > 0 && e.Seq > upto {
			break
		}
		changes, err := replay.Step(e, fold)
		if err != nil {
			return nil, fmt.Errorf("event %d of %s: %w", e.Seq, key, err)
		}
		held := slices.ContainsFunc(changes, func(c rows.Change) bool { return c.Table == "held_event" })
		steps = append(steps, Step{e.Seq, e.Version, e.Kind, e.Time, e.Actor, e.CommandID, held, changes})
	}
	return steps, nil
}
