package httpapi

import (
	"encoding/json"

	"github.com/google/uuid"

	"github.com/refold-dev/refold/internal/reader"
)

// oldListMost bounds a list that the old system gives without pages.
const oldListMost = 10_000

// all collects the pages of a list, up to oldListMost items, and says how many there are.
func all[T, M any](q *oldRequest, ask func(reader.Pages[M]) (reader.Page[T, M], reader.Stamp, error)) (items []T, total int64, err error) {
	pages := reader.Pages[M]{Count: reader.PageCountMax, Total: true}
	for len(items) < oldListMost {
		page, stamp, err := ask(pages)
		if err != nil {
			return nil, 0, err
		}
		q.rests(stamp)
		items = append(items, page.Items...)
		if page.Next == nil {
			return items, int64(len(items)), nil
		}
		if pages.Total {
			total = page.Total
		}
		pages.Behind, pages.Total = page.Next, false
	}
	return items, total, nil
}

// oldListCategories answers with all categories; where total is more than are listed, there are more than oldListMost.
func oldListCategories(s *server, q *oldRequest) (any, error) {
	out := oldCategories{Categories: []oldCategory{}}
	if q.nobody() {
		return out, nil
	}
	found, total, err := all(q, func(pages reader.Pages[reader.CategoryMark]) (reader.Page[reader.Category, reader.CategoryMark], reader.Stamp, error) {
		return s.Reader.Categories(q.Context(), q.reads(), q.fresh, pages)
	})
	for _, c := range found {
		out.Categories = append(out.Categories, oldCategory{c.ID, c.Name, c.Description})
	}
	out.Total = total
	return out, err
}

// oldRelatedSize is how many related memories a page has, always.
const oldRelatedSize = 5

func oldListRelated(s *server, q *oldRequest) (any, error) {
	id, err := q.id()
	if err != nil {
		return nil, err
	}
	page, err := q.number("page", 1, 1, pageMost)
	if err != nil {
		return nil, err
	}
	found, stamp, err := s.Reader.Related(q.Context(), q.reads(), q.fresh, id, reader.Pages[reader.RelatedMark]{
		Skip: (page - 1) * oldRelatedSize, Count: oldRelatedSize, Total: true,
	})
	q.rests(stamp)
	items := []oldListed{}
	for _, m := range found.Items {
		items = append(items, oldListedOf(m.Memory))
	}
	return oldPageOf(items, found.Total, page, oldRelatedSize), err
}

func oldSetApp(s *server, q *oldRequest) (any, error) {
	id, err := q.id()
	if err != nil {
		return nil, err
	}
	active, err := q.boolean("is_active")
	if err != nil {
		return nil, err
	}
	wish, err := q.wish()
	if err != nil {
		return nil, err
	}
	run := s.Writer.PauseApp
	if active {
		run = s.Writer.ActivateApp
	}
	done, err := run(q.Context(), q.c, wish, id)
	if err != nil {
		return nil, refused(err, wish, "")
	}
	_ = s.shown(q, done.Position)
	return map[string]string{"status": "success", "message": "Updated app details successfully"}, nil
}

// oldStats counts what the caller has, and lists up to oldListMost apps.
type oldStats struct {
	Memories int64       `json:"total_memories"`
	Apps     int64       `json:"total_apps"`
	List     []oldAppRow `json:"apps"`
}

// oldAppRow is an app as it stands in the table.
type oldAppRow struct {
	ID          uuid.UUID       `json:"id"`
	OwnerID     uuid.UUID       `json:"owner_id"`
	Name        string          `json:"name"`
	Description *string         `json:"description"`
	Metadata    json.RawMessage `json:"metadata_"`
	IsActive    bool            `json:"is_active"`
	CreatedAt   oldTime         `json:"created_at"`
	UpdatedAt   oldTime         `json:"updated_at"`
}

func oldGetStats(s *server, q *oldRequest) (any, error) {
	out := oldStats{List: []oldAppRow{}}
	if q.nobody() {
		return out, nil
	}
	stats, stamp, err := s.Reader.Stats(q.Context(), q.reads(), q.fresh)
	if err != nil {
		return nil, err
	}
	q.rests(stamp)
	out.Memories, out.Apps = stats.Active+stats.Paused+stats.Archived, stats.Apps
	apps, _, err := s.allApps(q, reader.AppList{})
	for _, a := range apps {
		out.List = append(out.List, oldAppRow{a.ID, a.OwnerID, a.Name, a.Description, a.Metadata, a.IsActive, oldTime(a.CreatedAt), oldTime(a.UpdatedAt)})
	}
	return out, err
}
