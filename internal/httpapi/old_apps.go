package httpapi

import (
	"encoding/json"

	"github.com/google/uuid"

	"github.com/refold-dev/refold/internal/problem"
	"github.com/refold-dev/refold/internal/reader"
)

func oldListApps(s *server, q *oldRequest) (any, error) {
	page, size, err := q.pages("page_size", 10)
	if err != nil {
		return nil, err
	}
	list, err := q.apps()
	if err != nil {
		return nil, err
	}
	out := oldAppPage[oldApp, oldOfApp]{Page: page, PageSize: size, Apps: []oldApp{}}
	if q.nobody() {
		return out, nil
	}
	list.Pages = reader.Pages[reader.AppMark]{Skip: (page - 1) * size, Count: size, Total: true}
	found, _, err := s.Reader.Apps(q.Context(), q.c.Reads(), reader.Freshness{}, list)
	if err != nil {
		return nil, err
	}
	ids := make([]uuid.UUID, len(found.Items))
	for i, a := range found.Items {
		ids[i] = a.ID
	}
	accesses, _, err := s.Reader.AppAccesses(q.Context(), q.c.Reads(), reader.Freshness{}, ids)
	for _, a := range found.Items {
		out.Apps = append(out.Apps, oldApp{a.ID, a.Name, a.IsActive, a.Memories, accesses[a.ID].Memories})
	}
	out.Total = found.Total
	return out, err
}

func (q *oldRequest) apps() (list reader.AppList, err error) {
	values := q.URL.Query()
	if text := values.Get("name"); text != "" {
		list.Filter.Search = &text
	}
	if text := values.Get("is_active"); text != "" {
		var active bool
		if json.Unmarshal([]byte(text), &active) != nil {
			return list, problem.Invalid("/is_active", "want true or false")
		}
		list.Filter.Active = &active
	}
	switch values.Get("sort_by") {
	case "", "name":
		list.Sort.By = reader.ByName
	case "memories":
		list.Sort.By = reader.ByMemories
	default:
		return list, problem.Invalid("/sort_by", "want name, memories or memories_accessed")
	}
	list.Sort.Descending = values.Get("sort_direction") == "desc"
	return list, checkText("name", list.Filter.Search, searchRunesMax)
}

func oldGetApp(s *server, q *oldRequest) (any, error) {
	id, err := q.id()
	if err != nil {
		return nil, err
	}
	a, _, err := s.Reader.App(q.Context(), q.c.Reads(), reader.Freshness{}, id)
	if err != nil {
		return nil, err
	}
	accesses, _, err := s.Reader.AppAccesses(q.Context(), q.c.Reads(), reader.Freshness{}, []uuid.UUID{id})
	accessed := accesses[id]
	return oldAppAlone{a.IsActive, a.Memories, accessed.Memories, accessed.FirstAt, accessed.LastAt}, err
}

func oldListAppMemories(s *server, q *oldRequest) (any, error) {
	id, err := q.id()
	if err != nil {
		return nil, err
	}
	page, size, err := q.pages("page_size", 10)
	if err != nil {
		return nil, err
	}
	if _, _, err := s.Reader.App(q.Context(), q.c.Reads(), reader.Freshness{}, id); err != nil {
		return nil, err
	}
	found, _, err := s.Reader.Memories(q.Context(), q.c.Reads(), reader.Freshness{}, reader.MemoryList{
		Filter: reader.MemoryFilter{AppIDs: []uuid.UUID{id}, States: []string{"active", "paused", "archived"}},
		Pages:  reader.Pages[reader.MemoryMark]{Skip: (page - 1) * size, Count: size, Total: true},
	})
	out := oldAppPage[oldApp, oldOfApp]{Total: found.Total, Page: page, PageSize: size, Memories: []oldOfApp{}}
	for _, m := range found.Items {
		out.Memories = append(out.Memories, oldOfApp{m.ID, m.Content, m.CreatedAt.UTC(), m.State, m.AppID, m.Categories, m.Metadata})
	}
	return out, err
}
