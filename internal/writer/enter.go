package writer

import (
	"context"

	"github.com/refold-dev/refold/events/commands"
	"github.com/refold-dev/refold/internal/app"
)

// EnterApp lets the caller in as the app with this name: ErrAppPaused when the user has paused it. With register, one
// that is not there yet is made, so that its user can find it; when the shard takes no commands, that waits.
func (w *Writer) EnterApp(ctx context.Context, c Caller, name string, register bool) error {
	if err := commands.Name("/app", name); err != nil {
		return err
	}
	paused, err := w.isPaused(ctx, c, app.ID(c.Tenant.Key, c.Tenant.ID, c.User, name))
	if err != nil {
		return err
	}
	if paused {
		return ErrAppPaused
	}
	if !register {
		return nil
	}
	shard, _, err := w.open(ctx, c)
	if err != nil {
		return nil // questions are answered all the same
	}
	if err := w.ensureUser(ctx, shard, c); err != nil {
		return nil
	}
	_, _ = w.ensureApp(ctx, shard, c, name)
	return nil
}
