package fold

import (
	"strings"

	"github.com/refold-dev/refold/events/envelope"
	"github.com/refold-dev/refold/internal/postgres/db"
	"github.com/refold-dev/refold/internal/rows"
)

// memoryRevisions is the table as the code knows it; the catalogue must say the same, in the same order.
var memoryRevisions = &rows.Log[db.MemoryRevision]{
	Description: rows.Description{
		Name: "memory_revision", Entity: "memory", KeyColumns: 3, AppendOnly: true,
		Columns: []rows.Column{
			{Name: "tenant_id", Type: "text", NotNull: true}, {Name: "memory_id", Type: "uuid", NotNull: true},
			{Name: "seq", Type: "int8", NotNull: true}, {Name: "version", Type: "int8", NotNull: true},
			{Name: "content", Type: "text", NotNull: true}, {Name: "changed_at", Type: "timestamptz", NotNull: true},
		},
	},
	Owner:   func(r *db.MemoryRevision) envelope.Key { return rows.Owner(r.TenantID, "memory", r.MemoryID) },
	OwnerOf: rows.OwnedBy("memory"),
	Encode: func(t *rows.Tuple, r *db.MemoryRevision) {
		t.Text(r.TenantID)
		t.UUID(r.MemoryID)
		t.Int8(r.Seq)
		t.Int8(r.Version)
		t.Text(r.Content)
		t.Time(r.ChangedAt)
	},
}

// putMemory writes the row of a memory with what is derived from its content.
func putMemory(w *rows.Set, m db.Memory) error {
	m.Words = int32(len(strings.Fields(m.Content)))
	return memories.Put(w, m)
}

// revise writes a line for a new content of the memory.
func (n entity) revise(w *rows.Set, content string) error {
	return memoryRevisions.Append(w, db.MemoryRevision{
		TenantID: n.event.Tenant, MemoryID: n.id, Seq: int64(n.event.Seq), Version: n.version,
		Content: content, ChangedAt: n.event.Time,
	})
}

func (n entity) memoryConfirmed(w *rows.Set) error {
	m, ok := memories.Get(w, rows.One{})
	if !ok {
		return errNotThere
	}
	m.Version, m.ConfirmedAt = n.version, &n.event.Time
	return putMemory(w, m)
}
