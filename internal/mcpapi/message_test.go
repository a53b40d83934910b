package mcpapi

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// executed is the SDK without the gate: it tells which methods and tools it would have carried out.
type executed struct {
	mu      sync.Mutex
	seen    []string
	handler http.Handler
}

func newExecuted() *executed {
	x := &executed{}
	s := mcp.NewServer(&mcp.Implementation{Name: "x"}, nil)
	for _, name := range []string{"add_memories", "delete_memories", "whoami"} {
		s.AddTool(&mcp.Tool{Name: name, InputSchema: map[string]any{"type": "object"}}, func(context.Context, *mcp.CallToolRequest) (*mcp.CallToolResult, error) {
			return &mcp.CallToolResult{}, nil
		})
	}
	s.AddReceivingMiddleware(func(next mcp.MethodHandler) mcp.MethodHandler {
		return func(ctx context.Context, method string, r mcp.Request) (mcp.Result, error) {
			what := method
			if p, ok := r.GetParams().(*mcp.CallToolParamsRaw); ok && p != nil {
				what += " " + p.Name
			}
			x.mu.Lock()
			x.seen = append(x.seen, what)
			x.mu.Unlock()
			return next(ctx, method, r)
		}
	})
	x.handler = mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return s }, &mcp.StreamableHTTPOptions{Stateless: true, JSONResponse: true})
	return x
}

