package httpapi

import (
	"strconv"

	"github.com/google/uuid"

	"github.com/refold-dev/refold/events/envelope"
	"github.com/refold-dev/refold/internal/reader"
)

// oldAccess is an entry of the access log. What was asked is not known here, so its metadata is empty.
type oldAccess struct {
	ID         uuid.UUID      `json:"id"`
	MemoryID   uuid.UUID      `json:"memory_id"`
	AppID      *uuid.UUID     `json:"app_id"`
	AppName    *string        `json:"app_name"`
	AccessedAt oldTime        `json:"accessed_at"`
	AccessType string         `json:"access_type"`
	Metadata   map[string]any `json:"metadata_"`
}

// oldAccesses is a page of them.
type oldAccesses struct {
	Total    int64       `json:"total"`
	Page     int         `json:"page"`
	PageSize int         `json:"page_size"`
	Logs     []oldAccess `json:"logs"`
}

func oldListAccesses(s *server, q *oldRequest) (any, error) {
	id, err := q.id()
	if err != nil {
		return nil, err
	}
	page, size, err := q.pages("page_size", 10)
	if err != nil {
		return nil, err
	}
	found, stamp, err := s.Reader.AccessLog(q.Context(), q.reads(), q.fresh, id, reader.Pages[reader.AccessMark]{
		Skip: (page - 1) * size, Count: size, Total: true,
	})
	q.rests(stamp)
	out := oldAccesses{found.Total, page, size, []oldAccess{}}
	for _, a := range found.Items {
		entry := envelope.RowID(a.Batch.String(), strconv.Itoa(int(a.Ordinal)))
		out.Logs = append(out.Logs, oldAccess{entry, id, a.AppID, a.AppName, oldTime(a.AccessedAt), a.Kind, map[string]any{}})
	}
	return out, err
}

// oldAccessed is a memory with how often an app accessed it.
type oldAccessed struct {
	Memory oldAccessedMemory `json:"memory"`
	Count  int64             `json:"access_count"`
}

type oldAccessedMemory struct {
	oldOfApp
	AppName *string `json:"app_name"`
}

func oldListAppAccessed(s *server, q *oldRequest) (any, error) {
	id, err := q.id()
	if err != nil {
		return nil, err
	}
	page, size, err := q.pages("page_size", 10)
	if err != nil {
		return nil, err
	}
	found, stamp, err := s.Reader.AppAccessed(q.Context(), q.reads(), q.fresh, id, reader.Pages[reader.AccessedMark]{
		Skip: (page - 1) * size, Count: size, Total: true,
	})
	q.rests(stamp)
	out := oldAppPage[oldApp, oldAccessed]{Total: found.Total, Page: page, PageSize: size, Memories: []oldAccessed{}}
	for _, a := range found.Items {
		out.Memories = append(out.Memories, oldAccessed{oldAccessedMemory{oldOfAppOf(a.Memory), a.AppName}, a.Count})
	}
	return out, err
}
