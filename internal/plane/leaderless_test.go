package plane_test

import (
	"strings"
	"testing"

	"github.com/refold-dev/refold/internal/localstack"
	"github.com/refold-dev/refold/internal/plane"
	"github.com/refold-dev/refold/internal/readiness"
	"github.com/refold-dev/refold/internal/testenv"
)

// TestAJournalWithoutALeaderIsNotReady: the one server that is left goes on saying what it has of the stream.
func TestAJournalWithoutALeaderIsNotReady(t *testing.T) {
	t.Parallel()
	servers := testenv.StartNATSCluster(t, 3, localstack.NATSOptions{})
	p := open(t, func(c *plane.Config) { c.NATSURL, c.Replicas, c.JournalBytes = servers.URL(), 3, 1<<30 })
	is := func(commands bool) bool {
		r := p.Readiness(t.Context())
		return r.Commands.Ready == commands && r.Reads.Ready && (commands || r.Commands.Reasons[0].Effect == readiness.Prevent)
	}
	eventually(t, "ready", func() bool { return is(true) })
	servers.Server("n1").Kill()
	servers.Server("n2").Kill()
	eventually(t, "not ready for commands", func() bool { return is(false) })
	for range 3 { // and it is no moment of the election
		if err := p.Ready(t.Context()); err == nil || !strings.Contains(err.Error(), "the journal does not answer") {
			t.Fatalf("two of three servers are down: %v", err)
		}
	}
	servers.Server("n1").Restart()
	eventually(t, "ready again", func() bool { return is(true) })
}
