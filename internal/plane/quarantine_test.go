package plane_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/refold-dev/refold/events"
	"github.com/refold-dev/refold/events/envelope"
	"github.com/refold-dev/refold/internal/edition"
	"github.com/refold-dev/refold/internal/fold"
	"github.com/refold-dev/refold/internal/plane"
	"github.com/refold-dev/refold/internal/projector"
	"github.com/refold-dev/refold/internal/rows"
	"github.com/refold-dev/refold/internal/verify"
)

// panics is the content of a memory over which the fold of these tests panics, forged one for which it writes
// another tenant's row, broken one that breaks a constraint of the table.
const (
	panics = "panic, please"
	forged = "write to another tenant, please"
	broken = "break a constraint, please"
)

// faultyFold is the fold of the code with defects of its own, for some events.
func faultyFold(w *rows.Set, e *envelope.Event) error {
	copied := *e
	switch text := string(e.Data); {
	case strings.Contains(text, panics):
		if err := fold.Apply(w, e); err != nil { // what was applied half must be undone
			return err
		}
		var nothing *events.MemoryAdded
		_ = nothing.UserID
	case strings.Contains(text, forged):
		copied.Tenant = "victim"
		return fold.Apply(w, &copied)
	case strings.Contains(text, broken):
		copied.Data = []byte(strings.Replace(text, `"state":"archived"`, `"state":"lost"`, 1))
		return fold.Apply(w, &copied)
	}
	return fold.Apply(w, e)
}

// poisoned publishes events that cannot be folded, each of an entity of its own that is sound before, and one more
// behind each. It returns how many entities must be held.
func poisoned(t *testing.T, p *plane.Plane) (reasons map[string]string, healthy uuid.UUID) {
	t.Helper()
	tenant := tenantFor(t, p, "acme")
	tenantFor(t, p, "victim")
	added := func(content string) (string, []byte) {
		payload := &events.MemoryAdded{UserID: uuid.New(), Private: events.MemoryPrivate{Content: content}}
		public, private, err := payload.Halves()
		if err != nil {
			t.Fatal(err)
		}
		return payload.Kind(), envelope.Compose(public, private, "hash")
	}
	importedKind, imported := importedAs(t)
	kind, good := added("sound")
	reasons = map[string]string{}
	poison := func(reason, kind string, data []byte) {
		id := uuid.New().String()
		e := publishRaw(t, p, tenant, "memory", id, 1, 0, "memory.added.v1", good)
		e = publishRaw(t, p, tenant, "memory", id, 2, e.Seq, kind, data)
		publish(t, p, tenant, "memory", uuid.MustParse(id), 3, e.Seq, &events.MemoryPaused{By: uuid.New()})
		reasons[id] = reason
	}
	poison("malformed memory.added.v1", kind, []byte(`{"private":{"request_hash":"h"`))
	poison("malformed memory.added.v1", kind, []byte("\xff\x00"))
	poison("malformed memory.changed.v1", "memory.changed.v1", []byte(`{"private":{"request_hash":"h","content":1}}`))
	poison("unknown kind", "memory.added.v99", good)
	poison("outside of the plane's own tenant", "barrier.raised.v1", []byte(`{"private":{"request_hash":"h"}}`))
	poison("touched table app", "app.registered.v1", appRegistered(t))
	kind, data := added(panics)
	poison("fold panicked", kind, data)
	kind, data = added(forged)
	poison("belongs to victim/", kind, data)
	poison("cannot be stored", "memory.changed.v1", []byte(`{"private":{"request_hash":"h","content":"a\u0000b"}}`))
	poison("want active, paused, archived or deleted", importedKind, imported)
	// Ids that are no canonical uuid: one of them is another form of a sound entity's.
	healthy = uuid.New()
	publish(t, p, tenant, "memory", healthy, 1, 0, &events.MemoryAdded{UserID: uuid.New(), Private: events.MemoryPrivate{Content: "sound"}})
	for _, id := range []string{strings.ReplaceAll(healthy.String(), "-", ""), "not-a-uuid"} {
		publishRaw(t, p, tenant, "memory", id, 1, 0, "memory.added.v1", good)
		reasons[id] = "canonical form"
	}
	publishRaw(t, p, tenant, "riddle", "r1", 1, 0, "memory.added.v1", good)
	reasons["r1"] = "not a uuid"
	publish(t, p, tenant, "memory", healthy, 2, lastOf(t, p, tenant.ID, healthy), &events.MemoryArchived{By: uuid.New()})
	return reasons, healthy
}

