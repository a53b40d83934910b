package isolation

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
)

// MCP attacks over MCP: all tools and arguments that the server lists, the paths that name a user, and the ids of sessions
// and streams.
type MCP struct {
	HTTP

	tools   []mcpTool
	streams []func() // ends those of owners
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
	mcpSession  = "Mcp-Session-Id"
	mcpApp      = "probe" // what the client calls itself
	streamWait  = 30 * time.Second
)

// mcpPath is that of a user of an app.
func mcpPath(user string) string { return "/mcp/" + mcpApp + "/http/" + url.PathEscape(user) }

// NewMCP attacks the edge below the path /mcp of a server. Close it at the end. The tools are those that this identity may call.
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
	q, err := message(mcpPath(as.User), method, params)
	if err != nil {
		return response{}, err
	}
	return m.send(ctx, q, as.AgentToken)
}

func message(path, method string, params any, headers ...[2]string) (request, error) {
	body, err := json.Marshal(map[string]any{"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
	return request{method: http.MethodPost, path: path, operation: method, body: string(body), headers: append(headers, [][2]string{
		{"Accept", "application/json, text/event-stream"}, {"MCP-Protocol-Version", mcpRevision},
	}...)}, err
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

// Own implements Prober: memories with texts and a category that nobody else has, an app, a session and a stream.
func (m *MCP) Own(ctx context.Context, as Identity) (*Belongings, error) {
	r := rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))
	own := &Belongings{Tenant: as.Tenant, User: as.User}
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
	app, err := m.appOf(ctx, as)
	if err != nil {
		return nil, err
	}
	session, err := m.begin(ctx, as)
	if err != nil {
		return nil, err
	}
	stream, err := m.listen(ctx, as)
	if err != nil {
		return nil, err
	}
	own.IDs, own.Sealed = append(own.IDs, app), append(own.Sealed, session, stream)
	return own, nil
}

// appOf is the app that the calls are of.
func (m *MCP) appOf(ctx context.Context, as Identity) (id string, err error) {
	var apps struct{ Items []struct{ ID, Name string } }
	if err := m.call(ctx, as, "list_apps", map[string]any{"limit": 50}, &apps); err != nil {
		return "", err
	}
	for _, app := range apps.Items {
		if app.Name == mcpApp {
			return app.ID, nil
		}
	}
	return "", fmt.Errorf("list_apps has no %s, as which the memories were stored", mcpApp)
}

var introduction = map[string]any{
	"protocolVersion": mcpRevision, "capabilities": map[string]any{}, "clientInfo": map[string]any{"name": mcpApp, "version": "1"},
}

// begin begins a session of the older revisions.
func (m *MCP) begin(ctx context.Context, as Identity) (session string, err error) {
	a, err := m.rpc(ctx, as, "initialize", introduction)
	if session = a.header.Get(mcpSession); err == nil && session == "" {
		err = fmt.Errorf("initialize gave no session: status %d: %.300s", a.status, a.body)
	}
	return session, err
}

// listen opens a stream of the older transport, which stays until Close: the id of an open one is worth the most.
func (m *MCP) listen(ctx context.Context, as Identity) (session string, err error) {
	ctx, end := context.WithCancel(context.WithoutCancel(ctx))
	m.streams = append(m.streams, end)
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, m.URL+"/mcp/"+mcpApp+"/sse/"+url.PathEscape(as.User), nil)
	if err != nil {
		return "", err
	}
	q.Header.Set("Authorization", "Bearer "+as.AgentToken)
	late := time.AfterFunc(streamWait, end)
	defer late.Stop()
	a, err := (&http.Client{Transport: m.Client.Transport}).Do(q) // its body is closed with the context
	if err != nil {
		return "", err
	}
	lines := bufio.NewScanner(a.Body)
	for lines.Scan() {
		if _, session, found := strings.Cut(lines.Text(), "session_id="); found {
			return session, nil
		}
	}
	return "", fmt.Errorf("a stream of %s tells no session: %s, %w", as.User, a.Status, lines.Err())
}

// Close ends the streams.
func (m *MCP) Close() {
	for _, end := range m.streams {
		end()
	}
}

// Probe implements Prober.
func (m *MCP) Probe(ctx context.Context, seed uint64, as Identity, foreign, absent *Belongings) (e Exchange, err error) {
	if seed%8 == 0 { // there are as many as there are tools
		return m.probePath(ctx, seed, as, foreign, absent)
	}
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

// probePath names somebody else where a request says whose it is: his path, his session, his stream.
func (m *MCP) probePath(ctx context.Context, seed uint64, as Identity, foreign, absent *Belongings) (e Exchange, err error) {
	var one, two request
	if one, err = m.address(seed, as, foreign); err == nil {
		two, err = m.address(seed, as, absent)
	}
	if err != nil {
		return e, err
	}
	e.Operation = one.operation
	a, err := m.send(ctx, one, as.AgentToken)
	if err != nil {
		return e, err
	}
	b, err := m.send(ctx, two, as.AgentToken)
	e.Foreign, e.Absent = answerOf(one, a, foreign, false), answerOf(two, b, absent, false)
	for _, answer := range []struct {
		*Answer
		status int
	}{{&e.Foreign, a.status}, {&e.Absent, b.status}} {
		if answer.status < http.StatusBadRequest {
			answer.Wrong = fmt.Sprintf("a path, a session or a stream of somebody else was taken: status %d", answer.status)
		}
	}
	return e, err
}

// address makes a request out of a seed that is addressed to somebody else's. No path is the attacker's own: there a stream
// would open.
func (m *MCP) address(seed uint64, as Identity, about *Belongings) (request, error) {
	r := rand.New(rand.NewPCG(seed, 3))
	user, sealed := about.User, about.Sealed[r.IntN(len(about.Sealed))]
	if user == as.User || r.IntN(4) == 0 { // of two tenants, users may have one login
		user = pickID(r, about)
	}
	kind, method, params := r.IntN(6), []string{"tools/list", "initialize", "ping"}[r.IntN(3)], map[string]any{}
	if method == "initialize" {
		params = introduction
	}
	var q request
	var err error
	switch kind {
	case 0:
		q, err = message(mcpPath(user), method, params)
	case 1:
		q, err = message("/mcp", "tools/list", map[string]any{}, [2]string{mcpSession, sealed})
	case 2:
		q, err = message("/mcp/messages/?session_id="+url.QueryEscape(sealed), method, params)
	case 3:
		q, err = message("/mcp/"+mcpApp+"/sse/"+url.PathEscape(as.User)+"/messages/?session_id="+url.QueryEscape(sealed), method, params)
	case 4:
		q, err = message("/mcp/"+mcpApp+"/sse/"+url.PathEscape(user)+"/messages/?session_id="+url.QueryEscape(sealed), method, params)
	case 5:
		q = request{method: http.MethodGet, path: "/mcp/" + mcpApp + "/sse/" + url.PathEscape(user)}
	}
	q.operation = []string{
		"POST /mcp/{client}/http/{user}", mcpSession, "POST /mcp/messages/", "POST /mcp/{client}/sse/{user}/messages/ of oneself",
		"POST /mcp/{client}/sse/{user}/messages/", "GET /mcp/{client}/sse/{user}",
	}[kind]
	return q, err
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
	answer := answerOf(request{method: http.MethodPost, path: mcpPath(as.User), body: string(asked)}, a, about, false)
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
