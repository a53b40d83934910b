package journal

import (
	"errors"
	"fmt"
	"time"
)

// ShardsMax bounds the number of shards; every shard is a stream with files and memory of its own.
const ShardsMax = 256

// Config says how a journal is made. Only BytesMax and DedupeWindow may change later (see Open).
type Config struct {
	// Shards is the number of streams, fixed for ever once created. 0 = 1. Open takes it from the journal and
	// refuses another number, unless it is 0.
	Shards int
	// Replicas of each stream: 1 (0 means 1), 3 or 5.
	Replicas int
	// BytesMax is the disk budget of each shard. A full shard refuses events, it never drops one. 0 = no budget.
	BytesMax int64
	// DedupeWindow is how long JetStream itself recognises a repeated message id. It is a convenience: beyond it
	// the expectation of the append decides. 0 = 2 minutes, at least 100 ms.
	DedupeWindow time.Duration
	// Genesis returns kind and payload halves of the first event of a shard; nil = "journal.created.v1" with
	// journal_id, shard, shards and format.
	Genesis func(journalID string, shard, shards int) (kind string, public, private []byte)
}

const dedupeWindowDefault = 2 * time.Minute

func (c Config) withDefaults() Config {
	if c.Replicas == 0 {
		c.Replicas = 1
	}
	if c.DedupeWindow == 0 {
		c.DedupeWindow = dedupeWindowDefault
	}
	if c.Genesis == nil {
		c.Genesis = genesisDefault
	}
	return c
}

func (c Config) validate() error {
	var faults []error
	if c.Shards < 0 || c.Shards > ShardsMax {
		faults = append(faults, fmt.Errorf("shards is %d, want 1 to %d", c.Shards, ShardsMax))
	}
	if c.Replicas != 1 && c.Replicas != 3 && c.Replicas != 5 {
		faults = append(faults, fmt.Errorf("replicas is %d, want 1, 3 or 5", c.Replicas))
	}
	if c.BytesMax < 0 {
		faults = append(faults, fmt.Errorf("bytes max is %d, want 0 (no budget) or more", c.BytesMax))
	}
	if c.DedupeWindow < 100*time.Millisecond {
		faults = append(faults, fmt.Errorf("dedupe window is %v, want 100ms or more", c.DedupeWindow))
	}
	return errors.Join(faults...)
}
