package openmemory

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/refold-dev/refold/events"
	"github.com/refold-dev/refold/events/envelope"
	"github.com/refold-dev/refold/internal/journal"
	"github.com/refold-dev/refold/internal/journal/journaltest"
	"github.com/refold-dev/refold/internal/openmemory/sample"
)

func sampleFile(t testing.TB) []byte {
	t.Helper()
	file, err := sample.Zip()
	if err != nil {
		t.Fatal(err)
	}
	return file
}

func TestTwiceAddsNothing(t *testing.T) {
	t.Parallel()
	// The same records in other spelling: members in another order, other blanks, other order of keys.
	d := document()
	respelled := []byte("{")
	for i, name := range []string{"status_history", "memory_categories", "access_controls", "memories", "categories", "apps", "export_meta", "user"} {
		if i > 0 {
			respelled = append(respelled, " ,\n\t"...)
		}
		indented, err := json.MarshalIndent(d[name], "\t", "  ")
		if err != nil {
			t.Fatal(err)
		}
		respelled = append(append(append(respelled, `"`+name+`" : `...), indented...), '\n')
	}
	respelled = append(respelled, " }\n"...)

	for _, mode := range []Mode{Skip, Overwrite} {
		t.Run(string(mode), func(t *testing.T) {
			t.Parallel()
			shard := journaltest.NewFake(0, 1)
			for i, file := range [][]byte{zipDocument(t, document()), zipDocument(t, document()), zipOf(t, testMember{"a/b/memories.json", respelled})} {
				config := configFor(t, shard, file)
				config.Mode = mode
				report := mustImport(t, config)
				for kind, want := range map[Kind]int{KindUser: 1, KindApp: 2, KindCategory: 2, KindAccessRule: 2, KindMemory: 4} {
					wantCounts := Counts{Read: want, Added: want}
					if i > 0 {
						wantCounts = Counts{Read: want, Unchanged: want}
					}
					if diff := cmp.Diff(wantCounts, report.Counts[kind]); diff != "" {
						t.Errorf("import %d, %s: %s", i+1, kind, diff)
					}
				}
				if got := lastSeq(t, shard); got != 1+11 {
					t.Fatalf("import %d: journal ends at %d, want 12", i+1, got)
				}
			}
		})
	}
}

// TestKillAndRepeat: however many commands an import gets through before it is killed, repeating it leads to the
// events of one undisturbed import.
func TestKillAndRepeat(t *testing.T) {
	t.Parallel()
	file := sampleFile(t)
	undisturbed := journaltest.NewFake(0, 1)
	mustImport(t, configFor(t, undisturbed, file))
	want := contentsOf(t, undisturbed, "acme")

	for _, n := range []int64{0, 1, 2, 7, 13, 20, 50, int64(len(want)) - 1} {
		shard := journaltest.NewFake(0, 1)
		ctx, kill := context.WithCancel(t.Context())
		var sent atomic.Int64
		shard.BeforeAppend = func(*envelope.Event) error {
			if sent.Add(1) > n {
				kill()
				return context.Canceled
			}
			return nil
		}
		report, err := Import(ctx, configFor(t, shard, file))
		if !errors.Is(err, context.Canceled) || report.Complete {
			t.Fatalf("killed after %d: got %v, complete %v", n, err, report.Complete)
		}
		if got := lastSeq(t, shard); got > 1+uint64(n) {
			t.Fatalf("killed after %d: journal ends at %d", n, got)
		}
		shard.BeforeAppend = nil
		mustImport(t, configFor(t, shard, file))
		if diff := cmp.Diff(want, contentsOf(t, shard, "acme")); diff != "" {
			t.Fatalf("killed after %d and repeated: %s", n, diff)
		}
	}
}

func TestStoppedBeforeTheStart(t *testing.T) {
	t.Parallel()
	ctx, stop := context.WithCancel(t.Context())
	stop()
	shard := journaltest.NewFake(0, 1)
	report, err := Import(ctx, configFor(t, shard, sampleFile(t)))
	if !errors.Is(err, context.Canceled) || report.Written || lastSeq(t, shard) != 1 {
		t.Fatalf("got %v, written %v", err, report.Written)
	}
}

// TestUnknownOutcomes: an append whose answer is lost is found again, not repeated blindly and not given up.
func TestUnknownOutcomes(t *testing.T) {
	t.Parallel()
	file := sampleFile(t)
	undisturbed := journaltest.NewFake(0, 1)
	mustImport(t, configFor(t, undisturbed, file))

	shard := journaltest.NewFake(0, 1)
	var answers atomic.Int64
	shard.AfterAppend = func(*envelope.Event) error {
		if answers.Add(1)%5 == 0 {
			return journal.ErrUnknown
		}
		return nil
	}
	mustImport(t, configFor(t, shard, file))
	if diff := cmp.Diff(contentsOf(t, undisturbed, "acme"), contentsOf(t, shard, "acme")); diff != "" {
		t.Error(diff)
	}
}

