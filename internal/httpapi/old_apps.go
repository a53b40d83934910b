package httpapi

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/google/uuid"

	"github.com/refold-dev/refold/internal/reader"
)

func oldListApps(s *server, q *oldRequest) (any, error) {
	number, size, err := q.pages("page_size", 10)
	if err != nil {
		return nil, err
	}
	list, err := q.apps()
	if err != nil {
		return nil, err
	}
	out := oldAppPage[oldApp, oldOfApp]{Page: number, PageSize: size, Apps: []oldApp{}}
	if q.nobody() {
		return out, nil
	}
	if q.URL.Query().Get("sort_by") == byAccessed {
		out.Apps, out.Total, err = s.oldAppsByAccess(q, list, number, size)
		return out, err
	}
	list.Pages = reader.Pages[reader.AppMark]{Skip: (number - 1) * size, Count: size, Total: true}
	found, stamp, err := s.Reader.Apps(q.Context(), q.reads(), q.fresh, list)
	q.rests(stamp)
	if err != nil {
		return nil, err
	}
	out.Total = found.Total
	out.Apps, err = s.withAccesses(q, found.Items)
	return out, err
}

// withAccesses makes apps of a list, with what they accessed.
func (s *server) withAccesses(q *oldRequest, apps []reader.App) ([]oldApp, error) {
	ids := make([]uuid.UUID, len(apps))
	for i, a := range apps {
		ids[i] = a.ID
	}
	accesses, _, err := s.Reader.AppAccesses(q.Context(), q.reads(), q.fresh, ids)
	out := make([]oldApp, len(apps))
	for i, a := range apps {
		out[i] = oldApp{ID: a.ID, Name: a.Name, IsActive: a.IsActive, Created: a.Memories, Accessed: accesses[a.ID].Memories}
	}
	return out, err
}

// oldAppsByAccess sorts by what is no part of the rows of an app, and so takes all apps that the filter selects.
func (s *server) oldAppsByAccess(q *oldRequest, list reader.AppList, number, size int) ([]oldApp, int64, error) {
	descending := list.Sort.Descending
	list.Sort.Descending = false
	found, total, err := s.allApps(q, list)
	if err == nil && total > int64(len(found)) {
		err = q.unfit("sort_by", fmt.Sprintf("more than %d apps are not sorted by this", oldListMost))
	}
	if err != nil {
		return nil, 0, err
	}
	apps, err := s.withAccesses(q, found)
	slices.SortStableFunc(apps, func(a, b oldApp) int {
		if descending {
			a, b = b, a
		}
		return cmp.Compare(a.Accessed, b.Accessed)
	})
	from := min((number-1)*size, len(apps))
	return apps[from:min(from+size, len(apps))], total, err
}

// allApps returns the apps of a list, and how many there are.
func (s *server) allApps(q *oldRequest, list reader.AppList) ([]reader.App, int64, error) {
	return all(q, func(pages reader.Pages[reader.AppMark]) (reader.Page[reader.App, reader.AppMark], reader.Stamp, error) {
		list.Pages = pages
		return s.Reader.Apps(q.Context(), q.reads(), q.fresh, list)
	})
}

// byAccessed is the sort of apps that only the old system has.
const byAccessed = "memories_accessed"

func (q *oldRequest) apps() (list reader.AppList, err error) {
	values := q.URL.Query()
	var errName, errActive error
	list.Filter.Search, errName = q.text("name")
	if values.Get("is_active") != "" {
		var active bool
		active, errActive = q.boolean("is_active")
		list.Filter.Active = &active
	}
	list.Sort = reader.Sort{By: reader.ByName, Descending: values.Get("sort_direction") == "desc"}
	if values.Get("sort_by") == "memories" { // anything else means the name
		list.Sort.By = reader.ByMemories
	}
	return list, errors.Join(errName, errActive)
}

func oldGetApp(s *server, q *oldRequest) (any, error) {
	id, err := q.id()
	if err != nil {
		return nil, err
	}
	a, stamp, err := s.Reader.App(q.Context(), q.reads(), q.fresh, id)
	q.rests(stamp)
	if err != nil {
		return nil, err
	}
	all, _, err := s.Reader.AppAccesses(q.Context(), q.reads(), q.fresh, []uuid.UUID{id})
	accesses := all[id]
	return oldAppAlone{a.IsActive, a.Memories, accesses.Memories, (*oldTime)(accesses.FirstAt), (*oldTime)(accesses.LastAt)}, err
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
	_, stamp, err := s.Reader.App(q.Context(), q.reads(), q.fresh, id)
	if err != nil {
		return nil, err
	}
	q.rests(stamp)
	found, _, err := s.Reader.Memories(q.Context(), q.reads(), q.fresh, reader.MemoryList{
		Filter: reader.MemoryFilter{AppIDs: []uuid.UUID{id}, States: []string{"active", "paused", "archived"}},
		Pages:  reader.Pages[reader.MemoryMark]{Skip: (page - 1) * size, Count: size, Total: true},
	})
	out := oldAppPage[oldApp, oldOfApp]{Total: found.Total, Page: page, PageSize: size, Memories: []oldOfApp{}}
	for _, m := range found.Items {
		out.Memories = append(out.Memories, oldOfAppOf(m))
	}
	return out, err
}
