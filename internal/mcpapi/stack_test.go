package mcpapi_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/refold-dev/refold/events/envelope"
	"github.com/refold-dev/refold/internal/app"
	"github.com/refold-dev/refold/internal/auth"
	"github.com/refold-dev/refold/internal/command"
	"github.com/refold-dev/refold/internal/mcpapi"
	"github.com/refold-dev/refold/internal/plane"
	"github.com/refold-dev/refold/internal/reader"
	"github.com/refold-dev/refold/internal/testenv"
	"github.com/refold-dev/refold/internal/user"
	"github.com/refold-dev/refold/internal/versions"
	"github.com/refold-dev/refold/internal/writer"
)

func TestMain(m *testing.M) { testenv.Main(m) }

// stack is the edge on a whole plane: a real Postgres, an embedded JetStream, projectors and all.
type stack struct {
	plane  *plane.Plane
	key    *auth.Local
	config mcpapi.Config
	edge   *mcpapi.Edge
	url    string // of the edge
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// newStack has the tenants a and b.
func newStack(t testing.TB, change ...func(*mcpapi.Config)) *stack {
	t.Helper()
	p, err := plane.Open(t.Context(), plane.Config{
		DataDir: testenv.Dir(t), PostgresURL: testenv.Postgres(t), Durability: "relaxed", BytesMax: 256 << 20, ScrubRate: -1,
	})
	check(t, err)
	running, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- p.Run(running) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	check(t, p.EnsureLive(t.Context(), nil))
	for _, tenant := range []string{"a", "b"} {
		_, _, err = p.CreateTenant(t.Context(), tenant, tenant, "operator")
		check(t, err)
	}
	key, err := auth.LocalKey(t.TempDir())
	check(t, err)
	sealer, err := reader.NewSealer(bytes.Repeat([]byte{7}, 32))
	check(t, err)
	rows := reader.New(p.Live, p.DB)
	rows.Activity = p.Activity
	s := &stack{plane: p, key: key, config: mcpapi.Config{
		Writer: writer.New(p.Directory, p.Journal.Shard, rows), Reader: rows, Versions: versions.New(p.Journal.Shard, rows), Sealer: sealer, Logger: slog.New(slog.NewTextHandler(testLog{t}, nil)),
	}}
	s.config.Verifier, err = auth.NewVerifier(auth.Config{Issuers: []auth.Issuer{key.IssuerFor(auth.LocalMCPAudience)}})
	check(t, err)
	for _, c := range change {
		c(&s.config)
	}
	s.serve(t)
	return s
}

// serve serves the edge as it is configured now.
func (s *stack) serve(t testing.TB) {
	t.Helper()
	var err error
	s.edge, err = mcpapi.New(s.config)
	check(t, err)
	server := httptest.NewUnstartedServer(s.edge)
	server.Config.WriteTimeout, server.Config.ReadTimeout = 5*time.Second, 2*time.Second // streams must outlive those of the server
	server.Start()
	t.Cleanup(func() {
		s.edge.Close()
		server.Close()
	})
	s.url = server.URL
}

// testLog writes the log of the edge into the test's.
type testLog struct{ t testing.TB }

func (l testLog) Write(b []byte) (int, error) {
	l.t.Logf("%s", bytes.TrimSpace(b))
	return len(b), nil
}

func (s *stack) token(t testing.TB, tenant, subject string, scopes ...string) string {
	t.Helper()
	if scopes == nil {
		scopes = auth.AllScopes()
	}
	token, err := s.key.Mint(auth.TokenRequest{Tenant: tenant, Subject: subject, Scopes: scopes, Audience: auth.LocalMCPAudience})
	check(t, err)
	return token
}

// bearer is a client that shows a token with each request.
func bearer(token string) *http.Client {
	return &http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
		r = r.Clone(r.Context())
		r.Header.Set("Authorization", "Bearer "+token)
		return http.DefaultTransport.RoundTrip(r)
	})}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// agent is a client of the SDK.
type agent struct {
	t testing.TB
	*mcp.ClientSession
}

// connect lets an agent in over streamable HTTP, by the newest revision that both know, or by an older one.
func (s *stack) connect(t testing.TB, token, client, version string, options *mcp.ClientOptions) *agent {
	t.Helper()
	return join(t, client, version, options, &mcp.StreamableClientTransport{Endpoint: s.url + mcpapi.Path, HTTPClient: bearer(token)})
}

