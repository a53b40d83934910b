package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/refold-dev/refold/events/commands"
	"github.com/refold-dev/refold/internal/auth"
	"github.com/refold-dev/refold/internal/problem"
	"github.com/refold-dev/refold/internal/reader"
	"github.com/refold-dev/refold/internal/writer"
)

// oldAppName is the app of a memory that names none.
const oldAppName = "openmemory"

func oldListMemories(s *server, q *oldRequest) (any, error) {
	page, size, err := q.pages("size", 50)
	if err != nil {
		return nil, err
	}
	values := q.URL.Query()
	list := reader.MemoryList{Sort: oldSort(values.Get("sort_column"), values.Get("sort_direction"))}
	if text := values.Get("app_id"); text != "" {
		id, err := uuid.Parse(text)
		if err != nil {
			return nil, problem.Invalid("/app_id", "not an id")
		}
		list.Filter.AppIDs = []uuid.UUID{id}
	}
	for name := range strings.SplitSeq(values.Get("categories"), ",") {
		if name = strings.TrimSpace(name); name != "" {
			list.Filter.Categories = append(list.Filter.Categories, name)
		}
	}
	if text := values.Get("search_query"); text != "" {
		list.Filter.Search = &text
	}
	var errFrom, errTo error
	list.Filter.From, errFrom = q.instant("from_date")
	list.Filter.To, errTo = q.instant("to_date")
	if err := errors.Join(errFrom, errTo, checkText("search_query", list.Filter.Search, searchRunesMax)); err != nil {
		return nil, err
	}
	return s.oldMemories(q, list, page, size)
}

// instant reads a time in seconds since 1970.
func (q *oldRequest) instant(name string) (*time.Time, error) {
	text := q.URL.Query().Get(name)
	if text == "" {
		return nil, nil
	}
	var seconds json.Number
	if err := json.Unmarshal([]byte(text), &seconds); err != nil {
		return nil, problem.Invalid("/"+name, "want seconds since 1970")
	}
	n, err := seconds.Int64()
	return oldInstant(name, n, err)
}

// secondsMost is the end of the year 9999.
const secondsMost = 253_402_300_799

func oldInstant(name string, seconds int64, err error) (*time.Time, error) {
	if err != nil || seconds < -secondsMost || seconds > secondsMost {
		return nil, problem.Invalid("/"+name, "want seconds since 1970")
	}
	at := time.Unix(seconds, 0).UTC()
	return &at, nil
}

// oldSort reads a sort; a column that is none of those documented is ignored, as in the old system.
func oldSort(column, direction string) reader.Sort {
	by := map[string]string{"memory": reader.ByContent, "app_name": reader.ByApp, "created_at": reader.ByCreated}[column]
	if by == "" {
		return reader.Sort{}
	}
	return reader.Sort{By: by, Descending: direction == "desc"}
}

func (s *server) oldMemories(q *oldRequest, list reader.MemoryList, page, size int) (any, error) {
	items := []oldListed{}
	if q.nobody() {
		return oldPageOf(items, 0, page, size), nil
	}
	list.Pages = reader.Pages[reader.MemoryMark]{Skip: (page - 1) * size, Count: size, Total: true}
	found, _, err := s.Reader.Memories(q.Context(), q.c.Reads(), reader.Freshness{}, list)
	for _, m := range found.Items {
		items = append(items, oldListedOf(m))
	}
	return oldPageOf(items, found.Total, page, size), err
}

// oldFilter is the body of the second list of memories.
type oldFilter struct {
	UserID        string      `json:"user_id"`
	Page          *int        `json:"page"`
	Size          *int        `json:"size"`
	Search        *string     `json:"search_query"`
	AppIDs        []uuid.UUID `json:"app_ids"`
	CategoryIDs   []uuid.UUID `json:"category_ids"`
	From          *int64      `json:"from_date"`
	To            *int64      `json:"to_date"`
	ShowArchived  bool        `json:"show_archived"`
	SortColumn    string      `json:"sort_column"`
	SortDirection string      `json:"sort_direction"`
}

func oldFilterMemories(s *server, q *oldRequest) (any, error) {
	body := oldFilter{}
	if err := q.decode(&body, &body.UserID); err != nil {
		return nil, err
	}
	page, errPage := within("page", body.Page, 1, pageMost)
	size, errSize := within("size", body.Size, 10, reader.PageCountMax)
	list, errList := body.list()
	if err := errors.Join(errPage, errSize, errList); err != nil {
		return nil, err
	}
	return s.oldMemories(q, list, page, size)
}

