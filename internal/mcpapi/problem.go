package mcpapi

import (
	"context"
	"encoding/json"
	"log/slog"
	"strings"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"

	"github.com/refold-dev/refold/internal/problem"
)

// Codes of JSON-RPC errors, in the range that is left to servers.
const (
	codeRefused     = -32040
	codeUnavailable = -32042
)

// refusal is a problem as agents see it. Its codes are those of /problems/.
type refusal struct {
	Code      string `json:"code"`
	Detail    string `json:"detail"`
	Argument  string `json:"argument,omitempty"` // what it is about
	Retryable bool   `json:"retryable"`
	// IdempotencyKey is that of a command whose outcome is not known.
	IdempotencyKey string `json:"idempotency_key,omitempty"`
}

func invalid(detail string) error { return problem.Invalid("", detail) }

func invalidArgument(name, detail string) error { return problem.Invalid("/"+name, detail) }

// refusalOf is what an error means to an agent. Texts of the stores never leave the plane, and what is absent and what is
// foreign look alike to the byte.
func refusalOf(ctx context.Context, err error, logger *slog.Logger) refusal {
	return refusalFrom(problem.Of(ctx, err, logger))
}

func refusalFrom(p *problem.Problem) refusal {
	r := refusal{Code: p.Code, Detail: p.Detail, Argument: strings.TrimPrefix(p.Pointer, "/"), Retryable: p.Retryable}
	if before, behind, _ := strings.Cut(r.Argument, "/"); before == "content" {
		r.Argument = strings.TrimSuffix("text/"+behind, "/")
	}
	if p.Header.Get("Outcome") == "unknown" {
		r.Code, r.IdempotencyKey = problem.CodeUnknown, p.Header.Get("Idempotency-Key")
		r.Detail = "it may or may not be stored: call the tool again with the same arguments and this idempotency_key, then it is stored once"
	}
	return r
}

// rpcError is a problem as an error of the protocol, for what never reached a tool.
func rpcError(p *problem.Problem) *jsonrpc.Error {
	code := int64(codeRefused)
	if p.Retryable {
		code = codeUnavailable
	}
	data, _ := json.Marshal(refusalFrom(p)) // texts only
	return &jsonrpc.Error{Code: code, Message: p.Detail, Data: data}
}
