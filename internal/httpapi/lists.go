package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/refold-dev/refold/events/commands"
	"github.com/refold-dev/refold/events/jsonb"
	"github.com/refold-dev/refold/internal/directory"
	"github.com/refold-dev/refold/internal/httpapi/api"
	"github.com/refold-dev/refold/internal/problem"
	"github.com/refold-dev/refold/internal/reader"
)

// list is everything that decides which items follow each other; a cursor belongs to one of them.
type list struct {
	Filter any         `json:"f"`
	Sort   reader.Sort `json:"s"`
	AsApp  *uuid.UUID  `json:"a,omitempty"`
}

// ListMemories answers with a page of memories. To a tenant that does not exist, nothing is there.
func (s *server) ListMemories(ctx context.Context, r api.ListMemoriesRequestObject) (api.ListMemoriesResponseObject, error) {
	return s.listMemories(ctx, "listMemories", r.Params)
}

func (s *server) listMemories(ctx context.Context, route string, p api.ListMemoriesParams) (answer api.ListMemories200JSONResponse, err error) {
	filter, errFilter := selection{
		appIDs: p.AppId, apps: p.App, states: p.State, containing: p.Search, categories: p.Category, categoryIDs: p.CategoryId,
		from: p.From, to: p.To, updatedFrom: p.UpdatedFrom, updatedTo: p.UpdatedTo, metadata: p.Metadata, notMetadata: p.NotMetadata,
	}.filter()
	sort, errSort := sortOf(p.Sort, p.Order, reader.ByCreated, reader.ByCreated, reader.ByUpdated)
	count, errCount := checkLimit(p.Limit)
	if err := errors.Join(errFilter, errSort, errCount); err != nil {
		return answer, err
	}
	answer.Body.Items = []api.Memory{}
	c, fresh, err := s.asker(ctx, p.Prefer, p.RefoldPosition)
	if errors.Is(err, directory.ErrNoTenant) {
		answer.Body.Total = totalOf(0, p.Count)
		return answer, nil
	}
	if err != nil {
		return answer, err
	}
	bound := list{filter, sort, p.AsApp}
	began, behind, err := openCursor[reader.MemoryMark](s.Sealer, c, route, bound, p.Cursor)
	if err != nil {
		return answer, err
	}
	reads := readsAs(c, p.AsApp)
	reads.Edition = began
	page, stamp, err := s.Reader.Memories(ctx, reads, fresh, reader.MemoryList{
		Filter: filter, Sort: sort, Pages: reader.Pages[reader.MemoryMark]{Behind: behind, Count: count, Total: given(p.Count)},
	})
	if err != nil {
		return answer, err
	}
	for _, m := range page.Items {
		answer.Body.Items = append(answer.Body.Items, memoryOnWire(m))
	}
	answer.Body.Total = totalOf(page.Total, p.Count)
	answer.Body.NextCursor = sealCursor(s.Sealer, c, route, bound, stamp.Edition, page.Next)
	answer.Headers.RefoldEdition, answer.Headers.RefoldPosition, answer.Headers.RefoldAgeMs = s.stamps(c, stamp)
	return answer, nil
}

// ListApps answers with a page of apps. To a tenant that does not exist, nothing is there.
func (s *server) ListApps(ctx context.Context, r api.ListAppsRequestObject) (api.ListAppsResponseObject, error) {
	p := r.Params
	filter := reader.AppFilter{Search: p.Search, Active: p.Active}
	sort, errSort := sortOf(p.Sort, p.Order, reader.ByName, reader.ByCreated, reader.ByMemories)
	count, errCount := checkLimit(p.Limit)
	if err := errors.Join(errSort, errCount, checkText("search", p.Search, commands.NameRunesMax)); err != nil {
		return nil, err
	}
	answer := api.ListApps200JSONResponse{Body: api.AppPage{Items: []api.App{}}}
	c, fresh, err := s.asker(ctx, p.Prefer, p.RefoldPosition)
	if errors.Is(err, directory.ErrNoTenant) {
		answer.Body.Total = totalOf(0, p.Count)
		return answer, nil
	}
	if err != nil {
		return nil, err
	}
	bound := list{filter, sort, p.AsApp}
	began, behind, err := openCursor[reader.AppMark](s.Sealer, c, "listApps", bound, p.Cursor)
	if err != nil {
		return nil, err
	}
	reads := readsAs(c, p.AsApp)
	reads.Edition = began
	page, stamp, err := s.Reader.Apps(ctx, reads, fresh, reader.AppList{
		Filter: filter, Sort: sort, Pages: reader.Pages[reader.AppMark]{Behind: behind, Count: count, Total: given(p.Count)},
	})
	if err != nil {
		return nil, err
	}
	for _, a := range page.Items {
		answer.Body.Items = append(answer.Body.Items, appOnWire(a))
	}
	answer.Body.Total = totalOf(page.Total, p.Count)
	answer.Body.NextCursor = sealCursor(s.Sealer, c, "listApps", bound, stamp.Edition, page.Next)
	answer.Headers.RefoldEdition, answer.Headers.RefoldPosition, answer.Headers.RefoldAgeMs = s.stamps(c, stamp)
	return answer, nil
}

