package httpapi

import (
	"context"
	"encoding/json"

	"github.com/refold-dev/refold/internal/httpapi/api"
	"github.com/refold-dev/refold/internal/writer"
)

// GetConfig answers with the config of the caller's tenant.
func (s *server) GetConfig(ctx context.Context, r api.GetConfigRequestObject) (api.GetConfigResponseObject, error) {
	c, fresh, err := s.asker(ctx, r.Params.Prefer, r.Params.RefoldPosition)
	if err != nil {
		return nil, err
	}
	found, stamp, err := s.Reader.Config(ctx, c.Reads(), fresh)
	if err != nil {
		return nil, err
	}
	answer := api.GetConfig200JSONResponse{Body: api.Config{Version: found.Version, Settings: api.Metadata(found.Settings), Secrets: found.Secrets}}
	if found.Version > 0 {
		updated := found.UpdatedAt.UTC()
		answer.Body.ChangedBy, answer.Body.UpdatedAt = &found.ChangedBy, &updated
	}
	tag := etag(uint64(found.Version))
	answer.Headers.ETag = &tag
	answer.Headers.RefoldEdition, answer.Headers.RefoldPosition, answer.Headers.RefoldAgeMs = s.stamps(c, stamp)
	return answer, nil
}

// ReplaceConfig replaces the config of the caller's tenant.
func (s *server) ReplaceConfig(ctx context.Context, r api.ReplaceConfigRequestObject) (api.ReplaceConfigResponseObject, error) {
	done, err := s.changing(ctx, r.Params.IdempotencyKey, &r.Params.IfMatch, func(c writer.Caller, w writer.Wish) (writer.Done, error) {
		return s.Writer.ReplaceConfig(ctx, c, w, s.Sealer, nil, json.RawMessage(r.Body.Settings))
	})
	return api.ReplaceConfig200JSONResponse{AcceptedJSONResponse: done}, err
}

// ChangeConfig changes a part of the config of the caller's tenant.
func (s *server) ChangeConfig(ctx context.Context, r api.ChangeConfigRequestObject) (api.ChangeConfigResponseObject, error) {
	done, err := s.changing(ctx, r.Params.IdempotencyKey, &r.Params.IfMatch, func(c writer.Caller, w writer.Wish) (writer.Done, error) {
		return s.Writer.MergeConfig(ctx, c, w, s.Sealer, json.RawMessage(r.Body.Settings))
	})
	return api.ChangeConfig200JSONResponse{AcceptedJSONResponse: done}, err
}
