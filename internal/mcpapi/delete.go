package mcpapi

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/refold-dev/refold/internal/problem"
	"github.com/refold-dev/refold/internal/reader"
	"github.com/refold-dev/refold/internal/writer"
)

type deleteIn struct {
	MemoryIDs []string `json:"memory_ids" jsonschema:"1 to 100 ids"`
	key
}

type deleted struct {
	ID      string `json:"id"`
	Deleted bool   `json:"deleted"`
	Code    string `json:"code,omitempty" jsonschema:"why it was not deleted"`
	Detail  string `json:"detail,omitempty"`
}

type deleteOut struct {
	Results        []deleted `json:"results" jsonschema:"one for each id"`
	Deleted        int       `json:"deleted"`
	IdempotencyKey string    `json:"idempotency_key" jsonschema:"call again with it when an outcome is unknown"`
}

func deleteMemories(ctx context.Context, c call, in deleteIn) (out deleteOut, err error) {
	if len(in.MemoryIDs) < 1 || len(in.MemoryIDs) > idsMax {
		return out, invalid("memory_ids: want 1 to 100 ids")
	}
	w, err := wish(in.IdempotencyKey)
	if err != nil {
		return out, err
	}
	each := slices.Compact(slices.Sorted(slices.Values(in.MemoryIDs)))
	out = deleteOut{Results: make([]deleted, len(each)), IdempotencyKey: w.ID}
	var ids []uuid.UUID
	var places []int
	for i, text := range each {
		out.Results[i].ID = text
		id, err := memoryID(text)
		if err != nil {
			out.Results[i].refuse(refusalOf(ctx, err, c.Logger))
			continue
		}
		ids, places = append(ids, id), append(places, i)
	}
	moved, err := c.Writer.MoveMemories(ctx, c.caller, w, writer.MoveDelete, ids)
	if err != nil {
		return out, problem.Doubtful(err, w.ID)
	}
	var newest writer.Done
	for n, m := range moved {
		result := &out.Results[places[n]]
		if m.Err != nil {
			result.refuse(refusalOf(ctx, problem.Doubtful(m.Err, w.ID), c.Logger))
			continue
		}
		result.Deleted = true
		out.Deleted++
		newest = later(newest, m.Done)
	}
	if out.Deleted > 0 {
		c.settle(ctx, newest)
	}
	return out, nil
}

func (d *deleted) refuse(r refusal) { d.Code, d.Detail = r.Code, r.Detail }

func later(a, b writer.Done) writer.Done {
	if a.Position.Seq > b.Position.Seq {
		return a
	}
	return b
}

type deleteAllIn struct {
	Confirm bool `json:"confirm,omitempty" jsonschema:"true only when the user has said so in this conversation; where the server can ask the user itself, it does in any case"`
	key
}

type deleteAllOut struct {
	Deleted   int  `json:"deleted"`
	Failed    int  `json:"failed,omitempty"`
	Remaining bool `json:"remaining,omitempty" jsonschema:"there are more: call again"`
	Cancelled bool `json:"cancelled,omitempty" jsonschema:"the user said no; nothing was deleted"`
}

func deleteAll(ctx context.Context, c call, in deleteAllIn) (out deleteAllOut, err error) {
	w, err := wish(in.IdempotencyKey)
	if err != nil {
		return out, err
	}
	switch yes, err := c.confirmed("delete_all_memories", in.Confirm, "Delete all memories of "+c.principal.Subject+" that "+c.app+" may read? Only those whose ids are known can be brought back."); {
	case err != nil:
		return out, err
	case !yes:
		return deleteAllOut{Cancelled: true}, nil
	}
	moved, more, err := c.Writer.MoveSelected(ctx, c.caller, w, writer.MoveDelete, reader.Freshness{}, reader.MemoryFilter{})
	if err != nil {
		return out, problem.Doubtful(err, w.ID)
	}
	var newest writer.Done
	for _, m := range moved {
		switch {
		case m.Err == nil:
			out.Deleted++
			newest = later(newest, m.Done)
		case problem.Of(ctx, m.Err, c.Logger).Code != "not_found": // another call has deleted it
			out.Failed++
		}
	}
	if out.Deleted > 0 {
		c.settle(ctx, newest)
	}
	out.Remaining = more || out.Failed > 0
	return out, nil
}

// ask is a question that the user must answer before the tool goes on.
type ask struct {
	params *mcp.ElicitParams
	state  string
}

func (a *ask) Error() string { return "the user must be asked" }

const question = "confirm"

func (a *ask) result() *mcp.CallToolResult {
	return &mcp.CallToolResult{InputRequests: mcp.InputRequestMap{question: a.params}, RequestState: a.state}
}

const (
	askKind     = "mcp-ask"
	askLifetime = 10 * time.Minute
)

// confirmed tells whether the user agrees. Where the client can ask, it does, whatever the model has put into its
// arguments; the state that comes back with the answer is sealed to this caller and this question. Any other state is
// an error of the protocol, as SEP-2322 wants it.
func (c call) confirmed(tool string, argument bool, message string) (bool, error) {
	if !c.canAsk() {
		if !argument {
			return false, &problem.Problem{Status: http.StatusPreconditionRequired, Code: "confirmation_required", Detail: "nothing was done: ask the user, and call again with confirm = true if the answer is yes"}
		}
		return true, nil
	}
	bound := []string{c.principal.Tenant, c.principal.Subject, tool}
	answer, answered := c.request.Params.InputResponses[question].(*mcp.ElicitResult)
	if !answered {
		asked, _ := json.Marshal(time.Now().Add(askLifetime).Unix()) // a number
		return false, &ask{
			params: &mcp.ElicitParams{Mode: "form", Message: message, RequestedSchema: confirmSchema},
			state:  c.Sealer.Seal(askKind, asked, bound...),
		}
	}
	body, err := c.Sealer.Open(askKind, c.request.Params.RequestState, bound...)
	var expires int64
	if err != nil || json.Unmarshal(body, &expires) != nil || time.Now().Unix() > expires {
		return false, &jsonrpc.Error{Code: jsonrpc.CodeInvalidParams, Message: "nothing was done: requestState is not that of a question to this user, or it has expired; call again without it"}
	}
	yes, _ := answer.Content[question].(bool)
	return answer.Action == "accept" && yes, nil
}

var confirmSchema = json.RawMessage(`{"type":"object","properties":{"confirm":{"type":"boolean","title":"Yes, do it"}},"required":["confirm"]}`)

// canAsk tells whether the client can ask its user: it says so, and there is a way back to it.
func (c call) canAsk() bool {
	capabilities := c.request.ClientCapabilities()
	if capabilities == nil || capabilities.Elicitation == nil {
		return false
	}
	forms := capabilities.Elicitation.Form != nil || capabilities.Elicitation.URL == nil
	return forms && (c.onStream || c.request.ProtocolVersion() >= stateless)
}

type noIn struct{}

type whoamiOut struct {
	Tenant    string    `json:"tenant"`
	User      string    `json:"user"`
	UserID    uuid.UUID `json:"user_id"`
	App       string    `json:"app,omitempty" jsonschema:"the name under which this client stores memories"`
	Scopes    []string  `json:"scopes"`
	Tools     []string  `json:"tools" jsonschema:"what this token may call"`
	ExpiresAt time.Time `json:"expires_at"`
}
