package plane_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/refold-dev/refold/internal/journal"
	"github.com/refold-dev/refold/internal/localstack"
	"github.com/refold-dev/refold/internal/plane"
	"github.com/refold-dev/refold/internal/testenv"
)

func TestTheBudgetOfTheJournal(t *testing.T) {
	t.Parallel()
	p := openPlane(t, plane.Config{DataDir: testenv.Dir(t), PostgresURL: testenv.Postgres(t), Shards: 2, JournalBytes: 80 << 20})
	want := func(what string, bytesMax uint64) {
		t.Helper()
		if b, err := p.Budget(t.Context()); err != nil || b.BytesMax != bytesMax || b.Bytes == 0 {
			t.Errorf("%s: %+v, want %d: %v", what, b, bytesMax, err)
		}
	}
	want("with an eighth for the access log", 70<<20)
	if err := p.SetBudget(t.Context(), 4<<30); err != nil {
		t.Fatal(err)
	}
	want("grown", 4<<30-256<<20)
	if err := p.SetBudget(t.Context(), 1<<20); !errors.Is(err, plane.ErrBudget) {
		t.Errorf("less than a journal needs is not refused: %v", err)
	}
	if err := p.Journal.SetBytesMax(t.Context(), 10); !errors.Is(err, journal.ErrFull) {
		t.Errorf("less than is used is not refused: %v", err)
	}
	want("as before", 4<<30-256<<20)
}

// A start with another budget sets it, where the server has so much.
func TestTheBudgetOfAServerElsewhere(t *testing.T) {
	t.Parallel()
	server := testenv.NATSServer(t, localstack.NATSOptions{StoreMax: 100 << 20})
	config := plane.Config{DataDir: testenv.Dir(t), PostgresURL: testenv.Postgres(t), NATSURL: server.URL(), JournalBytes: 200 << 20}
	refused := func(what string) {
		t.Helper()
		p, err := plane.Open(t.Context(), config)
		if err == nil {
			_ = p.Close()
		}
		if !errors.Is(err, journal.ErrNoRoom) || !strings.Contains(err.Error(), "max_file_store") || !strings.Contains(err.Error(), "--journal-bytes") {
			t.Errorf("%s: %v", what, err)
		}
	}
	refused("a new journal that the server has no room for")
	config.JournalBytes = 64 << 20
	p, err := plane.Open(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	config.JournalBytes = 400 << 20
	refused("a budget that is grown beyond the server's room")
	config.JournalBytes = 80 << 20
	p = openPlane(t, config)
	if b, err := p.Budget(t.Context()); err != nil || b.BytesMax != 70<<20 {
		t.Errorf("grown: %+v, %v", b, err)
	}
}

func TestTheRoomOfAClusterIsNamed(t *testing.T) {
	t.Parallel()
	cluster := testenv.StartNATSCluster(t, 3, localstack.NATSOptions{StoreMax: 100 << 20})
	config := plane.Config{DataDir: testenv.Dir(t), PostgresURL: testenv.Postgres(t), NATSURL: cluster.URL(), Replicas: 3, JournalBytes: 500 << 20}
	p, err := plane.Open(t.Context(), config)
	if err == nil {
		_ = p.Close()
	}
	if !errors.Is(err, journal.ErrNoRoom) || !strings.Contains(err.Error(), "--journal-bytes") {
		t.Errorf("a journal larger than any server of the cluster: %v", err)
	}
}

func TestReplicasWithoutAClusterAreNamed(t *testing.T) {
	t.Parallel()
	p, err := plane.Open(t.Context(), plane.Config{DataDir: testenv.Dir(t), PostgresURL: testenv.Postgres(t), Replicas: 3})
	if err == nil {
		_ = p.Close()
	}
	if err == nil || !strings.Contains(err.Error(), "3 replicas") || !strings.Contains(err.Error(), "--replicas 1") {
		t.Errorf("three replicas on one server: %v", err)
	}
}
