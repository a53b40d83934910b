package httpapi

import (
	"context"
	"errors"
	"fmt"
	"time"
	"unicode/utf8"

	"github.com/refold-dev/refold/internal/directory"
	"github.com/refold-dev/refold/internal/httpapi/api"
	"github.com/refold-dev/refold/internal/reader"
)

// Bounds and defaults of a search.
const (
	foundDefault    = 10
	halfLifeDefault = 45.0
	halfLifeMin     = 0.01
	halfLifeMax     = 36500
)

// SearchMemories answers with what words find. To a tenant that does not exist, nothing is there.
func (s *server) SearchMemories(ctx context.Context, r api.SearchMemoriesRequestObject) (api.SearchMemoriesResponseObject, error) {
	search, err := searchOf(r.Params)
	if err != nil {
		return nil, err
	}
	answer := api.SearchMemories200JSONResponse{Body: api.FoundMemories{Items: []api.FoundMemory{}, Match: api.FoundMemoriesMatchWords}}
	c, fresh, err := s.asker(ctx, r.Params.Prefer, r.Params.RefoldPosition)
	if errors.Is(err, directory.ErrNoTenant) {
		return answer, nil
	}
	if err != nil {
		return nil, err
	}
	hits, stamp, err := s.Reader.Search(ctx, readsAs(c, r.Params.AsApp), fresh, search)
	if err != nil {
		return nil, err
	}
	for _, f := range hits.Items {
		item := api.FoundMemory{Memory: memoryOnWire(f.Memory), Score: f.Score}
		if search.Highlight && hits.Match == reader.Words {
			item.Highlight = &f.Highlight
		}
		answer.Body.Items = append(answer.Body.Items, item)
	}
	answer.Body.Total, answer.Body.Match = hits.Total, api.FoundMemoriesMatch(hits.Match)
	if hits.Partial {
		answer.Body.Partial = &hits.Partial
	}
	answer.Headers.RefoldEdition, answer.Headers.RefoldPosition, answer.Headers.RefoldAgeMs = s.stamps(c, stamp)
	return answer, nil
}

func searchOf(p api.SearchMemoriesParams) (reader.Search, error) {
	filter, errFilter := selection{
		appIDs: p.AppId, apps: p.App, states: p.State, containing: p.Search, categories: p.Category, categoryIDs: p.CategoryId,
		from: p.From, to: p.To, updatedFrom: p.UpdatedFrom, updatedTo: p.UpdatedTo, metadata: p.Metadata, notMetadata: p.NotMetadata,
	}.filter()
	s := reader.Search{Query: p.Q, Filter: filter, Count: foundDefault, HalfLifeDays: halfLifeDefault, At: time.Now(), Highlight: given(p.Highlight)}
	if p.Match != nil {
		s.Match = reader.Match(*p.Match)
	}
	if s.Match != "" && s.Match != reader.Words && s.Match != reader.Similar {
		return s, malformedParameter("match", fmt.Sprintf("%s or %s", reader.Words, reader.Similar))
	}
	if utf8.RuneCountInString(p.Q) == 0 {
		return s, malformedParameter("q", "a text that is not empty")
	}
	var errCount error
	if p.Limit != nil {
		s.Count, errCount = checkLimit(p.Limit)
	}
	return s, errors.Join(errFilter, errCount, checkText("q", &p.Q, searchRunesMax),
		between(&s.Recency, "recency", p.Recency, 0, 1), between(&s.HalfLifeDays, "half_life_days", p.HalfLifeDays, halfLifeMin, halfLifeMax))
}

// between takes a number if it lies between two others; what is no number does not.
func between(into *float64, name string, given *float64, least, most float64) error {
	switch {
	case given == nil:
		return nil
	case *given >= least && *given <= most:
		*into = *given
		return nil
	}
	return malformedParameter(name, fmt.Sprintf("%g to %g", least, most))
}

// ListRelatedMemories answers with a page of the memories that share categories with one.
func (s *server) ListRelatedMemories(ctx context.Context, r api.ListRelatedMemoriesRequestObject) (api.ListRelatedMemoriesResponseObject, error) {
	p := r.Params
	count, err := checkLimit(p.Limit)
	if err != nil {
		return nil, err
	}
	c, fresh, err := s.asker(ctx, p.Prefer, p.RefoldPosition)
	if err != nil {
		return nil, err
	}
	bound := list{Filter: r.Id, AsApp: p.AsApp}
	began, behind, err := openCursor[reader.RelatedMark](s.Sealer, c, "listRelatedMemories", bound, p.Cursor)
	if err != nil {
		return nil, err
	}
	reads := readsAs(c, p.AsApp)
	reads.Edition = began
	page, stamp, err := s.Reader.Related(ctx, reads, fresh, r.Id, reader.Pages[reader.RelatedMark]{Behind: behind, Count: count, Total: given(p.Count)})
	if err != nil {
		return nil, err
	}
	answer := api.ListRelatedMemories200JSONResponse{Body: api.RelatedMemories{Items: []api.RelatedMemory{}}}
	for _, m := range page.Items {
		answer.Body.Items = append(answer.Body.Items, api.RelatedMemory{Memory: memoryOnWire(m.Memory), Shared: m.Shared})
	}
	answer.Body.Total = totalOf(page.Total, p.Count)
	answer.Body.NextCursor = sealCursor(s.Sealer, c, "listRelatedMemories", bound, stamp.Edition, page.Next)
	answer.Headers.RefoldEdition, answer.Headers.RefoldPosition, answer.Headers.RefoldAgeMs = s.stamps(c, stamp)
	return answer, nil
}

