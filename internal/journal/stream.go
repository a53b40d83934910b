package journal

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/refold-dev/refold/events/envelope"
)

// Metadata of a stream. It survives a backup and a restore, which the time of creation does not.
const (
	metaJournal     = "refold-journal"
	metaShard       = "refold-shard"
	metaShards      = "refold-shards"
	metaFormat      = "refold-format"
	metaIncarnation = "refold-incarnation"
	// metaRestoring names the backup that a stream is being restored from; it goes when the restore is finished.
	metaRestoring = "refold-restoring"
)

// format is the version of how events are laid out in a stream.
const format = 1

// MessageBytesMax bounds a stored message, headers and payload together.
const MessageBytesMax = 1 << 20

// identity is what a stream says of itself, with the state it had when it was asked.
type identity struct {
	stream      string
	journalID   string
	shard       int
	shards      int
	incarnation uint64
	restoring   string // the backup it is being restored from; empty = none
	lastSeq     uint64
	bytes       uint64
	config      jetstream.StreamConfig
}

func findStreamsPatiently(ctx context.Context, js jetstream.JetStream) (found []identity, err error) {
	err = patiently(ctx, func(ctx context.Context) error {
		found, err = findStreams(ctx, js)
		return err
	})
	return found, err
}

// findStreams returns the streams that carry a journal's metadata, in the order of their shards.
func findStreams(ctx context.Context, js jetstream.JetStream) ([]identity, error) {
	var found []identity
	lister := js.ListStreams(ctx)
	for info := range lister.Info() {
		if info.Config.Metadata[metaJournal] == "" {
			continue
		}
		stream, err := identityOf(info)
		if err != nil {
			return nil, err
		}
		found = append(found, stream)
	}
	if err := lister.Err(); err != nil && !errors.Is(err, jetstream.ErrEndOfData) {
		return nil, fmt.Errorf("list the streams: %w", err)
	}
	slices.SortFunc(found, func(a, b identity) int { return cmp.Compare(a.shard, b.shard) })
	return found, nil
}

func identityOf(info *jetstream.StreamInfo) (identity, error) {
	meta := info.Config.Metadata
	shard, errShard := strconv.Atoi(meta[metaShard])
	shards, errShards := strconv.Atoi(meta[metaShards])
	incarnation, errIncarnation := strconv.ParseUint(meta[metaIncarnation], 10, 64)
	if err := errors.Join(errShard, errShards, errIncarnation); err != nil {
		return identity{}, fmt.Errorf("%w: metadata of stream %s: %w", ErrForeign, info.Config.Name, err)
	}
	if meta[metaFormat] != strconv.Itoa(format) {
		return identity{}, fmt.Errorf("%w: stream %s has format %q, this binary knows %d; use the binary that wrote it",
			ErrForeign, info.Config.Name, meta[metaFormat], format)
	}
	if shard < 0 || shard >= shards {
		return identity{}, fmt.Errorf("%w: stream %s says it is shard %d of %d", ErrForeign, info.Config.Name, shard, shards)
	}
	return identity{
		stream: info.Config.Name, journalID: meta[metaJournal], shard: shard, shards: shards, incarnation: incarnation,
		restoring: meta[metaRestoring], lastSeq: info.State.LastSeq, bytes: info.State.Bytes, config: info.Config,
	}, nil
}

// streamName is never used again: the journal id is a ULID. A stream made anew under an old name can bring back
// messages of its predecessor.
func streamName(journalID string, shard int) string {
	return "REFOLD-" + strconv.Itoa(shard) + "-" + journalID
}

func streamConfig(journalID string, shard, shards int, config Config) jetstream.StreamConfig {
	bytesMax := config.BytesMax
	if bytesMax == 0 {
		bytesMax = -1
	}
	return jetstream.StreamConfig{
		Name:               streamName(journalID, shard),
		Description:        "refold journal",
		Subjects:           []string{envelope.ShardSubjects(shard)},
		Storage:            jetstream.FileStorage,
		Retention:          jetstream.LimitsPolicy,
		Discard:            jetstream.DiscardNew,
		MaxBytes:           bytesMax,
		MaxMsgs:            -1,
		MaxMsgsPerSubject:  -1,
		MaxConsumers:       -1,
		MaxMsgSize:         MessageBytesMax,
		Duplicates:         config.DedupeWindow,
		Replicas:           config.Replicas,
		Compression:        jetstream.NoCompression, // see compression.go
		DenyDelete:         true,
		DenyPurge:          true,
		AllowDirect:        true,
		AllowAtomicPublish: true,
		Metadata: map[string]string{
			metaJournal:     journalID,
			metaShard:       strconv.Itoa(shard),
			metaShards:      strconv.Itoa(shards),
			metaFormat:      strconv.Itoa(format),
			metaIncarnation: "1",
		},
	}
}