func within(name string, given *int, absent, most int) (int, error) {
	if given == nil {
		return absent, nil
	}
	if *given < 1 || *given > most {
		return 0, problem.Invalid("/"+name, fmt.Sprintf("want a number from 1 to %d", most))
	}
	return *given, nil
}

func (f *oldFilter) list() (list reader.MemoryList, err error) {
	list.Filter = reader.MemoryFilter{AppIDs: f.AppIDs, CategoryIDs: f.CategoryIDs, Search: f.Search}
	if f.ShowArchived {
		list.Filter.States = []string{"active", "paused", "archived"}
	}
	var errFrom, errTo error
	if f.From != nil {
		list.Filter.From, errFrom = oldInstant("from_date", *f.From, nil)
	}
	if f.To != nil {
		list.Filter.To, errTo = oldInstant("to_date", *f.To, nil)
	}
	if f.SortColumn != "" && f.SortDirection != "" { // one alone means neither
		list.Sort = oldSort(f.SortColumn, f.SortDirection)
		if list.Sort.By == "" || f.SortDirection != "asc" && f.SortDirection != "desc" {
			return list, problem.BadRequest("invalid_parameter", "Invalid sort column or direction")
		}
	}
	return list, errors.Join(errFrom, errTo, checkText("search_query", f.Search, searchRunesMax))
}

func oldGetMemory(s *server, q *oldRequest) (any, error) {
	id, err := q.id()
	if err != nil {
		return nil, err
	}
	m, _, err := s.Reader.Memory(q.Context(), q.c.Reads(), reader.Freshness{}, id)
	return oldSingleOf(m), err
}

func oldCreateMemory(s *server, q *oldRequest) (any, error) {
	var body struct {
		UserID   string          `json:"user_id"`
		Text     string          `json:"text"`
		Metadata json.RawMessage `json:"metadata"`
		App      *string         `json:"app"`
	}
	if err := q.decode(&body, &body.UserID); err != nil {
		return nil, err
	}
	app := oldAppName
	if body.App != nil {
		app = *body.App
	}
	add := commands.AddMemory{Content: body.Text, App: &app}
	if string(body.Metadata) != "null" {
		add.Metadata = body.Metadata
	}
	wish, err := q.wish("")
	if err != nil {
		return nil, err
	}
	done, appID, err := s.Writer.AddMemory(q.Context(), q.c, wish, add)
	if err != nil {
		return nil, refused(err, wish, "/text")
	}
	s.shown(q, done)
	row := oldRow{
		ID: done.ID, UserID: q.c.User, AppID: appID, Content: body.Text, Metadata: json.RawMessage("{}"), State: "active",
		CreatedAt: done.Event.Time.UTC(), UpdatedAt: done.Event.Time.UTC(),
	}
	if add.Metadata != nil {
		row.Metadata = add.Metadata
	}
	return row, nil
}

func oldChangeMemory(s *server, q *oldRequest) (any, error) {
	id, err := q.id()
	if err != nil {
		return nil, err
	}
	var body struct {
		UserID  string  `json:"user_id"`
		Content *string `json:"memory_content"`
	}
	if err := q.decode(&body, &body.UserID); err != nil {
		return nil, err
	}
	if body.Content == nil {
		return nil, problem.Invalid("/memory_content", "is missing")
	}
	wish, err := q.wish("")
	if err != nil {
		return nil, err
	}
	done, err := s.Writer.ChangeMemory(q.Context(), q.c, wish, commands.ChangeMemory{ID: id, Content: body.Content})
	if err != nil {
		return nil, refused(err, wish, "/memory_content")
	}
	s.shown(q, done)
	return oldChanged{Message: "Memory updated successfully", ID: id, Sync: map[string]any{}, Warnings: []string{}}, nil
}

// idsMost bounds the memories of one request.
const idsMost = 1000

// owned returns the ids once each, or fails with reader.ErrNotFound when one of them is not there: then nothing is
// touched at all.
func (s *server) owned(q *oldRequest, ids []uuid.UUID) ([]uuid.UUID, error) {
	if len(ids) > idsMost {
		return nil, problem.Invalid("/memory_ids", fmt.Sprintf("at most %d", idsMost))
	}
	ids = sortedOut(ids)
	for _, id := range ids {
		if _, _, err := s.Reader.Memory(q.Context(), q.c.Reads(), reader.Freshness{}, id); err != nil {
			return nil, err
		}
	}
	return ids, nil
}

