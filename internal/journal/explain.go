package journal

import (
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"
)

// Codes of a server that cannot make a stream, which the client has no name for.
const (
	codeNoPeers             jetstream.ErrorCode = 10005
	codeReplicasUnsupported jetstream.ErrorCode = 10074
)

// ErrNoRoom: the servers cannot set the budget of a shard aside. Nothing was made or changed.
var ErrNoRoom = errors.New("the NATS servers cannot set aside the disk that the journal asks for")

// explain says what to do about a server that refuses to make or to change a stream.
func explain(err error, c jetstream.StreamConfig) error {
	api, ok := errors.AsType[*jetstream.APIError](err)
	if !ok {
		return err
	}
	switch api.ErrorCode {
	case codeReplicasUnsupported:
		return fmt.Errorf("the journal is to have %d replicas, and this NATS server is 1 that stands alone: give --replicas 1 (REFOLD_REPLICAS), or name a cluster of at least %d: %w",
			c.Replicas, c.Replicas, err)
	case codeNoPeers:
		return fmt.Errorf("the journal is to have %d replicas with %s each, and the NATS cluster has fewer servers with so much room: "+
			"add servers, raise max_file_store, or give fewer --replicas or a smaller --journal-bytes: %w: %w", c.Replicas, budgetText(c.MaxBytes), ErrNoRoom, err)
	case codeStorageExceeded, codeInsufficientResources:
		return fmt.Errorf("%w: %s for %d replicas of stream %s: raise max_file_store of the servers or the limit of the account, or give a smaller --journal-bytes: %w",
			ErrNoRoom, budgetText(c.MaxBytes), c.Replicas, c.Name, err)
	}
	return err
}

func budgetText(bytes int64) string {
	if bytes <= 0 {
		return "no fixed amount"
	}
	return fmt.Sprintf("%d MiB", bytes>>20)
}