// TestJournalAway: an import waits for a journal that is away for a moment. One that it gives up has stored records, so
// its outcome is unknown, whatever is known of the last command.
func TestJournalAway(t *testing.T) {
	t.Parallel()
	file := sampleFile(t)
	undisturbed := journaltest.NewFake(0, 1)
	mustImport(t, configFor(t, undisturbed, file))

	shard := journaltest.NewFake(0, 1)
	var attempts atomic.Int64
	var gone atomic.Bool
	shard.BeforeAppend = func(*envelope.Event) error {
		if n := attempts.Add(1); n%5 == 0 || gone.Load() && n > 10 {
			return journal.Unavailable(errors.New("away"))
		}
		return nil
	}
	mustImport(t, configFor(t, shard, file))
	if diff := cmp.Diff(contentsOf(t, undisturbed, "acme"), contentsOf(t, shard, "acme")); diff != "" {
		t.Error(diff)
	}

	attempts.Store(0)
	gone.Store(true)
	config := configFor(t, shard, file)
	config.Tenant = testTenant("umbra")
	if _, err := Import(t.Context(), config); !errors.Is(err, journal.ErrUnknown) || errors.Is(err, journal.ErrUnavailable) {
		t.Errorf("got %v, want %v", err, journal.ErrUnknown)
	}
}

func TestFullJournalStopsTheImport(t *testing.T) {
	t.Parallel()
	file := sampleFile(t)
	shard := journaltest.NewFake(0, 1)
	shard.BytesMax = 20_000
	report, err := Import(t.Context(), configFor(t, shard, file))
	if !errors.Is(err, journal.ErrFull) || report.Complete || !report.Written {
		t.Fatalf("got %v, complete %v, written %v", err, report.Complete, report.Written)
	}
	shard.BytesMax = 0
	mustImport(t, configFor(t, shard, file))
	undisturbed := journaltest.NewFake(0, 1)
	mustImport(t, configFor(t, undisturbed, file))
	if diff := cmp.Diff(contentsOf(t, undisturbed, "acme"), contentsOf(t, shard, "acme")); diff != "" {
		t.Error(diff)
	}
}

// TestTenantsStayApart: the same file in two tenants of one shard, and neither sees the other.
func TestTenantsStayApart(t *testing.T) {
	t.Parallel()
	shard := journaltest.NewFake(0, 1)
	file := sampleFile(t)
	mustImport(t, configFor(t, shard, file))
	before := contentsOf(t, shard, "acme")

	config := configFor(t, shard, file)
	config.Tenant = testTenant("umbra")
	mustImport(t, config)
	mustImport(t, config)
	if diff := cmp.Diff(before, contentsOf(t, shard, "acme")); diff != "" {
		t.Errorf("the import of one tenant changed the other: %s", diff)
	}
	after := contentsOf(t, shard, "umbra")
	if len(after) != len(before) {
		t.Fatalf("%d events, want %d", len(after), len(before))
	}
	ids := map[string]bool{}
	for _, e := range before {
		ids[e.Key.Entity+e.Key.ID] = true
		ids[e.EventID] = true
		ids[e.CommandID] = true
	}
	for _, e := range after {
		if ids[e.EventID] || ids[e.CommandID] {
			t.Errorf("%s has the event or command id of another tenant's event", e.Key)
		}
		if kept := e.Key.Entity == "memory"; kept != ids[e.Key.Entity+e.Key.ID] {
			t.Errorf("id of %s: only those of memories are kept, the others are derived with the tenant's key", e.Key)
		}
	}
}

