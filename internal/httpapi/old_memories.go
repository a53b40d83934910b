package httpapi

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/refold-dev/refold/events/commands"
	"github.com/refold-dev/refold/internal/problem"
	"github.com/refold-dev/refold/internal/reader"
)

// oldAppName is the app of a memory that names none.
const oldAppName = "openmemory"

func oldListMemories(s *server, q *oldRequest) (any, error) {
	page, size, err := q.pages("size", 50)
	if err != nil {
		return nil, err
	}
	values := q.URL.Query()
	list := reader.MemoryList{
		Filter: reader.MemoryFilter{States: []string{"active"}}, // the other list has the paused ones as well
		Sort:   oldSort(values.Get("sort_column"), values.Get("sort_direction")),
	}
	var app *uuid.UUID // through which is read: its access rules bind, and while it is paused it reads nothing
	if text := values.Get("app_id"); text != "" {
		id, err := uuid.Parse(text)
		if err != nil {
			return nil, q.unfit("app_id", "not an id")
		}
		list.Filter.AppIDs, app = []uuid.UUID{id}, &id
	}
	var errCategories, errSearch, errFrom, errTo error
	list.Filter.Categories, errCategories = q.names("categories")
	list.Filter.Search, errSearch = q.text("search_query")
	list.Filter.From, errFrom = q.instant("from_date")
	list.Filter.To, errTo = q.instant("to_date")
	if err := errors.Join(errCategories, errSearch, errFrom, errTo); err != nil {
		return nil, err
	}
	return s.oldMemories(q, app, list, page, size)
}

// names reads a parameter of the query with commas between names.
func (q *oldRequest) names(parameter string) (names []string, err error) {
	for name := range strings.SplitSeq(q.URL.Query().Get(parameter), ",") {
		if name = strings.TrimSpace(name); name != "" {
			names = append(names, name)
			err = errors.Join(err, checkOldText(inQuery+parameter, &name, commands.NameRunesMax))
		}
	}
	return names, errors.Join(err, atMost(inQuery+parameter, len(names)))
}

// atMost bounds what one question names.
func atMost(pointer string, count int) error {
	if count > selectorsMax {
		return problem.Invalid(pointer, fmt.Sprintf("at most %d", selectorsMax))
	}
	return nil
}

// instant reads a time in seconds since 1970.
func (q *oldRequest) instant(name string) (*time.Time, error) {
	text := q.URL.Query().Get(name)
	if text == "" {
		return nil, nil
	}
	seconds, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return nil, q.unfit(name, "want seconds since 1970")
	}
	return oldInstant(inQuery+name, &seconds)
}

// secondsMost is the end of the year 9999.
const secondsMost = 253_402_300_799

// oldInstant is a time in seconds since 1970, of which 0 is none.
func oldInstant(pointer string, seconds *int64) (*time.Time, error) {
	switch {
	case seconds == nil || *seconds == 0:
		return nil, nil
	case *seconds < -secondsMost || *seconds > secondsMost:
		return nil, problem.Invalid(pointer, "want seconds since 1970")
	}
	at := time.Unix(*seconds, 0).UTC()
	return &at, nil
}

// oldSort reads a sort; a column that lists are not sorted by is ignored.
func oldSort(column, direction string) reader.Sort {
	by := map[string]string{
		"memory": reader.ByContent, "content": reader.ByContent, "app_name": reader.ByApp, "created_at": reader.ByCreated, "updated_at": reader.ByUpdated,
	}[column]
	if by == "" {
		return reader.Sort{}
	}
	return reader.Sort{By: by, Descending: direction == "desc"}
}

func (s *server) oldMemories(q *oldRequest, asApp *uuid.UUID, list reader.MemoryList, page, size int) (any, error) {
	items := []oldListed{}
	if q.nobody() {
		return oldPageOf(items, 0, page, size), nil
	}
	list.Pages = reader.Pages[reader.MemoryMark]{Skip: (page - 1) * size, Count: size, Total: true}
	found, stamp, err := s.Reader.Memories(q.Context(), readsAs(q.c, asApp), q.fresh, list)
	q.rests(stamp)
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
	ignored, err := q.decode(&body, &body.UserID)
	if err != nil {
		return nil, err
	}
	for name, value := range ignored {
		if filters(value) { // by what is not here: without it there would be more than was asked for
			return nil, problem.Invalid("/"+name, "is not supported")
		}
	}
	page, errPage := within("page", body.Page, 1, pageMost)
	size, errSize := within("size", body.Size, 10, reader.PageCountMax)
	list, errList := body.list()
	if err := errors.Join(errPage, errSize, errList); err != nil {
		return nil, err
	}
	return s.oldMemories(q, nil, list, page, size)
}

