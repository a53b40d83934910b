package httpapi

import (
	"bytes"
	"context"
	"net/http"

	"github.com/refold-dev/refold/events/schemas"
	"github.com/refold-dev/refold/internal/httpapi/api"
	"github.com/refold-dev/refold/internal/problem"
)

// GetHealth answers as long as the process can answer at all.
func (s *server) GetHealth(context.Context, api.GetHealthRequestObject) (api.GetHealthResponseObject, error) {
	return api.GetHealth200JSONResponse{Status: "alive"}, nil
}

// GetReady answers 200 only when the plane can answer and is not stuck. Why it is not is in the log: this operation
// is open to all.
func (s *server) GetReady(ctx context.Context, _ api.GetReadyRequestObject) (api.GetReadyResponseObject, error) {
	if err := s.Health.Ready(ctx); err != nil {
		s.Logger.WarnContext(ctx, "not ready", "error", err)
		return nil, problem.Unavailable("not_ready", "the plane is not ready", "5")
	}
	return api.GetReady200JSONResponse{Status: "ready"}, nil
}

// GetOpenAPI answers with the document that the server was generated from.
func (s *server) GetOpenAPI(context.Context, api.GetOpenAPIRequestObject) (api.GetOpenAPIResponseObject, error) {
	return api.GetOpenAPI200ApplicationyamlResponse{Body: bytes.NewReader(openAPI), ContentLength: int64(len(openAPI))}, nil
}

// GetAsyncAPI answers with the document for producers.
func (s *server) GetAsyncAPI(context.Context, api.GetAsyncAPIRequestObject) (api.GetAsyncAPIResponseObject, error) {
	return asyncAPI{}, nil
}

// asyncAPI is written as it was generated, in its order.
type asyncAPI struct{}

func (asyncAPI) VisitGetAsyncAPIResponse(w http.ResponseWriter) error {
	w.Header().Set("Content-Type", "application/json")
	_, err := w.Write(schemas.AsyncAPI)
	return err
}
