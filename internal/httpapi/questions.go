package httpapi

import (
	"context"
	"errors"
	"strconv"

	"github.com/refold-dev/refold/events/commands"
	"github.com/refold-dev/refold/internal/directory"
	"github.com/refold-dev/refold/internal/httpapi/api"
	"github.com/refold-dev/refold/internal/problem"
	"github.com/refold-dev/refold/internal/reader"
	"github.com/refold-dev/refold/internal/writer"
)

// stamps are the headers that say what an answer rests on.
func (s *server) stamps(c writer.Caller, stamp reader.Stamp) (edition, position, age *string) {
	e := strconv.FormatInt(stamp.Edition, 10)
	p := s.Sealer.SealPosition(c.Tenant.ID, stamp.Position)
	a := strconv.FormatInt(stamp.Age.Milliseconds(), 10)
	return &e, &p, &a
}

// GetMemory answers with one memory.
func (s *server) GetMemory(ctx context.Context, r api.GetMemoryRequestObject) (api.GetMemoryResponseObject, error) {
	c, fresh, err := s.asker(ctx, r.Params.Prefer, r.Params.RefoldPosition)
	if err != nil {
		return nil, err
	}
	m, stamp, err := s.Reader.Memory(ctx, c.Reads(), fresh, r.Id)
	if err != nil {
		return nil, err
	}
	answer := api.GetMemory200JSONResponse{Body: memoryOnWire(m)}
	tag := etag(uint64(m.Version))
	answer.Headers.ETag = &tag
	answer.Headers.RefoldEdition, answer.Headers.RefoldPosition, answer.Headers.RefoldAgeMs = s.stamps(c, stamp)
	return answer, nil
}

// GetMemoryHistory answers with the changes of a memory's state.
func (s *server) GetMemoryHistory(ctx context.Context, r api.GetMemoryHistoryRequestObject) (api.GetMemoryHistoryResponseObject, error) {
	c, fresh, err := s.asker(ctx, r.Params.Prefer, r.Params.RefoldPosition)
	if err != nil {
		return nil, err
	}
	m, history, stamp, err := s.Reader.MemoryHistory(ctx, c.Reads(), fresh, r.Id)
	if err != nil {
		return nil, err
	}
	answer := api.GetMemoryHistory200JSONResponse{Body: historyOnWire(history)}
	tag := etag(uint64(m.Version))
	answer.Headers.ETag = &tag
	answer.Headers.RefoldEdition, answer.Headers.RefoldPosition, answer.Headers.RefoldAgeMs = s.stamps(c, stamp)
	return answer, nil
}

// ListMemories answers with a page of memories. To a tenant that does not exist, nothing is there.
func (s *server) ListMemories(ctx context.Context, r api.ListMemoriesRequestObject) (api.ListMemoriesResponseObject, error) {
	filter, count, err := memoryFilter(r.Params)
	if err != nil {
		return nil, err
	}
	answer := api.ListMemories200JSONResponse{Body: api.MemoryPage{Items: []api.Memory{}}}
	c, fresh, err := s.asker(ctx, r.Params.Prefer, r.Params.RefoldPosition)
	if errors.Is(err, directory.ErrNoTenant) {
		return answer, nil
	}
	if err != nil {
		return nil, err
	}
	began, behind, err := openCursor[reader.MemoryMark](s.Sealer, c, "listMemories", filter, r.Params.Cursor)
	if err != nil {
		return nil, err
	}
	page, next, stamp, err := s.Reader.Memories(ctx, readsFrom(c, began), fresh, filter, behind, count)
	if err != nil {
		return nil, err
	}
	for _, m := range page {
		answer.Body.Items = append(answer.Body.Items, memoryOnWire(m))
	}
	answer.Body.NextCursor = sealCursor(s.Sealer, c, "listMemories", filter, stamp.Edition, next)
	answer.Headers.RefoldEdition, answer.Headers.RefoldPosition, answer.Headers.RefoldAgeMs = s.stamps(c, stamp)
	return answer, nil
}

func memoryFilter(p api.ListMemoriesParams) (reader.MemoryFilter, int, error) {
	f := reader.MemoryFilter{AppID: p.AppId, Search: p.Search, Category: p.Category, From: unixMicro(p.From), To: unixMicro(p.To)}
	if p.State != nil {
		for _, state := range *p.State {
			if !state.Valid() {
				return f, 0, problem.BadRequest("invalid_parameter", "malformed parameter: state")
			}
			f.States = append(f.States, string(state))
		}
	}
	count, err := checkLimit(p.Limit)
	return f, count, errors.Join(err, checkText("search", p.Search, searchRunesMax), checkText("category", p.Category, commands.NameRunesMax))
}

// GetApp answers with one app.
func (s *server) GetApp(ctx context.Context, r api.GetAppRequestObject) (api.GetAppResponseObject, error) {
	c, fresh, err := s.asker(ctx, r.Params.Prefer, r.Params.RefoldPosition)
	if err != nil {
		return nil, err
	}
	a, stamp, err := s.Reader.App(ctx, c.Reads(), fresh, r.Id)
	if err != nil {
		return nil, err
	}
	answer := api.GetApp200JSONResponse{Body: appOnWire(a)}
	tag := etag(uint64(a.Version))
	answer.Headers.ETag = &tag
	answer.Headers.RefoldEdition, answer.Headers.RefoldPosition, answer.Headers.RefoldAgeMs = s.stamps(c, stamp)
	return answer, nil
}

// ListApps answers with a page of apps. To a tenant that does not exist, nothing is there.
func (s *server) ListApps(ctx context.Context, r api.ListAppsRequestObject) (api.ListAppsResponseObject, error) {
	filter := reader.AppFilter{Search: r.Params.Search, Active: r.Params.Active}
	count, err := checkLimit(r.Params.Limit)
	if err := errors.Join(err, checkText("search", r.Params.Search, commands.NameRunesMax)); err != nil {
		return nil, err
	}
	answer := api.ListApps200JSONResponse{Body: api.AppPage{Items: []api.App{}}}
	c, fresh, err := s.asker(ctx, r.Params.Prefer, r.Params.RefoldPosition)
	if errors.Is(err, directory.ErrNoTenant) {
		return answer, nil
	}
	if err != nil {
		return nil, err
	}
	began, behind, err := openCursor[reader.AppMark](s.Sealer, c, "listApps", filter, r.Params.Cursor)
	if err != nil {
		return nil, err
	}
	page, next, stamp, err := s.Reader.Apps(ctx, readsFrom(c, began), fresh, filter, behind, count)
	if err != nil {
		return nil, err
	}
	for _, a := range page {
		answer.Body.Items = append(answer.Body.Items, appOnWire(a))
	}
	answer.Body.NextCursor = sealCursor(s.Sealer, c, "listApps", filter, stamp.Edition, next)
	answer.Headers.RefoldEdition, answer.Headers.RefoldPosition, answer.Headers.RefoldAgeMs = s.stamps(c, stamp)
	return answer, nil
}
