package journaltest_test

import (
	"testing"
	"time"

	"github.com/refold-dev/refold/internal/journal"
	"github.com/refold-dev/refold/internal/journal/journaltest"
)

// TestExtentOfEveryReplica: each replica says what it holds, whether the stream has one or several.
func TestExtentOfEveryReplica(t *testing.T) {
	t.Parallel()
	for _, replicas := range []int{1, 3} {
		c := startCluster(t)
		j := create(t, c.nc, replicas, journaltest.Setup{})
		last := fillNotes(t, j.Shards[0], 20)
		peers, err := j.Peers(t.Context(), 0)
		if err != nil || len(peers) != replicas {
			t.Fatalf("got %+v, %v, want %d replicas", peers, err, replicas)
		}
		want := journal.Extent{First: 1, Last: last, Messages: last}
		for _, peer := range peers {
			got, err := journal.Extent{}, error(nil)
			for begun := time.Now(); err == nil && got != want && time.Since(begun) < 10*time.Second; { // a follower may lag
				got, err = j.ReplicaExtent(t.Context(), 0, peer.Server)
			}
			if err != nil || got != want {
				t.Errorf("%s of %d: got %+v, %v, want %+v", peer.Server, replicas, got, err, want)
			}
		}
	}
}
