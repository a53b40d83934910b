package writer

import (
	"context"

	"github.com/google/uuid"

	"github.com/refold-dev/refold/events/commands"
	"github.com/refold-dev/refold/internal/app"
	"github.com/refold-dev/refold/internal/command"
	"github.com/refold-dev/refold/internal/reader"
)

// ErrAnotherApp: the token is bound to one app, and the command names another. Nothing was stored.
var ErrAnotherApp = command.Refuse(command.Forbidden, "the token is bound to another app: leave the app out, or name that of the token")

// Entered is a caller's app as EnterApp has found it.
type Entered struct {
	// App is by whose access rules the caller reads; nil = by none, because the rows have no such app yet. It is
	// uuid.Nil for one that may read nothing.
	App *uuid.UUID
	// Name is that of the app that is there, which may differ from the one given in case and form.
	Name string
}

// EnterApp lets the caller in as the app with this name, which means the user's app whose name is equal but for case,
// surrounding blanks and form. Where several are, one that is paused goes before the others, then the only one with access
// rules; where several have some, only a name that is exactly that of one will do, and every other reads nothing.
// ErrAppPaused when the user has paused it. With register, one that is not there yet is made, so that its user can find
// it; when the shard takes no commands, that waits.
func (w *Writer) EnterApp(ctx context.Context, c Caller, name string, register bool) (Entered, error) {
	if err := commands.Name("/app", name); err != nil {
		return Entered{}, err
	}
	folded := app.Folded(name)
	alike, err := w.reader.AppsAlike(ctx, c.Reads(), folded, func(other string) bool { return app.Folded(other) == folded })
	if err != nil {
		return Entered{}, err
	}
	found, err := choose(alike, name)
	switch {
	case err != nil:
		return Entered{Name: found.Name}, err
	case found.ID == uuid.Nil && len(alike) > 0:
		return Entered{App: &uuid.Nil, Name: name}, nil
	case len(alike) == 0:
		found.Name = name
		if register {
			w.registerApp(ctx, c, name)
		}
		if !w.AppsNeedRules {
			return Entered{Name: name}, nil
		}
	}
	if w.AppsNeedRules && !found.HasRules {
		found.ID = uuid.Nil
	}
	return Entered{App: &found.ID, Name: found.Name}, nil
}

// choose says which of the apps that are alike a caller is that gives a name; the zero app when none will do.
func choose(alike []reader.AppAlike, name string) (found reader.AppAlike, err error) {
	ruled := 0
	for _, one := range alike {
		if !one.IsActive {
			return one, ErrAppPaused
		}
		if one.HasRules {
			ruled++
		}
	}
	for _, one := range alike {
		switch {
		case one.HasRules && (ruled == 1 || one.Name == name):
			return one, nil
		case ruled == 0 && (found.ID == uuid.Nil || one.Name == name):
			found = one
		}
	}
	return found, nil
}

// enterBound makes a caller whose token is bound to an app that app, whose access rules bind what it reads and touches.
func (w *Writer) enterBound(ctx context.Context, c Caller) (Caller, error) {
	if c.Principal.App == "" {
		return c, nil
	}
	entered, err := w.EnterApp(ctx, c, c.Principal.App, false)
	c.App, c.appName = entered.App, entered.Name
	return c, err
}

// OfItsApp names the app of a new memory that the caller's token is bound to. It fails with ErrAnotherApp when the memory
// names another.
func (c Caller) OfItsApp(m commands.AddMemory) (commands.AddMemory, error) {
	if c.Principal.App == "" {
		return m, nil
	}
	if m.App != nil && app.Folded(*m.App) != app.Folded(c.Principal.App) {
		return m, ErrAnotherApp
	}
	name := c.Principal.App
	if c.appName != "" {
		name = c.appName
	}
	m.App = &name
	return m, nil
}

// mayTouch refuses what the user may read and the app may not, as if it were not there. What the rows do not have yet is
// left to the command to find.
func (w *Writer) mayTouch(ctx context.Context, c Caller, id uuid.UUID) error {
	if c.App == nil {
		return nil
	}
	for _, as := range []*uuid.UUID{c.App, nil} {
		r := c.Reads()
		r.App = as
		readable, err := w.reader.MayRead(ctx, r, id)
		switch {
		case err != nil:
			return err
		case readable && as != nil:
			return nil
		case readable:
			return reader.ErrNotFound
		}
	}
	return nil
}

// registerApp makes an app if that is possible now; whoever only asks is answered in any case.
func (w *Writer) registerApp(ctx context.Context, c Caller, name string) {
	shard, _, err := w.open(ctx, c)
	if err != nil || w.ensureUser(ctx, shard, c) != nil {
		return
	}
	_, _ = w.ensureApp(ctx, shard, c, name) // made by the next call, if not by this one
}
