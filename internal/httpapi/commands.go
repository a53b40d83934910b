package httpapi

import (
	"context"
	"errors"

	"github.com/google/uuid"
	"github.com/refold-dev/refold/internal/httpapi/api"
	"github.com/refold-dev/refold/internal/journal"
	"github.com/refold-dev/refold/internal/problem"
	"github.com/refold-dev/refold/internal/writer"
)

// wish reads what surrounds a command: Idempotency-Key, If-Match and the trace.
func wish(ctx context.Context, givenKey, ifMatch *string) (writer.Wish, error) {
	key, errKey := idempotencyKey(givenKey)
	version, errVersion := ifVersion(ifMatch)
	trace, _ := ctx.Value(traceKey{}).(string)
	return writer.Wish{ID: key, IfVersion: version, TraceParent: trace}, errors.Join(errKey, errVersion)
}

// position seals the place of a command's event.
func (s *server) position(c writer.Caller, done writer.Done) *string {
	token := s.Sealer.SealPosition(c.Tenant.ID, done.Position)
	return &token
}

// changing runs a command on a memory that is there already.
func (s *server) changing(ctx context.Context, givenKey, ifMatch *string, run func(writer.Caller, writer.Wish) (writer.Done, error)) (api.AcceptedJSONResponse, error) {
	var none api.AcceptedJSONResponse
	wish, err := wish(ctx, givenKey, ifMatch)
	if err != nil {
		return none, err
	}
	c, err := s.caller(ctx)
	if err != nil {
		return none, journal.Unavailable(err)
	}
	done, err := run(c, wish)
	if err != nil {
		return none, problem.Doubtful(err, wish.ID)
	}
	tag := etag(done.Version)
	return api.AcceptedJSONResponse{
		Body:    api.Accepted{Id: done.ID, Version: int64(done.Version), Changed: !done.Nothing},
		Headers: api.AcceptedResponseHeaders{ETag: &tag, RefoldPosition: s.position(c, done)},
	}, nil
}

// moving is changing for the commands that take nothing but an id.
func (s *server) moving(ctx context.Context, id uuid.UUID, givenKey, ifMatch *string,
	run func(context.Context, writer.Caller, writer.Wish, uuid.UUID) (writer.Done, error)) (api.AcceptedJSONResponse, error) {
	return s.changing(ctx, givenKey, ifMatch, func(c writer.Caller, w writer.Wish) (writer.Done, error) { return run(ctx, c, w, id) })
}
