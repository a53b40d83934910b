package mcpapi

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/refold-dev/refold/events/commands"
	"github.com/refold-dev/refold/internal/journal"
	"github.com/refold-dev/refold/internal/problem"
	"github.com/refold-dev/refold/internal/reader"
	"github.com/refold-dev/refold/internal/writer"
)

// Bounds of questions and answers.
const (
	limitDefault    = 20
	limitMax        = 50
	pageBytesMax    = 48 << 10 // of all memories of a page, as JSON
	contentBytesMax = 2 << 10  // of the content, and of the metadata, of one memory in a page, as JSON
	partBytesMax    = 32 << 10 // of those of one memory alone
	queryRunesMax   = 1000
	nameRunesMax    = 200
	filterMax       = 50
	idsMax          = 100
	historyMax      = 200
)

// memory is a memory as agents see it.
type memory struct {
	ID              uuid.UUID       `json:"id"`
	Content         string          `json:"content"`
	Truncated       bool            `json:"truncated,omitempty" jsonschema:"the content is longer: read it with get_memory"`
	MetadataOmitted bool            `json:"metadata_omitted,omitempty" jsonschema:"the metadata is too large to be shown"`
	State           string          `json:"state" jsonschema:"active, paused or archived"`
	App             string          `json:"app,omitempty" jsonschema:"the app that stored it"`
	Categories      []string        `json:"categories"`
	Metadata        json.RawMessage `json:"metadata"`
	CreatedAt       time.Time       `json:"created_at"`
	UpdatedAt       time.Time       `json:"updated_at"`
	Version         int64           `json:"version"`
}

func memoryOf(m reader.Memory, contentMax int) memory {
	out := memory{
		ID: m.ID, State: m.State, Categories: m.Categories, Metadata: json.RawMessage(m.Metadata),
		CreatedAt: m.CreatedAt.UTC(), UpdatedAt: m.UpdatedAt.UTC(), Version: m.Version,
	}
	out.Content, out.Truncated = cut(m.Content, contentMax)
	if m.AppName != nil {
		out.App = *m.AppName
	}
	if sizeOf(out.Metadata) > contentMax {
		out.Metadata, out.MetadataOmitted = json.RawMessage("{}"), true
	}
	return out
}

// sizeOf is how many bytes a value takes in an answer.
func sizeOf(value any) int {
	body, _ := json.Marshal(value) // plain data
	return len(body)
}

type memoryPage struct {
	Notice     string   `json:"notice"`
	Items      []memory `json:"items"`
	NextCursor string   `json:"next_cursor,omitempty" jsonschema:"hand it in as cursor to get the next page; absent at the end"`
}

type page struct {
	Limit  int    `json:"limit,omitempty" jsonschema:"how many to return: 1 to 50, 20 when not given"`
	Cursor string `json:"cursor,omitempty" jsonschema:"next_cursor of the page before, with the same other arguments"`
}

func (p page) count() (int, error) {
	if p.Limit == 0 {
		return limitDefault, nil
	}
	if p.Limit < 1 || p.Limit > limitMax {
		return 0, invalid("limit: want 1 to 50")
	}
	return p.Limit, nil
}

// filter selects memories. Its rules beyond the form are those of the reader.
type filter struct {
	States        []string        `json:"states,omitempty" jsonschema:"of active, paused, archived; active and paused when not given"`
	Categories    []string        `json:"categories,omitempty" jsonschema:"names: memories of any of these categories"`
	Apps          []string        `json:"apps,omitempty" jsonschema:"names: memories that any of these apps, or of app_ids, has stored"`
	AppIDs        []string        `json:"app_ids,omitempty" jsonschema:"ids: memories that any of these apps has stored, see list_apps"`
	Contains      string          `json:"contains,omitempty" jsonschema:"text that the content must contain as it is; case does not matter"`
	CreatedAfter  *time.Time      `json:"created_after,omitempty" jsonschema:"RFC 3339, such as 2026-01-31T12:00:00Z"`
	CreatedBefore *time.Time      `json:"created_before,omitempty" jsonschema:"RFC 3339"`
	UpdatedAfter  *time.Time      `json:"updated_after,omitempty" jsonschema:"RFC 3339"`
	UpdatedBefore *time.Time      `json:"updated_before,omitempty" jsonschema:"RFC 3339"`
	Metadata      json.RawMessage `json:"metadata,omitempty" jsonschema:"what the metadata must contain, such as {\"tags\": [\"work\"]}: each member, and each element of a list"`
	NotMetadata   json.RawMessage `json:"not_metadata,omitempty" jsonschema:"memories whose metadata contain all of this are left out"`
}

