package httpapi

import (
	"context"
	"errors"

	"github.com/google/uuid"

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

// readsAs is the caller as readers see it, reading through one of its apps when asApp is not nil. One that is bound to an
// app reads nothing as another.
func readsAs(c writer.Caller, asApp *uuid.UUID) reader.Caller {
	r := c.Reads()
	switch {
	case asApp == nil:
	case c.Principal.App == "", r.App != nil && *r.App == *asApp:
		r.App = asApp
	default:
		r.App = &uuid.Nil
	}
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
