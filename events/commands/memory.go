package commands

import (
	"encoding/json"

	"github.com/google/uuid"
)

const (
	nameAddMemory      = "memory.add"
	nameChangeMemory   = "memory.change"
	nameArchiveMemory  = "memory.archive"
	namePauseMemory    = "memory.pause"
	nameActivateMemory = "memory.activate"
	nameDeleteMemory   = "memory.delete"
	nameUndeleteMemory = "memory.undelete"
	nameRestoreMemory  = "memory.restore"
)

var (
	membersOfAddMemory    = []string{"content", "app", "categories", "metadata"}
	membersOfChangeMemory = []string{"content", "categories", "metadata"}

	membersOfRestoreMemory = []string{"version"}
)

// AddMemory: memory.add. It makes a memory of the caller's, active. Its id is derived from the caller and the
// idempotency key. App and categories are named; those that do not exist yet are made.
type AddMemory struct {
	Content    string          `json:"content"`
	App        *string         `json:"app,omitempty"`
	Categories []string        `json:"categories,omitempty"`
	Metadata   json.RawMessage `json:"metadata,omitempty"` // a JSON object; nil = {}
}

// ChangeMemory: memory.change. It replaces what is not nil; something must be given.
type ChangeMemory struct {
	ID         uuid.UUID       `json:"-"`
	Content    *string         `json:"content,omitempty"`
	Categories *[]string       `json:"categories,omitempty"` // the whole new set
	Metadata   json.RawMessage `json:"metadata,omitempty"`
}

// MarshalJSON writes an empty set of categories as one, whether the slice is nil or not.
func (c ChangeMemory) MarshalJSON() ([]byte, error) {
	type plain ChangeMemory
	if c.Categories != nil && *c.Categories == nil {
		c.Categories = &[]string{}
	}
	return plainJSON(plain(c))
}

// ArchiveMemory: memory.archive. Like the three below it moves a memory of the caller's to that state, whatever its
// state was; a deleted memory is absent.
type ArchiveMemory struct {
	ID uuid.UUID `json:"-"`
}

// PauseMemory: memory.pause.
type PauseMemory struct {
	ID uuid.UUID `json:"-"`
}

// ActivateMemory: memory.activate.
type ActivateMemory struct {
	ID uuid.UUID `json:"-"`
}

// DeleteMemory: memory.delete.
type DeleteMemory struct {
	ID uuid.UUID `json:"-"`
}

// UndeleteMemory: memory.undelete. It makes a deleted memory of the caller's active again, as it was when it was deleted.
type UndeleteMemory struct {
	ID uuid.UUID `json:"-"`
}

// RestoreMemory: memory.restore. It gives a memory the content, metadata and categories again that it had at a version; its
// state stays.
type RestoreMemory struct {
	ID      uuid.UUID `json:"-"`
	Version int64     `json:"version"` // 1 or more
}

func (AddMemory) command()      {}
func (ChangeMemory) command()   {}
func (ArchiveMemory) command()  {}
func (PauseMemory) command()    {}
func (ActivateMemory) command() {}
func (DeleteMemory) command()   {}
func (UndeleteMemory) command() {}
func (RestoreMemory) command()  {}

// Name implements Command.
func (AddMemory) Name() string { return nameAddMemory }

// Name implements Command.
func (ChangeMemory) Name() string { return nameChangeMemory }

// Name implements Command.
func (ArchiveMemory) Name() string { return nameArchiveMemory }

// Name implements Command.
func (PauseMemory) Name() string { return namePauseMemory }

// Name implements Command.
func (ActivateMemory) Name() string { return nameActivateMemory }

// Name implements Command.
func (DeleteMemory) Name() string { return nameDeleteMemory }

// Name implements Command.
func (UndeleteMemory) Name() string { return nameUndeleteMemory }

// Name implements Command.
func (RestoreMemory) Name() string { return nameRestoreMemory }

// Target implements Command.
func (AddMemory) Target() uuid.UUID { return uuid.Nil }

// Target implements Command.
func (c ChangeMemory) Target() uuid.UUID { return c.ID }

// Target implements Command.
func (c ArchiveMemory) Target() uuid.UUID { return c.ID }

// Target implements Command.
func (c PauseMemory) Target() uuid.UUID { return c.ID }

// Target implements Command.
func (c ActivateMemory) Target() uuid.UUID { return c.ID }

// Target implements Command.
func (c DeleteMemory) Target() uuid.UUID { return c.ID }

// Target implements Command.
func (c UndeleteMemory) Target() uuid.UUID { return c.ID }

// Target implements Command.
func (c RestoreMemory) Target() uuid.UUID { return c.ID }

// Validate implements Command.
func (c AddMemory) Validate() error {
	if err := content(c.Content); err != nil {
		return err
	}
	if c.App != nil {
		if err := Name("/app", *c.App); err != nil {
			return err
		}
	}
	if err := names("/categories", c.Categories); err != nil {
		return err
	}
	return metadata(c.Metadata)
}

// Validate implements Command.
func (c ChangeMemory) Validate() error {
	if c.Content == nil && c.Categories == nil && c.Metadata == nil {
		return &InvalidError{Reason: "nothing to change: want content, categories or metadata"}
	}
	if c.Content != nil {
		if err := content(*c.Content); err != nil {
			return err
		}
	}
	if c.Categories != nil {
		if err := names("/categories", *c.Categories); err != nil {
			return err
		}
	}
	return metadata(c.Metadata)
}

// Validate implements Command.
func (ArchiveMemory) Validate() error { return nil }

// Validate implements Command.
func (PauseMemory) Validate() error { return nil }

// Validate implements Command.
func (ActivateMemory) Validate() error { return nil }

// Validate implements Command.
func (DeleteMemory) Validate() error { return nil }

// Validate implements Command.
func (UndeleteMemory) Validate() error { return nil }

// Validate implements Command.
func (c RestoreMemory) Validate() error {
	if c.Version < 1 {
		return &InvalidError{"/version", "want the number of a version, 1 or more"}
	}
	return nil
}
