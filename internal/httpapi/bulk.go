package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"github.com/google/uuid"

	"github.com/refold-dev/refold/internal/httpapi/api"
	"github.com/refold-dev/refold/internal/problem"
	"github.com/refold-dev/refold/internal/reader"
	"github.com/refold-dev/refold/internal/writer"
)

// ArchiveMemories archives many memories.
func (s *server) ArchiveMemories(ctx context.Context, r api.ArchiveMemoriesRequestObject) (api.ArchiveMemoriesResponseObject, error) {
	moved, err := s.many(ctx, writer.MoveArchive, r.Body, r.Params)
	return api.ArchiveMemories200JSONResponse{MovedJSONResponse: moved}, err
}

// PauseMemories pauses many memories.
func (s *server) PauseMemories(ctx context.Context, r api.PauseMemoriesRequestObject) (api.PauseMemoriesResponseObject, error) {
	moved, err := s.many(ctx, writer.MovePause, r.Body, api.ArchiveMemoriesParams(r.Params))
	return api.PauseMemories200JSONResponse{MovedJSONResponse: moved}, err
}

// ActivateMemories makes many memories active again.
func (s *server) ActivateMemories(ctx context.Context, r api.ActivateMemoriesRequestObject) (api.ActivateMemoriesResponseObject, error) {
	moved, err := s.many(ctx, writer.MoveActivate, r.Body, api.ArchiveMemoriesParams(r.Params))
	return api.ActivateMemories200JSONResponse{MovedJSONResponse: moved}, err
}

// DeleteMemories deletes many memories.
func (s *server) DeleteMemories(ctx context.Context, r api.DeleteMemoriesRequestObject) (api.DeleteMemoriesResponseObject, error) {
	moved, err := s.many(ctx, writer.MoveDelete, r.Body, api.ArchiveMemoriesParams(r.Params))
	return api.DeleteMemories200JSONResponse{MovedJSONResponse: moved}, err
}

// many moves the memories that a body names or selects.
func (s *server) many(ctx context.Context, move writer.Move, which *api.WhichMemories, p api.ArchiveMemoriesParams) (api.MovedJSONResponse, error) {
	var none api.MovedJSONResponse
	filter, err := filterOf(which)
	if err != nil {
		return none, err
	}
	wish, err := wish(ctx, p.IdempotencyKey, nil)
	if err != nil {
		return none, err
	}
	// Prefer is about the answer here; a position that the rows have not reached is waited for all the same.
	c, fresh, err := s.asker(ctx, nil, p.RefoldPosition)
	if err != nil {
		return none, err
	}
	fresh.Wait = reader.WaitMax
	var moved []writer.Moved
	more := false
	if which.Ids != nil {
		moved, err = s.Writer.MoveMemories(ctx, c, wish, move, *which.Ids)
	} else {
		moved, more, err = s.Writer.MoveSelected(ctx, c, wish, move, fresh, filter)
	}
	if err != nil {
		return none, problem.Doubtful(err, wish.ID)
	}
	answer := api.MovedJSONResponse{
		Body:    api.MovedMemories{Results: make([]api.MovedMemory, 0, len(moved)), More: more},
		Headers: api.MovedResponseHeaders{IdempotencyKey: &wish.ID},
	}
	var last writer.Done
	for _, m := range moved {
		answer.Body.Results = append(answer.Body.Results, s.movedOnWire(ctx, m))
		if m.Err == nil && m.Position.Seq >= last.Position.Seq {
			last = m.Done
		}
	}
	if last.Position.JournalID != "" {
		answer.Headers.RefoldPosition = s.position(c, last)
	}
	return answer, nil
}

func (s *server) movedOnWire(ctx context.Context, m writer.Moved) api.MovedMemory {
	out := api.MovedMemory{Id: m.ID, Outcome: api.MovedMemoryOutcomeChanged}
	if m.Err == nil {
		version := int64(m.Version)
		out.Version = &version
		if m.Nothing {
			out.Outcome = api.MovedMemoryOutcomeNothing
		}
		return out
	}
	p := problem.Of(ctx, m.Err, s.Logger)
	out.Outcome, out.Code = api.MovedMemoryOutcomeRefused, &p.Code
	if p.InDoubt() {
		out.Outcome = api.MovedMemoryOutcomeUnknown
	}
	return out
}

// filterOf refuses a body that does not say clearly which memories are meant.
func filterOf(which *api.WhichMemories) (reader.MemoryFilter, error) {
	if which.Ids != nil {
		rest := *which
		rest.Ids = nil
		if rest != (api.WhichMemories{}) {
			return reader.MemoryFilter{}, problem.Invalid("/ids", "either ids or a filter")
		}
		return reader.MemoryFilter{}, checkIDs(*which.Ids)
	}
	selected := *which
	selected.All = nil
	if selected == (api.WhichMemories{}) && !given(which.All) {
		return reader.MemoryFilter{}, problem.Invalid("", `nothing selected: want ids, a filter, or "all": true`)
	}
	for pointer, empty := range map[string]bool{
		"/app_ids": which.AppIds != nil && len(*which.AppIds) == 0, "/apps": which.Apps != nil && len(*which.Apps) == 0,
		"/states": which.States != nil && len(*which.States) == 0, "/categories": which.Categories != nil && len(*which.Categories) == 0,
		"/category_ids": which.CategoryIds != nil && len(*which.CategoryIds) == 0, "/search": which.Search != nil && *which.Search == "",
	} {
		if empty {
			return reader.MemoryFilter{}, problem.Invalid(pointer, "must not be empty")
		}
	}
	filter, err := selection{
		appIDs: which.AppIds, apps: which.Apps, states: which.States, containing: which.Search, categories: which.Categories, categoryIDs: which.CategoryIds,
		from: which.From, to: which.To, updatedFrom: which.UpdatedFrom, updatedTo: which.UpdatedTo,
		metadata: textOf(which.Metadata), notMetadata: textOf(which.NotMetadata),
	}.filter()
	var p *problem.Problem
	if errors.As(err, &p) {
		return filter, problem.Invalid("", p.Detail)
	}
	return filter, err
}

func textOf(raw *json.RawMessage) *string {
	if raw == nil {
		return nil
	}
	text := string(*raw)
	return &text
}

func checkIDs(ids []uuid.UUID) error {
	if len(ids) == 0 || len(ids) > writer.BulkMax {
		return problem.Invalid("/ids", fmt.Sprintf("want 1 to %d ids", writer.BulkMax))
	}
	seen := make(map[uuid.UUID]bool, len(ids))
	for i, id := range ids {
		if seen[id] {
			return problem.Invalid("/ids/"+strconv.Itoa(i), "the id is named twice")
		}
		seen[id] = true
	}
	return nil
}
