package httpapi

import (
	"encoding/json"
	"time"

	"github.com/refold-dev/refold/internal/reader"
	"github.com/refold-dev/refold/internal/writer"
)

// CursorLifetime is how long the cursor of a page may be used. An edition outlives it by being retired later.
const CursorLifetime = time.Hour

type cursor[M any] struct {
	Expires int64 `json:"e"`
	Edition int64 `json:"n"` // all pages are of the edition of the first
	Mark    M     `json:"m"`
}

const cursorKind = "cursor"

// sealCursor binds a mark to the tenant, the user, the route and the filter, so that it cannot be used elsewhere.
func sealCursor[M any](s *reader.Sealer, c writer.Caller, route string, filter any, edition int64, mark *M) *string {
	if mark == nil {
		return nil
	}
	body, _ := json.Marshal(cursor[M]{time.Now().Add(CursorLifetime).Unix(), edition, *mark}) // times, texts and ids only
	sealed := s.Seal(cursorKind, body, bounds(c, route, filter)...)
	return &sealed
}

// openCursor is the inverse; no edition and no mark for no cursor. Garbage, other people's cursors and old ones fail
// alike.
func openCursor[M any](s *reader.Sealer, c writer.Caller, route string, filter any, sealed *string) (edition int64, mark *M, err error) {
	if sealed == nil {
		return 0, nil, nil
	}
	body, err := s.Open(cursorKind, *sealed, bounds(c, route, filter)...)
	if err != nil {
		return 0, nil, err
	}
	var opened cursor[M]
	if err := json.Unmarshal(body, &opened); err != nil || time.Now().Unix() > opened.Expires {
		return 0, nil, reader.ErrSealed
	}
	return opened.Edition, &opened.Mark, nil
}

func bounds(c writer.Caller, route string, filter any) []string {
	text, _ := json.Marshal(filter) // plain data
	return []string{c.Tenant.ID, c.User.String(), route, string(text)}
}