func importedAs(t *testing.T) (string, []byte) {
	t.Helper()
	p := &events.MemoryImported{UserID: uuid.New(), State: events.Archived, Private: events.MemoryPrivate{Content: broken}}
	p.CreatedAt = p.CreatedAt.AddDate(2020, 0, 0)
	p.UpdatedAt = p.CreatedAt
	public, private, err := p.Halves()
	if err != nil {
		t.Fatal(err)
	}
	return p.Kind(), envelope.Compose(public, private, "hash")
}

func appRegistered(t *testing.T) []byte {
	t.Helper()
	public, private, err := (&events.AppRegistered{OwnerID: uuid.New(), Private: events.AppPrivate{Name: "app"}}).Halves()
	if err != nil {
		t.Fatal(err)
	}
	return envelope.Compose(public, private, "hash")
}

func lastOf(t *testing.T, p *plane.Plane, tenant string, id uuid.UUID) uint64 {
	t.Helper()
	e, err := p.Journal.Shard(0).Last(t.Context(), envelope.Key{Tenant: tenant, Entity: "memory", ID: id.String()})
	if err != nil || e == nil {
		t.Fatal(e, err)
	}
	return e.Seq
}

// supervise projects all serving editions with a fold of the test's.
func supervise(t *testing.T, p *plane.Plane, f rows.Fold) (stop func()) {
	t.Helper()
	s := &projector.Supervisor{DB: p.DB, Shards: p.Journal.Shards, Schema: fold.Tables, Fold: f, Shape: p.Shape, Logger: p.Logger}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	var stopped bool
	stop = func() {
		if !stopped {
			stopped = true
			cancel()
			<-done
		}
	}
	t.Cleanup(stop)
	return stop
}

