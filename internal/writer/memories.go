package writer

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"

	"github.com/refold-dev/refold/events/commands"
	"github.com/refold-dev/refold/internal/activity"
	"github.com/refold-dev/refold/internal/command"
	"github.com/refold-dev/refold/internal/journal"
	"github.com/refold-dev/refold/internal/memory"
	"github.com/refold-dev/refold/internal/reader"
)

// AddMemory adds a memory. Its id depends on the caller and the wish alone, so a repeated wish gets the same memory.
// appID is that of its app, nil without one. It fails with *commands.InvalidError, ErrAppPaused, and as command.Execute does.
func (w *Writer) AddMemory(ctx context.Context, c Caller, wish Wish, m commands.AddMemory) (_ Done, appID *uuid.UUID, err error) {
	if err := m.Validate(); err != nil {
		return Done{}, nil, err
	}
	if m, err = c.OfItsApp(m); err != nil {
		return Done{}, nil, err
	}
	shard, position, err := w.open(ctx, c)
	if err != nil {
		return Done{}, nil, err
	}
	id := memory.NewID(c.Tenant.Key, c.Tenant.ID, c.Principal.Subject, wish.ID)
	add, paused, err := w.prepare(ctx, shard, c, m)
	if err != nil {
		return Done{}, nil, err
	}
	request, err := c.request(wish, memory.Entity, id, "memory.add", add)
	if err != nil {
		return Done{}, nil, err
	}
	decide := memory.Decide
	if paused {
		// An earlier attempt may have been accepted before the app was paused, and is then the answer.
		decide = func(memory.State, memory.Command) (memory.Payload, error) { return nil, ErrAppPaused }
	}
	request.Fresh = true
	outcome, err := command.Execute(ctx, shard, request, memory.Evolve, decide, memory.Command(add))
	return done(id, outcome, position), add.AppID, err
}

// prepare makes user, app and categories on first use and returns the command; paused tells that the app takes no
// new memories.
func (w *Writer) prepare(ctx context.Context, shard journal.Shard, c Caller, m commands.AddMemory) (add memory.Add, paused bool, err error) {
	add = memory.Add{UserID: c.User, Content: m.Content, Metadata: m.Metadata}
	// Nothing is made for a memory that cannot be stored.
	if err := memory.Validate(add); err != nil {
		return add, false, err
	}
	if err := w.ensureUser(ctx, shard, c); err != nil {
		return add, false, err
	}
	if m.App != nil {
		id, err := w.ensureApp(ctx, shard, c, *m.App)
		if err != nil {
			return add, false, err
		}
		add.AppID = &id
		if paused, err = w.isPaused(ctx, c, id); err != nil {
			return add, false, err
		}
	}
	if m.Categories != nil {
		add.CategoryIDs, err = w.ensureCategories(ctx, shard, c, m.Categories)
	}
	return add, paused, err
}

// isPaused asks the rows: an app that is not there yet takes memories.
func (w *Writer) isPaused(ctx context.Context, c Caller, id uuid.UUID) (bool, error) {
	active, err := w.reader.IsActive(ctx, c.Reads(), id)
	if errors.Is(err, reader.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, journal.Unavailable(err)
	}
	return !active, nil
}

// ChangeMemory changes content, metadata or categories of a memory. It fails with *commands.InvalidError, too.
func (w *Writer) ChangeMemory(ctx context.Context, c Caller, wish Wish, m commands.ChangeMemory) (Done, error) {
	if err := m.Validate(); err != nil {
		return Done{}, err
	}
	return w.onMemory(ctx, c, wish, m.ID, "memory.change", func(shard journal.Shard) (memory.Command, error) {
		change := memory.Change{By: c.User, Content: m.Content, Metadata: m.Metadata}
		if m.Categories == nil {
			return change, nil
		}
		ids, err := w.ensureCategories(ctx, shard, c, *m.Categories)
		change.CategoryIDs = &ids
		return change, err
	})
}

// ArchiveMemory archives a memory.
func (w *Writer) ArchiveMemory(ctx context.Context, c Caller, wish Wish, id uuid.UUID) (Done, error) {
	return w.onMemory(ctx, c, wish, id, "memory.archive", always(memory.Archive{By: c.User}))
}

// PauseMemory pauses a memory.
func (w *Writer) PauseMemory(ctx context.Context, c Caller, wish Wish, id uuid.UUID) (Done, error) {
	return w.onMemory(ctx, c, wish, id, "memory.pause", always(memory.Pause{By: c.User}))
}

// ActivateMemory makes a memory active again.
func (w *Writer) ActivateMemory(ctx context.Context, c Caller, wish Wish, id uuid.UUID) (Done, error) {
	return w.onMemory(ctx, c, wish, id, "memory.activate", always(memory.Activate{By: c.User}))
}

// DeleteMemory deletes a memory.
func (w *Writer) DeleteMemory(ctx context.Context, c Caller, wish Wish, id uuid.UUID) (Done, error) {
	return w.onMemory(ctx, c, wish, id, "memory.delete", always(memory.Delete{By: c.User}))
}

