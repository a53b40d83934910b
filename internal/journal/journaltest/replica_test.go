package journaltest_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/refold-dev/refold/events/envelope"
	"github.com/refold-dev/refold/internal/journal"
	"github.com/refold-dev/refold/internal/journal/journaltest"
)

// TestEveryReplicaIsRead reads a journal from each of its replicas by name, and leaves no consumer.
func TestEveryReplicaIsRead(t *testing.T) {
	t.Parallel()
	c := startCluster(t)
	j := create(t, c.nc, 3, journaltest.Setup{})
	shard := j.Shards[0]
	last := fillNotes(t, shard, 50)
	peers, err := j.Peers(t.Context(), 0)
	if err != nil || len(peers) != 3 || !peers[0].Leader {
		t.Fatalf("got %+v, %v, want three replicas, the leader first", peers, err)
	}
	var first []journal.Raw
	for _, peer := range peers {
		var got []journal.Raw
		// A replica may lag: the read waits for what the leader has acknowledged.
		err := j.ReadReplica(t.Context(), 0, peer.Server, 0, last, func(m *journal.Raw) error {
			got = append(got, *m)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if first == nil {
			first = got
		}
		if diff := cmp.Diff(first, got); diff != "" || uint64(len(got)) != last {
			t.Errorf("%s has %d of %d messages (-%s +%s):\n%s", peer.Server, len(got), last, peers[0].Server, peer.Server, diff)
		}
	}
	if err := j.ReadReplica(t.Context(), 0, "nobody", 0, last, nil); !errors.Is(err, journal.ErrNoReplica) {
		t.Errorf("a server that is not there: got %v, want %v", err, journal.ErrNoReplica)
	}
}

func fillNotes(t testing.TB, shard journal.Shard, count int) (last uint64) {
	t.Helper()
	for i := range count {
		e := journaltest.Event(envelope.Key{Tenant: "acme", Entity: "note", ID: fmt.Sprintf("n%d", i)}, "c", "text", 1)
		receipt, err := shard.Append(t.Context(), e, 0)
		if err != nil {
			t.Fatal(err)
		}
		last = receipt.Seq
	}
	return last
}
