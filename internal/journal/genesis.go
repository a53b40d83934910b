package journal

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/refold-dev/refold/events/envelope"
)

// The genesis event is sequence 1 of its shard. Its ids contain the journal's, so that the metadata of a stream
// can be proven against its content: metadata can be edited, an event can not.
const (
	genesisEntity = "journal"
	genesisActor  = "refold"
	genesisSeq    = 1
)

func genesisID(journalID string, shard int) string {
	return "genesis-" + journalID + "-" + strconv.Itoa(shard)
}

func genesisKey(shard int) envelope.Key {
	return envelope.Key{Tenant: envelope.PlaneTenant, Entity: genesisEntity, ID: strconv.Itoa(shard)}
}

func genesisDefault(journalID string, shard, shards int) (kind string, public, private []byte) {
	public = fmt.Appendf(nil, `{"journal_id":%q,"shard":%d,"shards":%d,"format":%d}`, journalID, shard, shards, format)
	return "journal.created.v1", public, []byte("{}")
}

func appendGenesis(ctx context.Context, js jetstream.JetStream, nc *nats.Conn, stream identity, config Config) error {
	kind, public, private := config.Genesis(stream.journalID, stream.shard, stream.shards)
	sum := sha256.Sum256(public)
	event := envelope.Event{
		Key:       genesisKey(stream.shard),
		EventID:   genesisID(stream.journalID, stream.shard),
		Kind:      kind,
		Version:   1,
		Time:      time.Now().UTC().Truncate(time.Microsecond),
		Actor:     genesisActor,
		CommandID: genesisID(stream.journalID, stream.shard),
		Data:      envelope.Compose(public, private, hex.EncodeToString(sum[:])),
	}
	shard := newShard(js, nc, stream)
	defer shard.commits.stop()
	receipt, err := shard.Append(ctx, &event, 0)
	if err != nil {
		return err
	}
	if receipt.Seq != genesisSeq {
		return fmt.Errorf("%w: the genesis event of stream %s got sequence %d, something else came first", ErrForeign, stream.stream, receipt.Seq)
	}
	return nil
}

func (s *jetShard) checkGenesis(ctx context.Context, stream identity) error {
	event, err := s.At(ctx, genesisSeq)
	if errors.Is(err, ErrNoEvent) && stream.lastSeq == 0 {
		return fmt.Errorf("%w: stream %s is empty; create the journal again to complete it", ErrIncomplete, stream.stream)
	}
	if err != nil {
		return fmt.Errorf("genesis event of stream %s: %w", stream.stream, err)
	}
	if event.Key != genesisKey(stream.shard) || event.CommandID != genesisID(stream.journalID, stream.shard) {
		return fmt.Errorf("%w: stream %s says it is shard %d of %s, but its first event is %q of %s; its metadata or its files were exchanged",
			ErrForeign, stream.stream, stream.shard, stream.journalID, event.CommandID, event.Key)
	}
	return nil
}
