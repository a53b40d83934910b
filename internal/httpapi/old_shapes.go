package httpapi

import (
	"encoding/json"
	"time"

	"github.com/google/uuid"

	"github.com/refold-dev/refold/internal/reader"
)

// The answers of the old system, member by member.

// oldPage is what its lists of memories look like.
type oldPage[T any] struct {
	Items []T   `json:"items"`
	Total int64 `json:"total"`
	Page  int   `json:"page"`
	Size  int   `json:"size"`
	Pages int64 `json:"pages"`
}

func oldPageOf[T any](items []T, total int64, page, size int) oldPage[T] {
	return oldPage[T]{items, total, page, size, (total + int64(size) - 1) / int64(size)}
}

// oldTime is a time as the old system wrote it: in UTC and without saying so. Its user interface puts the Z behind it.
type oldTime time.Time

// MarshalJSON leaves a fraction of zero out, as Python does.
func (t oldTime) MarshalJSON() ([]byte, error) {
	at, form := time.Time(t).UTC().Truncate(time.Microsecond), `"2006-01-02T15:04:05.000000"`
	if at.Nanosecond() == 0 {
		form = `"2006-01-02T15:04:05"`
	}
	return []byte(at.Format(form)), nil
}

// oldListed is a memory in a list.
type oldListed struct {
	ID         uuid.UUID       `json:"id"`
	Content    string          `json:"content"`
	CreatedAt  int64           `json:"created_at"`
	State      string          `json:"state"`
	AppID      *uuid.UUID      `json:"app_id"`
	AppName    *string         `json:"app_name"`
	Categories []string        `json:"categories"`
	Metadata   json.RawMessage `json:"metadata_"`
}

func oldListedOf(m reader.Memory) oldListed {
	return oldListed{m.ID, m.Content, m.CreatedAt.Unix(), m.State, m.AppID, m.AppName, m.Categories, m.Metadata}
}

// oldSingle is a memory alone: its content is called text.
type oldSingle struct {
	ID         uuid.UUID       `json:"id"`
	Text       string          `json:"text"`
	CreatedAt  int64           `json:"created_at"`
	State      string          `json:"state"`
	AppID      *uuid.UUID      `json:"app_id"`
	AppName    *string         `json:"app_name"`
	Categories []string        `json:"categories"`
	Metadata1  json.RawMessage `json:"metadata_"`
	Metadata2  json.RawMessage `json:"metadata"`
}

func oldSingleOf(m reader.Memory) oldSingle {
	return oldSingle{m.ID, m.Content, m.CreatedAt.Unix(), m.State, m.AppID, m.AppName, m.Categories, m.Metadata, m.Metadata}
}

// oldRow is a memory as it stands in the table, which is how a new one is answered.
type oldRow struct {
	ID         uuid.UUID       `json:"id"`
	UserID     uuid.UUID       `json:"user_id"`
	AppID      *uuid.UUID      `json:"app_id"`
	Content    string          `json:"content"`
	Vector     *string         `json:"vector"`
	Metadata   json.RawMessage `json:"metadata_"`
	State      string          `json:"state"`
	CreatedAt  oldTime         `json:"created_at"`
	UpdatedAt  oldTime         `json:"updated_at"`
	ArchivedAt *oldTime        `json:"archived_at"`
	DeletedAt  *oldTime        `json:"deleted_at"`
}

// oldOfApp is a memory in the list of an app.
type oldOfApp struct {
	ID         uuid.UUID       `json:"id"`
	Content    string          `json:"content"`
	CreatedAt  oldTime         `json:"created_at"`
	State      string          `json:"state"`
	AppID      *uuid.UUID      `json:"app_id"`
	Categories []string        `json:"categories"`
	Metadata   json.RawMessage `json:"metadata_"`
}

func oldOfAppOf(m reader.Memory) oldOfApp {
	return oldOfApp{m.ID, m.Content, oldTime(m.CreatedAt), m.State, m.AppID, m.Categories, m.Metadata}
}

// oldAppPage is what its lists of apps, and of an app's memories, look like; one of the two lists is there.
type oldAppPage[A, M any] struct {
	Total    int64 `json:"total"`
	Page     int   `json:"page"`
	PageSize int   `json:"page_size"`
	Apps     []A   `json:"apps,omitzero"`
	Memories []M   `json:"memories,omitzero"`
}

// oldApp is an app in a list.
type oldApp struct {
	ID       uuid.UUID `json:"id"`
	Name     string    `json:"name"`
	IsActive bool      `json:"is_active"`
	Created  int64     `json:"total_memories_created"`
	Accessed int64     `json:"total_memories_accessed"`
}

// oldAppAlone is an app alone.
type oldAppAlone struct {
	IsActive      bool     `json:"is_active"`
	Created       int64    `json:"total_memories_created"`
	Accessed      int64    `json:"total_memories_accessed"`
	FirstAccessed *oldTime `json:"first_accessed"`
	LastAccessed  *oldTime `json:"last_accessed"`
}

// oldCategory is a category.
type oldCategory struct {
	ID          uuid.UUID `json:"id"`
	Name        string    `json:"name"`
	Description *string   `json:"description"`
}

// oldCategories is its list of categories.
type oldCategories struct {
	Categories []oldCategory `json:"categories"`
	Total      int64         `json:"total"`
}

// oldMessage is what its commands answer.
type oldMessage struct {
	Message string `json:"message"`
}

// oldChanged is what the change of a memory answers.
type oldChanged struct {
	Message  string         `json:"message"`
	ID       uuid.UUID      `json:"id"`
	Sync     map[string]any `json:"sync"`
	Warnings []string       `json:"warnings"`
}
