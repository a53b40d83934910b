package httpapi

import (
	"context"
	"errors"

	"github.com/refold-dev/refold/internal/auth"
	"github.com/refold-dev/refold/internal/reader"
	"github.com/refold-dev/refold/internal/writer"
)

// caller fails with directory.ErrNoTenant for a tenant that does not exist: to it, everything is absent.
func (s *server) caller(ctx context.Context) (writer.Caller, error) {
	principal, ok := auth.FromContext(ctx)
	if !ok {
		return writer.Caller{}, errors.New("an operation without a principal asks for the caller") // a defect: fail closed
	}
	return s.Writer.Caller(ctx, principal)
}

// readsFrom is the caller on a page after the first, which is of the edition that the first was of.
func readsFrom(c writer.Caller, edition int64) reader.Caller {
	r := c.Reads()
	r.Edition = edition
	return r
}

// asker is a caller with the freshness that a question asks for.
func (s *server) asker(ctx context.Context, prefer, position *string) (writer.Caller, reader.Freshness, error) {
	c, err := s.caller(ctx)
	if err != nil {
		return c, reader.Freshness{}, err
	}
	f, err := s.freshness(c.Tenant.ID, prefer, position)
	return c, f, err
}
