package journal

import (
	"context"
	"fmt"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Inspect opens what there is of a journal that Open refuses, and says everything that is wrong with it, by shard. Shards
// that cannot be used are nil; the journal is nil when there is none of it. Nothing is adjusted, and nothing may be
// appended.
func Inspect(ctx context.Context, nc *nats.Conn) (*Journal, []error) {
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, []error{fmt.Errorf("journal: %w", err)}
	}
	found, err := findStreamsPatiently(ctx, js)
	if err == nil && len(found) == 0 {
		err = fmt.Errorf("%w: no stream on this server carries one; restore a backup, or name the server that has it", ErrNoJournal)
	}
	if err != nil {
		return nil, []error{fmt.Errorf("journal: %w", err)}
	}
	j := &Journal{ID: found[0].journalID, js: js, Shards: make([]Shard, found[0].shards)}
	var faults []error
	fault := func(shard int, err error) { faults = append(faults, fmt.Errorf("shard %d: %w", shard, err)) }
	if err := checkOneIncarnation(found); err != nil {
		faults = append(faults, err)
	}
	for _, stream := range found {
		if stream.journalID != j.ID || stream.shard >= len(j.Shards) || j.Shards[stream.shard] != nil {
			fault(stream.shard, fmt.Errorf("%w: stream %s is of journal %s, beside shards of %s", ErrForeign, stream.stream, stream.journalID, j.ID))
			continue
		}
		shard := newShard(js, nc, stream)
		j.Incarnation = max(j.Incarnation, stream.incarnation)
		j.committers, j.shards, j.Shards[stream.shard] = append(j.committers, shard.commits), append(j.shards, shard), shard
		if stream.restoring != "" {
			fault(stream.shard, fmt.Errorf("%w: stream %s, backup %s", ErrRestoring, stream.stream, stream.restoring))
			continue
		}
		for _, check := range []func() error{
			func() error { return checkDrift(stream) },
			func() error { return shard.checkGenesis(ctx, stream) },
			func() error { return shard.checkIncarnation(ctx, stream) },
		} {
			if err := check(); err != nil {
				fault(stream.shard, err)
			}
		}
	}
	for number, shard := range j.Shards {
		if shard == nil {
			fault(number, fmt.Errorf("%w: no stream that answers carries this shard of %s: it is lost, or has no leader", ErrIncomplete, j.ID))
		}
	}
	return j, faults
}
