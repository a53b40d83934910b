package memory

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/refold-dev/refold/events"
	"github.com/refold-dev/refold/events/storable"
	"github.com/refold-dev/refold/internal/command"
)

const (
	// ContentBytesMax bounds the content of a memory.
	ContentBytesMax = storable.ContentBytesMax
	// CategoriesMax bounds the categories of a memory.
	CategoriesMax = 256
	// HistoryMax bounds the lines of status history that one command brings.
	HistoryMax = 1024
	// EventsMax bounds the events of a memory, since each decision reads them all. A memory with so many can still
	// be deleted.
	EventsMax = 10_000
)

// Command is a wish about one memory. `By` is the user who wishes. The set is sealed:
//
//sumtype:decl
type Command interface{ command() }

// Add makes a memory; it is active.
type Add struct {
	UserID      uuid.UUID
	AppID       *uuid.UUID
	CategoryIDs []uuid.UUID
	Content     string
	Metadata    json.RawMessage // a JSON object; nil = {}
}

// Change replaces what is not nil.
type Change struct {
	By          uuid.UUID
	Content     *string
	Metadata    json.RawMessage
	CategoryIDs *[]uuid.UUID // the whole new set
}

// Archive, Pause, Activate and Delete move a memory to that state, whatever its state was.
type (
	Archive  struct{ By uuid.UUID }
	Pause    struct{ By uuid.UUID }
	Activate struct{ By uuid.UUID }
	Delete   struct{ By uuid.UUID }
)

// Undelete makes a deleted memory active again, as it was when it was deleted.
type Undelete struct{ By uuid.UUID }

// Restore gives a memory the content, metadata and categories again that it had at a version. What it had is not in a State:
// Restore.Evolve and DecideRestore take the place of Evolve and Decide.
type Restore struct {
	By      uuid.UUID
	Version uint64
}

// Import brings the record of another system, under the id it had there. A memory that is unknown is made. One that
// exists gets the categories and history it lacks, and with Overwrite also everything else of the record.
type Import struct {
	UserID                uuid.UUID
	AppID                 *uuid.UUID
	CategoryIDs           []uuid.UUID
	Content               string // may be empty, as the old system allowed it
	Metadata              json.RawMessage
	State                 events.State
	CreatedAt, UpdatedAt  time.Time // zero = those the memory has; a new memory needs them
	ArchivedAt, DeletedAt *time.Time
	History               []events.StatusChange
	Overwrite             bool
}

func (Add) command()      {}
func (Change) command()   {}
func (Archive) command()  {}
func (Pause) command()    {}
func (Activate) command() {}
func (Delete) command()   {}
func (Undelete) command() {}
func (Restore) command()  {}
func (Import) command()   {}

// Validate refuses a command that no state would allow, because it could not be stored. Decide does so, too.
func Validate(cmd Command) error {
	_, err := checked(cmd)
	return err
}

// checked returns the command as it goes into an event: metadata normalised, ids sorted, times in UTC.
func checked(cmd Command) (Command, error) {
	cmd, err := storableForm(cmd)
	return cmd, command.Refused(err)
}

func storableForm(cmd Command) (Command, error) {
	switch c := cmd.(type) {
	case Add:
		return c.checked()
	case Change:
		return c.checked()
	case Import:
		return c.checked()
	case Archive:
		return c, storable.ID("the user", c.By)
	case Pause:
		return c, storable.ID("the user", c.By)
	case Activate:
		return c, storable.ID("the user", c.By)
	case Delete:
		return c, storable.ID("the user", c.By)
	case Undelete:
		return c, storable.ID("the user", c.By)
	case Restore:
		return c, storable.ID("the user", c.By)
	}
	return nil, fmt.Errorf("no rules for the command %T", cmd)
}

func (c Add) checked() (_ Add, err error) {
	if err = storable.ID("the user", c.UserID); err != nil {
		return c, err
	}
	if err = checkApp(c.AppID); err != nil {
		return c, err
	}
	if err = storable.Text("content", c.Content, 1, ContentBytesMax); err != nil {
		return c, err
	}
	if c.CategoryIDs, err = checkedCategories(c.CategoryIDs); err != nil {
		return c, err
	}
	c.Metadata, err = storable.Metadata(c.Metadata)
	return c, err
}