// UndeleteMemory makes a deleted memory active again. For an app that its access rules keep the memory from, there is none.
func (w *Writer) UndeleteMemory(ctx context.Context, c Caller, wish Wish, id uuid.UUID) (Done, error) {
	may, err := w.reader.MayUndelete(ctx, c.Reads(), id)
	if err != nil {
		return Done{}, journal.Unavailable(err)
	}
	if !may {
		return Done{}, reader.ErrNotFound
	}
	return w.onMemory(ctx, c, wish, id, "memory.undelete", always(memory.Undelete{By: c.User}))
}

// RestoreMemory gives a memory the content, metadata and categories again that it had at a version. It fails with
// *commands.InvalidError, too.
func (w *Writer) RestoreMemory(ctx context.Context, c Caller, wish Wish, m commands.RestoreMemory) (Done, error) {
	if err := m.Validate(); err != nil {
		return Done{}, err
	}
	return w.onMemory(ctx, c, wish, m.ID, "memory.restore", always(memory.Restore{By: c.User, Version: uint64(m.Version)}))
}

func always(cmd memory.Command) func(journal.Shard) (memory.Command, error) {
	return func(journal.Shard) (memory.Command, error) { return cmd, nil }
}

// onMemory runs a command on a memory that is there already. To an app that may not read it, it is not.
func (w *Writer) onMemory(ctx context.Context, c Caller, wish Wish, id uuid.UUID, name string, makeCommand func(journal.Shard) (memory.Command, error)) (Done, error) {
	shard, position, err := w.open(ctx, c)
	if err != nil {
		return Done{}, err
	}
	if err := w.mayTouch(ctx, c, id); err != nil {
		return Done{}, journal.Unavailable(err)
	}
	cmd, err := makeCommand(shard)
	if err != nil {
		return Done{}, err
	}
	request, err := c.request(wish, memory.Entity, id, name, cmd)
	if err != nil {
		return Done{}, err
	}
	outcome, err := execute(ctx, shard, request, cmd)
	if err == nil && !outcome.Nothing && !outcome.Repeated {
		w.reader.Noted(c.Reads(), accesses[name], id)
	}
	return done(id, outcome, position), err
}

func execute(ctx context.Context, shard journal.Shard, r command.Request, cmd memory.Command) (command.Outcome, error) {
	if restore, ok := cmd.(memory.Restore); ok {
		return command.Execute(ctx, shard, r, restore.Evolve, memory.DecideRestore, restore)
	}
	return command.Execute(ctx, shard, r, memory.Evolve, memory.Decide, cmd)
}

// Do carries out any command that callers may wish. It fails as the methods above do.
func (w *Writer) Do(ctx context.Context, c Caller, wish Wish, cmd commands.Command) (Done, error) {
	switch cmd := cmd.(type) {
	case commands.AddMemory:
		done, _, err := w.AddMemory(ctx, c, wish, cmd)
		return done, err
	case commands.ChangeMemory:
		return w.ChangeMemory(ctx, c, wish, cmd)
	case commands.ArchiveMemory:
		return w.ArchiveMemory(ctx, c, wish, cmd.ID)
	case commands.PauseMemory:
		return w.PauseMemory(ctx, c, wish, cmd.ID)
	case commands.ActivateMemory:
		return w.ActivateMemory(ctx, c, wish, cmd.ID)
	case commands.DeleteMemory:
		return w.DeleteMemory(ctx, c, wish, cmd.ID)
	case commands.UndeleteMemory:
		return w.UndeleteMemory(ctx, c, wish, cmd.ID)
	case commands.RestoreMemory:
		return w.RestoreMemory(ctx, c, wish, cmd)
	case commands.ChangeApp:
		return w.ChangeApp(ctx, c, wish, cmd)
	case commands.PauseApp:
		return w.PauseApp(ctx, c, wish, cmd.ID)
	case commands.ActivateApp:
		return w.ActivateApp(ctx, c, wish, cmd.ID)
	case commands.ChangeUser:
		return w.ChangeUser(ctx, c, wish, cmd)
	case commands.RuleAccess:
		return w.RuleAccess(ctx, c, wish, cmd)
	case commands.WithdrawAccess:
		return w.WithdrawAccess(ctx, c, wish, cmd)
	case commands.MakeArchivePolicy:
		return w.MakeArchivePolicy(ctx, c, wish, cmd)
	case commands.ChangeArchivePolicy:
		return w.ChangeArchivePolicy(ctx, c, wish, cmd)
	case commands.WithdrawArchivePolicy:
		return w.WithdrawArchivePolicy(ctx, c, wish, cmd.ID)
	}
	return Done{}, fmt.Errorf("nobody carries out the command %T", cmd)
}

// accesses says what the access log calls a command.
var accesses = map[string]activity.Kind{
	"memory.change": activity.Update, "memory.archive": activity.Archive, "memory.pause": activity.Pause,
	"memory.activate": activity.Activate, "memory.delete": activity.Delete, "memory.undelete": activity.Undelete, "memory.restore": activity.Restore,
}
