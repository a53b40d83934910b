package journaltest_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/refold-dev/refold/events/envelope"
	"github.com/refold-dev/refold/internal/journal"
	"github.com/refold-dev/refold/internal/journal/journaltest"
)

// blockBudget makes the server cut a stream into blocks of 32 KB.
const blockBudget = 124_000

// createCompressed makes a journal as an older refold did, with room for blockBudget.
func createCompressed(t *testing.T, nc *nats.Conn, replicas int) *journal.Journal {
	t.Helper()
	model := embed(t, storeDir(t))
	t.Cleanup(func() { model.Shutdown(); model.WaitForShutdown() })
	modelConn := connect(t, "", nats.InProcessServer(model))
	facts, err := create(t, modelConn, 1, journaltest.Setup{BytesMax: blockBudget}).Shards[0].Facts(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	config := streamOf(t, modelConn, facts.Stream).Config
	config.Compression, config.Replicas = jetstream.S2Compression, replicas
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateStream(t.Context(), config); err != nil {
		t.Fatal(err)
	}
	return create(t, nc, replicas, journaltest.Setup{})
}

func streamOf(t *testing.T, nc *nats.Conn, name string) *jetstream.StreamInfo {
	t.Helper()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	stream, err := js.Stream(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	return stream.CachedInfo()
}

// fillBlocks appends until some blocks are full.
func fillBlocks(t *testing.T, shard journal.Shard) (all []envelope.Event) {
	t.Helper()
	text := strings.Repeat("a memory that compresses well ", 60)
	for i := range 38 {
		e := journaltest.Event(envelope.Key{Tenant: "acme", Entity: "note", ID: fmt.Sprintf("n%d", i)}, "c", text, 1)
		if _, err := shard.Append(t.Context(), e, 0); err != nil {
			t.Fatal(err)
		}
	}
	return everything(t, shard)
}

func everything(t *testing.T, shard journal.Shard) (all []envelope.Event) {
	t.Helper()
	facts, err := shard.Facts(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := journal.Read(t.Context(), shard, 0, facts.LastSeq, func(e *envelope.Event) error {
		all = append(all, *e)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return all
}

// blocks counts the blocks of a stream in a store, and those that are compressed.
func blocks(t *testing.T, store, stream string) (all, compressed int) {
	t.Helper()
	err := filepath.WalkDir(store, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".blk") || !strings.Contains(path, string(filepath.Separator)+stream+string(filepath.Separator)) {
			return nil // files come and go while a server runs
		}
		body, err := os.ReadFile(path)
		if err != nil {
			return nil
		}
		all++
		if bytes.HasPrefix(body, []byte("cmp")) {
			compressed++
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all, compressed
}

// awaitCompressed waits until a store has compressed blocks: the server does it in the background.
func awaitCompressed(t *testing.T, store, stream string) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for {
		all, compressed := blocks(t, store, stream)
		if compressed > 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("none of %d blocks in %s is compressed: the test shows nothing", all, store)
		}
		select {
		case <-t.Context().Done():
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// TestDecompressOneReplica: the setting changes, and every event stays.
func TestDecompressOneReplica(t *testing.T) {
	t.Parallel()
	n := &node{Name: "alone", Port: freePorts(t, 1)[0], Store: storeDir(t)}
	n.start(t)
	t.Cleanup(n.kill)
	j := createCompressed(t, connect(t, n.url()), 1)
	want := fillBlocks(t, j.Shards[0])
	facts, err := j.Shards[0].Facts(t.Context())
	if err != nil || !facts.Compressed || len(j.Risks) != 1 {
		t.Fatalf("facts: got %+v, %v, risks %q, want it compressed", facts, err, j.Risks)
	}
	awaitCompressed(t, n.Store, facts.Stream)
	_, before := blocks(t, n.Store, facts.Stream)
	moved, err := j.Decompress(t.Context(), nil)
	if err != nil || len(moved) != 1 || moved[0].Events != uint64(len(want)) || !strings.Contains(moved[0].Note, "restart the server") {
		t.Fatalf("got %+v, %v", moved, err)
	}
	n.kill()
	n.start(t)
	more := journaltest.Event(envelope.Key{Tenant: "acme", Entity: "note", ID: "more"}, "c", strings.Repeat("x", 9_000), 1)
	if _, err := j.Shards[0].Append(t.Context(), more, 0); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, everything(t, j.Shards[0])[:len(want)]); diff != "" {
		t.Errorf("events differ:\n%s", diff)
	}
	if _, after := blocks(t, n.Store, facts.Stream); after > before {
		t.Errorf("%d blocks were compressed, now %d", before, after)
	}
	if again, err := j.Decompress(t.Context(), nil); err != nil || len(again) != 0 {
		t.Errorf("once more: got %+v, %v", again, err)
	}
}

// TestDecompressReplicas: every replica is written again, whole and uncompressed, also when the move was cut short before.
func TestDecompressReplicas(t *testing.T) {
	t.Parallel()
	c := startCluster(t)
	j := createCompressed(t, c.nc, 3)
	want := fillBlocks(t, j.Shards[0])
	facts, err := j.Shards[0].Facts(t.Context())
	if err != nil || !facts.Compressed {
		t.Fatalf("facts: got %+v, %v, want it compressed", facts, err)
	}
	for _, n := range c.nodes {
		awaitCompressed(t, n.Store, facts.Stream)
	}
	// All that a move knows is in the streams: one whose context ends leaves what one leaves that is killed.
	for _, at := range []string{"cut back", "copy to"} {
		ctx, cut := context.WithCancel(t.Context())
		_, err := j.Decompress(ctx, func(step string) {
			if strings.Contains(step, at) {
				cut()
			}
		})
		cut()
		if !errors.Is(err, context.Canceled) {
			t.Fatalf("cut short at %q: got %v", at, err)
		}
		if facts, err := j.Shards[0].Facts(t.Context()); err != nil || !facts.Compressed {
			t.Errorf("cut short at %q: facts %+v, %v, want it still named", at, facts, err)
		}
	}
	moved, err := j.Decompress(t.Context(), func(step string) { t.Log(step) })
	if err != nil {
		t.Fatal(err)
	}
	if len(moved) != 1 || len(moved[0].Rewritten) != 3 || moved[0].Events != uint64(len(want)) {
		t.Errorf("got %+v, want three replicas written again", moved)
	}
	after, err := j.Shards[0].Facts(t.Context())
	if err != nil || after.Compressed || after.Replicas != 3 || after.LastSeq != facts.LastSeq || after.Stream != facts.Stream || !after.Created.Equal(facts.Created) {
		t.Errorf("facts: got %+v, %v, before %+v", after, err, facts)
	}
	if diff := cmp.Diff(want, everything(t, j.Shards[0])); diff != "" {
		t.Errorf("events differ:\n%s", diff)
	}
	for _, n := range c.nodes {
		if all, compressed := blocks(t, n.Store, facts.Stream); all == 0 || compressed > 0 {
			t.Errorf("%s: %d of %d blocks are compressed", n.Name, compressed, all)
		}
	}
	if again, err := j.Decompress(t.Context(), nil); err != nil || len(again) != 0 {
		t.Errorf("once more: got %+v, %v", again, err)
	}
}