// TestAnotherUsersImport: an export that another user of the tenant imports becomes that user's, under ids that a
// repetition finds again, and changes nothing of its first owner's.
func TestAnotherUsersImport(t *testing.T) {
	t.Parallel()
	shard := journaltest.NewFake(0, 1)
	file := zipDocument(t, document())
	mustImport(t, configFor(t, shard, file))
	before := contentsOf(t, shard, "acme")

	config := configFor(t, shard, file)
	config.Subject = "other"
	report := mustImport(t, config)
	if report.Moved != 4 || report.Counts[KindMemory].Added != 4 || report.Counts[KindCategory].Unchanged != 2 {
		t.Errorf("report %+v", report)
	}
	end := lastSeq(t, shard)
	if again := mustImport(t, config); again.Counts[KindMemory].Unchanged != 4 || lastSeq(t, shard) != end {
		t.Errorf("repeated: %+v, journal from %d to %d", again.Counts, end, lastSeq(t, shard))
	}
	var foreign []stored
	rule := 0
	for _, e := range eventsOf(t, shard, "acme") {
		payload := decoded(t, e)
		if p, ok := payload.(*events.MemoryImported); ok {
			for _, change := range p.History {
				if change.ChangedBy != p.UserID {
					t.Errorf("%s: changed by %s, want the importer %s", e.Key, change.ChangedBy, p.UserID)
				}
			}
		}
		if p, ok := payload.(*events.AppAccessRuled); ok {
			if rule++; rule == 4 && p.ObjectID.String() == testID('d', 2) {
				t.Error("the rule of the second user speaks of the first user's memory")
			}
		}
	}
	for _, e := range contentsOf(t, shard, "acme") {
		if !slices.Contains(before, e) {
			foreign = append(foreign, e)
		}
	}
	if len(foreign) != 1+2+2+4 { // user, apps, rules, memories
		t.Errorf("%d new events, want 9", len(foreign))
	}
}

// TestModes is the table of what the two modes do with records that are there, see the old system's import.
func TestModes(t *testing.T) {
	t.Parallel()
	for _, mode := range []Mode{Skip, Overwrite} {
		t.Run(string(mode), func(t *testing.T) {
			t.Parallel()
			overwrite := mode == Overwrite
			shard := journaltest.NewFake(0, 1)
			first := document()
			first["status_history"] = first["status_history"].([]any)[:1]
			mustImport(t, configFor(t, shard, zipDocument(t, first)))
			start := memoryState(t, shard, "acme", testID('d', 1))

			second := document()
			m := item(second, "memories", 0)
			m["content"], m["metadata"], m["state"], m["app_id"] = "changed", object{"new": true}, "archived", testID('b', 2)
			m["archived_at"], m["created_at"], m["updated_at"] = laterTime, nil, laterTime
			m["category_ids"] = []any{testID('c', 2)}
			item(second, "apps", 0)["description"] = "changed"
			item(second, "categories", 0)["description"] = "changed"
			second["user"].(object)["name"] = "changed"
			second["memory_categories"] = []any{object{"memory_id": testID('d', 4), "category_id": testID('c', 2)}}
			config := configFor(t, shard, zipDocument(t, second))
			config.Mode = mode
			report := mustImport(t, config)

			got := memoryState(t, shard, "acme", testID('d', 1))
			if replaced := got.Content == "changed" && got.Status == events.Archived && got.ArchivedAt != nil && *got.AppID != *start.AppID; replaced != overwrite {
				t.Errorf("known memory replaced: %v, state %+v", replaced, got)
			}
			if !got.CreatedAt.Equal(start.CreatedAt) {
				t.Errorf("created_at is %s although the file gives none, want %s", got.CreatedAt, start.CreatedAt)
			}
			if len(got.CategoryIDs) != 2 {
				t.Errorf("known memory has %d categories, want those of both files", len(got.CategoryIDs))
			}
			if linked := memoryState(t, shard, "acme", testID('d', 4)); len(linked.CategoryIDs) != 2 {
				t.Errorf("a link that is new was not added: %v", linked.CategoryIDs)
			}
			kinds := kindsOf(t, shard, 12)
			want := map[string]int{"memory.supplemented.v1": 2} // the link, the status change
			if overwrite {
				want = map[string]int{"memory.imported.v1": 3, "app.changed.v1": 1, "user.changed.v1": 1}
			}
			if diff := cmp.Diff(want, kinds); diff != "" {
				t.Errorf("events of the second import: %s", diff)
			}
			if got := report.Counts[KindCategory]; got.Unchanged != 2 {
				t.Errorf("categories %+v, want all unchanged", got)
			}
		})
	}
}

// kindsOf counts the kinds of events behind a sequence.
func kindsOf(t *testing.T, shard *journaltest.Fake, after uint64) map[string]int {
	t.Helper()
	kinds := map[string]int{}
	for _, e := range eventsOf(t, shard, "acme") {
		if e.Seq > after {
			kinds[e.Kind]++
		}
	}
	return kinds
}

