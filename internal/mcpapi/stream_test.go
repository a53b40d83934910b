package mcpapi_test

import (
	"bufio"
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/refold-dev/refold/internal/auth"
	"github.com/refold-dev/refold/internal/mcpapi"
	"github.com/refold-dev/refold/internal/quota"
)

// listener is a bare stream of events.
type listener struct {
	t        testing.TB
	status   int
	events   *bufio.Scanner
	endpoint string
	close    func()
}

func (s *stack) listen(t testing.TB, token, path string, headers ...string) *listener {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url+path, nil)
	check(t, err)
	r.Header.Set("Authorization", "Bearer "+token)
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	response, err := http.DefaultClient.Do(r)
	check(t, err)
	l := &listener{t: t, status: response.StatusCode, events: bufio.NewScanner(response.Body), close: func() { cancel(); _ = response.Body.Close() }}
	t.Cleanup(l.close)
	if l.status == http.StatusOK {
		l.endpoint = l.next()
	}
	return l
}

// next is the data of the next event; "" at the end of the stream.
func (l *listener) next() string {
	for l.events.Scan() {
		if data, ok := strings.CutPrefix(l.events.Text(), "data: "); ok {
			return data
		}
	}
	return ""
}

const beginBody = `{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2024-11-05","capabilities":{},"clientInfo":{"name":"old","version":"1"}}}`

func (s *stack) begun(t testing.TB, token, path string) *listener {
	t.Helper()
	l := s.listen(t, token, path)
	if a := s.post(t, token, l.endpoint, beginBody); a.status != http.StatusAccepted {
		t.Fatalf("initialize: %d %s", a.status, a.body)
	}
	if first := l.next(); !strings.Contains(first, `"serverInfo"`) {
		t.Fatalf("initialize: %s", first)
	}
	s.post(t, token, l.endpoint, `{"jsonrpc":"2.0","method":"notifications/initialized"}`)
	return l
}

func TestStreamsBelongToTheirUsers(t *testing.T) {
	s := newStack(t)
	alice := s.token(t, "a", "alice")
	l := s.begun(t, alice, "/mcp/claude/sse/alice")
	unknown := s.post(t, alice, "/mcp/claude/sse/alice/messages/?session_id=GUESSED", listBody)
	_, query, _ := strings.Cut(l.endpoint, "?")
	for who, c := range map[string]struct{ token, path string }{
		"another user":           {s.token(t, "a", "bob"), "/mcp/messages/?" + query},
		"another user, own path": {s.token(t, "a", "bob"), "/mcp/claude/sse/bob/messages/?" + query},
		"another user's path":    {s.token(t, "a", "bob"), l.endpoint},
		"another tenant":         {s.token(t, "b", "alice"), l.endpoint},
		"another app":            {alice, "/mcp/other/sse/alice/messages/?" + query},
		"no session":             {alice, "/mcp/messages/"},
	} {
		if a := s.post(t, c.token, c.path, listBody); a.status != http.StatusNotFound || a.body != unknown.body {
			t.Errorf("%s: %d %s, want %s", who, a.status, a.body, unknown.body)
		}
	}
	for _, path := range []string{l.endpoint, "/mcp/messages/?" + query, "/mcp/claude/sse/alice?" + query} {
		if a := s.post(t, alice, path, callBody("whoami", nil)); a.status != http.StatusAccepted {
			t.Errorf("%s: %d %s", path, a.status, a.body)
		}
		if answer := l.next(); !strings.Contains(answer, `"app":"claude"`) {
			t.Errorf("%s: %s", path, answer)
		}
	}
	// A missing scope is told on the way in, as over streamable HTTP; the scopes are those of the token of the message.
	few := s.token(t, "a", "alice", auth.MemoriesRead)
	if a := s.post(t, few, l.endpoint, callBody("delete_all_memories", map[string]any{"confirm": true})); a.status != http.StatusForbidden || !strings.Contains(a.header.Get("WWW-Authenticate"), "insufficient_scope") {
		t.Errorf("without the scope: %d %v", a.status, a.header)
	}
	s.post(t, few, l.endpoint, listBody)
	if answer := l.next(); strings.Contains(answer, "delete_all_memories") || !strings.Contains(answer, "search_memory") {
		t.Errorf("tools of a lesser token: %s", answer)
	}
	if a := s.post(t, alice, l.endpoint, "["+callBody("whoami", nil)+"]"); a.status != http.StatusBadRequest {
		t.Errorf("a batch: %d", a.status)
	}
	s.post(t, alice, l.endpoint, `{"jsonrpc":"2.0","id":5,"method":"resources/list"}`)
	if answer := l.next(); !strings.Contains(answer, "-32601") {
		t.Errorf("an unknown method: %s", answer)
	}
	if again := s.listen(t, alice, "/mcp/claude/sse/alice", "Last-Event-ID", "GUESSED_0"); again.status != http.StatusBadRequest {
		t.Errorf("a stream was resumed: %d", again.status)
	}
	l.close()
	waitFor(t, "the stream of a client that has gone", func() bool {
		return s.post(t, alice, l.endpoint, callBody("whoami", nil)).status == http.StatusNotFound
	})
}

func waitFor(t testing.TB, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !done(); {
		if time.Now().After(deadline) {
			t.Fatal("waited in vain for " + what)
		}
	}
}

// A stream ends with its token, though the server bounds requests by less.
func TestStreamsEndWithTheirToken(t *testing.T) {
	s := newStack(t, func(c *mcpapi.Config) { c.Streams.Heartbeat = 100 * time.Millisecond })
	const life = 8 * time.Second // longer than the bounds of the server in these tests
	token, err := s.key.Mint(auth.TokenRequest{Tenant: "a", Subject: "alice", Scopes: auth.AllScopes(), Audience: auth.LocalMCPAudience, TTL: life})
	check(t, err)
	began := time.Now()
	l := s.begun(t, token, "/mcp/x/sse/alice")
	if rest := l.next(); rest != "" {
		t.Errorf("unasked: %s", rest)
	}
	if lived := time.Since(began); lived < life-2*time.Second || lived > life+2*time.Second {
		t.Errorf("the stream lived for %s, its token for %s", lived, life)
	}
}

func TestStreamsAreBounded(t *testing.T) {
	s := newStack(t, func(c *mcpapi.Config) { c.Limits = quota.New(quota.Limits{Listeners: 2}); c.Streams.All = 3 })
	a, b := s.token(t, "a", "alice"), s.token(t, "b", "alice")
	first := s.listen(t, a, "/mcp/x/sse/alice")
	for i, c := range []struct {
		token  string
		status int
	}{{a, 200}, {a, 429}, {b, 200}, {b, 503}} {
		if l := s.listen(t, c.token, "/mcp/x/sse/alice"); l.status != c.status {
			t.Errorf("stream %d: %d, want %d", i, l.status, c.status)
		}
	}
	first.close()
	waitFor(t, "room for a stream", func() bool {
		l := s.listen(t, a, "/mcp/x/sse/alice")
		defer l.close()
		return l.status == http.StatusOK
	})
	// All streams end with the server.
	last := s.listen(t, a, "/mcp/x/sse/alice")
	s.edge.Close()
	if rest := last.next(); rest != "" {
		t.Errorf("unasked: %s", rest)
	}
}
