package plane_test

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/refold-dev/refold/internal/directory"
	"github.com/refold-dev/refold/internal/openmemory"
	"github.com/refold-dev/refold/internal/openmemory/sample"
	"github.com/refold-dev/refold/internal/plane"
)

// What follows reads an export and the tables with nothing of the importer, the events or the fold.

type exported struct {
	User struct {
		UserID string `json:"user_id"`
	} `json:"user"`
	Apps []struct {
		ID, Name    string
		Description *string
		Metadata    json.RawMessage
		IsActive    bool      `json:"is_active"`
		CreatedAt   time.Time `json:"created_at"`
	} `json:"apps"`
	Categories []struct {
		ID, Name    string
		Description *string
	} `json:"categories"`
	Memories []struct {
		ID          string
		AppID       *string `json:"app_id"`
		Content     string
		Metadata    json.RawMessage
		State       string
		CreatedAt   time.Time  `json:"created_at"`
		UpdatedAt   time.Time  `json:"updated_at"`
		ArchivedAt  *time.Time `json:"archived_at"`
		DeletedAt   *time.Time `json:"deleted_at"`
		CategoryIDs []string   `json:"category_ids"`
	} `json:"memories"`
	Links []struct {
		MemoryID   string `json:"memory_id"`
		CategoryID string `json:"category_id"`
	} `json:"memory_categories"`
	History []struct {
		ID        string
		MemoryID  string    `json:"memory_id"`
		OldState  string    `json:"old_state"`
		NewState  string    `json:"new_state"`
		ChangedAt time.Time `json:"changed_at"`
	} `json:"status_history"`
	Rules []struct {
		ID        string
		SubjectID *string `json:"subject_id"`
		ObjectID  *string `json:"object_id"`
		Effect    string
	} `json:"access_controls"`
}

func readExport(t *testing.T, file []byte) exported {
	t.Helper()
	archive, err := zip.NewReader(bytes.NewReader(file), int64(len(file)))
	if err != nil {
		t.Fatal(err)
	}
	for _, member := range archive.File {
		if filepath.Base(member.Name) != "memories.json" {
			continue
		}
		r, err := member.Open()
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		var e exported
		if err := json.Unmarshal(body, &e); err != nil {
			t.Fatal(err)
		}
		return e
	}
	t.Fatal("no memories.json in the export")
	return exported{}
}

// lines renders an export as one line a record, so that both sides can be compared as sorted texts.
func (e exported) lines() []string {
	var out []string
	apps, categories := map[string]string{}, map[string]string{}
	for _, a := range e.Apps {
		apps[a.ID] = a.Name
		out = append(out, fmt.Sprintf("app %s %s %s %v %s", a.Name, orNull(a.Description), compact(a.Metadata), a.IsActive, stamp(&a.CreatedAt)))
	}
	for _, c := range e.Categories {
		categories[c.ID] = c.Name
		out = append(out, fmt.Sprintf("category %s %s", c.Name, orNull(c.Description)))
	}
	links := map[string]bool{}
	for _, m := range e.Memories {
		app := "NULL"
		if m.AppID != nil {
			app = apps[*m.AppID]
		}
		out = append(out, fmt.Sprintf("memory %s %s %q %s %s %s %s %s %s", m.ID, app, m.Content, compact(m.Metadata), m.State, stamp(&m.CreatedAt), stamp(&m.UpdatedAt), stamp(m.ArchivedAt), stamp(m.DeletedAt)))
		for _, c := range m.CategoryIDs {
			links["link "+m.ID+" "+categories[c]] = true
		}
	}
	for _, l := range e.Links {
		links["link "+l.MemoryID+" "+categories[l.CategoryID]] = true
	}
	for l := range links {
		out = append(out, l)
	}
	for _, h := range e.History {
		out = append(out, fmt.Sprintf("history %s %s %s %s %s", h.ID, h.MemoryID, h.OldState, h.NewState, stamp(&h.ChangedAt)))
	}
	for _, r := range e.Rules {
		app := "NULL"
		if r.SubjectID != nil {
			app = apps[*r.SubjectID]
		}
		out = append(out, fmt.Sprintf("rule %s %s %s %s", r.ID, app, orNull(r.ObjectID), r.Effect))
	}
	slices.Sort(out)
	return out
}

func orNull(s *string) string {
	if s == nil {
		return "NULL"
	}
	return fmt.Sprintf("%q", *s)
}

func stamp(t *time.Time) string {
	if t == nil {
		return "NULL"
	}
	return t.UTC().Format("2006-01-02T15:04:05.000000Z")
}

func compact(raw json.RawMessage) string {
	if len(raw) == 0 || string(raw) == "null" {
		raw = []byte("{}")
	}
	var v any
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	if err := d.Decode(&v); err != nil {
		return err.Error()
	}
	body, err := json.Marshal(v) // orders the members
	if err != nil {
		return err.Error()
	}
	return string(body)
}

