package backup

import (
	"context"
	"fmt"

	"github.com/refold-dev/refold/events/envelope"
	"github.com/refold-dev/refold/internal/journal"
)

// Events hands over all events of one shard of a backup, in order, having held them against the chain of the manifest. A
// message that is no event has journal.MalformedKind.
func (r *Repository) Events(ctx context.Context, entry *Entry, shard int, each func(*envelope.Event) error) error {
	if shard < 0 || shard >= len(entry.Shards) {
		return fmt.Errorf("backup %s has no shard %d", entry.ID, shard)
	}
	h := newHistory(shard, zero)
	for _, g := range entry.Shards[shard].Segments {
		if err := ctx.Err(); err != nil {
			return err
		}
		body, err := r.fetch(ctx, g.Object, g.Bytes, g.SHA256)
		if err != nil {
			return err
		}
		_, err = readSegment(body, func(segmentHead) error { return nil }, func(m *journal.Raw) error {
			e := h.add(m)
			return each(&e)
		})
		if err != nil {
			return fmt.Errorf("object %s: %w", g.Object, err)
		}
		if digestHex(h.chain) != g.Chain {
			return fmt.Errorf("%w: the events of %s do not give the chain of the manifest", errDamage, g.Object)
		}
	}
	return nil
}