// TestMissingFields: as in the old system a missing content is empty and a missing state active. A missing time is
// that of the other, or of the export, and not the clock, so that a repetition says the same.
func TestMissingFields(t *testing.T) {
	t.Parallel()
	d := document()
	for _, field := range []string{"content", "state", "metadata", "created_at", "updated_at", "archived_at", "deleted_at", "category_ids", "app_id"} {
		delete(item(d, "memories", 0), field)
	}
	for _, member := range []string{"memory_categories", "access_controls"} {
		delete(d, member)
	}
	shard := journaltest.NewFake(0, 1)
	for range 2 {
		mustImport(t, configFor(t, shard, zipDocument(t, d)))
	}
	got := memoryState(t, shard, "acme", testID('d', 1))
	at, err := parseTime(laterTime)
	if err != nil {
		t.Fatal(err)
	}
	if got.Events != 1 || got.Content != "" || got.Status != events.Active || !got.CreatedAt.Equal(at) || !got.UpdatedAt.Equal(at) {
		t.Errorf("state %+v", got)
	}

	delete(d["export_meta"].(object), "generated_at")
	report, err := Import(t.Context(), configFor(t, journaltest.NewFake(0, 1), zipDocument(t, d)))
	if err == nil {
		t.Fatal("taken without any time")
	}
	checkRefusal(t, report, KindMemory, "/memories/0/created_at", "missing")
}

func TestFirstMemberOfANameWins(t *testing.T) {
	t.Parallel()
	other := document()
	other["memories"] = []any{}
	shard := journaltest.NewFake(0, 1)
	file := zipOf(t, testMember{"x/memories.json", encode(t, document())}, testMember{"memories.json", encode(t, other)})
	if report := mustImport(t, configFor(t, shard, file)); report.Counts[KindMemory].Added != 4 {
		t.Errorf("memories %+v, want those of the first member", report.Counts[KindMemory])
	}
}

func TestProgress(t *testing.T) {
	t.Parallel()
	var told []Progress
	config := configFor(t, journaltest.NewFake(0, 1), sampleFile(t))
	config.Progress = func(p Progress) { told = append(told, p) }
	mustImport(t, config)
	last := map[Phase]Progress{}
	var order []Phase
	for _, p := range told {
		before, ok := last[p.Phase]
		if !ok {
			order = append(order, p.Phase)
		}
		if p.Done < before.Done || p.Total <= 0 {
			t.Errorf("%+v after %+v", p, before)
		}
		last[p.Phase] = p
	}
	if diff := cmp.Diff([]Phase{Reading, Checking, Importing}, order); diff != "" {
		t.Error(diff)
	}
	for phase, p := range last {
		if p.Done != p.Total {
			t.Errorf("%s ended at %d of %d", phase, p.Done, p.Total)
		}
	}
}

// TestLargeFileIsParted imports a file of several partitions, whose members come in the least convenient order.
func TestLargeFileIsParted(t *testing.T) {
	t.Parallel()
	d := document()
	var memories, history []any
	for i := range 120 {
		id := uuid.NewSHA1(uuid.NameSpaceOID, []byte{byte(i)})
		content := bytes.Buffer{}
		for range 4000 {
			next := uuid.NewSHA1(id, content.Bytes()[max(0, content.Len()-16):])
			content.WriteString(next.String())
		}
		memories = append(memories, object{"id": id.String(), "user_id": testID('a', 1), "content": content.String(), "created_at": testTime})
		for j := range 3 {
			history = append(history, object{"id": uuid.NewSHA1(id, []byte{byte(j)}).String(), "memory_id": id.String(), "changed_by": testID('a', 1),
				"old_state": "active", "new_state": "active", "changed_at": testTime})
		}
	}
	d["memories"], d["status_history"], d["memory_categories"], d["access_controls"] = memories, history, []any{}, []any{}
	file := zipDocument(t, d)
	shard := journaltest.NewFake(0, 1)
	report := mustImport(t, configFor(t, shard, file))
	if got := report.Counts[KindMemory]; got.Added != 120 {
		t.Errorf("memories %+v", got)
	}
	lines := 0
	for _, e := range eventsOf(t, shard, "acme") {
		if p, ok := decoded(t, e).(*events.MemoryImported); ok {
			lines += len(p.History)
		}
	}
	if lines != 360 {
		t.Errorf("%d lines of history, want 360", lines)
	}
}

// TestNothingPersonalInHeaders: no hash of a record can be guessed from what stands outside of `private`.
func TestNothingPersonalInHeaders(t *testing.T) {
	t.Parallel()
	one, two := journaltest.NewFake(0, 1), journaltest.NewFake(0, 1)
	file := zipDocument(t, document())
	mustImport(t, configFor(t, one, file))
	config := configFor(t, two, file)
	config.Tenant.Key = []byte("another key of the same tenant..")
	mustImport(t, config)
	ids := map[string]bool{}
	for _, e := range eventsOf(t, one, "acme") {
		ids[e.CommandID] = true
	}
	for _, e := range eventsOf(t, two, "acme") {
		if ids[e.CommandID] {
			t.Errorf("command id %s of %s does not depend on the tenant's key", e.CommandID, e.Key)
		}
	}
}
