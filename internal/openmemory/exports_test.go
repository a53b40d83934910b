package openmemory_test

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/refold-dev/refold/events"
	"github.com/refold-dev/refold/events/envelope"
	"github.com/refold-dev/refold/events/jsonb"
	"github.com/refold-dev/refold/internal/app"
	"github.com/refold-dev/refold/internal/category"
	"github.com/refold-dev/refold/internal/directory"
	"github.com/refold-dev/refold/internal/journal/journaltest"
	"github.com/refold-dev/refold/internal/openmemory"
	"github.com/refold-dev/refold/internal/openmemory/sample"
	"github.com/refold-dev/refold/internal/user"
)

// exportsEnv names a folder of real exports to import besides the sample.
const exportsEnv = "REFOLD_OPENMEMORY_EXPORTS"

// What follows reads an export on its own: encoding/json on the whole file, and no code of the importer.

type exported struct {
	User struct {
		ID       string          `json:"id"`
		Subject  string          `json:"user_id"`
		Name     *string         `json:"name"`
		Email    *string         `json:"email"`
		Metadata json.RawMessage `json:"metadata"`
		Times
	} `json:"user"`
	Apps []struct {
		ID          string          `json:"id"`
		Name        string          `json:"name"`
		Description *string         `json:"description"`
		Metadata    json.RawMessage `json:"metadata"`
		IsActive    bool            `json:"is_active"`
		Times
	} `json:"apps"`
	Categories []struct {
		ID          string  `json:"id"`
		Name        string  `json:"name"`
		Description *string `json:"description"`
		Times
	} `json:"categories"`
	Memories []struct {
		ID          string          `json:"id"`
		AppID       *string         `json:"app_id"`
		Content     string          `json:"content"`
		Metadata    json.RawMessage `json:"metadata"`
		State       string          `json:"state"`
		ArchivedAt  *time.Time      `json:"archived_at"`
		DeletedAt   *time.Time      `json:"deleted_at"`
		CategoryIDs []string        `json:"category_ids"`
		Times
	} `json:"memories"`
	Links []struct {
		MemoryID   string `json:"memory_id"`
		CategoryID string `json:"category_id"`
	} `json:"memory_categories"`
	History []struct {
		ID        uuid.UUID `json:"id"`
		MemoryID  string    `json:"memory_id"`
		OldState  string    `json:"old_state"`
		NewState  string    `json:"new_state"`
		ChangedAt time.Time `json:"changed_at"`
	} `json:"status_history"`
	Rules []struct {
		ID         uuid.UUID  `json:"id"`
		SubjectID  string     `json:"subject_id"`
		ObjectType string     `json:"object_type"`
		ObjectID   *uuid.UUID `json:"object_id"`
		Effect     string     `json:"effect"`
		CreatedAt  *time.Time `json:"created_at"`
	} `json:"access_controls"`
}

type Times struct {
	CreatedAt *time.Time `json:"created_at"`
	UpdatedAt *time.Time `json:"updated_at"`
}

func readExport(t *testing.T, file []byte) exported {
	t.Helper()
	z, err := zip.NewReader(bytes.NewReader(file), int64(len(file)))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range z.File {
		if path.Base(f.Name) != "memories.json" {
			continue
		}
		r, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		raw, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		var e exported
		if err := json.Unmarshal(raw, &e); err != nil {
			t.Fatal(err)
		}
		return e
	}
	t.Fatal("no memories.json")
	return exported{}
}

// expected returns the payload that each entity must end up with, by "entity/id", and by "app/id/rule" for rules.
func (x exported) expected(t *testing.T, tenant directory.Tenant) map[string]events.Payload {
	t.Helper()
	out := map[string]events.Payload{}
	userID := user.ID(tenant.Key, tenant.ID, x.User.Subject)
	out["user/"+userID.String()] = &events.UserRegistered{CreatedAt: utc(x.User.CreatedAt), UpdatedAt: utc(x.User.UpdatedAt),
		Private: events.UserPrivate{Subject: x.User.Subject, Name: x.User.Name, Email: x.User.Email, Metadata: normal(t, x.User.Metadata)}}
	appIDs, categoryIDs := map[string]uuid.UUID{}, map[string]uuid.UUID{}
	for _, a := range x.Apps {
		appIDs[a.ID] = app.ID(tenant.Key, tenant.ID, userID, a.Name)
		out["app/"+appIDs[a.ID].String()] = &events.AppRegistered{OwnerID: userID, Active: a.IsActive, CreatedAt: utc(a.CreatedAt), UpdatedAt: utc(a.UpdatedAt),
			Private: events.AppPrivate{Name: a.Name, Description: a.Description, Metadata: normal(t, a.Metadata)}}
	}
	for _, c := range x.Categories {
		categoryIDs[c.ID] = category.ID(tenant.Key, tenant.ID, c.Name)
		out["category/"+categoryIDs[c.ID].String()] = &events.CategoryDefined{CreatedAt: utc(c.CreatedAt), UpdatedAt: utc(c.UpdatedAt),
			Private: events.CategoryPrivate{Name: c.Name, Description: c.Description}}
	}
	for _, r := range x.Rules {
		out["app/"+appIDs[r.SubjectID].String()+"/"+r.ID.String()] = &events.AppAccessRuled{RuleID: r.ID, ObjectType: r.ObjectType,
			ObjectID: r.ObjectID, Effect: events.Effect(r.Effect), CreatedAt: utc(r.CreatedAt)}
	}
	for _, m := range x.Memories {
		p := &events.MemoryImported{UserID: userID, State: events.State(m.State), CreatedAt: m.CreatedAt.UTC(), UpdatedAt: m.UpdatedAt.UTC(),
			ArchivedAt: utc(m.ArchivedAt), DeletedAt: utc(m.DeletedAt),
			Private: events.MemoryPrivate{Content: m.Content, Metadata: normal(t, m.Metadata)}}
		if m.AppID != nil {
			id := appIDs[*m.AppID]
			p.AppID = &id
		}
		links := slices.Clone(m.CategoryIDs)
		for _, l := range x.Links {
			if l.MemoryID == m.ID {
				links = append(links, l.CategoryID)
			}
		}
		slices.Sort(links)
		for _, id := range slices.Compact(links) {
			p.CategoryIDs = append(p.CategoryIDs, categoryIDs[id])
		}
		slices.SortFunc(p.CategoryIDs, func(a, b uuid.UUID) int { return bytes.Compare(a[:], b[:]) })
		for _, h := range x.History {
			if h.MemoryID == m.ID {
				p.History = append(p.History, events.StatusChange{ID: h.ID, ChangedBy: userID, OldState: events.State(h.OldState),
					NewState: events.State(h.NewState), ChangedAt: h.ChangedAt.UTC()})
			}
		}
		slices.SortStableFunc(p.History, func(a, b events.StatusChange) int { return a.ChangedAt.Compare(b.ChangedAt) })
		out["memory/"+m.ID] = p
	}
	return out
}

