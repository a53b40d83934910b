package mcpapi_test

import (
	"encoding/json"
	"net/http"
	"testing"
)

const statelessRevision = "2026-07-28"

// stateless sends a request as a client of the revision without sessions does that can ask its user.
func (s *stack) stateless(t *testing.T, token, method, name string, params map[string]any) (status int, out statelessAnswer) {
	t.Helper()
	params["_meta"] = map[string]any{
		"io.modelcontextprotocol/protocolVersion":    statelessRevision,
		"io.modelcontextprotocol/clientInfo":         map[string]any{"name": "x", "version": "1"},
		"io.modelcontextprotocol/clientCapabilities": map[string]any{"elicitation": map[string]any{}},
	}
	if name != "" {
		params["name"] = name
	}
	body, err := json.Marshal(map[string]any{"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
	check(t, err)
	headers := []string{"Mcp-Protocol-Version", statelessRevision, "Mcp-Method", method}
	if name != "" {
		headers = append(headers, "Mcp-Name", name)
	}
	a := s.post(t, token, "/mcp", string(body), headers...)
	if err := json.Unmarshal([]byte(a.body), &out); err != nil {
		t.Fatalf("%s %s: status %d: %s", method, name, a.status, a.body)
	}
	return a.status, out
}

type statelessAnswer struct {
	Result struct {
		ResultType        string
		RequestState      string
		IsError           bool
		StructuredContent map[string]any
	}
	Error struct {
		Code    int
		Message string
	}
}

// Methods of sessions are unknown to the revision without them, whatever their parameters.
func TestSessionMethodsAreGone(t *testing.T) {
	s := newStack(t)
	token := s.token(t, "a", "alice")
	for _, method := range []string{"initialize", "ping"} {
		if status, out := s.stateless(t, token, method, "", map[string]any{}); status != http.StatusNotFound || out.Error.Code != -32601 {
			t.Errorf("%s: status %d, %+v; want 404 and -32601", method, status, out)
		}
	}
	ping := `{"jsonrpc":"2.0","id":1,"method":"ping"}`
	if a := s.post(t, token, "/mcp", ping, "Mcp-Protocol-Version", "2025-11-25"); a.status != http.StatusOK {
		t.Errorf("ping before: status %d: %s", a.status, a.body)
	}
}

// A yes counts only with the state that came with the question to this user.
func TestTamperedStateIsAnError(t *testing.T) {
	s := newStack(t)
	alice, bob := s.token(t, "a", "alice"), s.token(t, "a", "bob")
	yes := map[string]any{"confirm": map[string]any{"action": "accept", "content": map[string]any{"confirm": true}}}
	ask := func(token string, params map[string]any) (int, statelessAnswer) {
		return s.stateless(t, token, "tools/call", "delete_all_memories", params)
	}
	if _, out := s.stateless(t, alice, "tools/call", "add_memories", map[string]any{"arguments": map[string]any{"text": "keep me"}}); out.Result.IsError {
		t.Fatalf("add: %+v", out)
	}
	_, asked := ask(alice, map[string]any{})
	state := asked.Result.RequestState
	if asked.Result.ResultType != "input_required" || state == "" {
		t.Fatalf("not asked: %+v", asked)
	}
	_, bobs := ask(bob, map[string]any{})
	for name, other := range map[string]string{"tampered": state + "-TAMPERED", "absent": "", "that of another user": bobs.Result.RequestState} {
		if _, out := ask(alice, map[string]any{"inputResponses": yes, "requestState": other}); out.Error.Code != -32602 || out.Result.ResultType != "" {
			t.Errorf("the state is %s: %+v, want the error -32602", name, out)
		}
	}
	if _, out := ask(alice, map[string]any{"inputResponses": yes, "requestState": state}); out.Result.StructuredContent["deleted"] != 1.0 {
		t.Errorf("the state of the question: %+v, want one memory deleted", out)
	}
}
