package events_test

import (
	"encoding/json"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/google/uuid"
	"pgregory.net/rapid"

	"github.com/refold-dev/refold/events"
	"github.com/refold-dev/refold/events/envelope"
)

// FuzzDecode: whatever stands in a message, Decode answers, and what it takes survives encoding.
func FuzzDecode(f *testing.F) {
	kinds := events.Kinds()
	for i, kind := range kinds {
		f.Add(i, mustRead(f, filepath.Join("testdata", kind+".json")))
	}
	for _, c := range malformed {
		for i, kind := range kinds {
			if kind == c.kind {
				f.Add(i, []byte(c.data))
			}
		}
	}
	f.Fuzz(func(t *testing.T, i int, data []byte) {
		kind := kinds[uint(i)%uint(len(kinds))]
		p, err := events.Decode(kind, data)
		var m *events.MalformedError
		if err != nil {
			if p != nil || !errors.As(err, &m) {
				t.Fatalf("%v, %v", p, err)
			}
			return
		}
		if !json.Valid(data) {
			t.Fatalf("%s is no JSON, and was taken", data)
		}
		sameAgain(t, p)
	})
}

type fatal interface {
	Helper()
	Fatalf(format string, args ...any)
}

func sameAgain(t fatal, p events.Payload) {
	t.Helper()
	public, private, err := p.Halves()
	if err != nil {
		t.Fatalf("halves: %v", err)
	}
	data := envelope.Compose(public, private, requestHash)
	if !json.Valid(data) || envelope.RequestHash(data) != requestHash {
		t.Fatalf("composed %s", data)
	}
	again, err := events.Decode(p.Kind(), data)
	if err != nil {
		t.Fatalf("decode %s: %v", data, err)
	}
	// An empty list and none are the same, but not where a pointer tells them apart.
	if diff := cmp.Diff(p, again, cmpopts.EquateEmpty()); diff != "" {
		t.Fatalf("%s (-before +after):\n%s", data, diff)
	}
}

func TestPayloadsSurvive(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		sameAgain(t, anyPayload.Draw(t, "payload"))
	})
}

var (
	anyID   = rapid.Custom(func(t *rapid.T) uuid.UUID { return uuid.UUID(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "id")) })
	anyIDs  = rapid.SliceOfN(anyID, 0, 5)
	anyText = rapid.Custom(func(t *rapid.T) string {
		return string(rapid.SliceOf(rapid.RuneFrom([]rune("\x01\t\n\r\b\f\"\\/ aé日\u2028\U0001F9E0\x7f\ufffd"))).Draw(t, "text"))
	})
	anyTime = rapid.Custom(func(t *rapid.T) time.Time {
		first, last := time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(9999, 12, 31, 23, 59, 59, 999_999_000, time.UTC)
		return time.UnixMicro(rapid.Int64Range(first.UnixMicro(), last.UnixMicro()).Draw(t, "time")).UTC()
	})
	anyMetadata = rapid.Custom(func(t *rapid.T) json.RawMessage {
		values := rapid.MapOf(anyText, anyText).Draw(t, "metadata")
		if values == nil || rapid.Bool().Draw(t, "none") {
			return nil
		}
		raw, _ := json.Marshal(values)
		return raw
	})
	anyState   = rapid.SampledFrom([]events.State{events.Active, events.Paused, events.Archived, events.Deleted})
	anyHistory = rapid.SliceOfN(rapid.Custom(func(t *rapid.T) events.StatusChange {
		return events.StatusChange{
			ID: anyID.Draw(t, "id"), ChangedBy: anyID.Draw(t, "by"), ChangedAt: anyTime.Draw(t, "at"),
			OldState: anyState.Draw(t, "old"), NewState: anyState.Draw(t, "new"),
		}
	}), 0, 4)
)

var anyPayload = rapid.Custom(func(t *rapid.T) events.Payload {
	appID, at := rapid.Ptr(anyID, true).Draw(t, "app"), rapid.Ptr(anyTime, true).Draw(t, "at")
	user := events.UserPrivate{
		Subject: anyText.Draw(t, "subject"), Name: rapid.Ptr(anyText, true).Draw(t, "name"),
		Email: rapid.Ptr(anyText, true).Draw(t, "email"), Metadata: anyMetadata.Draw(t, "metadata"),
	}
	app := events.AppPrivate{Name: user.Subject, Description: user.Name, Metadata: user.Metadata}
	memory := events.MemoryPrivate{Content: anyText.Draw(t, "content"), Metadata: user.Metadata}
	ids, history := anyIDs.Draw(t, "categories"), anyHistory.Draw(t, "history")
	return rapid.SampledFrom([]events.Payload{
		&events.UserRegistered{CreatedAt: at, Private: user},
		&events.UserChanged{UpdatedAt: at, Private: user},
		&events.AppRegistered{OwnerID: anyID.Draw(t, "owner"), Active: rapid.Bool().Draw(t, "active"), CreatedAt: at, Private: app},
		&events.AppChanged{UpdatedAt: at, Private: app},
		&events.AppAccessRuled{RuleID: anyID.Draw(t, "rule"), ObjectType: user.Subject, ObjectID: appID, Effect: events.Deny, CreatedAt: at},
		&events.CategoryDefined{CreatedAt: at, Private: events.CategoryPrivate{Name: user.Subject, Description: user.Name}},
		&events.MemoryAdded{UserID: anyID.Draw(t, "user"), AppID: appID, CategoryIDs: ids, Private: memory},
		&events.MemoryChanged{CategoryIDs: &ids, Private: events.MemoryChangedPrivate{Content: user.Name, Metadata: user.Metadata}},
		&events.MemoryImported{
			State: anyState.Draw(t, "state"), CreatedAt: anyTime.Draw(t, "created"), UpdatedAt: anyTime.Draw(t, "updated"),
			ArchivedAt: at, CategoryIDs: ids, History: history, Private: memory,
		},
		&events.MemorySupplemented{CategoryIDs: ids, History: history},
		&events.TenantCreated{Private: events.TenantPrivate{Name: user.Subject, Key: rapid.SliceOf(rapid.Byte()).Draw(t, "key")}},
		&events.TenantLimited{PerSecond: rapid.Int().Draw(t, "per second"), Burst: rapid.Int().Draw(t, "burst"), InFlight: rapid.Int().Draw(t, "in flight")},
		&events.JournalCreated{JournalID: user.Subject, Shard: rapid.Int().Draw(t, "shard"), Shards: 1},
	}).Draw(t, "kind")
})
