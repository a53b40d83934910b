package openmemory

import (
	"archive/zip"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/refold-dev/refold/internal/postgres/db"
	"github.com/refold-dev/refold/internal/reader"
)

// FileName is what the old system calls the export of a login.
func FileName(subject string) string { return "memories_export_" + subject + ".zip" }

// Export writes what a user has as a zip of version "1", as the old system does. It reads the memories once for each array
// of the format, all from the snapshot of x, and holds a page of them at a time.
//
// A change of state by somebody else than the user, such as an archive policy, is written as the user's: the format
// knows no others.
func Export(w io.Writer, x *reader.Export, now time.Time) error {
	archive := zip.NewWriter(w)
	document, err := archive.CreateHeader(&zip.FileHeader{Name: documentName, Method: zip.Deflate, Modified: now})
	if err != nil {
		return err
	}
	d := &documentWriter{out: document, x: x, apps: map[uuid.UUID]string{}}
	if err := d.write(now); err != nil {
		return fmt.Errorf("write %s: %w", documentName, err)
	}
	lines, err := archive.CreateHeader(&zip.FileHeader{Name: linesName, Method: zip.Store, Modified: now})
	if err != nil {
		return err
	}
	packed := gzip.NewWriter(lines)
	if err := errors.Join(d.writeLines(packed), packed.Close()); err != nil {
		return fmt.Errorf("write %s: %w", linesName, err)
	}
	return archive.Close()
}

// documentWriter writes memories.json member by member.
type documentWriter struct {
	out   io.Writer
	x     *reader.Export
	apps  map[uuid.UUID]string // names of those exported, at most as many as one user has
	begun bool                 // the member that is being written has an element
}

