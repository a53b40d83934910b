package reader

import "slices"

// Sort orders a list; equals follow each other by their ids.
type Sort struct {
	By         string // empty = what the list is sorted by when nothing is said
	Descending bool
}

// ByCreated is what everything can be sorted by.
const ByCreated = "created_at"

// Pages says which part of a list is wanted: what follows a mark, or what follows a number of items.
type Pages[M any] struct {
	Behind *M   // nil = the first page
	Skip   int  // of what follows Behind; pages by number cost what they skip
	Count  int  // 1 to PageCountMax
	Total  bool // count all pages as well
}

func (p Pages[M]) count() int { return max(1, min(p.Count, PageCountMax)) }

// Page is a part of a list.
type Page[T, M any] struct {
	Items []T   // never nil
	Next  *M    // nil = this is the last page
	Total int64 // of all pages, in the same snapshot; 0 unless asked for
	mark  func(T) M
}

// First is the page when it ends after count items, of which there must be that many; the next page begins behind them.
func (p Page[T, M]) First(count int) Page[T, M] {
	if count < len(p.Items) {
		next := p.mark(p.Items[count-1])
		p.Items, p.Next = p.Items[:count:count], &next
	}
	return p
}

// paged makes a page of what was found, which is one more than asked for when there is another page.
func paged[T, M any](found []T, count int, mark func(T) M) Page[T, M] {
	return Page[T, M]{Items: slices.Clip(found), mark: mark}.First(count)
}