func createStream(ctx context.Context, js jetstream.JetStream, journalID string, shard, shards int, config Config) (identity, error) {
	var stream jetstream.Stream
	err := patiently(ctx, func(ctx context.Context) (err error) {
		stream, err = js.CreateStream(ctx, streamConfig(journalID, shard, shards, config)) // idempotent
		return err
	})
	if err != nil {
		return identity{}, fmt.Errorf("create stream %s: %w", streamName(journalID, shard), explain(err, streamConfig(journalID, shard, shards, config)))
	}
	return identityOf(stream.CachedInfo())
}

// checkDrift fails with ErrDrift naming everything that could lose, alter or misplace an event.
func checkDrift(s identity) error {
	c := s.config
	var faults []error
	must := func(holds bool, what string) {
		if !holds {
			faults = append(faults, errors.New(what))
		}
	}
	must(len(c.Subjects) == 1 && c.Subjects[0] == envelope.ShardSubjects(s.shard), "subjects must be "+envelope.ShardSubjects(s.shard)+" alone")
	must(c.Storage == jetstream.FileStorage, "storage must be file")
	must(c.Retention == jetstream.LimitsPolicy, "retention must be limits")
	must(c.Discard == jetstream.DiscardNew, "discard must be new")
	must(c.MaxAge == 0, "max age must be 0")
	must(c.MaxMsgs == -1, "max messages must be -1")
	must(c.MaxMsgsPerSubject == -1, "max messages per subject must be -1")
	must(c.MaxMsgSize == MessageBytesMax, "max message size must be "+strconv.Itoa(MessageBytesMax))
	must(c.DenyDelete, "deny delete must be on")
	must(c.DenyPurge, "deny purge must be on")
	must(c.AllowDirect, "allow direct must be on")
	must(c.AllowAtomicPublish, "allow atomic publish must be on")
	must(!c.AllowRollup, "allow rollup must be off")
	must(!c.AllowMsgTTL && !c.AllowMsgCounter && !c.AllowMsgSchedules, "message TTLs, counters and schedules must be off")
	must(c.PersistMode == jetstream.DefaultPersistMode, "persist mode must be default, async acknowledges before it writes")
	must(!c.NoAck && !c.Sealed, "no ack and sealed must be off")
	must(c.Mirror == nil && len(c.Sources) == 0, "it must not be a mirror and have no sources")
	must(c.SubjectTransform == nil, "it must have no subject transform")
	must(c.RePublish == nil, "it must not republish, tenants' events would leave the journal")
	must(c.FirstSeq <= 1, "first sequence must be 1")
	if len(faults) == 0 {
		return nil
	}
	return fmt.Errorf("%w: stream %s: %w", ErrDrift, s.stream, errors.Join(faults...))
}

// adjust applies the two settings that may change. A budget below what is stored is refused: it would only
// close the shard.
func adjust(ctx context.Context, js jetstream.JetStream, s identity, wanted Config) error {
	c := s.config
	if wanted.BytesMax != 0 {
		if uint64(wanted.BytesMax) < s.bytes {
			return fmt.Errorf("%w: bytes max is %d, but stream %s already holds %d bytes; raise it", ErrFull, wanted.BytesMax, s.stream, s.bytes)
		}
		c.MaxBytes = wanted.BytesMax
	}
	if wanted.DedupeWindow != 0 {
		c.Duplicates = wanted.DedupeWindow
	}
	if c.MaxBytes == s.config.MaxBytes && c.Duplicates == s.config.Duplicates {
		return nil
	}
	err := patiently(ctx, func(ctx context.Context) error {
		_, err := js.UpdateStream(ctx, c)
		return err
	})
	if err != nil {
		return fmt.Errorf("adjust stream %s to %d bytes, dedupe window %v: %w", s.stream, c.MaxBytes, c.Duplicates.Round(time.Millisecond), explain(err, c))
	}
	return nil
}
