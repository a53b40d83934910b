package mcpapi

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"

	"github.com/refold-dev/refold/internal/reader"
)

type accessesIn struct {
	memoryIn
	page
}

type access struct {
	At     time.Time `json:"at"`
	Kind   string    `json:"kind" jsonschema:"such as read, list, search, related, update or delete"`
	UserID uuid.UUID `json:"user_id"`
	App    string    `json:"app,omitempty" jsonschema:"the app it went through; absent when none was named"`
}

type accessPage struct {
	Notice     string   `json:"notice"`
	Items      []access `json:"items" jsonschema:"newest first"`
	Total      int64    `json:"total"`
	NextCursor string   `json:"next_cursor,omitempty"`
}

func memoryAccesses(ctx context.Context, c call, in accessesIn) (out accessPage, err error) {
	id, errID := memoryID(in.MemoryID)
	count, errCount := in.count()
	if err := errors.Join(errCount, errID); err != nil {
		return out, err
	}
	edition, behind, err := openCursor[reader.AccessMark](c, "memory_accesses", id, in.Cursor)
	if err != nil {
		return out, err
	}
	found, stamp, err := c.Reader.AccessLog(ctx, c.reads(edition), reader.Freshness{}, id, reader.Pages[reader.AccessMark]{Behind: behind, Count: count, Total: true})
	if err != nil {
		return out, err
	}
	out = accessPage{Notice: notice, Items: []access{}, Total: found.Total}
	for _, a := range found.Items {
		shown := access{At: a.AccessedAt.UTC(), Kind: a.Kind, UserID: a.UserID}
		if a.AppName != nil {
			shown.App = *a.AppName
		}
		out.Items = append(out.Items, shown)
	}
	out.NextCursor = sealCursor(c, "memory_accesses", id, stamp.Edition, found.Next)
	return out, nil
}
