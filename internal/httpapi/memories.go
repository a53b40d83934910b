package httpapi

import (
	"context"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/refold-dev/refold/events/commands"
	"github.com/refold-dev/refold/internal/httpapi/api"
	"github.com/refold-dev/refold/internal/journal"
	"github.com/refold-dev/refold/internal/problem"
	"github.com/refold-dev/refold/internal/writer"
)

// CreateMemory adds a memory, and what it needs first.
func (s *server) CreateMemory(ctx context.Context, r api.CreateMemoryRequestObject) (api.CreateMemoryResponseObject, error) {
	wish, err := wish(ctx, r.Params.IdempotencyKey, nil)
	if err != nil {
		return nil, err
	}
	c, err := s.caller(ctx)
	if err != nil {
		return nil, journal.Unavailable(err)
	}
	m := commands.AddMemory{Content: r.Body.Content, App: r.Body.App}
	if r.Body.Metadata != nil {
		m.Metadata = *r.Body.Metadata
	}
	if r.Body.Categories != nil {
		m.Categories = *r.Body.Categories
	}
	if m, err = c.OfItsApp(m); err != nil {
		return nil, err
	}
	done, appID, err := s.Writer.AddMemory(ctx, c, wish, m)
	if err != nil {
		return nil, problem.Doubtful(err, wish.ID)
	}
	tag, location := etag(done.Version), "/v1/memories/"+done.ID.String()
	return api.CreateMemory201JSONResponse{
		Body:    accepted(done, appID, m.App, r.Body),
		Headers: api.CreateMemory201ResponseHeaders{ETag: &tag, Location: &location, RefoldPosition: s.position(c, done)},
	}, nil
}

// accepted is the memory as its event made it; the rows may not have it yet.
func accepted(done writer.Done, appID *uuid.UUID, app *string, body *api.CreateMemory) api.Memory {
	m := api.Memory{
		Id: done.ID, Version: int64(done.Version), Content: body.Content, Metadata: api.Metadata("{}"),
		State: api.MemoryStateActive, Categories: []string{},
		CreatedAt: done.Event.Time, UpdatedAt: done.Event.Time,
	}
	if body.Metadata != nil {
		m.Metadata = *body.Metadata
	}
	if appID != nil {
		m.App = &api.AppName{Id: *appID, Name: *app}
	}
	if body.Categories != nil && len(*body.Categories) > 0 { // what is empty stays a list
		m.Categories = slices.Compact(slices.Sorted(slices.Values(*body.Categories)))
	}
	return m
}

// ChangeMemory changes content, metadata or categories.
func (s *server) ChangeMemory(ctx context.Context, r api.ChangeMemoryRequestObject) (api.ChangeMemoryResponseObject, error) {
	change := commands.ChangeMemory{ID: r.Id, Content: r.Body.Content, Categories: r.Body.Categories}
	if r.Body.Metadata != nil {
		change.Metadata = *r.Body.Metadata
	}
	done, err := s.changing(ctx, r.Params.IdempotencyKey, &r.Params.IfMatch, func(c writer.Caller, w writer.Wish) (writer.Done, error) {
		return s.Writer.ChangeMemory(ctx, c, w, change)
	})
	return api.ChangeMemory200JSONResponse{AcceptedJSONResponse: done}, err
}

// ArchiveMemory archives a memory.
func (s *server) ArchiveMemory(ctx context.Context, r api.ArchiveMemoryRequestObject) (api.ArchiveMemoryResponseObject, error) {
	done, err := s.moving(ctx, r.Id, r.Params.IdempotencyKey, r.Params.IfMatch, s.Writer.ArchiveMemory)
	return api.ArchiveMemory200JSONResponse{AcceptedJSONResponse: done}, err
}

// PauseMemory pauses a memory.
func (s *server) PauseMemory(ctx context.Context, r api.PauseMemoryRequestObject) (api.PauseMemoryResponseObject, error) {
	done, err := s.moving(ctx, r.Id, r.Params.IdempotencyKey, r.Params.IfMatch, s.Writer.PauseMemory)
	return api.PauseMemory200JSONResponse{AcceptedJSONResponse: done}, err
}

// ActivateMemory makes a memory active again.
func (s *server) ActivateMemory(ctx context.Context, r api.ActivateMemoryRequestObject) (api.ActivateMemoryResponseObject, error) {
	done, err := s.moving(ctx, r.Id, r.Params.IdempotencyKey, r.Params.IfMatch, s.Writer.ActivateMemory)
	return api.ActivateMemory200JSONResponse{AcceptedJSONResponse: done}, err
}

// DeleteMemory deletes a memory.
func (s *server) DeleteMemory(ctx context.Context, r api.DeleteMemoryRequestObject) (api.DeleteMemoryResponseObject, error) {
	done, err := s.moving(ctx, r.Id, r.Params.IdempotencyKey, r.Params.IfMatch, s.Writer.DeleteMemory)
	return api.DeleteMemory200JSONResponse{AcceptedJSONResponse: done}, err
}

// unixMicro rounds a bound of time outwards to what rows hold.
func unixMicro(t *time.Time) *time.Time {
	if t == nil {
		return nil
	}
	utc := t.UTC().Truncate(time.Microsecond)
	return &utc
}