func (f filter) of() (out reader.MemoryFilter, err error) {
	out = reader.MemoryFilter{
		From: micro(f.CreatedAfter), To: micro(f.CreatedBefore), UpdatedFrom: micro(f.UpdatedAfter), UpdatedTo: micro(f.UpdatedBefore),
	}
	for _, state := range f.States {
		if state != "active" && state != "paused" && state != "archived" {
			return out, invalid("states: want active, paused or archived")
		}
		out.States = append(out.States, state)
	}
	if max(len(f.AppIDs), len(f.Apps), len(f.Categories)) > filterMax {
		return out, invalid("app_ids, apps and categories: at most 50 of each")
	}
	for _, text := range f.AppIDs {
		id, err := uuid.Parse(text)
		if err != nil {
			return out, invalid("app_ids: want ids")
		}
		out.AppIDs = append(out.AppIDs, id)
	}
	if f.Contains != "" {
		out.Search = &f.Contains
	}
	out.Apps, out.Categories = append(out.Apps, f.Apps...), append(out.Categories, f.Categories...) // none at all is no condition
	return out, errors.Join(
		checkNames("/apps", f.Apps), checkNames("/categories", f.Categories), checkQuery("contains", f.Contains),
		takePart(&out.Metadata, "metadata", f.Metadata), takePart(&out.NotMetadata, "not_metadata", f.NotMetadata),
	)
}

func checkNames(pointer string, names []string) error {
	for _, name := range names {
		if err := commands.Name(pointer, name); err != nil {
			return err
		}
	}
	return nil
}

func takePart(into *json.RawMessage, name string, object json.RawMessage) (err error) {
	if *into, err = reader.MetadataPart(object); err != nil {
		return invalid(name + ": " + err.Error())
	}
	return nil
}

func checkQuery(name, text string) error {
	if utf8.RuneCountInString(text) > queryRunesMax {
		return invalid(name + ": at most 1000 characters")
	}
	return nil
}

// micro cuts a bound of time to what rows hold.
func micro(t *time.Time) *time.Time {
	if t == nil {
		return nil
	}
	utc := t.UTC().Truncate(time.Microsecond)
	return &utc
}

type listIn struct {
	filter
	Sort  string `json:"sort,omitempty" jsonschema:"created_at (when not given) or updated_at"`
	Order string `json:"order,omitempty" jsonschema:"desc (when not given) or asc"`
	page
}

func (in listIn) sort() (reader.Sort, error) {
	s := reader.Sort{By: cmp.Or(in.Sort, reader.ByCreated), Descending: cmp.Or(in.Order, "desc") == "desc"}
	if s.By != reader.ByCreated && s.By != reader.ByUpdated || !s.Descending && in.Order != "asc" {
		return s, invalid("want sort created_at or updated_at, and order asc or desc")
	}
	return s, nil
}

func listMemories(ctx context.Context, c call, in listIn) (memoryPage, error) {
	out := emptyPage()
	wanted, errFilter := in.of()
	sort, errSort := in.sort()
	count, errCount := in.count()
	if err := errors.Join(errFilter, errSort, errCount); err != nil {
		return out, err
	}
	bound := []any{wanted, sort}
	edition, behind, err := openCursor[reader.MemoryMark](c, "list_memories", bound, in.Cursor)
	if err != nil {
		return out, err
	}
	found, stamp, err := c.Reader.Memories(ctx, c.reads(edition), reader.Freshness{}, reader.MemoryList{
		Filter: wanted, Sort: sort, Pages: reader.Pages[reader.MemoryMark]{Behind: behind, Count: count},
	})
	if err != nil {
		return out, err
	}
	out.Items = fitting(found.Items)
	out.NextCursor = sealCursor(c, "list_memories", bound, stamp.Edition, found.First(len(out.Items)).Next)
	return out, nil
}

// fitting are as many of the memories as a page holds; at least one, if there is any.
func fitting(found []reader.Memory) []memory {
	items, bytes := []memory{}, 0
	for _, m := range found {
		shown := memoryOf(m, contentBytesMax)
		if bytes += sizeOf(shown); bytes > pageBytesMax && len(items) > 0 {
			break
		}
		items = append(items, shown)
	}
	return items
}

func emptyPage() memoryPage { return memoryPage{Notice: notice, Items: []memory{}} }

type memoryIn struct {
	MemoryID string `json:"memory_id" jsonschema:"id of the memory"`
}

type getIn struct {
	memoryIn
	Offset int `json:"offset,omitempty" jsonschema:"where to begin in the content, as next_offset says; 0 when not given"`
}

type getOut struct {
	Notice     string `json:"notice"`
	Memory     memory `json:"memory"`
	NextOffset int    `json:"next_offset,omitempty" jsonschema:"hand it in as offset to read on; absent at the end"`
}

