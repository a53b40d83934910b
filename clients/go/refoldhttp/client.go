// Package refoldhttp is the client of refold's HTTP edge. client.gen.go is generated from the contract of the server
// (/openapi.yaml): a method and types for every operation. This file adds the token and errors.
package refoldhttp

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"net/http"
)

// problemBytesMax bounds what is read of the answer to a refused request.
const problemBytesMax = 1 << 20

// New returns a client of the server at an address such as https://memories.example. It sends the token with every
// request. Every answer of 400 and above is returned as a *ProblemError, by all methods, so that the fields for problems
// in the generated answers stay nil. A 304 is an answer, not an error.
func New(server, token string, options ...ClientOption) (*ClientWithResponses, error) {
	c, err := NewClient(server, options...)
	if err != nil {
		return nil, err
	}
	c.Client = refusals{c.Client}
	c.RequestEditors = append(c.RequestEditors, func(_ context.Context, r *http.Request) error {
		r.Header.Set("Authorization", "Bearer "+token)
		return nil
	})
	return &ClientWithResponses{c}, nil
}

// ProblemError is an answer of 400 and above: the problem document of the server and the headers beside it, such as
// Retry-After. Programs should look at Code and Retryable. Where something else than refold answered, such as a proxy,
// Code is empty and Detail is the beginning of what it said.
type ProblemError struct {
	Problem
	Header http.Header
}

func (e *ProblemError) Error() string {
	if e.Code == "" {
		return fmt.Sprintf("refold: status %d without a problem document: %s", e.Status, e.Detail)
	}
	return fmt.Sprintf("refold: %d %s: %s", e.Status, e.Code, e.Detail)
}

// Unknown reports whether the command may or may not be stored. Then send it again with the same Idempotency-Key; Header
// has the key where the request had none. An error that is not a *ProblemError leaves the outcome unknown as well.
func (e *ProblemError) Unknown() bool {
	return e.Code == "" || e.Header.Get("Outcome") == "unknown"
}

// refusals makes errors of answers of 400 and above.
type refusals struct{ HttpRequestDoer }

func (r refusals) Do(request *http.Request) (*http.Response, error) {
	answer, err := r.HttpRequestDoer.Do(request)
	if err != nil || answer.StatusCode < http.StatusBadRequest {
		return answer, err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(io.LimitReader(answer.Body, problemBytesMax))
	if err != nil {
		return nil, fmt.Errorf("refold: read the answer of status %d: %w", answer.StatusCode, err)
	}
	refusal := &ProblemError{Header: answer.Header}
	kind, _, _ := mime.ParseMediaType(answer.Header.Get("Content-Type"))
	if kind != "application/problem+json" || json.Unmarshal(body, &refusal.Problem) != nil {
		refusal.Problem = Problem{Status: answer.StatusCode, Title: answer.Status, Detail: string(bytes.TrimSpace(body[:min(len(body), 500)]))}
	}
	return nil, refusal
}