// ListCategories answers with a page of categories. To a tenant that does not exist, nothing is there.
func (s *server) ListCategories(ctx context.Context, r api.ListCategoriesRequestObject) (api.ListCategoriesResponseObject, error) {
	p := r.Params
	count, err := checkLimit(p.Limit)
	if err != nil {
		return nil, err
	}
	answer := api.ListCategories200JSONResponse{Body: api.CategoryPage{Items: []api.Category{}}}
	c, fresh, err := s.asker(ctx, p.Prefer, p.RefoldPosition)
	if errors.Is(err, directory.ErrNoTenant) {
		answer.Body.Total = totalOf(0, p.Count)
		return answer, nil
	}
	if err != nil {
		return nil, err
	}
	bound := list{AsApp: p.AsApp}
	began, behind, err := openCursor[reader.CategoryMark](s.Sealer, c, "listCategories", bound, p.Cursor)
	if err != nil {
		return nil, err
	}
	reads := readsAs(c, p.AsApp)
	reads.Edition = began
	page, stamp, err := s.Reader.Categories(ctx, reads, fresh, reader.Pages[reader.CategoryMark]{Behind: behind, Count: count, Total: given(p.Count)})
	if err != nil {
		return nil, err
	}
	for _, one := range page.Items {
		answer.Body.Items = append(answer.Body.Items, api.Category{Id: one.ID, Name: one.Name, Description: one.Description, Memories: one.Memories})
	}
	answer.Body.Total = totalOf(page.Total, p.Count)
	answer.Body.NextCursor = sealCursor(s.Sealer, c, "listCategories", bound, stamp.Edition, page.Next)
	answer.Headers.RefoldEdition, answer.Headers.RefoldPosition, answer.Headers.RefoldAgeMs = s.stamps(c, stamp)
	return answer, nil
}

// ListAppMemories answers with a page of the memories of one app.
func (s *server) ListAppMemories(ctx context.Context, r api.ListAppMemoriesRequestObject) (api.ListAppMemoriesResponseObject, error) {
	p := r.Params
	answer, err := s.listMemories(ctx, "listAppMemories", api.ListMemoriesParams{
		AsApp: p.AsApp, AppId: &[]api.ID{r.Id}, State: p.State, Count: p.Count, Cursor: p.Cursor, Limit: p.Limit,
		Prefer: p.Prefer, RefoldPosition: p.RefoldPosition,
	})
	if err != nil {
		return nil, err
	}
	c, err := s.caller(ctx)
	if err != nil {
		return nil, err
	}
	// Asked behind the page, so that an app which that page has to know is known.
	if _, err := s.Reader.IsActive(ctx, c.Reads(), r.Id); err != nil {
		return nil, err
	}
	return api.ListAppMemories200JSONResponse{Body: answer.Body, Headers: api.ListAppMemories200ResponseHeaders(answer.Headers)}, nil
}

// GetStats answers with numbers. A tenant that does not exist has none.
func (s *server) GetStats(ctx context.Context, r api.GetStatsRequestObject) (api.GetStatsResponseObject, error) {
	c, fresh, err := s.asker(ctx, r.Params.Prefer, r.Params.RefoldPosition)
	if errors.Is(err, directory.ErrNoTenant) {
		return api.GetStats200JSONResponse{}, nil
	}
	if err != nil {
		return nil, err
	}
	stats, stamp, err := s.Reader.Stats(ctx, readsAs(c, r.Params.AsApp), fresh)
	if err != nil {
		return nil, err
	}
	answer := api.GetStats200JSONResponse{Body: api.Stats{
		Memories: stats.Active + stats.Paused + stats.Archived, Active: stats.Active, Paused: stats.Paused, Archived: stats.Archived,
		Apps: stats.Apps, Categories: stats.Categories,
	}}
	answer.Headers.RefoldEdition, answer.Headers.RefoldPosition, answer.Headers.RefoldAgeMs = s.stamps(c, stamp)
	return answer, nil
}
