package httpapi

import (
	"context"
	"maps"
	"net/http"
	"slices"

	"github.com/refold-dev/refold/internal/httpapi/api"
	"github.com/refold-dev/refold/internal/problem"
)

func problemType(code string, m problem.Meaning) api.ProblemType {
	return api.ProblemType{
		Type: problem.Path + code, Code: code, Title: http.StatusText(m.Status), Status: m.Status,
		Meaning: m.Meaning, Remedy: m.Remedy, Retryable: m.Retryable,
	}
}

// GetProblem explains a problem.
func (s *server) GetProblem(_ context.Context, r api.GetProblemRequestObject) (api.GetProblemResponseObject, error) {
	m, ok := problem.Meanings[r.Code]
	if !ok {
		return nil, problem.NotFound()
	}
	return api.GetProblem200JSONResponse(problemType(r.Code, m)), nil
}

// ListProblems explains all problems.
func (s *server) ListProblems(context.Context, api.ListProblemsRequestObject) (api.ListProblemsResponseObject, error) {
	answer := api.ListProblems200JSONResponse{}
	for _, code := range slices.Sorted(maps.Keys(problem.Meanings)) {
		answer.Items = append(answer.Items, problemType(code, problem.Meanings[code]))
	}
	return answer, nil
}
