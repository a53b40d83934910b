package openmemory

import (
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/refold-dev/refold/internal/memory"
)

// bundle is a memory with all that belongs to it.
type bundle struct {
	memory  memoryRecord
	index   int
	history []historyRecord // oldest first
	refused bool            // kept, so that what refers to it can say why it is refused
}

// loader puts the bundles of a partition together and checks what only shows when they are.
type loader struct {
	catalogue *catalogue
	refuse    func(Refusal)
	bundles   map[uuid.UUID]*bundle
	order     []*bundle
	contents  map[uuid.UUID]bool // lines seen
}

// loadPartition returns the memories of a partition that are in order, in the order of the file. It fails with a
// *FileError for an id that appears twice. What it does depends on partition and catalogue alone, so it says the
// same when a partition is checked and when it is imported.
func loadPartition(f *spoolFile, c *catalogue, refuse func(Refusal)) ([]*bundle, error) {
	l := &loader{catalogue: c, refuse: refuse, bundles: map[uuid.UUID]*bundle{}, contents: map[uuid.UUID]bool{}}
	// Twice over the file: what refers to a memory may stand before it.
	if err := f.each(l.memory); err != nil {
		return nil, err
	}
	if err := f.each(l.belonging); err != nil {
		return nil, err
	}
	var good []*bundle
	for _, b := range l.order {
		if b.refused {
			continue
		}
		slices.SortStableFunc(b.history, func(x, y historyRecord) int { return x.changedAt.Compare(y.changedAt) })
		good = append(good, b)
	}
	return good, nil
}

func (l *loader) memory(s spooled) error {
	if s.kind != KindMemory {
		return nil
	}
	m, f := parseRecord(s.raw, (*fields).memory)
	b := &bundle{memory: m, index: s.index}
	path := fmt.Sprintf("/memories/%d", s.index)
	if earlier, ok := l.bundles[m.id]; ok {
		return refuseFile(Duplicate, path, "has the id %s of /memories/%d", m.id, earlier.index)
	}
	l.bundles[m.id], l.order = b, append(l.order, b)
	bad := f.fault
	if bad == nil {
		bad = l.catalogue.checkMemory(&b.memory)
	}
	if bad != nil {
		b.refused = true
		l.refuse(Refusal{KindMemory, m.id.String(), path + bad.path, bad.reason})
		return nil
	}
	b.memory.categoryIDs = unique(b.memory.categoryIDs)
	return nil
}

func (l *loader) belonging(s spooled) error {
	switch s.kind {
	case KindLink:
		link, _ := parseRecord(s.raw, (*fields).link)
		l.link(link, fmt.Sprintf("/memory_categories/%d", s.index))
	case KindHistory:
		history, _ := parseRecord(s.raw, (*fields).history)
		l.history(history, fmt.Sprintf("/status_history/%d", s.index))
	case KindLine:
		line, _ := parseRecord(s.raw, (*fields).line)
		return l.line(line, fmt.Sprintf("%s line %d", linesName, s.index+1))
	}
	return nil
}

func (l *loader) link(link linkRecord, path string) {
	r := Refusal{Kind: KindLink, ID: link.memoryID.String(), Path: path + "/memory_id"}
	b := l.owner(link.memoryID, &r)
	if b == nil {
		return
	}
	_, known := l.catalogue.categories[link.categoryID]
	switch {
	case !known:
		r.Path, r.Reason = path+"/category_id", notThere("category", link.categoryID)
	case slices.Contains(b.memory.categoryIDs, link.categoryID):
		return
	case len(b.memory.categoryIDs) == memory.CategoriesMax:
		r.Reason = fmt.Sprintf("is one too many: a memory has at most %d categories", memory.CategoriesMax)
	default:
		b.memory.categoryIDs = append(b.memory.categoryIDs, link.categoryID)
		return
	}
	l.refuse(r)
}

func (l *loader) history(h historyRecord, path string) {
	r := Refusal{Kind: KindHistory, ID: h.id.String(), Path: path + "/memory_id"}
	b := l.owner(h.memoryID, &r)
	if b == nil {
		return
	}
	switch {
	case h.changedBy != l.catalogue.user.id:
		r.Path, r.Reason = path+"/changed_by", l.catalogue.foreignUser(h.changedBy)
	case len(b.history) == memory.HistoryMax:
		r.Reason = fmt.Sprintf("is one too many: a memory has at most %d status changes", memory.HistoryMax)
	default:
		b.history = append(b.history, h)
		return
	}
	l.refuse(r)
}

func (l *loader) line(line lineRecord, path string) error {
	r := Refusal{Kind: KindLine, ID: line.id.String(), Path: path}
	b := l.owner(line.id, &r)
	if b == nil {
		return nil
	}
	if l.contents[line.id] {
		return refuseFile(Duplicate, path, "has an id that an earlier line has, too")
	}
	l.contents[line.id] = true
	if line.content != digestOf(b.memory.content) {
		r.Reason = fmt.Sprintf("has another content than /memories/%d", b.index)
		l.refuse(r)
	}
	return nil
}

// owner returns the memory that something belongs to, or refuses r and returns nil.
func (l *loader) owner(id uuid.UUID, r *Refusal) *bundle {
	b := l.bundles[id]
	if b != nil && !b.refused {
		return b
	}
	r.Reason = notThere("memory", id)
	l.refuse(*r)
	return nil
}

// checkHistoryIDs refuses a file in which two status changes, of whatever memories, have one id.
func checkHistoryIDs(f *spoolFile) error {
	seen := map[uuid.UUID]int{}
	return f.eachHistoryID(func(id uuid.UUID, index int) error {
		if earlier, ok := seen[id]; ok {
			return refuseFile(Duplicate, fmt.Sprintf("/status_history/%d", index), "has the id %s of /status_history/%d", id, earlier)
		}
		seen[id] = index
		return nil
	})
}

// createdAt is when a memory was made; where the old system did not know, it was then at the latest.
func (c *catalogue) createdAt(m *memoryRecord) time.Time {
	return firstOf(m.createdAt, m.updatedAt, c.meta.generatedAt)
}

func (c *catalogue) updatedAt(m *memoryRecord) time.Time {
	return firstOf(m.updatedAt, m.createdAt, c.meta.generatedAt)
}

func firstOf(times ...*time.Time) time.Time {
	for _, t := range times {
		if t != nil {
			return *t
		}
	}
	return time.Time{}
}

func unique(ids []uuid.UUID) []uuid.UUID {
	var out []uuid.UUID
	for _, id := range ids {
		if !slices.Contains(out, id) {
			out = append(out, id)
		}
	}
	return out
}