func utc(t *time.Time) *time.Time {
	if t == nil {
		return nil
	}
	at := t.UTC()
	return &at
}

func normal(t *testing.T, metadata json.RawMessage) json.RawMessage {
	t.Helper()
	if string(metadata) == "null" {
		metadata = nil
	}
	out, err := jsonb.NormalizeObject(metadata)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestExportsFieldByField imports the sample, and all exports of the folder named by REFOLD_OPENMEMORY_EXPORTS, into
// one tenant each, and compares every event with what the file says.
func TestExportsFieldByField(t *testing.T) {
	t.Parallel()
	files := map[string][]byte{}
	var err error
	if files["sample"], err = sample.Zip(); err != nil {
		t.Fatal(err)
	}
	if folder := os.Getenv(exportsEnv); folder != "" {
		names, err := filepath.Glob(filepath.Join(folder, "*.zip"))
		if err != nil || len(names) == 0 {
			t.Fatalf("%s=%s: no exports there (%v)", exportsEnv, folder, err)
		}
		for _, name := range names {
			if files[filepath.Base(name)], err = os.ReadFile(name); err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, file := range files {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			shard := journaltest.NewFake(0, 1)
			tenant := directory.Tenant{ID: "acme", Key: []byte(strings.Repeat("k", 32))}
			config := openmemory.Config{File: bytes.NewReader(file), Size: int64(len(file)), Tenant: tenant, Shard: shard, TempDir: t.TempDir()}
			report, err := openmemory.Import(t.Context(), config)
			if err != nil || report.Refused > 0 {
				t.Fatalf("%v, refusals %+v", err, report.Refusals)
			}
			t.Logf("%s: %d memories in %s", name, report.Counts[openmemory.KindMemory].Added, report.Duration)
			want := readExport(t, file).expected(t, tenant)
			compareEvents(t, shard, want)

			again, err := openmemory.Import(t.Context(), config)
			if err != nil {
				t.Fatal(err)
			}
			facts, err := shard.Facts(t.Context())
			if err != nil || facts.LastSeq != uint64(1+len(want)) {
				t.Errorf("the second import left the journal at %d, want %d (%v)", facts.LastSeq, 1+len(want), err)
			}
			t.Logf("%s: again in %s", name, again.Duration)
		})
	}
}

func compareEvents(t *testing.T, shard *journaltest.Fake, want map[string]events.Payload) {
	t.Helper()
	facts, err := shard.Facts(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]events.Payload{}
	for seq := uint64(2); seq <= facts.LastSeq; seq++ { // behind the genesis event
		e, err := shard.At(t.Context(), seq)
		if err != nil {
			t.Fatal(err)
		}
		name, payload := named(t, e)
		if got[name] != nil {
			t.Errorf("%s has two events", name)
		}
		got[name] = payload
	}
	if len(got) != len(want) {
		t.Errorf("%d events, want %d", len(got), len(want))
	}
	for name, payload := range want {
		if diff := cmp.Diff(payload, got[name]); diff != "" {
			t.Fatalf("%s: %s", name, diff)
		}
	}
}

func named(t *testing.T, e *envelope.Event) (string, events.Payload) {
	t.Helper()
	payload, err := events.Decode(e.Kind, e.Data)
	if err != nil {
		t.Fatal(err)
	}
	name := fmt.Sprintf("%s/%s", e.Entity, e.ID)
	if rule, ok := payload.(*events.AppAccessRuled); ok {
		name += "/" + rule.RuleID.String()
	}
	return name, payload
}
