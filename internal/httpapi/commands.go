package httpapi

import (
	"context"
	"errors"
	"net/http"

	"github.com/google/uuid"
	"github.com/refold-dev/refold/internal/command"
	"github.com/refold-dev/refold/internal/httpapi/api"
	"github.com/refold-dev/refold/internal/journal"
	"github.com/refold-dev/refold/internal/memory"
	"github.com/refold-dev/refold/internal/reader"
)

// request is what surrounds the caller's command about one entity.
func (c caller) request(ctx context.Context, entity string, id uuid.UUID, commandID, name string, cmd any) (command.Request, error) {
	hash, err := command.Hash(name, cmd)
	if err != nil {
		return command.Request{}, err
	}
	trace, _ := ctx.Value(traceKey{}).(string)
	return command.Request{
		Key: c.key(entity, id), TenantKey: c.tenant.Key, CommandID: commandID, RequestHash: hash,
		Actor: c.user.String(), TraceParent: trace,
	}, nil
}

// open returns the shard of the caller, if it takes commands, and where it stands.
func (s *server) open(ctx context.Context, c caller) (journal.Shard, reader.Position, error) {
	position, err := s.Reader.Open(ctx, c.tenant.ID, c.tenant.Shard)
	if err != nil {
		return nil, position, err
	}
	return s.Shard(c.tenant.Shard), position, nil
}

// positionAfter seals the place of a command's event.
func (s *server) positionAfter(c caller, at reader.Position, outcome command.Outcome) *string {
	at.Seq = outcome.Seq
	token := s.Sealer.SealPosition(c.tenant.ID, at)
	return &token
}

// doubtful hands the idempotency key out with an unknown outcome: it may be one that was made up here.
func doubtful(err error, key string) error {
	if !errors.Is(err, journal.ErrUnknown) {
		return err
	}
	p := ofSentinel(journal.ErrUnknown)
	p.header[http.CanonicalHeaderKey("Idempotency-Key")] = []string{key}
	return p
}

// changing runs a command on a memory that is there already.
func (s *server) changing(ctx context.Context, id uuid.UUID, givenKey, ifMatch *string, name string, makeCommand func(caller) (memory.Command, error)) (api.AcceptedJSONResponse, error) {
	var none api.AcceptedJSONResponse
	key, errKey := idempotencyKey(givenKey)
	version, errVersion := ifVersion(ifMatch)
	if err := errors.Join(errKey, errVersion); err != nil {
		return none, err
	}
	c, err := s.caller(ctx)
	if err != nil {
		return none, err
	}
	shard, position, err := s.open(ctx, c)
	if err != nil {
		return none, err
	}
	cmd, err := makeCommand(c)
	if err != nil {
		return none, err
	}
	request, err := c.request(ctx, memory.Entity, id, key, name, cmd)
	if err != nil {
		return none, err
	}
	request.IfVersion = version
	outcome, err := command.Execute(ctx, shard, request, memory.Evolve, memory.Decide, cmd)
	if err != nil {
		return none, doubtful(err, key)
	}
	tag := etag(outcome.Version)
	return api.AcceptedJSONResponse{
		Body:    api.Accepted{Id: id, Version: int64(outcome.Version), Changed: !outcome.Nothing},
		Headers: api.AcceptedResponseHeaders{ETag: &tag, RefoldPosition: s.positionAfter(c, position, outcome)},
	}, nil
}