func oldDeleteMemories(s *server, q *oldRequest) (any, error) {
	var body struct {
		UserID string      `json:"user_id"`
		IDs    []uuid.UUID `json:"memory_ids"`
	}
	if err := q.decode(&body, &body.UserID); err != nil {
		return nil, err
	}
	ids, err := s.owned(q, body.IDs)
	if err != nil {
		return nil, err
	}
	return oldMessage{fmt.Sprintf("Successfully deleted %d memories", len(ids))}, s.each(q, ids, s.Writer.DeleteMemory)
}

func oldArchiveMemories(s *server, q *oldRequest) (any, error) {
	var given []uuid.UUID
	if err := q.decode(&given, nil); err != nil {
		return nil, err
	}
	ids, err := s.owned(q, given)
	if err != nil {
		return nil, err
	}
	return oldMessage{fmt.Sprintf("Successfully archived %d memories", len(ids))}, s.each(q, ids, s.Writer.ArchiveMemory)
}

// oldPause moves memories to a state, whichever: it resumes as well.
type oldPause struct {
	UserID      string      `json:"user_id"`
	IDs         []uuid.UUID `json:"memory_ids"`
	CategoryIDs []uuid.UUID `json:"category_ids"`
	AppID       *uuid.UUID  `json:"app_id"`
	AllForApp   bool        `json:"all_for_app"`
	Global      bool        `json:"global_pause"`
	State       *string     `json:"state"`
}

func oldPauseMemories(s *server, q *oldRequest) (any, error) {
	var body oldPause
	if err := q.decode(&body, &body.UserID); err != nil {
		return nil, err
	}
	state := "paused"
	if body.State != nil {
		state = *body.State
	}
	move, err := s.moveTo(q, state)
	if err != nil {
		return nil, err
	}
	ids, message, err := s.toPause(q, body)
	if err != nil {
		return nil, err
	}
	return oldMessage{message}, s.each(q, ids, move)
}

// oldMove is a command on one memory.
type oldMove = func(context.Context, writer.Caller, writer.Wish, uuid.UUID) (writer.Done, error)

// moveTo is the command that leads to a state. To delete takes the scope for it, whatever the path is called.
func (s *server) moveTo(q *oldRequest, state string) (oldMove, error) {
	moves := map[string]oldMove{
		"paused": s.Writer.PauseMemory, "active": s.Writer.ActivateMemory, "archived": s.Writer.ArchiveMemory, "deleted": s.Writer.DeleteMemory,
	}
	move, ok := moves[state]
	if !ok {
		return nil, problem.Invalid("/state", "want active, paused, archived or deleted")
	}
	principal, _ := auth.FromContext(q.Context())
	if state == "deleted" {
		return move, auth.Authorize(principal, "old:deleteMemories")
	}
	return move, nil
}

// toPause finds the memories of the first selector that there is.
func (s *server) toPause(q *oldRequest, body oldPause) (ids []uuid.UUID, message string, err error) {
	switch {
	case body.Global:
		ids, err = s.allOf(q, reader.MemoryFilter{})
		return ids, "Successfully paused all memories", err
	case body.AppID != nil:
		ids, err = s.allOf(q, reader.MemoryFilter{AppIDs: []uuid.UUID{*body.AppID}})
		return ids, fmt.Sprintf("Successfully paused all memories for app %s", *body.AppID), err
	case len(body.IDs) > 0:
		ids, err = s.owned(q, body.IDs)
		return ids, fmt.Sprintf("Successfully paused %d memories", len(ids)), err
	case len(body.CategoryIDs) > 0:
		ids, err = s.allOf(q, reader.MemoryFilter{CategoryIDs: body.CategoryIDs})
		return ids, fmt.Sprintf("Successfully paused memories in %d categories", len(body.CategoryIDs)), err
	}
	return nil, "", &problem.Problem{Status: http.StatusBadRequest, Code: "invalid_parameter", Detail: "Invalid pause request parameters"}
}

// allOf lists the memories that a filter selects, of the one edition.
func (s *server) allOf(q *oldRequest, filter reader.MemoryFilter) ([]uuid.UUID, error) {
	var ids []uuid.UUID
	caller := q.c.Reads()
	list := reader.MemoryList{Filter: filter, Pages: reader.Pages[reader.MemoryMark]{Count: reader.PageCountMax}}
	for {
		page, stamp, err := s.Reader.Memories(q.Context(), caller, reader.Freshness{}, list)
		if err != nil {
			return nil, err
		}
		for _, m := range page.Items {
			ids = append(ids, m.ID)
		}
		if page.Next == nil {
			return ids, nil
		}
		caller.Edition, list.Behind = stamp.Edition, page.Next
	}
}
