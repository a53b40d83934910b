package mcpapi

import (
	"context"
	"encoding/json"
	"errors"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/refold-dev/refold/events/commands"
	"github.com/refold-dev/refold/internal/problem"
	"github.com/refold-dev/refold/internal/reader"
	"github.com/refold-dev/refold/internal/writer"
)

// Bounds of questions and answers.
const (
	limitDefault    = 20
	limitMax        = 50
	pageBytesMax    = 128 << 10 // of all contents and metadata of a page
	contentBytesMax = 8 << 10   // of one memory in a page
	partBytesMax    = 64 << 10  // of one memory alone
	queryRunesMax   = 1000
	nameRunesMax    = 200
	idsMax          = 100
	historyMax      = 200
)

// memory is a memory as agents see it.
type memory struct {
	ID         uuid.UUID       `json:"id"`
	Content    string          `json:"content"`
	Truncated  bool            `json:"truncated,omitempty" jsonschema:"the content is longer: read it with get_memory"`
	State      string          `json:"state" jsonschema:"active, paused or archived"`
	App        string          `json:"app,omitempty" jsonschema:"the app that stored it"`
	Categories []string        `json:"categories"`
	Metadata   json.RawMessage `json:"metadata"`
	CreatedAt  time.Time       `json:"created_at"`
	UpdatedAt  time.Time       `json:"updated_at"`
	Version    int64           `json:"version"`
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
	if len(out.Metadata) > contentMax {
		out.Metadata, out.Truncated = json.RawMessage("{}"), true
	}
	return out
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

type filter struct {
	States        []string   `json:"states,omitempty" jsonschema:"of active, paused, archived; active and paused when not given"`
	Category      string     `json:"category,omitempty" jsonschema:"name of a category"`
	AppID         string     `json:"app_id,omitempty" jsonschema:"id of the app that stored them, see list_apps"`
	CreatedAfter  *time.Time `json:"created_after,omitempty" jsonschema:"RFC 3339, such as 2026-01-31T12:00:00Z"`
	CreatedBefore *time.Time `json:"created_before,omitempty" jsonschema:"RFC 3339"`
}

type listIn struct {
	filter
	page
}

type searchIn struct {
	Query string `json:"query" jsonschema:"text that the content must contain; case does not matter"`
	filter
	page
}

func (f filter) of(query *string) (reader.MemoryFilter, error) {
	out := reader.MemoryFilter{Search: query, From: micro(f.CreatedAfter), To: micro(f.CreatedBefore)}
	for _, state := range f.States {
		if state != "active" && state != "paused" && state != "archived" {
			return out, invalid("states: want active, paused or archived")
		}
		out.States = append(out.States, state)
	}
	if f.AppID != "" {
		id, err := uuid.Parse(f.AppID)
		if err != nil {
			return out, invalid("app_id: want an id")
		}
		out.AppIDs = []uuid.UUID{id}
	}
	if f.Category != "" {
		out.Categories = []string{f.Category}
	}
	if utf8.RuneCountInString(f.Category) > nameRunesMax || query != nil && utf8.RuneCountInString(*query) > queryRunesMax {
		return out, invalid("category or query is too long")
	}
	return out, nil
}

// micro cuts a bound of time to what rows hold.
func micro(t *time.Time) *time.Time {
	if t == nil {
		return nil
	}
	utc := t.UTC().Truncate(time.Microsecond)
	return &utc
}

func (c call) memories(ctx context.Context, tool string, f filter, query *string, p page) (memoryPage, error) {
	out := emptyPage()
	wanted, err := f.of(query)
	count, errCount := p.count()
	if err := errors.Join(err, errCount); err != nil {
		return out, err
	}
	edition, behind, err := openCursor[reader.MemoryMark](c, tool, wanted, p.Cursor)
	if err != nil {
		return out, err
	}
	ask := func(count int) (fits int, err error) {
		found, stamp, err := c.Reader.Memories(ctx, c.reads(edition), reader.Freshness{}, reader.MemoryList{
			Filter: wanted, Pages: reader.Pages[reader.MemoryMark]{Behind: behind, Count: count},
		})
		if err != nil {
			return 0, err
		}
		out.Items = out.Items[:0]
		bytes := 0
		for i, m := range found.Items {
			shown := memoryOf(m, contentBytesMax)
			if bytes += len(shown.Content) + len(shown.Metadata); bytes > pageBytesMax && i > 0 {
				return i, nil
			}
			out.Items = append(out.Items, shown)
		}
		out.NextCursor = sealCursor(c, tool, wanted, stamp.Edition, found.Next)
		return count, nil
	}
	fits, err := ask(count)
	if err == nil && fits < count {
		_, err = ask(fits) // the cursor is that of the page that is shown
	}
	return out, err
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
	out = getOut{Notice: notice, Memory: memoryOf(m, 1<<20)}
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
	m := commands.AddMemory{Content: in.Text, Metadata: in.Metadata, Categories: in.Categories}
	if c.app != "" {
		m.App = &c.app
	}
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

func (e *Edge) addTools(s *mcp.Server) {
	add(e, s, tool[addIn, written]{name: "add_memories", open: true, run: addMemory})
	add(e, s, tool[searchIn, memoryPage]{name: "search_memory", empty: emptyPage, run: func(ctx context.Context, c call, in searchIn) (memoryPage, error) {
		return c.memories(ctx, "search_memory", in.filter, &in.Query, in.page)
	}})
	add(e, s, tool[listIn, memoryPage]{name: "list_memories", empty: emptyPage, run: func(ctx context.Context, c call, in listIn) (memoryPage, error) {
		return c.memories(ctx, "list_memories", in.filter, nil, in.page)
	}})
	add(e, s, tool[getIn, getOut]{name: "get_memory", run: getMemory})
	add(e, s, tool[memoryIn, historyOut]{name: "memory_history", run: memoryHistory})
	add(e, s, tool[updateIn, written]{name: "update_memory", run: updateMemory})
	add(e, s, tool[deleteIn, deleteOut]{name: "delete_memories", run: deleteMemories})
	add(e, s, tool[deleteAllIn, deleteAllOut]{name: "delete_all_memories", run: deleteAll})
	add(e, s, tool[noIn, whoamiOut]{name: "whoami", open: true, run: whoami})
	add(e, s, tool[appsIn, appPage]{name: "list_apps", empty: emptyApps, run: listApps})
	add(e, s, tool[appIn, appOut]{name: "get_app", run: getApp})
}