func (d *documentWriter) write(now time.Time) error {
	steps := []func() error{
		func() error { return d.text(`{"user":`) },
		func() error { return d.record(userOut(d.x.User)) },
		func() error { return d.array("apps", d.writeApps) },
		func() error { return d.array("categories", d.writeCategories) },
		func() error { return d.array("memories", d.writeMemories) },
		func() error { return d.array("memory_categories", d.writeLinks) },
		func() error { return d.array("status_history", d.writeHistory) },
		func() error { return d.array("access_controls", d.writeRules) },
		func() error { return d.text(`,"export_meta":`) },
		func() error { return d.record(metaOut(d.x.Filter, now)) },
		func() error { return d.text("}") },
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

func (d *documentWriter) text(s string) error {
	_, err := io.WriteString(d.out, s)
	return err
}

func (d *documentWriter) record(v any) error { return writeRecord(d.out, v) }

func (d *documentWriter) array(name string, fill func() error) error {
	if err := d.text(`,"` + name + `":[`); err != nil {
		return err
	}
	d.begun = false
	if err := fill(); err != nil {
		return err
	}
	return d.text("]")
}

func (d *documentWriter) element(v any) error {
	if d.begun {
		if err := d.text(","); err != nil {
			return err
		}
	}
	d.begun = true
	return d.record(v)
}

func (d *documentWriter) writeApps() error {
	return d.x.Apps(func(page []db.App) error {
		for _, a := range page {
			d.apps[a.ID] = a.Name
			err := d.element(appOut{a.ID, a.OwnerID, a.Name, a.Description, a.Metadata, a.IsActive, when(a.CreatedAt), when(a.UpdatedAt)})
			if err != nil {
				return err
			}
		}
		return nil
	})
}

func (d *documentWriter) writeCategories() error {
	return d.x.Categories(func(page []db.Category) error {
		for _, c := range page {
			if err := d.element(categoryOut{c.ID, c.Name, c.Description, when(c.CreatedAt), when(c.UpdatedAt)}); err != nil {
				return err
			}
		}
		return nil
	})
}

func (d *documentWriter) writeMemories() error {
	return d.x.Memories(func(page []db.Memory) error {
		ids, _, err := d.categoriesOf(page)
		if err != nil {
			return err
		}
		for _, m := range page {
			err := d.element(memoryOut{
				m.ID, m.UserID, m.AppID, m.Content, m.Metadata, m.State, when(m.CreatedAt), when(m.UpdatedAt),
				whenOrNull(m.ArchivedAt), whenOrNull(m.DeletedAt), append([]uuid.UUID{}, ids[m.ID]...),
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
}

func (d *documentWriter) categoriesOf(page []db.Memory) (ids map[uuid.UUID][]uuid.UUID, names map[uuid.UUID][]string, err error) {
	links, err := d.x.Links(page)
	ids, names = map[uuid.UUID][]uuid.UUID{}, map[uuid.UUID][]string{}
	for _, l := range links {
		ids[l.MemoryID] = append(ids[l.MemoryID], l.CategoryID)
		names[l.MemoryID] = append(names[l.MemoryID], l.Name)
	}
	return ids, names, err
}

func (d *documentWriter) writeLinks() error {
	return d.x.Memories(func(page []db.Memory) error {
		links, err := d.x.Links(page)
		if err != nil {
			return err
		}
		for _, l := range links {
			if err := d.element(linkOut{l.MemoryID, l.CategoryID}); err != nil {
				return err
			}
		}
		return nil
	})
}

func (d *documentWriter) writeHistory() error {
	return d.x.Memories(func(page []db.Memory) error {
		statuses, err := d.x.Statuses(page)
		if err != nil {
			return err
		}
		for _, h := range statuses {
			if err := d.element(historyOut{h.ID, h.MemoryID, d.x.User.ID, h.OldState, h.NewState, when(h.ChangedAt)}); err != nil {
				return err
			}
		}
		return nil
	})
}

func (d *documentWriter) writeRules() error {
	return d.x.Apps(func(page []db.App) error {
		rules, err := d.x.Rules(page)
		if err != nil {
			return err
		}
		for _, r := range rules {
			if err := d.element(ruleOut{r.ID, "app", r.AppID, r.ObjectType, r.ObjectID, r.Effect, when(r.CreatedAt)}); err != nil {
				return err
			}
		}
		return nil
	})
}

// writeLines writes a line for each memory; the apps are known from the document.
func (d *documentWriter) writeLines(out io.Writer) error {
	return d.x.Memories(func(page []db.Memory) error {
		_, names, err := d.categoriesOf(page)
		if err != nil {
			return err
		}
		for _, m := range page {
			line := lineOut{m.ID, m.Content, m.Metadata, when(m.CreatedAt), when(m.UpdatedAt), m.State, nil, append([]string{}, names[m.ID]...)}
			if m.AppID != nil {
				if name, ok := d.apps[*m.AppID]; ok {
					line.App = &name
				}
			}
			if err := writeRecord(out, line); err != nil {
				return err
			}
			if _, err := out.Write([]byte("\n")); err != nil {
				return err
			}
		}
		return nil
	})
}

// What follows are the records of the format, in the order of the old system.

type userRecordOut struct {
	ID        uuid.UUID       `json:"id"`
	Subject   string          `json:"user_id"`
	Name      *string         `json:"name"`
	Email     *string         `json:"email"`
	Metadata  json.RawMessage `json:"metadata"`
	CreatedAt when            `json:"created_at"`
	UpdatedAt when            `json:"updated_at"`
}

func userOut(u db.UserAccount) userRecordOut {
	return userRecordOut{u.ID, u.Subject, u.Name, u.Email, u.Metadata, when(u.CreatedAt), when(u.UpdatedAt)}
}

type appOut struct {
	ID          uuid.UUID       `json:"id"`
	OwnerID     uuid.UUID       `json:"owner_id"`
	Name        string          `json:"name"`
	Description *string         `json:"description"`
	Metadata    json.RawMessage `json:"metadata"`
	IsActive    bool            `json:"is_active"`
	CreatedAt   when            `json:"created_at"`
	UpdatedAt   when            `json:"updated_at"`
}

type categoryOut struct {
	ID          uuid.UUID `json:"id"`
	Name        string    `json:"name"`
	Description *string   `json:"description"`
	CreatedAt   when      `json:"created_at"`
	UpdatedAt   when      `json:"updated_at"`
}

type memoryOut struct {
	ID          uuid.UUID       `json:"id"`
	UserID      uuid.UUID       `json:"user_id"`
	AppID       *uuid.UUID      `json:"app_id"`
	Content     string          `json:"content"`
	Metadata    json.RawMessage `json:"metadata"`
	State       string          `json:"state"`
	CreatedAt   when            `json:"created_at"`
	UpdatedAt   when            `json:"updated_at"`
	ArchivedAt  *when           `json:"archived_at"`
	DeletedAt   *when           `json:"deleted_at"`
	CategoryIDs []uuid.UUID     `json:"category_ids"`
}

type linkOut struct {
	MemoryID   uuid.UUID `json:"memory_id"`
	CategoryID uuid.UUID `json:"category_id"`
}

type historyOut struct {
	ID        uuid.UUID `json:"id"`
	MemoryID  uuid.UUID `json:"memory_id"`
	ChangedBy uuid.UUID `json:"changed_by"`
	OldState  string    `json:"old_state"`
	NewState  string    `json:"new_state"`
	ChangedAt when      `json:"changed_at"`
}

type ruleOut struct {
	ID          uuid.UUID  `json:"id"`
	SubjectType string     `json:"subject_type"`
	SubjectID   uuid.UUID  `json:"subject_id"`
	ObjectType  string     `json:"object_type"`
	ObjectID    *uuid.UUID `json:"object_id"`
	Effect      string     `json:"effect"`
	CreatedAt   when       `json:"created_at"`
}

type lineOut struct {
	ID         uuid.UUID       `json:"id"`
	Content    string          `json:"content"`
	Metadata   json.RawMessage `json:"metadata"`
	CreatedAt  when            `json:"created_at"`
	UpdatedAt  when            `json:"updated_at"`
	State      string          `json:"state"`
	App        *string         `json:"app"`
	Categories []string        `json:"categories"`
}

type metaRecordOut struct {
	AppID       *uuid.UUID `json:"app_id_filter"`
	From        *int64     `json:"from_date"`
	To          *int64     `json:"to_date"`
	Version     string     `json:"version"`
	GeneratedAt when       `json:"generated_at"`
}

func metaOut(f reader.ExportFilter, now time.Time) metaRecordOut {
	return metaRecordOut{AppID: f.AppID, From: unix(f.From), To: unix(f.To), Version: "1", GeneratedAt: when(now)}
}

func unix(t *time.Time) *int64 {
	if t == nil {
		return nil
	}
	seconds := t.Unix()
	return &seconds
}

// when is a time as the old system writes it: ISO 8601 in UTC, with microseconds when there are any.
type when time.Time

func whenOrNull(t *time.Time) *when {
	if t == nil {
		return nil
	}
	w := when(*t)
	return &w
}

func (w when) MarshalJSON() ([]byte, error) {
	t := time.Time(w).UTC().Truncate(time.Microsecond)
	layout := `"2006-01-02T15:04:05.000000+00:00"`
	if t.Nanosecond() == 0 {
		layout = `"2006-01-02T15:04:05+00:00"`
	}
	return []byte(t.Format(layout)), nil
}

// writeRecord writes a value as JSON in ASCII, as the old system does.
func writeRecord(out io.Writer, v any) error {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(v); err != nil {
		return err
	}
	_, err := out.Write(ascii(bytes.TrimSuffix(b.Bytes(), []byte("\n"))))
	return err
}

// ascii escapes what is beyond ASCII; in JSON that can only stand within strings.
func ascii(in []byte) []byte {
	out := make([]byte, 0, len(in))
	for len(in) > 0 {
		if in[0] < utf8.RuneSelf {
			out, in = append(out, in[0]), in[1:]
			continue
		}
		r, size := utf8.DecodeRune(in)
		in = in[size:]
		if high, low := utf16.EncodeRune(r); high != utf8.RuneError {
			out = fmt.Appendf(out, `\u%04x\u%04x`, high, low)
			continue
		}
		out = fmt.Appendf(out, `\u%04x`, r)
	}
	return out
}
