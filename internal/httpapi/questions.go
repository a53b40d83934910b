package httpapi

import (
	"context"
	"net/http"
	"strconv"

	"github.com/refold-dev/refold/internal/httpapi/api"
	"github.com/refold-dev/refold/internal/reader"
	"github.com/refold-dev/refold/internal/writer"
)

// stamps are the headers that say what an answer rests on.
func (s *server) stamps(c writer.Caller, stamp reader.Stamp) (edition, position, age *string) {
	e := strconv.FormatInt(stamp.Edition, 10)
	p := s.Sealer.SealPosition(c.Tenant.ID, stamp.Position)
	a := strconv.FormatInt(stamp.Age.Milliseconds(), 10)
	return &e, &p, &a
}

// stamp sets them where no generated code does. The position of a command that the answer is to stays.
func (s *server) stamp(h http.Header, c writer.Caller, stamp reader.Stamp) {
	edition, position, age := s.stamps(c, stamp)
	h.Set("Refold-Edition", *edition)
	h.Set("Refold-Age-Ms", *age)
	if h.Get("Refold-Position") == "" {
		h.Set("Refold-Position", *position)
	}
}

// GetMemory answers with one memory.
func (s *server) GetMemory(ctx context.Context, r api.GetMemoryRequestObject) (api.GetMemoryResponseObject, error) {
	c, fresh, err := s.asker(ctx, r.Params.Prefer, r.Params.RefoldPosition)
	if err != nil {
		return nil, err
	}
	m, stamp, err := s.Reader.Memory(ctx, readsAs(c, r.Params.AsApp), fresh, r.Id)
	if err != nil {
		return nil, err
	}
	answer := api.GetMemory200JSONResponse{Body: memoryOnWire(m)}
	tag := etag(uint64(m.Version))
	answer.Headers.ETag = &tag
	answer.Headers.RefoldEdition, answer.Headers.RefoldPosition, answer.Headers.RefoldAgeMs = s.stamps(c, stamp)
	return answer, nil
}

// GetMemoryHistory answers with the changes of a memory's state.
func (s *server) GetMemoryHistory(ctx context.Context, r api.GetMemoryHistoryRequestObject) (api.GetMemoryHistoryResponseObject, error) {
	c, fresh, err := s.asker(ctx, r.Params.Prefer, r.Params.RefoldPosition)
	if err != nil {
		return nil, err
	}
	m, history, stamp, err := s.Reader.MemoryHistory(ctx, readsAs(c, r.Params.AsApp), fresh, r.Id)
	if err != nil {
		return nil, err
	}
	answer := api.GetMemoryHistory200JSONResponse{Body: historyOnWire(history)}
	tag := etag(uint64(m.Version))
	answer.Headers.ETag = &tag
	answer.Headers.RefoldEdition, answer.Headers.RefoldPosition, answer.Headers.RefoldAgeMs = s.stamps(c, stamp)
	return answer, nil
}

// GetApp answers with one app.
func (s *server) GetApp(ctx context.Context, r api.GetAppRequestObject) (api.GetAppResponseObject, error) {
	c, fresh, err := s.asker(ctx, r.Params.Prefer, r.Params.RefoldPosition)
	if err != nil {
		return nil, err
	}
	a, stamp, err := s.Reader.App(ctx, readsAs(c, r.Params.AsApp), fresh, r.Id)
	if err != nil {
		return nil, err
	}
	answer := api.GetApp200JSONResponse{Body: appOnWire(a)}
	tag := etag(uint64(a.Version))
	answer.Headers.ETag = &tag
	answer.Headers.RefoldEdition, answer.Headers.RefoldPosition, answer.Headers.RefoldAgeMs = s.stamps(c, stamp)
	return answer, nil
}
