package writer

import (
	"context"

	"github.com/google/uuid"

	"github.com/refold-dev/refold/events/commands"
	"github.com/refold-dev/refold/internal/app"
	"github.com/refold-dev/refold/internal/command"
	"github.com/refold-dev/refold/internal/user"
)

// ChangeApp changes what is said about an app. It fails with *commands.InvalidError, too.
func (w *Writer) ChangeApp(ctx context.Context, c Caller, wish Wish, m commands.ChangeApp) (Done, error) {
	if err := m.Validate(); err != nil {
		return Done{}, err
	}
	return w.onApp(ctx, c, wish, m.ID, m.Name(), app.Change{By: c.User, Description: m.Description, Metadata: m.Metadata})
}

// PauseApp makes an app take no new memories, and read none.
func (w *Writer) PauseApp(ctx context.Context, c Caller, wish Wish, id uuid.UUID) (Done, error) {
	return w.onApp(ctx, c, wish, id, commands.PauseApp{}.Name(), app.Pause{By: c.User})
}

// ActivateApp ends the pause of an app.
func (w *Writer) ActivateApp(ctx context.Context, c Caller, wish Wish, id uuid.UUID) (Done, error) {
	return w.onApp(ctx, c, wish, id, commands.ActivateApp{}.Name(), app.Resume{By: c.User})
}

// onApp runs a command on an app that is there already.
func (w *Writer) onApp(ctx context.Context, c Caller, wish Wish, id uuid.UUID, name string, cmd app.Command) (Done, error) {
	shard, position, err := w.open(ctx, c)
	if err != nil {
		return Done{}, err
	}
	request, err := c.request(wish, app.Entity, id, name, cmd)
	if err != nil {
		return Done{}, err
	}
	outcome, err := command.Execute(ctx, shard, request, app.Evolve, app.Decide, cmd)
	return done(id, outcome, position), err
}

// ChangeUser changes what the plane knows about the caller, and begins to know it. It fails with *commands.InvalidError,
// too.
func (w *Writer) ChangeUser(ctx context.Context, c Caller, wish Wish, m commands.ChangeUser) (Done, error) {
	if err := m.Validate(); err != nil {
		return Done{}, err
	}
	if m.ID != c.User {
		return Done{}, command.Refuse(command.NotFound, "not found")
	}
	shard, position, err := w.open(ctx, c)
	if err != nil {
		return Done{}, err
	}
	cmd := user.Change{Subject: c.Principal.Subject, Name: m.UserName, Email: m.Email, Metadata: m.Metadata}
	request, err := c.request(wish, user.Entity, c.User, m.Name(), cmd)
	if err != nil {
		return Done{}, err
	}
	outcome, err := command.Execute(ctx, shard, request, user.Evolve, user.Decide, user.Command(cmd))
	return done(c.User, outcome, position), err
}
