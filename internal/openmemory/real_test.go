package openmemory_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/refold-dev/refold/internal/directory"
	"github.com/refold-dev/refold/internal/journal"
	"github.com/refold-dev/refold/internal/openmemory"
	"github.com/refold-dev/refold/internal/openmemory/sample"
	"github.com/refold-dev/refold/internal/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m) }

// TestIntoJetStream stops an import into a real journal on its way, repeats it and repeats it again. With
// REFOLD_OPENMEMORY_EXPORTS set it then imports that folder's exports, a tenant each.
func TestIntoJetStream(t *testing.T) {
	t.Parallel()
	j, err := journal.Create(t.Context(), testenv.NATS(t), journal.Config{Shards: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(j.Close)
	shard := j.Shard(0)

	file, err := sample.Zip()
	if err != nil {
		t.Fatal(err)
	}
	config := openmemory.Config{File: bytes.NewReader(file), Size: int64(len(file)), TempDir: t.TempDir(), Shard: shard,
		Tenant: directory.Tenant{ID: "acme", Key: []byte(strings.Repeat("k", 32))}}
	stopOnTheWay(t, config)
	report, err := openmemory.Import(t.Context(), config)
	if err != nil || report.Refused != 0 {
		t.Fatalf("%v, %+v", err, report)
	}
	want := 1 + len(readExport(t, file).expected(t, config.Tenant))
	if facts, err := shard.Facts(t.Context()); err != nil || facts.LastSeq != uint64(want) {
		t.Fatalf("journal ends at %d (%v), want %d", facts.LastSeq, err, want)
	}
	again, err := openmemory.Import(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	if facts, err := shard.Facts(t.Context()); err != nil || facts.LastSeq != uint64(want) {
		t.Fatalf("repeated: journal ends at %d (%v), want %d", facts.LastSeq, err, want)
	}
	if got := again.Counts[openmemory.KindMemory]; got.Unchanged != got.Read {
		t.Errorf("repeated: memories %+v, want all unchanged", got)
	}
	importFolder(t, shard)
}

// stopOnTheWay ends the import when it has begun to write.
func stopOnTheWay(t *testing.T, config openmemory.Config) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	config.Workers = 1
	config.Progress = func(p openmemory.Progress) {
		if p.Phase == openmemory.Importing {
			stop()
		}
	}
	report, err := openmemory.Import(ctx, config)
	if !errors.Is(err, context.Canceled) || report.Complete || !report.Written {
		t.Fatalf("stopped: %v, complete %v, written %v", err, report.Complete, report.Written)
	}
}

func importFolder(t *testing.T, shard journal.Shard) {
	t.Helper()
	folder := os.Getenv(exportsEnv)
	if folder == "" {
		return
	}
	names, err := filepath.Glob(filepath.Join(folder, "*.zip"))
	if err != nil || len(names) == 0 {
		t.Fatalf("%s=%s: no exports there (%v)", exportsEnv, folder, err)
	}
	for i, name := range names {
		config := openmemory.Config{Path: name, TempDir: t.TempDir(), Shard: shard,
			Tenant: directory.Tenant{ID: fmt.Sprintf("tenant-%d", i), Key: []byte(strings.Repeat("k", 32))}}
		var took [2]time.Duration
		for round := range took {
			report, err := openmemory.Import(t.Context(), config)
			if err != nil || report.Refused != 0 {
				t.Fatalf("%s: %v, %+v", name, err, report)
			}
			took[round] = report.Duration
		}
		t.Logf("%s: first %s, again %s", filepath.Base(name), took[0], took[1])
	}
}
