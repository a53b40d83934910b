package writer

import (
	"context"
	"encoding/json"

	"github.com/google/uuid"

	"github.com/refold-dev/refold/internal/app"
	"github.com/refold-dev/refold/internal/command"
	"github.com/refold-dev/refold/internal/user"
)

// AppChange replaces what is not nil.
type AppChange struct {
	Description *string // empty = none from now on
	Metadata    json.RawMessage
}

// ChangeApp changes what is said about an app.
func (w *Writer) ChangeApp(ctx context.Context, c Caller, wish Wish, id uuid.UUID, change AppChange) (Done, error) {
	return w.onApp(ctx, c, wish, id, "app.change", app.Change{By: c.User, Description: change.Description, Metadata: change.Metadata})
}

// PauseApp makes an app take no new memories, and read none.
func (w *Writer) PauseApp(ctx context.Context, c Caller, wish Wish, id uuid.UUID) (Done, error) {
	return w.onApp(ctx, c, wish, id, "app.pause", app.Pause{By: c.User})
}

// ActivateApp ends the pause of an app.
func (w *Writer) ActivateApp(ctx context.Context, c Caller, wish Wish, id uuid.UUID) (Done, error) {
	return w.onApp(ctx, c, wish, id, "app.activate", app.Resume{By: c.User})
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

// UserChange replaces what is not nil.
type UserChange struct {
	Name, Email *string // empty = none from now on
	Metadata    json.RawMessage
}

// ChangeUser changes what the plane knows about the caller, and begins to know it.
func (w *Writer) ChangeUser(ctx context.Context, c Caller, wish Wish, change UserChange) (Done, error) {
	shard, position, err := w.open(ctx, c)
	if err != nil {
		return Done{}, err
	}
	cmd := user.Change{Subject: c.Principal.Subject, Name: change.Name, Email: change.Email, Metadata: change.Metadata}
	request, err := c.request(wish, user.Entity, c.User, "user.change", cmd)
	if err != nil {
		return Done{}, err
	}
	outcome, err := command.Execute(ctx, shard, request, user.Evolve, user.Decide, user.Command(cmd))
	return done(c.User, outcome, position), err
}