// filters reports whether a member of a filter is one; of later versions of the old system some are always there.
func filters(value json.RawMessage) bool {
	return !slices.Contains([]string{"null", "[]", `""`, "false"}, string(value))
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

// anyOf are the ids that something must have one of; to the old system, none of them is no condition.
func anyOf(ids []uuid.UUID) []uuid.UUID {
	if len(ids) == 0 {
		return nil
	}
	return ids
}

func (f *oldFilter) list() (list reader.MemoryList, err error) {
	list.Filter = reader.MemoryFilter{AppIDs: anyOf(f.AppIDs), CategoryIDs: anyOf(f.CategoryIDs), Search: f.Search}
	if f.ShowArchived {
		list.Filter.States = []string{"active", "paused", "archived"}
	}
	var errFrom, errTo error
	list.Filter.From, errFrom = oldInstant("/from_date", f.From)
	list.Filter.To, errTo = oldInstant("/to_date", f.To)
	if f.Search != nil && *f.Search == "" {
		list.Filter.Search = nil
	}
	if f.SortColumn != "" && f.SortDirection != "" { // one alone means neither
		direction := strings.ToLower(f.SortDirection)
		list.Sort = oldSort(f.SortColumn, direction)
		if list.Sort.By == "" || direction != "asc" && direction != "desc" {
			return list, problem.BadRequest("invalid_parameter", "Invalid sort column or direction")
		}
	}
	return list, errors.Join(errFrom, errTo, checkOldText("/search_query", f.Search, searchRunesMax),
		atMost("/app_ids", len(f.AppIDs)), atMost("/category_ids", len(f.CategoryIDs)))
}

func oldGetMemory(s *server, q *oldRequest) (any, error) {
	id, err := q.id()
	if err != nil {
		return nil, err
	}
	m, stamp, err := s.Reader.Memory(q.Context(), q.reads(), q.fresh, id)
	q.rests(stamp)
	return oldSingleOf(m), err
}

func oldCreateMemory(s *server, q *oldRequest) (any, error) {
	var body struct {
		UserID   string          `json:"user_id"`
		Text     string          `json:"text"`
		Metadata json.RawMessage `json:"metadata"`
		App      *string         `json:"app"`
	}
	if _, err := q.decode(&body, &body.UserID); err != nil {
		return nil, err
	}
	add := commands.AddMemory{Content: body.Text, App: body.App}
	if unnamed := oldAppName; add.App == nil && q.c.Principal.App == "" {
		add.App = &unnamed
	}
	if string(body.Metadata) != "null" {
		add.Metadata = body.Metadata
	}
	wish, err := q.wish()
	if err != nil {
		return nil, err
	}
	done, appID, err := s.Writer.AddMemory(q.Context(), q.c, wish, add)
	if err != nil {
		return nil, refused(err, wish, "/text")
	}
	_ = s.shown(q, done.Position)
	row := oldRow{
		ID: done.ID, UserID: q.c.User, AppID: appID, Content: body.Text, Metadata: json.RawMessage("{}"), State: "active",
		CreatedAt: oldTime(done.Event.Time), UpdatedAt: oldTime(done.Event.Time),
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
	ignored, err := q.decode(&body, &body.UserID)
	if err != nil {
		return nil, err
	}
	if body.Content == nil {
		return nil, problem.Invalid("/memory_content", "is missing")
	}
	wish, err := q.wish()
	if err != nil {
		return nil, err
	}
	done, err := s.Writer.ChangeMemory(q.Context(), q.c, wish, commands.ChangeMemory{ID: id, Content: body.Content})
	if err != nil {
		return nil, refused(err, wish, "/memory_content")
	}
	_ = s.shown(q, done.Position)
	warnings := []string{}
	for _, name := range slices.Sorted(maps.Keys(ignored)) {
		warnings = append(warnings, name+" is not supported and was ignored")
	}
	return oldChanged{Message: "Memory updated successfully", ID: id, Sync: map[string]any{}, Warnings: warnings}, nil
}