// tableLines reads the same lines out of an edition by plain SQL.
func tableLines(t *testing.T, p *plane.Plane, number int64, tenant string) []string {
	t.Helper()
	pool, err := p.DB.OwnerOf(t.Context(), number)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	scan := func(sql string, line func(v []any) string) {
		rows, err := pool.Query(t.Context(), sql, tenant)
		if err != nil {
			t.Fatal(err)
		}
		defer rows.Close()
		for rows.Next() {
			values, err := rows.Values()
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, line(values))
		}
		if err := rows.Err(); err != nil {
			t.Fatal(err)
		}
	}
	text := func(v any) string {
		switch v := v.(type) {
		case nil:
			return "NULL"
		case time.Time:
			return stamp(&v)
		}
		return fmt.Sprint(v)
	}
	quote := func(v any) string {
		if v == nil {
			return "NULL"
		}
		return fmt.Sprintf("%q", v)
	}
	object := func(v any) string { return compact([]byte(v.(string))) }
	scan(`SELECT name, description, metadata::text, is_active, created_at FROM app WHERE tenant_id = $1`, func(v []any) string {
		return fmt.Sprintf("app %s %s %s %v %s", v[0], quote(v[1]), object(v[2]), v[3], text(v[4]))
	})
	scan(`SELECT name, description FROM category WHERE tenant_id = $1`, func(v []any) string {
		return fmt.Sprintf("category %s %s", v[0], quote(v[1]))
	})
	scan(`SELECT m.id::text, a.name, m.content, m.metadata::text, m.state, m.created_at, m.updated_at, m.archived_at, m.deleted_at
		FROM memory m LEFT JOIN app a ON a.tenant_id = m.tenant_id AND a.id = m.app_id WHERE m.tenant_id = $1`, func(v []any) string {
		return fmt.Sprintf("memory %s %s %q %s %s %s %s %s %s", v[0], text(v[1]), v[2], object(v[3]), v[4], text(v[5]), text(v[6]), text(v[7]), text(v[8]))
	})
	scan(`SELECT l.memory_id::text, c.name FROM memory_category l LEFT JOIN category c ON c.tenant_id = l.tenant_id AND c.id = l.category_id
		WHERE l.tenant_id = $1`, func(v []any) string { return fmt.Sprintf("link %s %s", v[0], text(v[1])) })
	scan(`SELECT id::text, memory_id::text, old_state, new_state, changed_at FROM memory_status WHERE tenant_id = $1`, func(v []any) string {
		return fmt.Sprintf("history %s %s %s %s %s", v[0], v[1], v[2], v[3], text(v[4]))
	})
	scan(`SELECT r.id::text, a.name, r.object_id::text, r.effect FROM app_access_rule r JOIN app a ON a.tenant_id = r.tenant_id AND a.id = r.app_id
		WHERE r.tenant_id = $1`, func(v []any) string { return fmt.Sprintf("rule %s %s %s %s", v[0], v[1], quote(v[2]), v[3]) })
	slices.Sort(out)
	return out
}

// exports are the files to import: those of a folder that the environment names, else the sample.
func exports(t *testing.T) map[string][]byte {
	t.Helper()
	out := map[string][]byte{}
	dir := os.Getenv("REFOLD_OPENMEMORY_EXPORTS")
	if dir == "" {
		file, err := sample.Zip()
		if err != nil {
			t.Fatal(err)
		}
		out["sample"] = file
		return out
	}
	names, err := filepath.Glob(filepath.Join(dir, "*.zip"))
	if err != nil || len(names) == 0 {
		t.Fatalf("no exports in %s: %v", dir, err)
	}
	for _, name := range names {
		file, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		out[strings.TrimSuffix(filepath.Base(name), ".zip")] = file
	}
	return out
}

// TestExportsBecomeRows imports exports, compares every field of the rows with the files, verifies, and does the
// same with an edition built by replay.
func TestExportsBecomeRows(t *testing.T) {
	p := open(t)
	files := exports(t)
	imported := 0
	for name, file := range files {
		tenant := tenantFor(t, p, name)
		for round, want := range []string{"added", "nothing"} {
			report := importInto(t, p, tenant, file)
			counts := report.Counts[openmemory.KindMemory]
			if round == 0 {
				imported += counts.Added
			}
			if report.Refused != 0 || (want == "added") != (counts.Added > 0) || counts.Changed != 0 {
				t.Fatalf("%s, round %d: %+v, refused %d", name, round, counts, report.Refused)
			}
		}
	}
	t.Logf("%d memories of %d exports", imported, len(files))
	second, err := p.Editions.Build(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	var digests []string
	for _, number := range []int64{1, second} {
		settle(t, p, number)
		for name, file := range files {
			if diff := cmp.Diff(readExport(t, file).lines(), tableLines(t, p, number, name)); diff != "" {
				t.Fatalf("edition %d, %s: rows differ from the export (-export +rows):\n%s", number, name, diff)
			}
		}
		report := verifyEdition(t, p, number)
		mustBeClean(t, report)
		digests = append(digests, fmt.Sprint(report.Digests))
	}
	if digests[0] != digests[1] {
		t.Fatalf("the two editions have different digests:\n%s\n%s", digests[0], digests[1])
	}
}

func importInto(t *testing.T, p *plane.Plane, tenant directory.Tenant, file []byte) *openmemory.Report {
	t.Helper()
	report, err := openmemory.Import(t.Context(), openmemory.Config{
		File: bytes.NewReader(file), Size: int64(len(file)), Tenant: tenant, Shard: p.Journal.Shard(tenant.Shard), TempDir: t.TempDir(),
	})
	if err != nil {
		t.Fatal(err)
	}
	return report
}