func getMemory(ctx context.Context, c call, in getIn) (out getOut, err error) {
	id, err := memoryID(in.MemoryID)
	if err != nil {
		return out, err
	}
	m, _, err := c.Reader.Memory(ctx, c.reads(0), reader.Freshness{}, id)
	if err != nil {
		return out, err
	}
	if in.Offset < 0 || in.Offset > len(m.Content) || in.Offset < len(m.Content) && !utf8.RuneStart(m.Content[in.Offset]) {
		return out, invalid("offset: want 0 or a next_offset")
	}
	content := m.Content[in.Offset:]
	m.Content = ""
	out = getOut{Notice: notice, Memory: memoryOf(m, partBytesMax)}
	out.Memory.Content, out.Memory.Truncated = cut(content, partBytesMax)
	if out.Memory.Truncated {
		out.NextOffset = in.Offset + len(out.Memory.Content)
	}
	return out, nil
}

type change struct {
	OldState  string    `json:"old_state"`
	NewState  string    `json:"new_state"`
	ChangedAt time.Time `json:"changed_at"`
	Version   int64     `json:"version"`
}

type historyOut struct {
	Items   []change `json:"items"`
	Omitted int      `json:"omitted,omitempty" jsonschema:"how many older changes are not shown"`
}

func memoryHistory(ctx context.Context, c call, in memoryIn) (out historyOut, err error) {
	id, err := memoryID(in.MemoryID)
	if err != nil {
		return out, err
	}
	_, history, _, err := c.Reader.MemoryHistory(ctx, c.reads(0), reader.Freshness{}, id)
	if err != nil {
		return out, err
	}
	out = historyOut{Items: []change{}, Omitted: max(0, len(history)-historyMax)}
	for _, h := range history[out.Omitted:] {
		out.Items = append(out.Items, change{h.OldState, h.NewState, h.ChangedAt.UTC(), h.Version})
	}
	return out, nil
}

type key struct {
	IdempotencyKey string `json:"idempotency_key,omitempty" jsonschema:"any text of your own, new for each new command: a repeated call with the same key is stored once"`
}

type addIn struct {
	Text       string          `json:"text" jsonschema:"what to remember, word for word"`
	Categories []string        `json:"categories,omitempty" jsonschema:"names of categories; new ones are made"`
	Metadata   json.RawMessage `json:"metadata,omitempty" jsonschema:"anything to keep beside it, as a JSON object"`
	key
}

type written struct {
	ID             uuid.UUID `json:"id"`
	Version        uint64    `json:"version"`
	Changed        bool      `json:"changed" jsonschema:"false: it was so already"`
	Readable       bool      `json:"readable" jsonschema:"false: stored for good, but searches may not find it for a moment"`
	IdempotencyKey string    `json:"idempotency_key"`
}

func (c call) written(ctx context.Context, done writer.Done, w writer.Wish, err error) (written, error) {
	if err != nil {
		return written{}, problem.Doubtful(err, w.ID)
	}
	return written{ID: done.ID, Version: done.Version, Changed: !done.Nothing, Readable: c.settle(ctx, done), IdempotencyKey: w.ID}, nil
}

func addMemory(ctx context.Context, c call, in addIn) (out written, err error) {
	w, err := wish(in.IdempotencyKey)
	if err != nil {
		return out, err
	}
	// The app that is there already, paused or not: another spelling is no other app.
	entered, err := c.Writer.EnterApp(ctx, c.caller, c.app, false)
	if err != nil && !errors.Is(err, writer.ErrAppPaused) {
		return out, journal.Unavailable(err)
	}
	m := commands.AddMemory{Content: in.Text, Metadata: in.Metadata, Categories: in.Categories, App: &entered.Name}
	done, _, err := c.Writer.AddMemory(ctx, c.caller, w, m)
	return c.written(ctx, done, w, err)
}

type updateIn struct {
	memoryIn
	Text       *string         `json:"text,omitempty" jsonschema:"the new content"`
	Categories *[]string       `json:"categories,omitempty" jsonschema:"the whole new set of categories"`
	Metadata   json.RawMessage `json:"metadata,omitempty" jsonschema:"the whole new metadata"`
	IfVersion  *uint64         `json:"if_version,omitempty" jsonschema:"refuse unless the memory is still at this version"`
	key
}

func updateMemory(ctx context.Context, c call, in updateIn) (out written, err error) {
	id, errID := memoryID(in.MemoryID)
	w, err := wish(in.IdempotencyKey)
	if err := errors.Join(err, errID); err != nil {
		return out, err
	}
	w.IfVersion = in.IfVersion
	done, err := c.Writer.ChangeMemory(ctx, c.caller, w, commands.ChangeMemory{ID: id, Content: in.Text, Metadata: in.Metadata, Categories: in.Categories})
	return c.written(ctx, done, w, err)
}
