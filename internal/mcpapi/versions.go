package mcpapi

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/refold-dev/refold/events/commands"
	memories "github.com/refold-dev/refold/internal/memory"
	"github.com/refold-dev/refold/internal/reader"
	"github.com/refold-dev/refold/internal/versions"
)

// held is what a memory held at a version. What is omitted before a change did not change.
type held struct {
	Content         *string         `json:"content,omitempty"`
	Truncated       bool            `json:"truncated,omitempty" jsonschema:"the content is longer: read the version with get_memory_version"`
	Metadata        json.RawMessage `json:"metadata,omitempty"`
	MetadataOmitted bool            `json:"metadata_omitted,omitempty" jsonschema:"the metadata is too large to be shown"`
	State           string          `json:"state,omitempty" jsonschema:"active, paused, archived or deleted"`
	App             string          `json:"app,omitempty" jsonschema:"the app that stored the memory"`
	Categories      *[]string       `json:"categories,omitempty"`
}

// heldOf shows these fields, of the content and of the metadata as much as takes max bytes.
func heldOf(c versions.Content, fields []memories.Field, max int) (out held) {
	has := func(field memories.Field) bool { return slices.Contains(fields, field) }
	if has(memories.Content) {
		part, more := cut(c.Content, max)
		out.Content, out.Truncated = &part, more
	}
	if has(memories.Metadata) {
		if out.Metadata = c.Metadata; sizeOf(c.Metadata) > max {
			out.Metadata, out.MetadataOmitted = nil, true
		}
	}
	if has(memories.Categories) {
		out.Categories = &c.Categories
	}
	if has(memories.Status) {
		out.State = string(c.State)
	}
	if has(memories.App) && c.App != nil {
		out.App = c.App.Name
	}
	return out
}

var allFields = []memories.Field{memories.Content, memories.Metadata, memories.Categories, memories.Status, memories.App}

// version is a version as agents see it.
type version struct {
	Version uint64           `json:"version"`
	Kind    string           `json:"kind" jsonschema:"kind of the event that made it, such as memory.changed.v1"`
	At      time.Time        `json:"at"`
	By      string           `json:"changed_by,omitempty" jsonschema:"id of the user who did"`
	Changed []memories.Field `json:"changed" jsonschema:"what differs from the version before: content, metadata, categories, state, app"`
	held
	Before *held `json:"before,omitempty" jsonschema:"what has changed, as it was before"`
}

func versionOf(v versions.Version, max int) version {
	out := version{Version: v.Number, Kind: v.Kind, At: v.At.UTC(), Changed: v.Changed, held: heldOf(v.Content, allFields, max)}
	if v.By != nil {
		out.By = v.By.String()
	}
	if out.Changed == nil {
		out.Changed = []memories.Field{}
	}
	if v.Before != nil {
		before := heldOf(*v.Before, v.Changed, max)
		out.Before = &before
	}
	return out
}

type versionsIn struct {
	memoryIn
	page
}

type versionPage struct {
	Notice     string    `json:"notice"`
	Items      []version `json:"items" jsonschema:"newest first"`
	NextCursor string    `json:"next_cursor,omitempty" jsonschema:"hand it in as cursor to get older ones; absent at the end"`
}

func memoryVersions(ctx context.Context, c call, in versionsIn) (out versionPage, err error) {
	id, errID := memoryID(in.MemoryID)
	count, errCount := in.count()
	if err := errors.Join(errCount, errID); err != nil {
		return out, err
	}
	_, olderThan, err := openCursor[uint64](c, "memory_versions", id, in.Cursor)
	if err != nil {
		return out, err
	}
	newest := uint64(0)
	if olderThan == nil {
		olderThan = &newest
	}
	found, stamp, err := c.Versions.Page(ctx, c.reads(0), reader.Freshness{}, id, *olderThan, count)
	if err != nil {
		return out, err
	}
	out = versionPage{Notice: notice, Items: []version{}}
	bytes := 0
	for _, v := range found.Items {
		shown := versionOf(v, contentBytesMax)
		if bytes += sizeOf(shown); bytes > pageBytesMax && len(out.Items) > 0 {
			found.Next = out.Items[len(out.Items)-1].Version
			break
		}
		out.Items = append(out.Items, shown)
	}
	if found.Next > 0 {
		out.NextCursor = sealCursor(c, "memory_versions", id, stamp.Edition, &found.Next)
	}
	return out, nil
}

type versionIn struct {
	memoryIn
	Version uint64 `json:"version" jsonschema:"number of the version, see memory_versions"`
	Offset  int    `json:"offset,omitempty" jsonschema:"where to begin in the content, as next_offset says; 0 when not given"`
}

type versionOut struct {
	Notice     string  `json:"notice"`
	Version    version `json:"version"`
	NextOffset int     `json:"next_offset,omitempty" jsonschema:"hand it in as offset to read on; absent at the end"`
}

func getMemoryVersion(ctx context.Context, c call, in versionIn) (out versionOut, err error) {
	id, err := memoryID(in.MemoryID)
	if err != nil {
		return out, err
	}
	v, _, _, err := c.Versions.One(ctx, c.reads(0), reader.Freshness{}, id, in.Version)
	if err != nil {
		return out, err
	}
	content := v.Content.Content
	if in.Offset < 0 || in.Offset > len(content) || in.Offset < len(content) && !utf8.RuneStart(content[in.Offset]) {
		return out, invalid("offset: want 0 or a next_offset")
	}
	v.Content.Content, v.Before = content[in.Offset:], nil // the version before can be read by itself
	out = versionOut{Notice: notice, Version: versionOf(v, partBytesMax)}
	if out.Version.Truncated {
		out.NextOffset = in.Offset + len(*out.Version.Content)
	}
	return out, nil
}

type restoreIn struct {
	memoryIn
	Version   int64   `json:"version" jsonschema:"number of the version to restore, see memory_versions"`
	IfVersion *uint64 `json:"if_version,omitempty" jsonschema:"refuse unless the memory is still at this version"`
	key
}

func restoreMemory(ctx context.Context, c call, in restoreIn) (out written, err error) {
	id, errID := memoryID(in.MemoryID)
	w, err := wish(in.IdempotencyKey)
	if err := errors.Join(err, errID); err != nil {
		return out, err
	}
	w.IfVersion = in.IfVersion
	done, err := c.Writer.RestoreMemory(ctx, c.caller, w, commands.RestoreMemory{ID: id, Version: in.Version})
	return c.written(ctx, done, w, err)
}

type undeleteIn struct {
	memoryIn
	key
}

func undeleteMemory(ctx context.Context, c call, in undeleteIn) (out written, err error) {
	id, errID := memoryID(in.MemoryID)
	w, err := wish(in.IdempotencyKey)
	if err := errors.Join(err, errID); err != nil {
		return out, err
	}
	done, err := c.Writer.UndeleteMemory(ctx, c.caller, w, id)
	return c.written(ctx, done, w, err)
}