func (c Change) checked() (_ Change, err error) {
	if err = storable.ID("the user", c.By); err != nil {
		return c, err
	}
	if c.Content != nil {
		if err = storable.Text("content", *c.Content, 1, ContentBytesMax); err != nil {
			return c, err
		}
	}
	if c.CategoryIDs != nil {
		ids, err := checkedCategories(*c.CategoryIDs)
		if err != nil {
			return c, err
		}
		c.CategoryIDs = &ids
	}
	if c.Metadata != nil {
		c.Metadata, err = storable.Metadata(c.Metadata)
	}
	return c, err
}

func (c Import) checked() (_ Import, err error) {
	if err = storable.ID("the user", c.UserID); err != nil {
		return c, err
	}
	if err = checkApp(c.AppID); err != nil {
		return c, err
	}
	if err = storable.Text("content", c.Content, 0, ContentBytesMax); err != nil {
		return c, err
	}
	if !c.State.Valid() {
		return c, command.Refuse(command.Invalid, "state %q is not active, paused, archived or deleted", c.State)
	}
	if c.CategoryIDs, err = checkedCategories(c.CategoryIDs); err != nil {
		return c, err
	}
	if c.Metadata, err = storable.Metadata(c.Metadata); err != nil {
		return c, err
	}
	if err = c.checkTimes(); err != nil {
		return c, err
	}
	c.History, err = checkedHistory(c.History)
	return c, err
}

func (c *Import) checkTimes() (err error) {
	if !c.CreatedAt.IsZero() {
		if c.CreatedAt, err = storable.Time("created_at", c.CreatedAt); err != nil {
			return err
		}
	}
	if !c.UpdatedAt.IsZero() {
		if c.UpdatedAt, err = storable.Time("updated_at", c.UpdatedAt); err != nil {
			return err
		}
	}
	if c.ArchivedAt, err = storable.OptionalTime("archived_at", c.ArchivedAt); err != nil {
		return err
	}
	c.DeletedAt, err = storable.OptionalTime("deleted_at", c.DeletedAt)
	return err
}

func checkApp(id *uuid.UUID) error {
	if id == nil {
		return nil
	}
	return storable.ID("the app", *id)
}

func checkedCategories(ids []uuid.UUID) ([]uuid.UUID, error) {
	if len(ids) > CategoriesMax {
		return nil, tooManyCategories(len(ids))
	}
	for _, id := range ids {
		if err := storable.ID("a category", id); err != nil {
			return nil, err
		}
	}
	return sorted(ids), nil
}

func tooManyCategories(count int) error {
	return command.Refuse(command.Invalid, "%d categories, a memory has at most %d", count, CategoriesMax)
}

// checkedHistory returns the lines oldest first and each once.
func checkedHistory(lines []events.StatusChange) ([]events.StatusChange, error) {
	if len(lines) > HistoryMax {
		return nil, command.Refuse(command.Invalid, "%d status changes, at most %d are taken", len(lines), HistoryMax)
	}
	seen := make(map[uuid.UUID]events.StatusChange, len(lines))
	out := make([]events.StatusChange, 0, len(lines))
	for _, c := range lines {
		c, err := checkedChange(c)
		if err != nil {
			return nil, err
		}
		before, twice := seen[c.ID]
		if twice && !sameChange(before, c) {
			return nil, command.Refuse(command.Invalid, "status change %s twice, and not the same", c.ID)
		}
		if !twice {
			seen[c.ID], out = c, append(out, c)
		}
	}
	slices.SortFunc(out, func(a, b events.StatusChange) int {
		if at := a.ChangedAt.Compare(b.ChangedAt); at != 0 {
			return at
		}
		return compareIDs(a.ID, b.ID)
	})
	return out, nil
}

func checkedChange(c events.StatusChange) (_ events.StatusChange, err error) {
	if err = storable.ID("the id of a status change", c.ID); err != nil {
		return c, err
	}
	if err = storable.ID("the user of a status change", c.ChangedBy); err != nil {
		return c, err
	}
	if !c.OldState.Valid() || !c.NewState.Valid() {
		return c, command.Refuse(command.Invalid, "status change %s: %q to %q: states are active, paused, archived and deleted",
			c.ID, c.OldState, c.NewState)
	}
	c.ChangedAt, err = storable.Time("changed_at", c.ChangedAt)
	return c, err
}
