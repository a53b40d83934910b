package reader

import (
	"context"
	"strings"
	"time"
	"unicode"

	"github.com/google/uuid"

	"github.com/refold-dev/refold/internal/activity"
	"github.com/refold-dev/refold/internal/postgres/db"
)

// The index that a database offers for full text does not serve readers: under row level security a condition may look
// at a row only once it is known to be the tenant's, unless the condition provably tells nothing about rows, which text
// search does not promise. So a search goes through the memories of its user, which the filter bounds. A memory that
// does not contain each word of a plain query is left out by a look for the word, about ten times quicker than parsing
// its text.

// Search asks for the memories that words find.
type Search struct {
	// Query is words that must all be there; "a phrase"; -word for what must not be there; or between alternatives.
	Query  string
	Filter MemoryFilter
	Count  int // 1 to PageCountMax
	// Recency is how much of the score is the age, 0 to 1, and HalfLifeDays in how many days that part halves; At is
	// the time the age is counted to.
	Recency, HalfLifeDays float64
	At                    time.Time
	Highlight             bool
}

// Found is a memory that was found.
type Found struct {
	Memory
	Score     float64 // 0 to 1
	Highlight string  // the places that match, the words between « and »; empty unless asked for
}

// Search returns the memories that the caller may read and a query finds, best first, and how many there are in all.
func (r *Reader) Search(ctx context.Context, c Caller, f Freshness, s Search) (found []Found, total int64, stamp Stamp, err error) {
	params := s.params(c)
	stamp, err = r.listOne(ctx, c, f, false, func(q *db.Queries) error {
		rows, err := q.MemorySearch(ctx, params)
		if err != nil {
			return err
		}
		found, total = make([]Found, 0, len(rows)), 0
		for _, row := range rows {
			memory := memoryOf(db.MemoryPageRow{
				TenantID: row.TenantID, ID: row.ID, Version: row.Version, UserID: row.UserID, AppID: row.AppID, Content: row.Content,
				Metadata: row.Metadata, State: row.State, CreatedAt: row.CreatedAt, UpdatedAt: row.UpdatedAt,
				ArchivedAt: row.ArchivedAt, DeletedAt: row.DeletedAt, AppName: row.AppName, Categories: row.Categories,
			})
			found, total = append(found, Found{memory, row.Score, row.Headline}), row.Total
		}
		return nil
	})
	if err == nil {
		ids := make([]uuid.UUID, 0, len(found))
		for _, f := range found {
			ids = append(ids, f.ID)
		}
		r.Noted(c, activity.Search, ids...)
	}
	return found, total, stamp, err
}

func (s Search) params(c Caller) db.MemorySearchParams {
	return db.MemorySearchParams{
		TenantID: c.Tenant, UserID: c.User, AsApp: c.App, States: s.Filter.states(), AppIds: s.Filter.AppIDs,
		CategoryIds: s.Filter.CategoryIDs, Categories: s.Filter.Categories, Search: s.Filter.Search,
		CreatedFrom: s.Filter.From, CreatedTo: s.Filter.To,
		Query: s.Query, Words: plainWords(s.Query), Recency: s.Recency, HalfLifeDays: s.HalfLifeDays, At: s.At, Highlight: s.Highlight,
		CountMax: int32(max(1, min(s.Count, PageCountMax))),
	}
}

// plainWords returns the words of a query that each memory it finds must contain, letter by letter. There are none when
// the query is more than words: the parser of the database decides alone what that means.
func plainWords(query string) []string {
	words := strings.Fields(query)
	for _, word := range words {
		if strings.EqualFold(word, "or") || strings.ContainsFunc(word, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) }) {
			return []string{}
		}
	}
	return words
}
