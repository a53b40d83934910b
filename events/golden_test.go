package events_test

import (
	"encoding/json"
	"errors"
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/refold-dev/refold/events"
	"github.com/refold-dev/refold/events/envelope"
)

// Golden files are what journals hold: they are written once, and never changed. The flag makes those that are missing.
var writeMissing = flag.Bool("write-missing-golden-files", false, "write golden files that do not exist yet")

const requestHash = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"

func id(last byte) uuid.UUID {
	return uuid.UUID{0x01, 0x93, 0x5c, 0xae, 0xbf, 0x00, 0x80, 0, 0x90, 0, 0, 0, 0, 0, 0xde, last}
}

func at(second int) time.Time { return time.Date(2025, 1, 31, 8, 5, second, 1000, time.UTC) }

func ref[T any](v T) *T { return &v }

const awkwardText = "quote \" backslash \\ slash / tab \t line\n bell \a del \x7f \u00e9 \u65e5\u672c \U0001F9E0 <&>"

// golden has for each file name without its ending the value it stands for: ".minimal" is the kind with everything
// left out that may be.
func golden() map[string]events.Payload {
	changes := []events.StatusChange{
		{ID: id(0x61), ChangedBy: id(0x10), OldState: events.Active, NewState: events.Archived, ChangedAt: at(1)},
		{ID: id(0x62), ChangedBy: id(0x11), OldState: events.Archived, NewState: events.Paused, ChangedAt: at(2)},
	}
	user := events.UserPrivate{
		Subject: "auth0|" + awkwardText, Name: ref("Ada"), Email: ref("ada@example.org"), Metadata: json.RawMessage(`{"a": [1, 2.50]}`),
	}
	app := events.AppPrivate{Name: "openmemory", Description: ref(awkwardText), Metadata: json.RawMessage(`{"icon": null}`)}
	memory := events.MemoryPrivate{Content: awkwardText, Metadata: json.RawMessage(`{"k": {"deep": ["\"", true]}}`)}
	return map[string]events.Payload{
		"user.registered.v1":         &events.UserRegistered{CreatedAt: ref(at(1)), UpdatedAt: ref(at(2)), Private: user},
		"user.registered.v1.minimal": &events.UserRegistered{Private: events.UserPrivate{Subject: "s"}},
		"user.changed.v1":            &events.UserChanged{CreatedAt: ref(at(1)), UpdatedAt: ref(at(2)), Private: user},
		"user.changed.v1.minimal":    &events.UserChanged{Private: events.UserPrivate{Subject: "s"}},

		"app.registered.v1": &events.AppRegistered{
			OwnerID: id(0x10), Active: true, CreatedAt: ref(at(1)), UpdatedAt: ref(at(2)), Private: app,
		},
		"app.registered.v1.minimal":   &events.AppRegistered{OwnerID: id(0x10), Private: events.AppPrivate{Name: "n"}},
		"app.changed.v1":              &events.AppChanged{Active: true, CreatedAt: ref(at(1)), UpdatedAt: ref(at(2)), Private: app},
		"app.changed.v1.minimal":      &events.AppChanged{Private: events.AppPrivate{Name: "n"}},
		"app.paused.v1":               &events.AppPaused{},
		"app.resumed.v1":              &events.AppResumed{},
		"app.access-withdrawn.v1":     &events.AppAccessWithdrawn{RuleID: id(0x40)},
		"app.access-ruled.v1":         &events.AppAccessRuled{RuleID: id(0x40), ObjectType: "memory", ObjectID: ref(id(1)), Effect: events.Deny, CreatedAt: ref(at(1))},
		"app.access-ruled.v1.minimal": &events.AppAccessRuled{RuleID: id(0x40), ObjectType: "memory", Effect: events.Allow},

		"category.defined.v1": &events.CategoryDefined{
			CreatedAt: ref(at(1)), UpdatedAt: ref(at(2)), Private: events.CategoryPrivate{Name: "work", Description: ref(awkwardText)},
		},
		"category.defined.v1.minimal": &events.CategoryDefined{Private: events.CategoryPrivate{Name: "work"}},

		"archive-policy.set.v1":         &events.ArchivePolicySet{OwnerID: id(0x10), Criteria: events.OfApp, CriteriaID: ref(id(0x20)), Days: 30, CreatedAt: ref(at(1))},
		"archive-policy.set.v1.minimal": &events.ArchivePolicySet{OwnerID: id(0x10), Criteria: events.Global, Days: 1},
		"archive-policy.withdrawn.v1":   &events.ArchivePolicyWithdrawn{By: id(0x10)},

		"config.set.v1": &events.ConfigSet{By: id(0x10), Private: events.ConfigPrivate{Settings: json.RawMessage(`{"mem0": {"llm": {"config": {"api_key": "sealed:AAECAw"}, "provider": "p"}}}`)}},

		"memory.added.v1":           &events.MemoryAdded{UserID: id(0x10), AppID: ref(id(0x20)), CategoryIDs: []uuid.UUID{id(0x30), id(0x31)}, Private: memory},
		"memory.added.v1.minimal":   &events.MemoryAdded{UserID: id(0x10), Private: events.MemoryPrivate{Content: "c"}},
		"memory.changed.v1":         &events.MemoryChanged{CategoryIDs: &[]uuid.UUID{id(0x30)}, Private: events.MemoryChangedPrivate{Content: ref(awkwardText), Metadata: json.RawMessage(`{}`)}},
		"memory.changed.v1.emptied": &events.MemoryChanged{CategoryIDs: &[]uuid.UUID{}},
		"memory.changed.v1.minimal": &events.MemoryChanged{},
		"memory.activated.v1":       &events.MemoryActivated{By: id(0x10)},
		"memory.activated.v1.undeleted": &events.MemoryActivated{
			By: id(0x10), Private: events.MemoryChangedPrivate{Content: ref(awkwardText), Metadata: json.RawMessage(`{}`)},
		},
		"memory.paused.v1":   &events.MemoryPaused{By: id(0x10)},
		"memory.archived.v1": &events.MemoryArchived{By: id(0x10)},
		"memory.deleted.v1":  &events.MemoryDeleted{By: id(0x10)},
		"memory.imported.v1": &events.MemoryImported{
			UserID: id(0x10), AppID: ref(id(0x20)), State: events.Archived, CreatedAt: at(1), UpdatedAt: at(2),
			ArchivedAt: ref(at(3)), DeletedAt: ref(at(4)), CategoryIDs: []uuid.UUID{id(0x30)}, History: changes, Private: memory,
		},
		"memory.imported.v1.minimal": &events.MemoryImported{
			UserID: id(0x10), State: events.Deleted, CreatedAt: at(1), UpdatedAt: at(2), Private: events.MemoryPrivate{},
		},
		"memory.supplemented.v1":         &events.MemorySupplemented{CategoryIDs: []uuid.UUID{id(0x30), id(0x31)}, History: changes},
		"memory.supplemented.v1.minimal": &events.MemorySupplemented{},

		"journal.created.v1": &events.JournalCreated{JournalID: "01J9ZK3V6Q3X5W8Y2T4R6P8N0M", Shard: 1, Shards: 4, Format: 1},
		"tenant.created.v1":  &events.TenantCreated{Private: events.TenantPrivate{Name: "Acme \u00fc", Key: []byte("0123456789abcdef0123456789abcde\xff")}},
		"journal.reconciled.v1": &events.JournalReconciled{
			JournalID: "01J9ZK3V6Q3X5W8Y2T4R6P8N0M", Shard: 1, Incarnation: 3, Previous: 2, EndedAt: 1200, CommonSeq: 1100, Lost: 7, Unnamed: 90,
			LostHash: "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", Finding: "9f86d081884c7d65",
		},
		"tenant.suspended.v1": &events.TenantSuspended{},
		"tenant.resumed.v1":   &events.TenantResumed{},
		"tenant.removed.v1":   &events.TenantRemoved{},
		"tenant.limited.v1":   &events.TenantLimited{PerSecond: 250, Burst: 500, InFlight: 16},
		"barrier.raised.v1":   &events.BarrierRaised{},
		"rows.repaired.v1": &events.RowsRepaired{
			Edition: 3, Position: 1234567, Entities: 2, Report: "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
			Tables: []events.RepairedTable{{Table: "memory", Inserted: 1, Updated: 2, Deleted: 3}, {Table: "memory_status", Deleted: 4}},
		},
		"rows.repaired.v1.minimal": &events.RowsRepaired{Edition: 1},
	}
}