func verifyWith(t *testing.T, p *plane.Plane, number int64, f rows.Fold) *verify.Report {
	t.Helper()
	config := verifyConfig(p, number)
	config.Fold = f
	report, err := verify.Run(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	return report
}

func TestAnEntityWithABadEventIsHeld(t *testing.T) {
	p := openWith(t, fresh(t))
	stop := supervise(t, p, faultyFold)
	reasons, healthy := poisoned(t, p)
	settle(t, p, 1)
	live := verifyWith(t, p, 1, faultyFold)
	mustBeClean(t, live)
	if live.Held != len(reasons) {
		t.Errorf("verification held %d entities, want %d", live.Held, len(reasons))
	}
	mustBeHeld(t, p, 1, reasons, healthy)

	// A replay holds the same entities, in several passes as well.
	p.Editions.Fold, p.Editions.MemoryBytes = faultyFold, 6000
	number, err := p.Editions.Build(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	settle(t, p, number)
	replayed := verifyWith(t, p, number, faultyFold)
	mustBeClean(t, replayed)
	if fmt.Sprint(live.Digests) != fmt.Sprint(replayed.Digests) {
		t.Fatalf("digests differ:\n%v\n%v", live.Digests, replayed.Digests)
	}
	if _, err := p.Editions.Cutover(t.Context(), number); err != nil {
		t.Fatalf("cutover to an edition that holds the same: %v", err)
	}
	all, err := p.Editions.List(t.Context())
	if err != nil || all[0].Shards[0].Held != int64(len(reasons)) {
		t.Fatalf("status shows %+v, want %d held entities: %v", all[0].Shards, len(reasons), err)
	}
	stop()
	cutoverToFewerAndToMore(t, p, number)
}

// cutoverToFewerAndToMore builds with the sound fold, which holds less and may go live, and then with the faulty one.
func cutoverToFewerAndToMore(t *testing.T, p *plane.Plane, faulty int64) {
	t.Helper()
	p.Editions.Fold = fold.Apply
	sound, err := p.Editions.Build(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	settle(t, p, sound)
	mustBeClean(t, verifyWith(t, p, sound, fold.Apply))
	if _, err := p.Editions.Cutover(t.Context(), sound); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Editions.Cutover(t.Context(), faulty); !errors.Is(err, edition.ErrHoldsMore) {
		t.Fatalf("cutover to an edition that holds more: got %v, want %v", err, edition.ErrHoldsMore)
	}
}

// mustBeHeld looks at the rows: sound rows of before, all events from the bad one on, and nothing of the others.
func mustBeHeld(t *testing.T, p *plane.Plane, number int64, reasons map[string]string, healthy uuid.UUID) {
	t.Helper()
	pool, err := p.DB.OwnerOf(t.Context(), number)
	if err != nil {
		t.Fatal(err)
	}
	tables := readTables(t, pool)
	if len(tables["held_entity"]) != len(reasons) {
		t.Errorf("%d entities are held, want %d", len(tables["held_entity"]), len(reasons))
	}
	for _, row := range tables["held_entity"] {
		if want := reasons[*row[2]]; want == "" || !strings.Contains(*row[6], want) {
			t.Errorf("%s is held because of %q, want %q", *row[2], *row[6], want)
		}
	}
	waiting := map[string]int{}
	for _, row := range tables["held_event"] {
		waiting[*row[2]]++
	}
	versions := map[string]string{}
	for _, row := range tables["memory"] {
		versions[*row[1]] = *row[2]
		if *row[5] != "sound" || *row[0] != "acme" {
			t.Errorf("row %s|%s has content %q", *row[0], *row[1], *row[5])
		}
	}
	for id := range reasons {
		events, version := 2, "1" // the bad one and the one behind it
		if _, err := uuid.Parse(id); err != nil || !strings.Contains(id, "-") {
			events, version = 1, ""
		}
		if waiting[id] != events || versions[id] != version {
			t.Errorf("%s (%s): %d events wait and the row is at version %q, want %d and %q", id, reasons[id], waiting[id], versions[id], events, version)
		}
	}
	if versions[healthy.String()] != "2" {
		t.Errorf("the sound entity is at version %q, want 2", versions[healthy.String()])
	}
}

// TestAFlipCountsWhatIsHeldAtTheFlip holds an entity behind the verification: a cutover to the fold that cannot
// read it is refused even so.
func TestAFlipCountsWhatIsHeldAtTheFlip(t *testing.T) {
	p := openWith(t, fresh(t))
	tenant := tenantFor(t, p, "acme")
	number, err := p.Editions.Build(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	mustBeClean(t, verifyEdition(t, p, number))
	publish(t, p, tenant, "memory", uuid.New(), 1, 0, &events.MemoryAdded{UserID: uuid.New(), Private: events.MemoryPrivate{Content: panics}})
	project(t, p, 1, fold.Apply)
	project(t, p, number, faultyFold)
	if _, err := p.Editions.Cutover(t.Context(), number); !errors.Is(err, edition.ErrHoldsMore) {
		t.Fatalf("got %v, want %v", err, edition.ErrHoldsMore)
	}
}

// project runs one projector until its edition is level.
func project(t *testing.T, p *plane.Plane, number int64, f rows.Fold) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	shard := p.Journal.Shard(0)
	go func() {
		done <- projector.Run(ctx, projector.Config{DB: p.DB, Shard: shard, Edition: number, Schema: fold.Tables, Fold: f})
	}()
	settle(t, p, number)
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// TestAnotherFormOfAnIDHoldsNobodyUp: a projector that starts anew loads rows by id, and must not be given those of
// the entity that has the canonical form.
func TestAnotherFormOfAnIDHoldsNobodyUp(t *testing.T) {
	p := openWith(t, fresh(t))
	tenant := tenantFor(t, p, "acme")
	id := uuid.New()
	e := publish(t, p, tenant, "memory", id, 1, 0, &events.MemoryAdded{UserID: uuid.New(), Private: events.MemoryPrivate{Content: "sound"}})
	project(t, p, 1, fold.Apply)
	publishRaw(t, p, tenant, "memory", strings.ToUpper(id.String()), 1, 0, e.Kind, e.Data)
	project(t, p, 1, fold.Apply)
	report := verifyEdition(t, p, 1)
	mustBeClean(t, report)
	if report.Held != 1 {
		t.Fatalf("%d entities are held, want 1", report.Held)
	}
}
