package httpapi

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/refold-dev/refold/events/schemas"
	"github.com/refold-dev/refold/internal/httpapi/api"
	"github.com/refold-dev/refold/internal/problem"
	"github.com/refold-dev/refold/internal/readiness"
)

// GetHealth answers as long as the process can answer at all.
func (s *server) GetHealth(context.Context, api.GetHealthRequestObject) (api.GetHealthResponseObject, error) {
	return api.GetHealth200JSONResponse{Status: "alive"}, nil
}

// GetReady answers 200 when the process answers what is to be sent to it. It tells codes alone, because this operation is
// open to all; details are in the log and in the status.
func (s *server) GetReady(ctx context.Context, request api.GetReadyRequestObject) (api.GetReadyResponseObject, error) {
	shard, wanted := request.Params.Shard, api.GetReadyParamsForReads
	if request.Params.For != nil {
		wanted = *request.Params.For
	}
	switch {
	case wanted != api.GetReadyParamsForReads && wanted != api.GetReadyParamsForCommands:
		return nil, malformedParameter("for", "reads or commands")
	case shard != nil && (*shard < 0 || *shard >= s.Health.ShardCount()):
		return nil, malformedParameter("shard", fmt.Sprintf("a shard from 0 to %d", s.Health.ShardCount()-1))
	}
	conditions := s.Health.Conditions(ctx)
	if shard != nil {
		conditions = readiness.OfShard(conditions, *shard)
	}
	now := readiness.Of(conditions)
	asked := now.Reads
	if wanted == api.GetReadyParamsForCommands {
		asked = now.Commands
	}
	if !asked.Ready {
		s.Logger.WarnContext(ctx, "not ready", "reads", now.Reads.String(), "commands", now.Commands.String(), "conditions", conditions)
		return notReady{now}, nil
	}
	return ready{now}, nil
}

// ready writes readiness as it is.
type ready struct{ readiness.Readiness }

func (r ready) VisitGetReadyResponse(w http.ResponseWriter) error {
	w.Header().Set("Content-Type", "application/json")
	return json.NewEncoder(w).Encode(r.Readiness)
}

// notReady is the problem, with what holds of reads and of commands.
type notReady struct{ readiness.Readiness }

func (r notReady) VisitGetReadyResponse(w http.ResponseWriter) error {
	p := problem.Unavailable("not_ready", "the plane is not ready", "5")
	p.WriteHead(w)
	return json.NewEncoder(w).Encode(struct {
		problem.Document
		Reads    readiness.Requests `json:"reads"`
		Commands readiness.Requests `json:"commands"`
	}{p.Document(), r.Reads, r.Commands})
}

// GetOpenAPI answers with the contract.
func (s *server) GetOpenAPI(context.Context, api.GetOpenAPIRequestObject) (api.GetOpenAPIResponseObject, error) {
	return api.GetOpenAPI200ApplicationyamlResponse{Body: bytes.NewReader(openAPI), ContentLength: int64(len(openAPI))}, nil
}

// GetOpenAPIAsJSON answers with the same.
func (s *server) GetOpenAPIAsJSON(context.Context, api.GetOpenAPIAsJSONRequestObject) (api.GetOpenAPIAsJSONResponseObject, error) {
	return document(openAPIAsJSON), nil
}

// GetAsyncAPI answers with the document for producers.
func (s *server) GetAsyncAPI(context.Context, api.GetAsyncAPIRequestObject) (api.GetAsyncAPIResponseObject, error) {
	return document(schemas.AsyncAPI), nil
}

// document is JSON that is written as it was generated, in its order.
type document []byte

func (d document) write(w http.ResponseWriter) error {
	w.Header().Set("Content-Type", "application/json")
	_, err := w.Write(d)
	return err
}

func (d document) VisitGetAsyncAPIResponse(w http.ResponseWriter) error      { return d.write(w) }
func (d document) VisitGetOpenAPIAsJSONResponse(w http.ResponseWriter) error { return d.write(w) }