func compose(t testing.TB, p events.Payload) []byte {
	t.Helper()
	public, private, err := p.Halves()
	if err != nil {
		t.Fatalf("halves of %s: %v", p.Kind(), err)
	}
	return envelope.Compose(public, private, requestHash)
}

func TestGoldenFiles(t *testing.T) {
	for name, want := range golden() {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join("testdata", name+".json")
			if !strings.HasPrefix(name, want.Kind()) {
				t.Fatalf("the value is a %s", want.Kind())
			}
			data, err := os.ReadFile(file)
			if *writeMissing && errors.Is(err, fs.ErrNotExist) {
				data = compose(t, want)
				err = os.WriteFile(file, data, 0o644)
			}
			if err != nil {
				t.Fatal(err)
			}
			got, err := events.Decode(want.Kind(), data)
			if err != nil {
				t.Fatalf("decode: %v", err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("decoded (-want +got):\n%s", diff)
			}
			if encoded := compose(t, want); string(encoded) != string(data) {
				t.Errorf("encoded\n%s\ngolden\n%s", encoded, data)
			}
			if !json.Valid(data) {
				t.Error("encoding/json does not take it")
			}
		})
	}
}

// TestGoldenFilesAreKnown: a file in testdata that no value stands for would be checked by nobody.
func TestGoldenFilesAreKnown(t *testing.T) {
	files, err := filepath.Glob(filepath.Join("testdata", "*.json"))
	if err != nil {
		t.Fatal(err)
	}
	values := golden()
	for _, file := range files {
		if values[strings.TrimSuffix(filepath.Base(file), ".json")] == nil {
			t.Errorf("%s: no value for it in golden", file)
		}
	}
}
