package reader

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/google/uuid"

	"github.com/refold-dev/refold/internal/activity"
	"github.com/refold-dev/refold/internal/postgres/db"
)

// The index that a database offers for full text does not serve readers: under row level security a condition may look
// at a row only once it is known to be the tenant's, unless the condition provably tells nothing about rows, which text
// search does not promise. Nor is it cheap: over rows of 350 bytes, making it took 25 times as long as making a b-tree,
// in each edition. So a search goes through the memories of its user, newest first, which the index of the user serves. A
// memory that does not contain each word of a plain query is left out by a look for the word, about ten times quicker than
// parsing its text; of the others a bounded number is looked at, and the answer says when there were more. All of this
// holds for an index of trigrams, too, which took several times longer still.

// Match is how a search finds memories.
type Match string

// The ways. Similar finds what has a part like the query, by the trigrams that both have: what was misspelt, other forms
// of a word, questions of which the answer has some words.
const (
	Words   Match = "words"
	Similar Match = "similar"
)

// Search asks for the memories that words find.
type Search struct {
	// Query is words that must all be there; "a phrase"; -word for what must not be there; or between alternatives.
	Query string
	// Match is empty for Words and, if these find nothing and the query is no more than words, Similar.
	Match  Match
	Filter MemoryFilter
	Count  int // 1 to PageCountMax
	// Recency is how much of the score is the age, 0 to 1, and HalfLifeDays in how many days that part halves; At is
	// the time the age is counted to.
	Recency, HalfLifeDays float64
	At                    time.Time
	Highlight             bool // of what words have found
}

// Found is a memory that was found.
type Found struct {
	Memory
	Score     float64 // 0 to 1
	Highlight string  // the places that match, the words between « and »; empty unless asked for
}

// Hits are the best of the memories that were found.
type Hits struct {
	Items []Found // never nil
	Total int64   // of all that were found
	Match Match   // how
	// Partial means that older memories, which the filter selects too, were not looked at, since there are more than a
	// search looks at.
	Partial bool
}

// lookedAtMax bounds how many memories a search looks at, unless the reader is told otherwise: the newest of those that
// have its words. To look at one takes some tens of microseconds.
const lookedAtMax = 10_000

// likenessMin is how much of a query a part of a memory must have to be like it. Below, most of what is found has no word
// in common with the query.
const likenessMin = 0.3

// Search returns the memories that the caller may read and a query finds, best first.
func (r *Reader) Search(ctx context.Context, c Caller, f Freshness, s Search) (hits Hits, stamp Stamp, err error) {
	if s.Match != Similar {
		hits, stamp, err = r.searchWords(ctx, c, f, s)
	}
	if s.Match == Similar || s.Match == "" && err == nil && hits.Total == 0 && !hasOperators(s.Query) {
		hits, stamp, err = r.searchSimilar(ctx, c, f, s)
	}
	if err == nil && len(hits.Items) == 0 {
		hits.Partial, err = r.looksAtTooMany(ctx, c, f, s, hits.Match)
	}
	if err == nil {
		ids := make([]uuid.UUID, 0, len(hits.Items))
		for _, f := range hits.Items {
			ids = append(ids, f.ID)
		}
		r.Noted(c, activity.Search, ids...)
	}
	return hits, stamp, err
}

func (r *Reader) searchWords(ctx context.Context, c Caller, f Freshness, s Search) (hits Hits, stamp Stamp, err error) {
	params := r.searchParams(c, s)
	stamp, err = r.listOne(ctx, c, f, false, func(q *db.Queries) error {
		rows, err := q.MemorySearch(ctx, params)
		if err != nil {
			return err
		}
		hits = Hits{Items: make([]Found, 0, len(rows)), Match: Words}
		for _, row := range rows {
			hits.add(row, r.lookedAtMax())
		}
		return nil
	})
	return hits, stamp, err
}

