package isolation

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"regexp"
	"slices"
	"strings"
)

// MCP attacks over MCP: all tools and arguments that the server lists.
type MCP struct {
	HTTP

	tools []mcpTool
}

type mcpTool struct {
	Name        string
	InputSchema struct {
		Properties map[string]struct {
			Type json.RawMessage // a word, or several
		}
		Required []string
	} `json:"inputSchema"`
	Annotations struct {
		ReadOnlyHint bool `json:"readOnlyHint"`
	}
}

const (
	mcpRevision = "2025-11-25"
	argumentKey = "idempotency_key"
)

// NewMCP attacks the edge at the path /mcp of a server. The tools are those that this identity may call.
func NewMCP(ctx context.Context, address string, as Identity) (*MCP, error) {
	m := &MCP{HTTP: HTTP{URL: strings.TrimRight(address, "/"), Client: newHTTPClient()}}
	a, err := m.rpc(ctx, as, "tools/list", map[string]any{})
	if err != nil {
		return nil, err
	}
	var listed struct{ Result struct{ Tools []mcpTool } }
	if err := json.Unmarshal(a.body, &listed); err != nil || len(listed.Result.Tools) == 0 {
		return nil, fmt.Errorf("%s/mcp lists no tools: status %d, %.300s", m.URL, a.status, a.body)
	}
	m.tools = listed.Result.Tools
	slices.SortFunc(m.tools, func(a, b mcpTool) int { return strings.Compare(a.Name, b.Name) })
	return m, nil
}

// Name implements Prober.
func (m *MCP) Name() string { return "MCP" }

func (m *MCP) rpc(ctx context.Context, as Identity, method string, params any) (response, error) {
	body, err := json.Marshal(map[string]any{"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
	if err != nil {
		return response{}, err
	}
	return m.send(ctx, request{method: http.MethodPost, path: "/mcp", operation: method, body: string(body), headers: [][2]string{
		{"Accept", "application/json, text/event-stream"}, {"MCP-Protocol-Version", mcpRevision},
	}}, as.AgentToken)
}

// call calls a tool and returns what it says beside its text.
func (m *MCP) call(ctx context.Context, as Identity, tool string, arguments map[string]any, into any) error {
	a, err := m.rpc(ctx, as, "tools/call", map[string]any{"name": tool, "arguments": arguments})
	if err != nil {
		return err
	}
	var called struct {
		Result struct {
			IsError           bool
			StructuredContent json.RawMessage
		}
	}
	if err := json.Unmarshal(a.body, &called); err != nil || called.Result.IsError || len(called.Result.StructuredContent) == 0 {
		return fmt.Errorf("%s: status %d: %.300s", tool, a.status, a.body)
	}
	return json.Unmarshal(called.Result.StructuredContent, into)
}

// Own implements Prober: memories with texts and a category that nobody else has.
func (m *MCP) Own(ctx context.Context, as Identity) (*Belongings, error) {
	r := rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))
	own := &Belongings{Tenant: as.Tenant}
	category := own.mark(r)
	for range 3 {
		var made struct {
			ID       string
			Readable bool
		}
		err := m.call(ctx, as, "add_memories", map[string]any{
			"text": own.mark(r) + " " + own.mark(r), "categories": []string{category}, "metadata": map[string]string{own.mark(r): own.mark(r)},
		}, &made)
		if err != nil {
			return nil, err
		}
		own.IDs = append(own.IDs, made.ID)
	}
	var page struct {
		NextCursor string `json:"next_cursor"`
	}
	if err := m.call(ctx, as, "list_memories", map[string]any{"limit": 1}, &page); err != nil {
		return nil, err
	}
	if page.NextCursor == "" {
		return nil, errors.New("list_memories gave no cursor: its memories cannot be read yet, or are lost")
	}
	own.Sealed = append(own.Sealed, page.NextCursor)
	return own, nil
}

// Probe implements Prober.
func (m *MCP) Probe(ctx context.Context, seed uint64, as Identity, foreign, absent *Belongings) (e Exchange, err error) {
	tool, one := m.make(seed, foreign)
	_, two := m.make(seed, absent)
	e.Operation = tool.Name
	if key, given := one[argumentKey].(string); given && !m.keys.isNew(as, "MCP "+key, seed) {
		delete(one, argumentKey)
		delete(two, argumentKey)
	}
	if e.Foreign, err = m.ask(ctx, as, tool, one, foreign); err == nil {
		e.Absent, err = m.ask(ctx, as, tool, two, absent)
	}
	return e, err
}

func (m *MCP) ask(ctx context.Context, as Identity, tool mcpTool, arguments map[string]any, about *Belongings) (Answer, error) {
	a, err := m.rpc(ctx, as, "tools/call", map[string]any{"name": tool.Name, "arguments": arguments})
	if err != nil {
		return Answer{}, err
	}
	asked, err := json.Marshal(arguments)
	if err != nil {
		return Answer{}, err
	}
	answer := answerOf(request{method: http.MethodPost, path: "/mcp", body: string(asked)}, a, about, false)
	for _, value := range arguments {
		if text, ok := value.(string); ok && text != "" { // a damaged one may be told back, too
			answer.Compared = strings.ReplaceAll(answer.Compared, about.hidden(text), "*")
		}
	}
	// A command that was carried out says what it made, and how much there was of the attacker's own.
	answer.Compared = varying.ReplaceAllString(answer.Compared, `$1:*`)
	if !tool.Annotations.ReadOnlyHint && !strings.Contains(answer.Compared, `"isError":true`) {
		answer.Compared = fmt.Sprint(a.status)
	}
	return answer, nil
}

// varying are members that differ between two answers to one question; a text holds them with its quotes escaped.
var varying = regexp.MustCompile(`(\\?"(?:idempotency_key|expires_at)\\?"):(?:\\?"[^"\\]*\\?"|\w+)`)

// make makes a call out of a seed: two calls of one seed differ in whose belongings they name, and in nothing else.
func (m *MCP) make(seed uint64, about *Belongings) (mcpTool, map[string]any) {
	r := rand.New(rand.NewPCG(seed, 2))
	tool := m.tools[r.IntN(len(m.tools))]
	names := make([]string, 0, len(tool.InputSchema.Properties))
	for name := range tool.InputSchema.Properties {
		names = append(names, name)
	}
	slices.Sort(names)
	arguments := map[string]any{}
	for _, name := range names {
		given, value := r.IntN(3) == 0, m.argument(r, tool, name, about)
		if given || slices.Contains(tool.InputSchema.Required, name) {
			arguments[name] = value
		}
	}
	return tool, arguments
}

// argument makes a value for one. Texts of others are put where no command stores them: else they were the attacker's own
// from then on.
func (m *MCP) argument(r *rand.Rand, tool mcpTool, name string, about *Belongings) any {
	text := pick(r, about, 4)
	if !tool.Annotations.ReadOnlyHint && !strings.Contains(name, "id") && name != argumentKey {
		text = "probe"
	}
	number, yes := r.IntN(100), r.IntN(2) == 0
	switch kind := string(tool.InputSchema.Properties[name].Type); {
	case strings.Contains(kind, "array"):
		return []string{text}
	case strings.Contains(kind, "object"):
		return map[string]string{"probe": "probe"}
	case strings.Contains(kind, "boolean"):
		return yes
	case strings.Contains(kind, "integer"), strings.Contains(kind, "number"):
		return number
	}
	return text
}