func (x *executed) of(body []byte, version string) []string {
	x.seen = nil
	r := httptest.NewRequest(http.MethodPost, "/mcp", bytes.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Accept", "application/json, text/event-stream")
	if version != "" {
		r.Header.Set("Mcp-Protocol-Version", version)
	}
	x.handler.ServeHTTP(httptest.NewRecorder(), r)
	x.mu.Lock()
	defer x.mu.Unlock()
	return slices.Clone(x.seen)
}

const (
	asking   = `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"whoami","arguments":{}}}`
	deletion = `{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"delete_memories","arguments":{}}}`
)

// hostile are messages that two readers may read differently.
var hostile = map[string]string{
	"a batch":                  `[` + asking + `,` + deletion + `]`,
	"a batch of one":           `[` + deletion + `]`,
	"a nested batch":           `[[` + deletion + `]]`,
	"an empty batch":           `[]`,
	"two messages":             asking + deletion,
	"two lines":                asking + "\n" + deletion,
	"something behind":         asking + `x`,
	"a byte order mark":        "\xef\xbb\xbf" + asking,
	"method twice":             `{"jsonrpc":"2.0","id":1,"method":"ping","method":"tools/call","params":{"name":"delete_memories"}}`,
	"method twice, escaped":    `{"jsonrpc":"2.0","id":1,"method":"ping","m\u0065thod":"tools/call","params":{"name":"delete_memories"}}`,
	"method in another case":   `{"jsonrpc":"2.0","id":1,"Method":"tools/call","method":"ping","params":{"name":"delete_memories"}}`,
	"params twice":             `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"whoami"},"params":{"name":"delete_memories"}}`,
	"name twice":               `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"whoami","name":"delete_memories"}}`,
	"name twice, escaped":      `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"whoami","n\u0061me":"delete_memories"}}`,
	"no name":                  `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"Name":"delete_memories"}}`,
	"name no string":           `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":["delete_memories"]}}`,
	"params no object":         `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":["delete_memories"]}`,
	"params null":              `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":null}`,
	"no params":                `{"jsonrpc":"2.0","id":1,"method":"tools/call"}`,
	"method no string":         `{"jsonrpc":"2.0","id":1,"method":["tools/call"],"params":{"name":"whoami"}}`,
	"an answer and a request":  `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"whoami"},"result":{}}`,
	"jsonrpc 1.0":              `{"jsonrpc":"1.0","id":1,"method":"ping"}`,
	"no jsonrpc":               `{"id":1,"method":"ping"}`,
	"id an object":             `{"jsonrpc":"2.0","id":{},"method":"ping"}`,
	"id a fraction":            `{"jsonrpc":"2.0","id":1.5,"method":"ping"}`,
	"id beyond 2^53":           `{"jsonrpc":"2.0","id":9007199254740993,"method":"ping"}`,
	"id null":                  `{"jsonrpc":"2.0","id":null,"method":"ping"}`,
	"half a surrogate":         `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"whoami\ud800"}}`,
	"bad UTF-8":                "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tools/call\",\"params\":{\"name\":\"whoami\xff\"}}",
	"NUL":                      `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"whoami\u0000"}}`,
	"deep":                     `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"whoami","arguments":{"a":` + strings.Repeat("[", 100000) + `}}}`,
	"deep and closed":          `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"whoami","arguments":{"a":` + strings.Repeat("[", 500) + strings.Repeat("]", 500) + `}}}`,
	"a number beyond measure":  `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"whoami","arguments":{"a":1e400000}}}`,
	"nothing":                  ``,
	"a word":                   `true`,
	"an unknown member":        `{"jsonrpc":"2.0","id":1,"method":"ping","extra":1}`,
	"half a message":           asking[:40],
	"an answer without an id":  `{"jsonrpc":"2.0","result":{}}`,
	"an answer with two sides": `{"jsonrpc":"2.0","id":1,"result":{},"error":{"code":1,"message":"x"}}`,
}

func TestHostileMessagesAreRefused(t *testing.T) {
	for name, body := range hostile {
		if m, fault := readMessage([]byte(body)); fault == nil {
			t.Errorf("%s is taken as %+v", name, m)
		}
	}
	// What the gate guards against is real: the SDK alone carries out what stands in a batch.
	if seen := newExecuted().of([]byte(hostile["a batch"]), ""); !slices.Contains(seen, "tools/call delete_memories") {
		t.Logf("the SDK has carried out %v of a batch: it refuses batches itself by now", seen)
	}
}

func TestMessages(t *testing.T) {
	for body, want := range map[string]message{
		asking: {method: "tools/call", id: int64(1), tool: "whoami"},
		` {"params":{"n\u0061me":"add_mem\u006fries"},"id":"x","method":"tools\/call","jsonrpc":"2.0"} `:                {method: "tools/call", id: "x", tool: "add_memories"},
		`{"jsonrpc":"2.0","method":"notifications/initialized"}`:                                                        {method: "notifications/initialized"},
		`{"jsonrpc":"2.0","id":7,"result":{}}`:                                                                          {id: int64(7), isAnswer: true},
		`{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"x","clientInfo":{"name":"notes"}}}`: {method: "initialize", id: int64(1), client: "notes"},
	} {
		got, fault := readMessage([]byte(body))
		if fault != nil || got != want {
			t.Errorf("%s: %+v, %v, want %+v", body, got, fault, want)
		}
	}
}

// FuzzGate: of what the gate lets pass, the SDK carries out just what the gate has decided about, or nothing.
func FuzzGate(f *testing.F) {
	for _, body := range hostile {
		if len(body) < 1000 {
			f.Add([]byte(body), false)
			f.Add([]byte(body), true)
		}
	}
	for _, body := range []string{asking, deletion, `{"jsonrpc":"2.0","id":"a","method":"tools\/list","params":{"cursor":""}}`, `{"jsonrpc":"2.0","id":1,"method":"ping"}`} {
		f.Add([]byte(body), false)
	}
	f.Add([]byte(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"whoami","_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}}}`), true)
	x := newExecuted()
	f.Fuzz(func(t *testing.T, body []byte, newest bool) {
		m, fault := readMessage(body)
		if fault != nil {
			return
		}
		want := m.method
		if m.method == methodCallTool {
			want += " " + m.tool
		}
		version := ""
		if newest {
			version = stateless
		}
		for _, seen := range x.of(body, version) {
			if seen != want {
				t.Fatalf("the gate has decided about %q, the SDK has carried out %q", want, fmt.Sprint(seen))
			}
		}
	})
}

// The middleware protects without the gate: messages that carry no principal, and tools that the token may not call.
func TestTheMiddlewareIsTheAuthority(t *testing.T) {
	e, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	theirs, ours := mcp.NewInMemoryTransports()
	if _, err := e.server.Connect(t.Context(), ours, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := mcp.NewClient(&mcp.Implementation{Name: "x"}, nil).Connect(t.Context(), theirs, nil); err == nil || !strings.Contains(err.Error(), "bearer token") {
		t.Errorf("a client without a principal: %v", err)
	}
}
