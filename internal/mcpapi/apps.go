package mcpapi

import (
	"context"
	"encoding/json"
	"errors"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/refold-dev/refold/internal/auth"
	"github.com/refold-dev/refold/internal/reader"
)

// descriptionBytesMax bounds what is told about one app or category: a page has up to 50 of them.
const descriptionBytesMax = 2 << 10

func whoami(_ context.Context, c call, _ noIn) (whoamiOut, error) {
	out := whoamiOut{
		Tenant: c.principal.Tenant, User: c.principal.Subject, UserID: c.caller.User, App: c.app,
		Scopes: append([]string{}, c.principal.Scopes...), Tools: []string{}, ExpiresAt: c.principal.Expires.UTC(),
	}
	for _, t := range auth.Tools() {
		if auth.Authorize(c.principal, t.Operation) == nil {
			out.Tools = append(out.Tools, t.Name)
		}
	}
	return out, nil
}

type app struct {
	ID          uuid.UUID       `json:"id"`
	Name        string          `json:"name"`
	Description string          `json:"description,omitempty"`
	Active      bool            `json:"active" jsonschema:"false: the user has paused it"`
	Memories    int64           `json:"memories" jsonschema:"how many memories it has stored that are not deleted"`
	Metadata    json.RawMessage `json:"metadata"`
	CreatedAt   time.Time       `json:"created_at"`
}

func appShown(a reader.App) app {
	out := app{ID: a.ID, Name: a.Name, Active: a.IsActive, Memories: a.Memories, Metadata: json.RawMessage(a.Metadata), CreatedAt: a.CreatedAt.UTC()}
	if a.Description != nil {
		out.Description, _ = cut(*a.Description, descriptionBytesMax)
	}
	if len(out.Metadata) > descriptionBytesMax {
		out.Metadata = json.RawMessage("{}")
	}
	return out
}

type appPage struct {
	Notice     string `json:"notice"`
	Items      []app  `json:"items"`
	NextCursor string `json:"next_cursor,omitempty"`
}

func emptyApps() appPage { return appPage{Notice: notice, Items: []app{}} }

type appsIn struct {
	Search string `json:"search,omitempty" jsonschema:"text that the name must contain"`
	Active *bool  `json:"active,omitempty" jsonschema:"only active ones, or only paused ones"`
	page
}

func listApps(ctx context.Context, c call, in appsIn) (out appPage, err error) {
	count, err := in.count()
	if utf8.RuneCountInString(in.Search) > nameRunesMax {
		err = errors.Join(err, invalid("search is too long"))
	}
	if err != nil {
		return out, err
	}
	wanted := reader.AppFilter{Active: in.Active}
	if in.Search != "" {
		wanted.Search = &in.Search
	}
	edition, behind, err := openCursor[reader.AppMark](c, "list_apps", wanted, in.Cursor)
	if err != nil {
		return out, err
	}
	found, stamp, err := c.Reader.Apps(ctx, c.reads(edition), reader.Freshness{}, reader.AppList{
		Filter: wanted, Pages: reader.Pages[reader.AppMark]{Behind: behind, Count: count},
	})
	if err != nil {
		return out, err
	}
	out = emptyApps()
	for _, a := range found.Items {
		out.Items = append(out.Items, appShown(a))
	}
	out.NextCursor = sealCursor(c, "list_apps", wanted, stamp.Edition, found.Next)
	return out, nil
}

type appIn struct {
	AppID string `json:"app_id" jsonschema:"id of the app"`
}

type appOut struct {
	Notice string `json:"notice"`
	App    app    `json:"app"`
}

func getApp(ctx context.Context, c call, in appIn) (out appOut, err error) {
	id, err := memoryID(in.AppID)
	if err != nil {
		return out, err
	}
	found, _, err := c.Reader.App(ctx, c.reads(0), reader.Freshness{}, id)
	return appOut{Notice: notice, App: appShown(found)}, err
}

type category struct {
	ID          uuid.UUID `json:"id"`
	Name        string    `json:"name"`
	Description string    `json:"description,omitempty"`
	Memories    int64     `json:"memories" jsonschema:"how many active and paused memories are in it"`
}

type categoryPage struct {
	Notice     string     `json:"notice"`
	Items      []category `json:"items"`
	NextCursor string     `json:"next_cursor,omitempty"`
}

func emptyCategories() categoryPage { return categoryPage{Notice: notice, Items: []category{}} }

func listCategories(ctx context.Context, c call, in page) (categoryPage, error) {
	out := emptyCategories()
	count, err := in.count()
	if err != nil {
		return out, err
	}
	edition, behind, err := openCursor[reader.CategoryMark](c, "list_categories", nil, in.Cursor)
	if err != nil {
		return out, err
	}
	answer, stamp, err := c.Reader.Categories(ctx, c.reads(edition), reader.Freshness{}, reader.Pages[reader.CategoryMark]{Behind: behind, Count: count})
	if err != nil {
		return out, err
	}
	for _, row := range answer.Items {
		shown := category{ID: row.ID, Name: row.Name, Memories: row.Memories}
		if row.Description != nil {
			shown.Description, _ = cut(*row.Description, descriptionBytesMax)
		}
		out.Items = append(out.Items, shown)
	}
	out.NextCursor = sealCursor(c, "list_categories", nil, stamp.Edition, answer.Next)
	return out, nil
}

type statsOut struct {
	Memories struct {
		Active   int64 `json:"active"`
		Paused   int64 `json:"paused"`
		Archived int64 `json:"archived"`
	} `json:"memories"`
	Apps       int64 `json:"apps"`
	Categories int64 `json:"categories" jsonschema:"of the active and paused memories"`
}

func getStats(ctx context.Context, c call, _ noIn) (out statsOut, err error) {
	s, _, err := c.Reader.Stats(ctx, c.caller.Reads(), reader.Freshness{})
	out.Memories.Active, out.Memories.Paused, out.Memories.Archived = s.Active, s.Paused, s.Archived
	out.Apps, out.Categories = s.Apps, s.Categories
	return out, err
}
