package plane_test

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/refold-dev/refold/events/envelope"
	"github.com/refold-dev/refold/internal/journal"
	"github.com/refold-dev/refold/internal/plane"
	"github.com/refold-dev/refold/internal/testenv"
)

// childStep is what a step of a decompression says at which the child is ready to be killed, and how often it said so before.
const childStep = "REFOLD_TEST_STEP"

// decompressChild decompresses the journal. It is ready at one of its steps, and goes on.
func decompressChild() int {
	text, before := "", 0
	if _, err := fmt.Sscanf(os.Getenv(childStep), "%d %s", &before, &text); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	return childOf(func(ctx context.Context, p *plane.Plane) error {
		_, err := p.Journal.Decompress(ctx, func(step string) {
			if strings.Contains(step, text) {
				if before--; before < 0 {
					testenv.Ready(step)
				}
			}
		})
		return err
	})
}

// TestDecompressKilled kills the process that moves a journal of three replicas at several of its steps, and runs it again.
func TestDecompressKilled(t *testing.T) {
	t.Parallel()
	p, cluster := replicatedPlane(t)
	all := generators(t, p, seed(t), 2)
	stop := run(t, p)
	write(t, p, 20, all...)
	settle(t, p, 1)
	stop()
	facts := factsOf(t, p)
	js, err := jetstream.New(cluster.Connect(t))
	if err != nil {
		t.Fatal(err)
	}
	stream, err := js.Stream(t.Context(), facts.Stream)
	if err != nil {
		t.Fatal(err)
	}
	compressed := stream.CachedInfo().Config
	compressed.Compression = jetstream.S2Compression
	if _, err := js.UpdateStream(t.Context(), compressed); err != nil {
		t.Fatal(err)
	}
	want := journalEvents(t, p)

	for _, step := range []string{"0 cut", "0 copy", "1 copy"} {
		child := testenv.Spawn(t, "decompress", testenv.ProcessOptions{Env: append(planeEnv(p.Config, testenv.Dir(t)), childStep+"="+step)})
		t.Log(step, child.WaitReady())
		child.Kill()
		if facts := factsOf(t, p); !facts.Compressed {
			t.Fatalf("killed at %q: %+v, want it still named", step, facts)
		}
	}
	moved, err := p.Journal.Decompress(t.Context(), nil)
	if err != nil || len(moved) != 1 || len(moved[0].Rewritten) != 3 || moved[0].Events != uint64(len(want)) {
		t.Fatalf("got %+v, %v, want three replicas written again", moved, err)
	}
	after := factsOf(t, p)
	if after.Compressed || after.Replicas != 3 || after.Stream != facts.Stream || !after.Created.Equal(facts.Created) || after.LastSeq != facts.LastSeq {
		t.Errorf("facts: got %+v, before %+v", after, facts)
	}
	if diff := cmp.Diff(want, journalEvents(t, p)); diff != "" {
		t.Errorf("events differ:\n%s", diff)
	}
	// The plane goes on from its checkpoint, and everything is the fold of that journal.
	mustBeClean(t, verifyEdition(t, p, 1))
	run(t, p)
	write(t, p, 5, all...)
	settle(t, p, 1)
	mustBeClean(t, verifyEdition(t, p, 1))
	if cp := checkpoint(t, p, 1); cp.Stopped != nil || cp.Seq != int64(facts.LastSeq)+10 {
		t.Errorf("checkpoint: %+v, want %d", cp, facts.LastSeq+10)
	}
}

// journalEvents are all events of shard 0, with their positions.
func journalEvents(t *testing.T, p *plane.Plane) (all []envelope.Event) {
	t.Helper()
	err := journal.Read(t.Context(), p.Journal.Shard(0), 0, factsOf(t, p).LastSeq, func(e *envelope.Event) error {
		all = append(all, *e)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}
