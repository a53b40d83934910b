package httpapi

import (
	"context"
	"slices"

	"github.com/refold-dev/refold/events/commands"
	"github.com/refold-dev/refold/internal/httpapi/api"
	"github.com/refold-dev/refold/internal/memory"
	"github.com/refold-dev/refold/internal/versions"
	"github.com/refold-dev/refold/internal/writer"
)

// ListMemoryVersions answers with a page of the versions of a memory. Versions do not change, so a cursor outlives editions.
func (s *server) ListMemoryVersions(ctx context.Context, r api.ListMemoryVersionsRequestObject) (api.ListMemoryVersionsResponseObject, error) {
	count, err := checkLimit(r.Params.Limit)
	if err != nil {
		return nil, err
	}
	c, fresh, err := s.asker(ctx, r.Params.Prefer, r.Params.RefoldPosition)
	if err != nil {
		return nil, err
	}
	bound := list{Filter: r.Id, AsApp: r.Params.AsApp}
	_, olderThan, err := openCursor[uint64](s.Sealer, c, "listMemoryVersions", bound, r.Params.Cursor)
	if err != nil {
		return nil, err
	}
	newest := uint64(0)
	if olderThan == nil {
		olderThan = &newest
	}
	page, stamp, err := s.Versions.Page(ctx, readsAs(c, r.Params.AsApp), fresh, r.Id, *olderThan, count)
	if err != nil {
		return nil, err
	}
	answer := api.ListMemoryVersions200JSONResponse{Body: api.MemoryVersionPage{Items: make([]api.MemoryVersion, 0, len(page.Items))}}
	for _, v := range page.Items {
		answer.Body.Items = append(answer.Body.Items, versionOnWire(v))
	}
	if page.Next > 0 {
		answer.Body.NextCursor = sealCursor(s.Sealer, c, "listMemoryVersions", bound, stamp.Edition, &page.Next)
	}
	answer.Headers.RefoldEdition, answer.Headers.RefoldPosition, answer.Headers.RefoldAgeMs = s.stamps(c, stamp)
	return answer, nil
}

// GetMemoryVersion answers with one version of a memory.
func (s *server) GetMemoryVersion(ctx context.Context, r api.GetMemoryVersionRequestObject) (api.GetMemoryVersionResponseObject, error) {
	c, fresh, err := s.asker(ctx, r.Params.Prefer, r.Params.RefoldPosition)
	if err != nil {
		return nil, err
	}
	v, newest, stamp, err := s.Versions.One(ctx, readsAs(c, r.Params.AsApp), fresh, r.Id, uint64(max(r.Version, 0)))
	if err != nil {
		return nil, err
	}
	answer := api.GetMemoryVersion200JSONResponse{Body: versionOnWire(v)}
	tag := etag(newest)
	answer.Headers.ETag = &tag
	answer.Headers.RefoldEdition, answer.Headers.RefoldPosition, answer.Headers.RefoldAgeMs = s.stamps(c, stamp)
	return answer, nil
}

func versionOnWire(v versions.Version) api.MemoryVersion {
	out := api.MemoryVersion{
		Version: int64(v.Number), Kind: v.Kind, ChangedBy: v.By, At: v.At.UTC(), Content: v.Content.Content, Metadata: api.Metadata(v.Metadata),
		State: api.VersionState(v.State), App: appOfVersion(v.App), Categories: v.Categories, Changed: []api.MemoryVersionChanged{},
	}
	for _, field := range v.Changed {
		out.Changed = append(out.Changed, api.MemoryVersionChanged(field))
	}
	if v.Before != nil {
		out.Before = beforeOnWire(*v.Before, v.Changed)
	}
	return out
}

// beforeOnWire is what has changed.
func beforeOnWire(before versions.Content, changed []memory.Field) *api.VersionBefore {
	var out api.VersionBefore
	if slices.Contains(changed, memory.Content) {
		out.Content = &before.Content
	}
	if slices.Contains(changed, memory.Metadata) {
		metadata := api.Metadata(before.Metadata)
		out.Metadata = &metadata
	}
	if slices.Contains(changed, memory.Categories) {
		out.Categories = &before.Categories
	}
	if slices.Contains(changed, memory.Status) {
		state := api.VersionState(before.State)
		out.State = &state
	}
	if slices.Contains(changed, memory.App) {
		out.App = appOfVersion(before.App)
	}
	return &out
}

func appOfVersion(a *versions.App) *api.AppName {
	if a == nil {
		return nil
	}
	return &api.AppName{Id: a.ID, Name: a.Name}
}

// RestoreMemory restores an old version of a memory.
func (s *server) RestoreMemory(ctx context.Context, r api.RestoreMemoryRequestObject) (api.RestoreMemoryResponseObject, error) {
	done, err := s.changing(ctx, r.Params.IdempotencyKey, &r.Params.IfMatch, func(c writer.Caller, w writer.Wish) (writer.Done, error) {
		return s.Writer.RestoreMemory(ctx, c, w, commands.RestoreMemory{ID: r.Id, Version: r.Body.Version})
	})
	return api.RestoreMemory200JSONResponse{AcceptedJSONResponse: done}, err
}

// UndeleteMemory makes a deleted memory active again.
func (s *server) UndeleteMemory(ctx context.Context, r api.UndeleteMemoryRequestObject) (api.UndeleteMemoryResponseObject, error) {
	done, err := s.moving(ctx, r.Id, r.Params.IdempotencyKey, r.Params.IfMatch, s.Writer.UndeleteMemory)
	return api.UndeleteMemory200JSONResponse{AcceptedJSONResponse: done}, err
}
