package mcpapi

import (
	"encoding/json"
	"time"

	"github.com/refold-dev/refold/internal/reader"
)

// cursorLifetime is how long the cursor of a page may be used; it is that of the HTTP edge.
const cursorLifetime = time.Hour

const cursorKind = "mcp-cursor"

type cursor[M any] struct {
	Expires int64 `json:"e"`
	Edition int64 `json:"n"` // all pages are of the edition of the first
	Mark    M     `json:"m"`
}

// sealCursor binds a mark to the tenant, the user, the tool and the filter, so that it cannot be used elsewhere.
func sealCursor[M any](c call, tool string, filter any, edition int64, mark *M) string {
	if mark == nil {
		return ""
	}
	body, _ := json.Marshal(cursor[M]{time.Now().Add(cursorLifetime).Unix(), edition, *mark}) // times, texts and ids only
	return c.Sealer.Seal(cursorKind, body, c.bounds(tool, filter)...)
}

// openCursor is the inverse; no edition and no mark for no cursor. Garbage, other people's cursors and old ones fail
// alike.
func openCursor[M any](c call, tool string, filter any, sealed string) (edition int64, mark *M, err error) {
	if sealed == "" {
		return 0, nil, nil
	}
	body, err := c.Sealer.Open(cursorKind, sealed, c.bounds(tool, filter)...)
	if err != nil {
		return 0, nil, err
	}
	var opened cursor[M]
	if err := json.Unmarshal(body, &opened); err != nil || time.Now().Unix() > opened.Expires {
		return 0, nil, reader.ErrSealed
	}
	return opened.Edition, &opened.Mark, nil
}

func (c call) bounds(tool string, filter any) []string {
	text, _ := json.Marshal(filter) // plain data
	return []string{c.caller.Tenant.ID, c.caller.User.String(), tool, string(text)}
}

// reads is the caller as its app, on a page after the first, which is of the edition that the first was of.
func (c call) reads(edition int64) reader.Caller {
	r := c.caller.Reads()
	r.Edition = edition
	return r
}