// selection are the parameters that select memories, in whatever question.
type selection struct {
	appIDs                 *[]uuid.UUID
	apps                   *[]string
	states                 *[]api.MemoryState
	containing             *string
	categories             *[]string
	categoryIDs            *[]uuid.UUID
	from, to               *time.Time
	updatedFrom, updatedTo *time.Time
	metadata, notMetadata  *string
}

// selectorsMax bounds the apps or categories that one question names.
const selectorsMax = 100

func (p selection) filter() (reader.MemoryFilter, error) {
	f := reader.MemoryFilter{
		Search: p.containing, From: unixMicro(p.from), To: unixMicro(p.to), UpdatedFrom: unixMicro(p.updatedFrom), UpdatedTo: unixMicro(p.updatedTo),
	}
	err := errors.Join(
		checkText("search", p.containing, searchRunesMax),
		take(&f.AppIDs, "app_id", p.appIDs), takeNames(&f.Apps, "app", p.apps),
		take(&f.CategoryIDs, "category_id", p.categoryIDs), takeNames(&f.Categories, "category", p.categories),
		takeObject(&f.Metadata, "metadata", p.metadata), takeObject(&f.NotMetadata, "not_metadata", p.notMetadata),
	)
	if p.states == nil {
		return f, err
	}
	f.States = []string{}
	for _, state := range *p.states {
		if !state.Valid() {
			return f, malformedParameter("state", "active, paused or archived")
		}
		f.States = append(f.States, string(state))
	}
	return f, err
}

func take[T any](into *[]T, name string, values *[]T) error {
	if values == nil {
		return nil
	}
	if *into = *values; len(*into) > selectorsMax {
		return malformedParameter(name, fmt.Sprintf("at most %d", selectorsMax))
	}
	return nil
}

func takeNames(into *[]string, name string, values *[]string) error {
	err := take(into, name, values)
	for _, value := range *into {
		err = errors.Join(err, checkText(name, &value, commands.NameRunesMax))
	}
	return err
}

// takeObject takes a text that is an object with something in it, and with nothing that bodies may not have either.
func takeObject(into *json.RawMessage, name string, text *string) (err error) {
	if text == nil {
		return nil
	}
	*into, err = reader.MetadataPart([]byte(*text))
	if err == nil && *into == nil {
		err = errors.New("want an object that is not empty")
	}
	if err == nil {
		err = jsonb.CheckObject([]byte(`{"`+name+`":`+*text+`}`), []string{name})
	}
	if err != nil {
		return problem.BadRequest("invalid_parameter", fmt.Sprintf("malformed parameter: %s: %v", name, err))
	}
	return nil
}

// sortOf reads sort and order. Those of descends go downwards when nothing is said.
func sortOf[S interface {
	~string
	Valid() bool
}](by *S, order *api.Order, otherwise string, descends ...string) (reader.Sort, error) {
	sort := reader.Sort{By: otherwise}
	if by != nil {
		if !(*by).Valid() {
			return sort, malformedParameter("sort", "one of those in /openapi.yaml")
		}
		sort.By = string(*by)
	}
	for _, one := range descends {
		sort.Descending = sort.Descending || sort.By == one
	}
	if order != nil {
		if !order.Valid() {
			return sort, malformedParameter("order", "asc or desc")
		}
		sort.Descending = *order == api.OrderDesc
	}
	return sort, nil
}

func given(flag *bool) bool { return flag != nil && *flag }

// totalOf is the total on the wire, when it was asked for.
func totalOf(total int64, asked *bool) *int64 {
	if !given(asked) {
		return nil
	}
	return &total
}
