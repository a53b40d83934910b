package plane_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/refold-dev/refold/events"
	"github.com/refold-dev/refold/events/envelope"
	"github.com/refold-dev/refold/internal/journal"
	"github.com/refold-dev/refold/internal/localstack"
	"github.com/refold-dev/refold/internal/plane"
	"github.com/refold-dev/refold/internal/projector"
	"github.com/refold-dev/refold/internal/testenv"
)

// replicatedPlane is a plane on three servers in processes of their own.
func replicatedPlane(t *testing.T) (*plane.Plane, *testenv.NATSCluster) {
	t.Helper()
	cluster := testenv.StartNATSCluster(t, 3, localstack.NATSOptions{})
	return openWith(t, plane.Config{
		DataDir: testenv.Dir(t), PostgresURL: testenv.Postgres(t), NATSURL: cluster.URL(), Replicas: 3, JournalBytes: 1 << 30,
		Logger: logger(), ScrubRate: -1, ReplicaScrubRate: -1,
	}), cluster
}

// payload returns what stands in the journal at a sequence and nowhere else.
func payload(t *testing.T, p *plane.Plane, seq uint64) string {
	t.Helper()
	e, err := p.Journal.Shard(0).At(t.Context(), seq)
	if err != nil {
		t.Fatal(err)
	}
	return string(e.Data)
}

// TestASickReplicaDoesNotStopAShard: one of three copies lacks the event that the checkpoint stands on, and one that is not
// folded yet. Its server leads the stream.
func TestASickReplicaDoesNotStopAShard(t *testing.T) {
	t.Parallel()
	p, cluster := replicatedPlane(t)
	all := generators(t, p, seed(t), 2)
	stop := run(t, p)
	write(t, p, 20, all...)
	tenant, first, second := tenantFor(t, p, "sick"), uuid.New(), uuid.New()
	add := func(id uuid.UUID) uint64 {
		return publish(t, p, tenant, "memory", id, 1, 0, &events.MemoryAdded{UserID: uuid.New(), Private: events.MemoryPrivate{Content: id.String()}}).Seq
	}
	folded := add(first)
	settle(t, p, 1)
	stop()
	if at := uint64(checkpoint(t, p, 1).Seq); at != folded {
		t.Fatalf("the checkpoint is at %d, want %d", at, folded)
	}
	publish(t, p, tenant, "memory", first, 2, folded, &events.MemoryPaused{By: uuid.New()})
	newest := add(second)
	write(t, p, 20, all...)
	peers, err := p.Journal.Peers(t.Context(), 0)
	if err != nil || len(peers) != 3 {
		t.Fatal(peers, err)
	}
	sick := peers[1].Server
	read := func() error {
		return p.Journal.ReadReplica(t.Context(), 0, sick, folded, newest+20, func(*journal.Raw) error { return nil })
	}
	hole := func() (there bool) {
		eventually(t, "a whole copy", func() bool { return read() == nil }) // two of three have acknowledged
		for _, seq := range []uint64{folded, newest} {
			cluster.Server(sick).Damage("REFOLD-0-*", payload(t, p, seq))
		}
		eventually(t, "an answer of the copy", func() bool {
			err := read()
			_, there = errors.AsType[*journal.GapError](err)
			return err == nil || there
		})
		return there
	}
	for try := 1; !hole(); try++ { // at times a server cuts its copy back to the damage and takes the rest from the others
		if try == 5 {
			t.Fatal("no damage lasts")
		}
	}
	eventually(t, sick+" leads", func() bool {
		peers, err := p.Journal.Peers(t.Context(), 0)
		if err == nil && peers[0].Server != sick {
			_ = p.Journal.StepDown(t.Context(), 0, sick)
		}
		return err == nil && peers[0].Server == sick
	})
	paused := &envelope.Event{
		Key: envelope.Key{Tenant: tenant.ID, Entity: "memory", ID: second.String()}, EventID: uuid.NewString(), Kind: "memory.paused.v1", Version: 2,
		Time: time.Now().UTC().Truncate(time.Microsecond), Actor: "test", CommandID: uuid.NewString(), Data: []byte(`{"by":"` + uuid.NewString() + `"}`),
	}
	if _, err := p.Journal.Shard(0).Append(t.Context(), paused, newest); err != nil && !errors.Is(err, journal.ErrUnavailable) {
		t.Errorf("an event of an entity whose newest event the leader has lost: %v, want %v", err, journal.ErrUnavailable)
	}
	run(t, p)
	for range 5 {
		add(uuid.New())
	}
	settle(t, p, 1)
	mustBeClean(t, verifyEdition(t, p, 1))
}

// TestStatusKnowsWhetherEventsAreStillMissing: an event that nobody can read stops the shard until an operator lets it go on.
func TestStatusKnowsWhetherEventsAreStillMissing(t *testing.T) {
	t.Parallel()
	server := testenv.StartNATSProcess(t, localstack.NATSOptions{StoreDir: t.TempDir(), Durability: localstack.DurabilityRelaxed})
	config := fresh(t, func(c *plane.Config) { c.NATSURL = server.URL() })
	p := openWith(t, config)
	all := generators(t, p, seed(t), 2)
	stop := run(t, p)
	write(t, p, 5, all...)
	settle(t, p, 1)
	stop()
	folded := uint64(checkpoint(t, p, 1).Seq)
	write(t, p, 5, all...)
	mend := server.Damage("REFOLD-0-*", payload(t, p, folded+1))
	stoppedBy(t, p, projector.Truncated, func() { run(t, p) })
	if now := p.Status(t.Context()).Shards[0].Now; !strings.Contains(now, "it is so still") {
		t.Errorf("while the event is lost: %q", now)
	}
	mend()
	eventually(t, "the status knows that the event is back", func() bool {
		return strings.Contains(p.Status(t.Context()).Shards[0].Now, "it is so no longer")
	})
	if checkpoint(t, p, 1).Stopped == nil {
		t.Error("the shard went on by itself")
	}
	config.DataDir = testenv.Dir(t)
	examined, err := plane.Examine(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { mustClose(t, examined) }()
	found, err := examined.Reconcile(t.Context(), plane.ReconcileOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := examined.ApplyReconciliation(t.Context(), plane.ReconcileOptions{}, found.Hash); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the shard goes on", func() bool { return checkpoint(t, p, 1).Stopped == nil })
	write(t, p, 5, all...)
	settle(t, p, 1)
	mustBeClean(t, verifyEdition(t, p, 1))
}
