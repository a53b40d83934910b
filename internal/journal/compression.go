package journal

import (
	"fmt"

	"github.com/nats-io/nats.go/jetstream"
)

// A journal is not compressed. nats-server up to 2.15.2 remembers that it has compressed a block of messages only until
// it is restarted. A replicated stream that syncs every write is cut back to its last snapshot at each start, to be
// replayed from the Raft log; where that place is in a compressed block, the file is cut at the offset that it has in the
// uncompressed block. The block cannot be read any more, and what is appended to it is lost (filestore.go: truncate and
// mb.cmp; stream.go: prepareForWALReplay). A stream with one replica is not cut back; there a block is damaged only when
// the file of the next one cannot be created.
//
// The price is disk: 100,000 events of memories take 689 bytes each, where S2 left 282. The budget of a shard counts them
// uncompressed in either case.

// CompressionRisk says what a compressed stream risks and what to do about it; it is empty for one that is not compressed.
func (f Facts) CompressionRisk() string {
	if !f.Compressed {
		return ""
	}
	return compressionRisk(f.Stream, f.Replicas)
}

func (s identity) compressionRisk() string {
	if !compressed(s.config) {
		return ""
	}
	return compressionRisk(s.stream, s.config.Replicas)
}

// compressed holds also while replicas are being written again that may still be compressed.
func compressed(c jetstream.StreamConfig) bool {
	return c.Compression != jetstream.NoCompression || c.Metadata[metaRewriting] != ""
}

func compressionRisk(stream string, replicas int) string {
	if replicas > 1 {
		return fmt.Sprintf("stream %s is compressed: nats-server can lose acknowledged events of it when a server crashes or is restarted; run `refold journal decompress` before any server is restarted", stream)
	}
	return fmt.Sprintf("stream %s is compressed: nats-server can damage it when the disk is full, and it must not get more replicas; run `refold journal decompress`", stream)
}
