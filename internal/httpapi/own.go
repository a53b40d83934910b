package httpapi

import (
	"context"
	"encoding/json"

	"github.com/refold-dev/refold/events/commands"
	"github.com/refold-dev/refold/internal/httpapi/api"
	"github.com/refold-dev/refold/internal/writer"
)

// GetMe answers with what is known about the caller; a login that has stored nothing yet is at version 0.
func (s *server) GetMe(ctx context.Context, r api.GetMeRequestObject) (api.GetMeResponseObject, error) {
	c, fresh, err := s.asker(ctx, r.Params.Prefer, r.Params.RefoldPosition)
	if err != nil {
		return nil, err
	}
	user, known, stamp, err := s.Reader.User(ctx, c.Reads(), fresh)
	if err != nil {
		return nil, err
	}
	answer := api.GetMe200JSONResponse{Body: api.Me{Id: c.User, Subject: c.Principal.Subject, Metadata: api.Metadata("{}")}}
	if known {
		created, updated := user.CreatedAt.UTC(), user.UpdatedAt.UTC()
		answer.Body = api.Me{
			Id: user.ID, Version: user.Version, Subject: user.Subject, Name: user.Name, Email: user.Email,
			Metadata: api.Metadata(user.Metadata), CreatedAt: &created, UpdatedAt: &updated,
		}
	}
	tag := etag(uint64(answer.Body.Version))
	answer.Headers.ETag = &tag
	answer.Headers.RefoldEdition, answer.Headers.RefoldPosition, answer.Headers.RefoldAgeMs = s.stamps(c, stamp)
	return answer, nil
}

// ChangeMe changes what is known about the caller.
func (s *server) ChangeMe(ctx context.Context, r api.ChangeMeRequestObject) (api.ChangeMeResponseObject, error) {
	change := commands.ChangeUser{UserName: r.Body.Name, Email: r.Body.Email, Metadata: objectOf(r.Body.Metadata)}
	done, err := s.changing(ctx, r.Params.IdempotencyKey, &r.Params.IfMatch, func(c writer.Caller, w writer.Wish) (writer.Done, error) {
		change.ID = c.User
		return s.Writer.ChangeUser(ctx, c, w, change)
	})
	return api.ChangeMe200JSONResponse{AcceptedJSONResponse: done}, err
}

// ChangeApp changes what is said about an app.
func (s *server) ChangeApp(ctx context.Context, r api.ChangeAppRequestObject) (api.ChangeAppResponseObject, error) {
	change := commands.ChangeApp{ID: r.Id, Description: r.Body.Description, Metadata: objectOf(r.Body.Metadata)}
	done, err := s.changing(ctx, r.Params.IdempotencyKey, &r.Params.IfMatch, func(c writer.Caller, w writer.Wish) (writer.Done, error) {
		return s.Writer.ChangeApp(ctx, c, w, change)
	})
	return api.ChangeApp200JSONResponse{AcceptedJSONResponse: done}, err
}

// PauseApp pauses an app.
func (s *server) PauseApp(ctx context.Context, r api.PauseAppRequestObject) (api.PauseAppResponseObject, error) {
	done, err := s.moving(ctx, r.Id, r.Params.IdempotencyKey, r.Params.IfMatch, s.Writer.PauseApp)
	return api.PauseApp200JSONResponse{AcceptedJSONResponse: done}, err
}

// ActivateApp ends the pause of an app.
func (s *server) ActivateApp(ctx context.Context, r api.ActivateAppRequestObject) (api.ActivateAppResponseObject, error) {
	done, err := s.moving(ctx, r.Id, r.Params.IdempotencyKey, r.Params.IfMatch, s.Writer.ActivateApp)
	return api.ActivateApp200JSONResponse{AcceptedJSONResponse: done}, err
}

func objectOf(metadata *api.Metadata) json.RawMessage {
	if metadata == nil {
		return nil
	}
	return *metadata
}
