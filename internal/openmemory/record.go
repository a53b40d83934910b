package openmemory

import (
	"crypto/sha256"
	"encoding/json"
	"time"

	"github.com/google/uuid"

	"github.com/refold-dev/refold/events"
	"github.com/refold-dev/refold/events/storable"
	"github.com/refold-dev/refold/internal/memory"
)

// The records of an export, as they are in the file: ids are those of the old system.

type userRecord struct {
	id                   uuid.UUID
	subject              string
	name, email          *string
	metadata             json.RawMessage
	createdAt, updatedAt *time.Time
}

type appRecord struct {
	id, ownerID          uuid.UUID
	name                 string
	description          *string
	metadata             json.RawMessage
	active               bool
	createdAt, updatedAt *time.Time
}

type categoryRecord struct {
	id                   uuid.UUID
	name                 string
	description          *string
	createdAt, updatedAt *time.Time
}

type ruleRecord struct {
	id, appID  uuid.UUID
	objectType string
	objectID   *uuid.UUID
	effect     events.Effect
	createdAt  *time.Time
}

type memoryRecord struct {
	id, userID            uuid.UUID
	appID                 *uuid.UUID
	content               string
	metadata              json.RawMessage
	state                 events.State
	createdAt, updatedAt  *time.Time
	archivedAt, deletedAt *time.Time
	categoryIDs           []uuid.UUID
}

type linkRecord struct{ memoryID, categoryID uuid.UUID }

type historyRecord struct {
	id, memoryID, changedBy uuid.UUID
	oldState, newState      events.State
	changedAt               time.Time
}

type lineRecord struct {
	id      uuid.UUID
	content [32]byte // digest
}

type metaRecord struct {
	version     string
	generatedAt *time.Time
}

func (f *fields) user() userRecord {
	return userRecord{
		id: f.id("id"), subject: f.text("user_id", storable.NameBytesMax),
		name: f.optionalText("name", storable.NameBytesMax), email: f.optionalText("email", storable.NameBytesMax),
		metadata: f.object("metadata"), createdAt: f.optionalTime("created_at"), updatedAt: f.optionalTime("updated_at"),
	}
}

func (f *fields) app() appRecord {
	return appRecord{
		id: f.id("id"), ownerID: f.id("owner_id"), name: f.text("name", storable.NameBytesMax),
		description: f.optionalText("description", storable.DescriptionBytesMax), metadata: f.object("metadata"),
		active: f.boolean("is_active", true), createdAt: f.optionalTime("created_at"), updatedAt: f.optionalTime("updated_at"),
	}
}

func (f *fields) category() categoryRecord {
	return categoryRecord{
		id: f.id("id"), name: f.text("name", storable.NameBytesMax), description: f.optionalText("description", storable.DescriptionBytesMax),
		createdAt: f.optionalTime("created_at"), updatedAt: f.optionalTime("updated_at"),
	}
}

func (f *fields) rule() ruleRecord {
	r := ruleRecord{id: f.id("id"), objectType: f.text("object_type", storable.NameBytesMax), objectID: f.optionalID("object_id"),
		effect: events.Effect(f.text("effect", storable.NameBytesMax)), createdAt: f.optionalTime("created_at")}
	if subject := f.text("subject_type", storable.NameBytesMax); subject != "app" {
		f.blame("subject_type", "is %s, must be \"app\"", quote(subject))
	}
	r.appID = f.id("subject_id")
	if r.effect != events.Allow && r.effect != events.Deny {
		f.blame("effect", "is %s, must be allow or deny", quote(string(r.effect)))
	}
	return r
}

// memory reads a memory; as in the old system a missing content is empty and a missing state is active.
func (f *fields) memory() memoryRecord {
	m := memoryRecord{
		id: f.id("id"), userID: f.id("user_id"), appID: f.optionalID("app_id"),
		metadata: f.object("metadata"), state: f.state("state", events.Active),
		createdAt: f.optionalTime("created_at"), updatedAt: f.optionalTime("updated_at"),
		archivedAt: f.optionalTime("archived_at"), deletedAt: f.optionalTime("deleted_at"),
		categoryIDs: f.ids("category_ids", memory.CategoriesMax),
	}
	if content := f.optionalText("content", memory.ContentBytesMax); content != nil {
		m.content = *content
	}
	return m
}

func (f *fields) link() linkRecord {
	return linkRecord{memoryID: f.id("memory_id"), categoryID: f.id("category_id")}
}

func (f *fields) history() historyRecord {
	h := historyRecord{
		id: f.id("id"), memoryID: f.id("memory_id"), changedBy: f.id("changed_by"),
		oldState: f.state("old_state", ""), newState: f.state("new_state", ""),
	}
	if at := f.optionalTime("changed_at"); at != nil {
		h.changedAt = *at
	} else {
		f.blame("changed_at", "is missing")
	}
	return h
}

// line reads a line of memories.jsonl.gz as far as it is compared: what else it says is in memories.json, too.
func (f *fields) line() lineRecord {
	l := lineRecord{id: f.id("id")}
	content := f.optionalText("content", memory.ContentBytesMax)
	if content == nil {
		content = new(string)
	}
	l.content = digestOf(*content)
	for _, name := range []string{"metadata", "created_at", "updated_at", "state", "app", "categories"} {
		f.get(name)
	}
	return l
}

func (f *fields) meta() metaRecord {
	m := metaRecord{generatedAt: f.optionalTime("generated_at")}
	if version := f.optionalText("version", storable.NameBytesMax); version != nil {
		m.version = *version
	}
	for _, name := range []string{"app_id_filter", "from_date", "to_date"} {
		f.get(name)
	}
	return m
}

func digestOf(content string) [32]byte { return sha256.Sum256([]byte(content)) }
