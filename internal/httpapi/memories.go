package httpapi

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/refold-dev/refold/internal/command"
	"github.com/refold-dev/refold/internal/httpapi/api"
	"github.com/refold-dev/refold/internal/journal"
	"github.com/refold-dev/refold/internal/memory"
	"github.com/refold-dev/refold/internal/reader"
)

// CreateMemory adds a memory, and what it needs first.
func (s *server) CreateMemory(ctx context.Context, r api.CreateMemoryRequestObject) (api.CreateMemoryResponseObject, error) {
	if err := checkCreate(r.Body); err != nil {
		return nil, err
	}
	key, err := idempotencyKey(r.Params.IdempotencyKey)
	if err != nil {
		return nil, err
	}
	c, err := s.caller(ctx)
	if err != nil {
		return nil, err
	}
	shard, position, err := s.open(ctx, c)
	if err != nil {
		return nil, err
	}
	id, add, outcome, err := s.add(ctx, shard, c, key, r.Body)
	if err != nil {
		return nil, doubtful(err, key)
	}
	tag, location := etag(outcome.Version), "/v1/memories/"+id.String()
	return api.CreateMemory201JSONResponse{
		Body: accepted(id, add, r.Body, outcome),
		Headers: api.CreateMemory201ResponseHeaders{
			ETag: &tag, Location: &location, RefoldPosition: s.positionAfter(c, position, outcome),
		},
	}, nil
}

func (s *server) add(ctx context.Context, shard journal.Shard, c caller, key string, body *api.CreateMemory) (uuid.UUID, memory.Add, command.Outcome, error) {
	id := memory.NewID(c.tenant.Key, c.tenant.ID, c.principal.Subject, key)
	var outcome command.Outcome
	add, paused, err := s.prepare(ctx, shard, c, body)
	if err != nil {
		return id, add, outcome, err
	}
	request, err := c.request(ctx, memory.Entity, id, key, "memory.add", add)
	if err != nil {
		return id, add, outcome, err
	}
	decide := memory.Decide
	if paused {
		// An earlier attempt may have been accepted before the app was paused, and is then the answer.
		decide = func(memory.State, memory.Command) (memory.Payload, error) {
			return nil, &problem{status: http.StatusForbidden, code: "app_paused", detail: "the app is paused"}
		}
	}
	request.Fresh = true
	outcome, err = command.Execute(ctx, shard, request, memory.Evolve, decide, memory.Command(add))
	return id, add, outcome, err
}

// prepare makes user, app and categories on first use and returns the command; paused tells that the app takes no
// new memories.
func (s *server) prepare(ctx context.Context, shard journal.Shard, c caller, body *api.CreateMemory) (add memory.Add, paused bool, err error) {
	add = memory.Add{UserID: c.user, Content: body.Content}
	if body.Metadata != nil {
		add.Metadata = *body.Metadata
	}
	// Nothing is made for a memory that cannot be stored.
	if err := memory.Validate(add); err != nil {
		return add, false, err
	}
	if err := s.ensureUser(ctx, shard, c); err != nil {
		return add, false, err
	}
	if body.App != nil {
		id, err := s.ensureApp(ctx, shard, c, *body.App)
		if err != nil {
			return add, false, err
		}
		add.AppID = &id
		if paused, err = s.isPaused(ctx, c, id); err != nil {
			return add, false, err
		}
	}
	if body.Categories != nil {
		add.CategoryIDs, err = s.ensureCategories(ctx, shard, c, *body.Categories)
	}
	return add, paused, err
}

// isPaused asks the rows: an app that is not there yet takes memories.
func (s *server) isPaused(ctx context.Context, c caller, id uuid.UUID) (bool, error) {
	app, _, err := s.Reader.App(ctx, c.reads(), reader.Freshness{}, id)
	if errors.Is(err, reader.ErrNotFound) {
		return false, nil
	}
	return err == nil && !app.IsActive, err
}

// accepted is the memory as its event made it; the rows may not have it yet.
func accepted(id uuid.UUID, add memory.Add, body *api.CreateMemory, outcome command.Outcome) api.Memory {
	m := api.Memory{
		Id: id, Version: int64(outcome.Version), Content: body.Content, Metadata: api.Metadata("{}"),
		State: api.MemoryStateActive, Categories: []string{},
		CreatedAt: outcome.Event.Time, UpdatedAt: outcome.Event.Time,
	}
	if body.Metadata != nil {
		m.Metadata = *body.Metadata
	}
	if body.App != nil {
		m.App = &api.AppName{Id: *add.AppID, Name: *body.App}
	}
	if body.Categories != nil {
		m.Categories = slices.Compact(slices.Sorted(slices.Values(*body.Categories)))
	}
	return m
}

// ChangeMemory changes content, metadata or categories.
func (s *server) ChangeMemory(ctx context.Context, r api.ChangeMemoryRequestObject) (api.ChangeMemoryResponseObject, error) {
	if err := checkChange(r.Body); err != nil {
		return nil, err
	}
	done, err := s.changing(ctx, r.Id, r.Params.IdempotencyKey, r.Params.IfMatch, "memory.change", func(c caller) (memory.Command, error) {
		change := memory.Change{By: c.user, Content: r.Body.Content}
		if r.Body.Metadata != nil {
			change.Metadata = *r.Body.Metadata
		}
		if r.Body.Categories == nil {
			return change, nil
		}
		ids, err := s.ensureCategories(ctx, s.Shard(c.tenant.Shard), c, *r.Body.Categories)
		change.CategoryIDs = &ids
		return change, err
	})
	return api.ChangeMemory200JSONResponse{AcceptedJSONResponse: done}, err
}

// ArchiveMemory archives a memory.
func (s *server) ArchiveMemory(ctx context.Context, r api.ArchiveMemoryRequestObject) (api.ArchiveMemoryResponseObject, error) {
	done, err := s.changing(ctx, r.Id, r.Params.IdempotencyKey, r.Params.IfMatch, "memory.archive", func(c caller) (memory.Command, error) {
		return memory.Archive{By: c.user}, nil
	})
	return api.ArchiveMemory200JSONResponse{AcceptedJSONResponse: done}, err
}

// PauseMemory pauses a memory.
func (s *server) PauseMemory(ctx context.Context, r api.PauseMemoryRequestObject) (api.PauseMemoryResponseObject, error) {
	done, err := s.changing(ctx, r.Id, r.Params.IdempotencyKey, r.Params.IfMatch, "memory.pause", func(c caller) (memory.Command, error) {
		return memory.Pause{By: c.user}, nil
	})
	return api.PauseMemory200JSONResponse{AcceptedJSONResponse: done}, err
}

// ActivateMemory makes a memory active again.
func (s *server) ActivateMemory(ctx context.Context, r api.ActivateMemoryRequestObject) (api.ActivateMemoryResponseObject, error) {
	done, err := s.changing(ctx, r.Id, r.Params.IdempotencyKey, r.Params.IfMatch, "memory.activate", func(c caller) (memory.Command, error) {
		return memory.Activate{By: c.user}, nil
	})
	return api.ActivateMemory200JSONResponse{AcceptedJSONResponse: done}, err
}

// DeleteMemory deletes a memory.
func (s *server) DeleteMemory(ctx context.Context, r api.DeleteMemoryRequestObject) (api.DeleteMemoryResponseObject, error) {
	done, err := s.changing(ctx, r.Id, r.Params.IdempotencyKey, r.Params.IfMatch, "memory.delete", func(c caller) (memory.Command, error) {
		return memory.Delete{By: c.user}, nil
	})
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