// stream lets an agent in over the older transport.
func (s *stack) stream(t testing.TB, token, user, client string, options *mcp.ClientOptions) *agent {
	t.Helper()
	return join(t, client, "", options, &mcp.SSEClientTransport{Endpoint: s.url + "/mcp/" + client + "/sse/" + user, HTTPClient: bearer(token)})
}

func join(t testing.TB, client, version string, options *mcp.ClientOptions, transport mcp.Transport) *agent {
	t.Helper()
	session, err := mcp.NewClient(&mcp.Implementation{Name: client, Version: "1"}, options).Connect(t.Context(), transport, &mcp.ClientSessionOptions{ProtocolVersion: version})
	check(t, err)
	t.Cleanup(func() { _ = session.Close() })
	return &agent{t, session}
}

// call calls a tool that must succeed, and returns its structured answer.
func (a *agent) call(tool string, arguments map[string]any) map[string]any {
	a.t.Helper()
	result := a.try(tool, arguments)
	if result.IsError {
		a.t.Fatalf("%s %v: %s", tool, arguments, textOf(result))
	}
	return structured(a.t, result)
}

// refused calls a tool that must not succeed, and returns the code of its problem.
func (a *agent) refused(tool string, arguments map[string]any) string {
	a.t.Helper()
	result := a.try(tool, arguments)
	if !result.IsError {
		a.t.Fatalf("%s %v: %s, want a refusal", tool, arguments, textOf(result))
	}
	var p struct{ Code string }
	check(a.t, json.Unmarshal([]byte(textOf(result)), &p))
	return p.Code
}

func (a *agent) try(tool string, arguments map[string]any) *mcp.CallToolResult {
	a.t.Helper()
	result, err := a.CallTool(a.t.Context(), &mcp.CallToolParams{Name: tool, Arguments: arguments})
	check(a.t, err)
	return result
}

func (a *agent) tools() []string {
	a.t.Helper()
	list, err := a.ListTools(a.t.Context(), nil)
	check(a.t, err)
	names := []string{}
	for _, tool := range list.Tools {
		names = append(names, tool.Name)
	}
	return names
}

func structured(t testing.TB, result *mcp.CallToolResult) (out map[string]any) {
	t.Helper()
	body, err := json.Marshal(result.StructuredContent)
	check(t, err)
	check(t, json.Unmarshal(body, &out))
	return out
}

func textOf(result *mcp.CallToolResult) string {
	var all strings.Builder
	for _, c := range result.Content {
		if text, ok := c.(*mcp.TextContent); ok {
			all.WriteString(text.Text)
		}
	}
	return all.String()
}

func items(page map[string]any) []any {
	list, _ := page["items"].([]any)
	return list
}

// answer is what came back on a bare request.
type answer struct {
	status int
	header http.Header
	body   string
}

// post sends a body as it is; headers are names and values in turn.
func (s *stack) post(t testing.TB, token, path, body string, headers ...string) answer {
	t.Helper()
	return s.send(t, http.MethodPost, token, path, body, headers...)
}

func (s *stack) send(t testing.TB, method, token, path, body string, headers ...string) answer {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, s.url+path, strings.NewReader(body))
	check(t, err)
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Accept", "application/json, text/event-stream")
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		if headers[i] == "Host" {
			r.Host = headers[i+1]
		}
		r.Header.Set(headers[i], headers[i+1])
	}
	response, err := http.DefaultClient.Do(r)
	check(t, err)
	defer func() { _ = response.Body.Close() }()
	content, err := io.ReadAll(response.Body)
	check(t, err)
	return answer{response.StatusCode, response.Header, string(content)}
}

// pause pauses an app of a user.
func (s *stack) pause(t testing.TB, tenant, subject, name string) {
	t.Helper()
	known, err := s.plane.Directory.Tenant(t.Context(), tenant)
	check(t, err)
	owner := user.ID(known.Key, tenant, subject)
	id := app.ID(known.Key, tenant, owner, name)
	_, err = command.Execute(t.Context(), s.plane.Journal.Shard(known.Shard), command.Request{
		Key: envelope.Key{Tenant: tenant, Entity: app.Entity, ID: id.String()}, TenantKey: known.Key, CommandID: "pause", Actor: owner.String(),
	}, app.Evolve, app.Decide, app.Command(app.Pause{By: owner}))
	check(t, err)
}

// appID is the id of alice's app.
func (s *stack) appID(t testing.TB, name string) uuid.UUID {
	t.Helper()
	known, err := s.plane.Directory.Tenant(t.Context(), "a")
	check(t, err)
	return app.ID(known.Key, "a", user.ID(known.Key, "a", "alice"), name)
}
