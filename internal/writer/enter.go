package writer

import (
	"context"
	"errors"

	"github.com/google/uuid"

	"github.com/refold-dev/refold/events/commands"
	"github.com/refold-dev/refold/internal/app"
	"github.com/refold-dev/refold/internal/reader"
)

// EnterApp lets the caller in as the app with this name and returns its id, by which its access rules are kept: nil as
// long as the rows have no such app, and so no rules for it. ErrAppPaused when the user has paused it. With register,
// one that is not there yet is made, so that its user can find it; when the shard takes no commands, that waits.
func (w *Writer) EnterApp(ctx context.Context, c Caller, name string, register bool) (*uuid.UUID, error) {
	if err := commands.Name("/app", name); err != nil {
		return nil, err
	}
	id := app.ID(c.Tenant.Key, c.Tenant.ID, c.User, name)
	active, err := w.reader.IsActive(ctx, c.Reads(), id)
	switch {
	case err == nil && active:
		return &id, nil
	case err == nil:
		return nil, ErrAppPaused
	case !errors.Is(err, reader.ErrNotFound):
		return nil, err
	case register:
		w.registerApp(ctx, c, name)
	}
	return nil, nil
}

// registerApp makes an app if that is possible now; whoever only asks is answered in any case.
func (w *Writer) registerApp(ctx context.Context, c Caller, name string) {
	shard, _, err := w.open(ctx, c)
	if err != nil || w.ensureUser(ctx, shard, c) != nil {
		return
	}
	_, _ = w.ensureApp(ctx, shard, c, name) // made by the next call, if not by this one
}
