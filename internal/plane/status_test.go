package plane_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/refold-dev/refold/events"
	"github.com/refold-dev/refold/events/envelope"
	"github.com/refold-dev/refold/internal/plane"
)

// TestOnlyAWaitingEventIsAFault looks at a shard whose checkpoint has not moved for an hour, because nothing came.
func TestOnlyAWaitingEventIsAFault(t *testing.T) {
	p := openWith(t, fresh(t)) // without a projector
	tenant := tenantFor(t, p, "acme")
	pool, err := p.DB.Owner(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	idle := func() {
		t.Helper()
		facts, err := p.Journal.Shard(0).Facts(t.Context())
		if err == nil {
			_, err = pool.Exec(t.Context(), "UPDATE control.checkpoint SET seq = $1, updated_at = clock_timestamp() - interval '1 hour'", facts.LastSeq)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	idle()
	publish(t, p, tenant, "memory", uuid.New(), 1, 0, &events.MemoryAdded{UserID: uuid.New()})
	if err := p.Ready(t.Context()); err != nil {
		t.Fatalf("an event has just come: %v", err)
	}
	idle()
	id := uuid.New().String()
	old := &envelope.Event{
		Key: envelope.Key{Tenant: tenant.ID, Entity: "memory", ID: id}, EventID: "old", Kind: "memory.added.v1", Version: 1,
		Time: time.Now().Add(-time.Minute).UTC().Truncate(time.Microsecond), Actor: "test", CommandID: "old", Data: []byte(`{"private":{"request_hash":"h"}}`),
	}
	if _, err := p.Journal.Shard(0).Append(t.Context(), old, 0); err != nil {
		t.Fatal(err)
	}
	if err := p.Ready(t.Context()); !errors.Is(err, plane.ErrNotReady) || !strings.Contains(err.Error(), "1 events behind and not moving") {
		t.Fatalf("an event waits for a minute: %v", err)
	}
}
