package mcpapi

import (
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"strings"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"

	"github.com/refold-dev/refold/events/jsonb"
)

// Methods of the protocol that this edge answers. All others are unknown to it: it has no prompts, no resources, and
// nothing to subscribe to, so no stream stays open for them.
const (
	methodInitialize = "initialize"
	methodDiscover   = "server/discover"
	methodPing       = "ping"
	methodListTools  = "tools/list"
	methodCallTool   = "tools/call"
)

var methods = []string{
	methodInitialize, methodDiscover, methodPing, methodListTools, methodCallTool,
	"notifications/initialized", "notifications/cancelled", "notifications/progress", "notifications/roots/list_changed",
}

// withSessions are the methods that the stateless revisions do not have.
var withSessions = []string{methodInitialize, methodPing}

const requestIDBytesMax = 200

// stateless is the revision of the protocol that did away with sessions.
const stateless = "2026-07-28"

// message is what the gate must know of one JSON-RPC message. It is read more strictly than the SDK reads: whatever two
// decoders might read differently (arrays, repeated names, names in another case, something before or behind the object)
// is refused, so that what the gate lets pass is what is carried out.
type message struct {
	method   string // empty for an answer of the client
	id       any    // string or int64; nil for notifications
	tool     string // of tools/call
	client   string // of initialize: the client's name
	isAnswer bool
}

var envelopeMembers = []string{"jsonrpc", "id", "method", "params", "result", "error"}

func malformed(detail string) *jsonrpc.Error {
	return &jsonrpc.Error{Code: jsonrpc.CodeInvalidRequest, Message: detail}
}

// readMessage reads the body of a request.
func readMessage(body []byte) (message, *jsonrpc.Error) {
	var m message
	if err := jsonb.CheckObject(body, envelopeMembers); err != nil {
		return unfit(body, err)
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(body, &members); err != nil {
		return m, malformed("want one JSON-RPC message")
	}
	if version, ok := textOf(members["jsonrpc"]); !ok || version != "2.0" {
		return m, malformed(`jsonrpc: want "2.0"`)
	}
	id, err := requestID(members["id"])
	if err != nil {
		return m, malformed(err.Error())
	}
	m.id = id
	method, there := members["method"]
	if !there {
		m.isAnswer = true
		return m, checkAnswer(m, members)
	}
	var ok bool
	if m.method, ok = textOf(method); !ok {
		return m, malformed("method: want a string")
	}
	if members["result"] != nil || members["error"] != nil {
		return m, malformed("a request has no result and no error")
	}
	return m, m.readParams(members["params"])
}

// unfit answers what is no message. Where only an argument is at fault, half a character of a text that was cut, say, the
// answer is one to the request, so that the model that made it is told.
func unfit(body []byte, err error) (message, *jsonrpc.Error) {
	var m message
	var where *jsonb.PointerError
	if !errors.As(err, &where) || !strings.HasPrefix(where.Pointer, "/params/arguments/") {
		return m, &jsonrpc.Error{Code: jsonrpc.CodeParseError, Message: "want one JSON-RPC message: " + err.Error()}
	}
	var loose struct {
		ID json.RawMessage `json:"id"`
	}
	if json.Unmarshal(body, &loose) == nil {
		m.id, _ = requestID(loose.ID)
	}
	return m, &jsonrpc.Error{Code: jsonrpc.CodeInvalidParams, Message: err.Error() + "; nothing was done"}
}

func checkAnswer(m message, members map[string]json.RawMessage) *jsonrpc.Error {
	if m.id == nil || members["params"] != nil || (members["result"] == nil) == (members["error"] == nil) {
		return malformed("neither a request nor an answer")
	}
	return nil
}

// readParams finds what the decision about a method rests on.
func (m *message) readParams(raw json.RawMessage) *jsonrpc.Error {
	if raw == nil {
		if m.method == methodCallTool || m.method == methodInitialize {
			return &jsonrpc.Error{Code: jsonrpc.CodeInvalidParams, Message: m.method + ": params are missing"}
		}
		return nil
	}
	var params map[string]json.RawMessage
	if err := json.Unmarshal(raw, &params); err != nil {
		return &jsonrpc.Error{Code: jsonrpc.CodeInvalidParams, Message: "params: want an object"}
	}
	switch m.method {
	case methodCallTool:
		name, ok := textOf(params["name"])
		if !ok {
			return &jsonrpc.Error{Code: jsonrpc.CodeInvalidParams, Message: "params/name: want a string"}
		}
		m.tool = name
	case methodInitialize:
		var info map[string]json.RawMessage
		if json.Unmarshal(params["clientInfo"], &info) == nil {
			m.client, _ = textOf(info["name"])
		}
		if err := checkClient(m.client); err != nil {
			return &jsonrpc.Error{Code: jsonrpc.CodeInvalidParams, Message: "params/clientInfo/name: " + err.Error()}
		}
	}
	return nil
}

func (m message) isCall() bool { return m.method != "" && m.id != nil }

// isUnheard tells a notification that means nothing here: those get no answer.
func (m message) isUnheard() bool { return m.method != "" && m.id == nil && !m.known() }

func (m message) known() bool { return slices.Contains(methods, m.method) }

func textOf(raw json.RawMessage) (text string, ok bool) {
	if len(raw) == 0 || raw[0] != '"' {
		return "", false
	}
	err := json.Unmarshal(raw, &text)
	return text, err == nil
}

// requestID takes a string or a whole number. The SDK cuts the fraction of a number off, so two ids could become one.
func requestID(raw json.RawMessage) (any, error) {
	if raw == nil {
		return nil, nil
	}
	if text, ok := textOf(raw); ok {
		if text == "" || len(text) > requestIDBytesMax {
			return nil, errors.New("id: want 1 to 200 bytes")
		}
		return text, nil
	}
	number, err := strconv.ParseInt(string(raw), 10, 54)
	if err != nil {
		return nil, errors.New("id: want a string or a whole number")
	}
	return number, nil
}

// jsonID is the id as the SDK has it.
func (m message) jsonID() jsonrpc.ID {
	id := m.id
	if number, ok := id.(int64); ok {
		id = float64(number)
	}
	made, _ := jsonrpc.MakeID(id) // nil, a string or a float64
	return made
}
