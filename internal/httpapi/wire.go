package httpapi

import (
	"github.com/refold-dev/refold/internal/httpapi/api"
	"github.com/refold-dev/refold/internal/postgres/db"
	"github.com/refold-dev/refold/internal/reader"
)

// What is on the wire is named member by member: a new column is not shown to anybody by accident.

func memoryOnWire(m reader.Memory) api.Memory {
	out := api.Memory{
		Id: m.ID, Version: m.Version, Content: m.Content, Metadata: api.Metadata(m.Metadata), State: api.MemoryState(m.State),
		Categories: m.Categories, CreatedAt: m.CreatedAt.UTC(), UpdatedAt: m.UpdatedAt.UTC(),
	}
	if m.AppID != nil && m.AppName != nil {
		out.App = &api.AppName{Id: *m.AppID, Name: *m.AppName}
	}
	if m.ArchivedAt != nil {
		at := m.ArchivedAt.UTC()
		out.ArchivedAt = &at
	}
	return out
}

func appOnWire(a reader.App) api.App {
	return api.App{
		Id: a.ID, Version: a.Version, Name: a.Name, Description: a.Description, Metadata: api.Metadata(a.Metadata),
		Active: a.IsActive, Memories: a.Memories, CreatedAt: a.CreatedAt.UTC(), UpdatedAt: a.UpdatedAt.UTC(),
	}
}

func historyOnWire(history []db.MemoryStatus) api.MemoryHistory {
	out := api.MemoryHistory{Items: make([]api.StatusChange, 0, len(history))}
	for _, h := range history {
		out.Items = append(out.Items, api.StatusChange{
			Version: h.Version, ChangedBy: h.ChangedBy, OldState: h.OldState, NewState: h.NewState, ChangedAt: h.ChangedAt.UTC(),
		})
	}
	return out
}