func (r *Reader) searchSimilar(ctx context.Context, c Caller, f Freshness, s Search) (hits Hits, stamp Stamp, err error) {
	p := r.searchParams(c, s)
	params := db.MemorySimilarParams{
		TenantID: p.TenantID, Query: p.Query, UserID: p.UserID, AsApp: p.AsApp, States: p.States, AppIds: p.AppIds, AppNames: p.AppNames,
		CategoryIds: p.CategoryIds, Categories: p.Categories, Search: p.Search, CreatedFrom: p.CreatedFrom, CreatedTo: p.CreatedTo,
		UpdatedFrom: p.UpdatedFrom, UpdatedTo: p.UpdatedTo, Metadata: p.Metadata, NotMetadata: p.NotMetadata,
		Recency: p.Recency, HalfLifeDays: p.HalfLifeDays, At: p.At, Least: likenessMin, CountMax: p.CountMax, LookedAtMax: p.LookedAtMax,
	}
	stamp, err = r.listOne(ctx, c, f, false, func(q *db.Queries) error {
		rows, err := q.MemorySimilar(ctx, params)
		if err != nil {
			return err
		}
		hits = Hits{Items: make([]Found, 0, len(rows)), Match: Similar}
		for _, row := range rows {
			hits.add(db.MemorySearchRow(row), r.lookedAtMax())
		}
		return nil
	})
	return hits, stamp, err
}

// looksAtTooMany tells whether a search that found nothing has left memories out.
func (r *Reader) looksAtTooMany(ctx context.Context, c Caller, f Freshness, s Search, match Match) (more bool, err error) {
	p := r.searchParams(c, s)
	if match == Similar {
		p.Words = nil
	}
	_, err = r.listOne(ctx, c, f, false, func(q *db.Queries) error {
		count, err := q.MemoryLookedAt(ctx, db.MemoryLookedAtParams{
			TenantID: p.TenantID, UserID: p.UserID, AsApp: p.AsApp, States: p.States, AppIds: p.AppIds, AppNames: p.AppNames,
			CategoryIds: p.CategoryIds, Categories: p.Categories, Search: p.Search, CreatedFrom: p.CreatedFrom, CreatedTo: p.CreatedTo,
			UpdatedFrom: p.UpdatedFrom, UpdatedTo: p.UpdatedTo, Metadata: p.Metadata, NotMetadata: p.NotMetadata,
			Words: p.Words, LookedAtMax: p.LookedAtMax,
		})
		more = count > int64(r.lookedAtMax())
		return err
	})
	return more, err
}

func (h *Hits) add(row db.MemorySearchRow, lookedAtMax int) {
	memory := memoryOf(db.MemoryPageRow{
		TenantID: row.TenantID, ID: row.ID, Version: row.Version, UserID: row.UserID, AppID: row.AppID, Content: row.Content,
		Metadata: row.Metadata, State: row.State, CreatedAt: row.CreatedAt, UpdatedAt: row.UpdatedAt,
		ArchivedAt: row.ArchivedAt, DeletedAt: row.DeletedAt, AppName: row.AppName, Categories: row.Categories,
	})
	h.Items, h.Total = append(h.Items, Found{memory, row.Score, row.Headline}), row.Total
	h.Partial = row.LookedAt > int64(lookedAtMax)
}

// hasOperators reports whether a query says more than which words are wanted: what it rules out must not come as similar.
func hasOperators(query string) bool {
	return strings.Contains(query, `"`) || slices.ContainsFunc(strings.Fields(query), func(word string) bool {
		return strings.HasPrefix(word, "-") || strings.EqualFold(word, "or")
	})
}

func (r *Reader) lookedAtMax() int { return cmp.Or(r.LookedAtMax, lookedAtMax) }

func (r *Reader) searchParams(c Caller, s Search) db.MemorySearchParams {
	return db.MemorySearchParams{
		TenantID: c.Tenant, UserID: c.User, AsApp: c.App, States: s.Filter.states(), AppIds: s.Filter.AppIDs, AppNames: s.Filter.Apps,
		CategoryIds: s.Filter.CategoryIDs, Categories: s.Filter.Categories, Search: s.Filter.Search,
		CreatedFrom: s.Filter.From, CreatedTo: s.Filter.To, UpdatedFrom: s.Filter.UpdatedFrom, UpdatedTo: s.Filter.UpdatedTo,
		Metadata: s.Filter.Metadata, NotMetadata: s.Filter.NotMetadata,
		Query: s.Query, Words: plainWords(s.Query), Recency: s.Recency, HalfLifeDays: s.HalfLifeDays, At: s.At, Highlight: s.Highlight,
		CountMax: int32(max(1, min(s.Count, PageCountMax))), LookedAtMax: int32(r.lookedAtMax() + 1), // one more tells whether there are more
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
