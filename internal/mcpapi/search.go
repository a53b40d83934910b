package mcpapi

import (
	"context"
	"errors"
	"time"

	"github.com/refold-dev/refold/internal/reader"
)

const (
	halfLifeDefault = 45
	halfLifeMax     = 36500
)

type searchIn struct {
	Query string `json:"query" jsonschema:"words that must all be there; a phrase in double quotes; -word for what must not be there; or between alternatives. When no memory has all words, those like them are found"`
	filter
	RecencyWeight       float64 `json:"recency_weight,omitempty" jsonschema:"how much of the rank is the age: 0 (when not given) to 1"`
	RecencyHalfLifeDays float64 `json:"recency_halflife_days,omitempty" jsonschema:"after how many days that part of the rank has halved; 45 when not given"`
	Limit               int     `json:"limit,omitempty" jsonschema:"how many to return: 1 to 50, 20 when not given"`
}

type found struct {
	memory
	Score float64 `json:"score" jsonschema:"0 to 1"`
}

type searchOut struct {
	Notice  string       `json:"notice"`
	Items   []found      `json:"items" jsonschema:"best first"`
	Match   reader.Match `json:"match" jsonschema:"words: each has all words of the query; similar: none has, and these have a part like it, letter by letter"`
	Total   int64        `json:"total" jsonschema:"how many there are in all: narrow the search when that is more than items"`
	Partial bool         `json:"partial,omitempty" jsonschema:"older memories were not looked at, because there are too many: narrow the search by a filter"`
}

func emptySearch() searchOut { return searchOut{Notice: notice, Items: []found{}, Match: reader.Words} }

func (in searchIn) search() (s reader.Search, err error) {
	s = reader.Search{Query: in.Query, Recency: in.RecencyWeight, HalfLifeDays: halfLifeDefault, At: time.Now()}
	if in.RecencyHalfLifeDays != 0 {
		s.HalfLifeDays = in.RecencyHalfLifeDays
	}
	var errFilter, errCount error
	s.Filter, errFilter = in.of()
	s.Count, errCount = page{Limit: in.Limit}.count()
	switch {
	case in.Query == "":
		err = invalid("query: must not be empty; list_memories lists without one")
	case !(s.Recency >= 0 && s.Recency <= 1):
		err = invalid("recency_weight: want 0 to 1")
	case !(s.HalfLifeDays >= 0.01 && s.HalfLifeDays <= halfLifeMax):
		err = invalid("recency_halflife_days: want 0.01 to 36500")
	}
	return s, errors.Join(err, errFilter, errCount, checkQuery("query", in.Query))
}

func searchMemory(ctx context.Context, c call, in searchIn) (searchOut, error) {
	out := emptySearch()
	s, err := in.search()
	if err != nil {
		return out, err
	}
	hits, _, err := c.Reader.Search(ctx, c.caller.Reads(), reader.Freshness{}, s)
	if err != nil {
		return out, err
	}
	memories := make([]reader.Memory, len(hits.Items))
	for i, hit := range hits.Items {
		memories[i] = hit.Memory
	}
	for i, m := range fitting(memories) {
		out.Items = append(out.Items, found{m, hits.Items[i].Score})
	}
	out.Total, out.Match, out.Partial = hits.Total, hits.Match, hits.Partial
	return out, nil
}

type relatedIn struct {
	memoryIn
	page
}

type related struct {
	memory
	Shared int64 `json:"shared_categories"`
}

type relatedOut struct {
	Notice     string    `json:"notice"`
	Items      []related `json:"items" jsonschema:"those that share most categories first"`
	NextCursor string    `json:"next_cursor,omitempty"`
}

func relatedMemories(ctx context.Context, c call, in relatedIn) (relatedOut, error) {
	out := relatedOut{Notice: notice, Items: []related{}}
	id, errID := memoryID(in.MemoryID)
	count, errCount := in.count()
	if err := errors.Join(errCount, errID); err != nil {
		return out, err
	}
	edition, behind, err := openCursor[reader.RelatedMark](c, "related_memories", id, in.Cursor)
	if err != nil {
		return out, err
	}
	answer, stamp, err := c.Reader.Related(ctx, c.reads(edition), reader.Freshness{}, id, reader.Pages[reader.RelatedMark]{Behind: behind, Count: count})
	if err != nil {
		return out, err
	}
	memories := make([]reader.Memory, len(answer.Items))
	for i, item := range answer.Items {
		memories[i] = item.Memory
	}
	for i, m := range fitting(memories) {
		out.Items = append(out.Items, related{m, answer.Items[i].Shared})
	}
	out.NextCursor = sealCursor(c, "related_memories", id, stamp.Edition, answer.First(len(out.Items)).Next)
	return out, nil
}
