package mcpapi

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/google/uuid"
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
	Results        []deleted `json:"results"`
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
	out = deleteOut{Results: []deleted{}, IdempotencyKey: w.ID}
	var last writer.Done
	for _, text := range in.MemoryIDs {
		result := deleted{ID: text}
		id, err := memoryID(text)
		if err == nil {
			var done writer.Done
			if done, err = c.Writer.DeleteMemory(ctx, c.caller, w, id); err == nil {
				last, result.Deleted = done, true
				out.Deleted++
			}
		}
		if err != nil {
			p := refusalOf(ctx, problem.Doubtful(err, w.ID), c.Logger)
			result.Code, result.Detail = p.Code, p.Detail
		}
		out.Results = append(out.Results, result)
	}
	if out.Deleted > 0 {
		c.settle(ctx, last)
	}
	return out, nil
}

type deleteAllIn struct {
	Confirm bool `json:"confirm,omitempty" jsonschema:"true only when the user has said so in this conversation; clients that can ask the user ask in any case"`
	key
}

type deleteAllOut struct {
	Deleted   int  `json:"deleted"`
	Failed    int  `json:"failed,omitempty"`
	Remaining bool `json:"remaining,omitempty" jsonschema:"there are more: call again"`
	Cancelled bool `json:"cancelled,omitempty" jsonschema:"the user said no; nothing was deleted"`
}

// deleteAllMax bounds how many memories one call deletes.
const deleteAllMax = 1000

func deleteAll(ctx context.Context, c call, in deleteAllIn) (out deleteAllOut, err error) {
	w, err := wish(in.IdempotencyKey)
	if err != nil {
		return out, err
	}
	switch yes, err := c.confirmed("delete_all_memories", in.Confirm, "Delete all memories of "+c.principal.Subject+"? Deleted memories do not come back."); {
	case err != nil:
		return out, err
	case !yes:
		return deleteAllOut{Cancelled: true}, nil
	}
	var last writer.Done
	var behind *reader.MemoryMark
	everything := reader.MemoryFilter{States: []string{"active", "paused", "archived"}}
	for out.Deleted+out.Failed < deleteAllMax {
		page, _, err := c.Reader.Memories(ctx, c.reads(0), reader.Freshness{}, reader.MemoryList{
			Filter: everything, Pages: reader.Pages[reader.MemoryMark]{Behind: behind, Count: reader.PageCountMax},
		})
		if err != nil && out.Deleted == 0 {
			return out, err
		}
		if err != nil {
			out.Remaining = true
			break
		}
		for _, m := range page.Items {
			if done, err := c.Writer.DeleteMemory(ctx, c.caller, w, m.ID); err == nil {
				last = done
				out.Deleted++
			} else if problem.Of(ctx, err, c.Logger).Code != "not_found" {
				out.Failed++
			}
		}
		if behind = page.Next; behind == nil {
			break
		}
		out.Remaining = out.Deleted+out.Failed >= deleteAllMax
	}
	if out.Deleted > 0 {
		c.settle(ctx, last)
	}
	out.Remaining = out.Remaining || out.Failed > 0
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
// arguments; the state that comes back with the answer is sealed to this caller and this question.
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
		return false, invalid("this is no answer to a question that was asked here, or it came too late: call again")
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
