// Package contract makes the OpenAPI document that is served, and the page about it, of the one that is written by hand:
// openapi.yaml says what is particular to each operation; which problems an operation may answer with follows from what it
// has, and what they mean from package problem. It is used when generating and by tests, never by a server.
package contract

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/refold-dev/refold/internal/auth"
	"github.com/refold-dev/refold/internal/problem"
)

// Documents are what is made of openapi.yaml.
type Documents struct {
	YAML, JSON []byte // the contract
	Page       []byte // operations with their scopes, and all problems, in Markdown
}

// Operation is one of the contract.
type Operation struct {
	ID, Method, Path, Summary string
	node, item                *yaml.Node
}

// methods of operations, in the order in which they are listed.
var methods = []string{"get", "post", "put", "patch", "delete"}

// Make fails on a document that is not of the form of openapi.yaml.
func Make(source []byte) (*Documents, error) {
	var document yaml.Node
	if err := yaml.Unmarshal(source, &document); err != nil {
		return nil, err
	}
	root := resolved(document.Content[0])
	operations, err := operationsOf(root)
	if err != nil {
		return nil, err
	}
	responses := child(child(root, "components"), "responses")
	statuses := statusesOf()
	for _, status := range slices.Sorted(maps.Keys(statuses)) {
		set(responses, nameOf(status), problemResponse(status, statuses[status]))
	}
	for _, o := range operations {
		o.addProblems()
	}
	out := &Documents{Page: page(operations)}
	var text bytes.Buffer
	encoder := yaml.NewEncoder(&text)
	encoder.SetIndent(2)
	if err := encoder.Encode(root); err != nil {
		return nil, err
	}
	out.YAML = text.Bytes()
	out.JSON, err = inOrder(root)
	return out, err
}

// resolved is a copy without anchors and aliases.
func resolved(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode {
		return resolved(n.Alias)
	}
	c := *n
	c.Anchor, c.Content = "", nil
	for _, one := range n.Content {
		c.Content = append(c.Content, resolved(one))
	}
	return &c
}

// child is the value of a member; nil when there is none.
func child(n *yaml.Node, name string) *yaml.Node {
	if n == nil {
		return nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == name {
			return n.Content[i+1]
		}
	}
	return nil
}

func text(n *yaml.Node, name string) string {
	if found := child(n, name); found != nil {
		return found.Value
	}
	return ""
}

// set puts a member at the end of an object, unless it is there.
func set(object *yaml.Node, name string, value any) {
	if child(object, name) != nil {
		return
	}
	var node yaml.Node
	_ = node.Encode(value) // maps, texts and numbers only
	key := &yaml.Node{Kind: yaml.ScalarNode, Value: name, Tag: "!!str"}
	if _, err := strconv.Atoi(name); err == nil {
		key.Style = yaml.DoubleQuotedStyle
	}
	object.Content = append(object.Content, key, &node)
}

func operationsOf(root *yaml.Node) (all []Operation, err error) {
	paths := child(root, "paths")
	if paths == nil {
		return nil, fmt.Errorf("the document has no paths")
	}
	for i := 0; i+1 < len(paths.Content); i += 2 {
		for _, method := range methods {
			node := child(paths.Content[i+1], method)
			if node == nil {
				continue
			}
			o := Operation{ID: text(node, "operationId"), Method: strings.ToUpper(method), Path: paths.Content[i].Value, Summary: text(node, "summary"), node: node, item: paths.Content[i+1]}
			if _, known := auth.ScopeOf(o.ID); !known || child(node, "responses") == nil {
				return nil, fmt.Errorf("%s %s: operation %q has no scope or no responses", o.Method, o.Path, o.ID)
			}
			all = append(all, o)
		}
	}
	return all, nil
}

// has reports whether an operation has a parameter, by its name or by that of its component.
func (o Operation) has(name string) bool {
	for _, in := range []*yaml.Node{o.node, o.item} {
		parameters := child(in, "parameters")
		if parameters == nil {
			continue
		}
		for _, p := range parameters.Content {
			if text(p, "name") == name || strings.HasSuffix(text(p, "$ref"), "/"+name) {
				return true
			}
		}
	}
	return false
}

// Statuses are those of the problems that an operation may answer with.
func (o Operation) Statuses() []int {
	scope, _ := auth.ScopeOf(o.ID)
	statuses := map[int]bool{400: true, 431: true, 503: true}
	add := func(when bool, more ...int) {
		for _, status := range more {
			statuses[status] = statuses[status] || when
		}
	}
	asks := o.Method == http.MethodGet
	add(scope != auth.Open, 401, 403, 429)
	add(strings.Contains(o.Path, "{") || auth.ForOperators(o.ID), 404)
	add(!asks, 409, 413, 415, 422)
	add(!asks && !auth.ForOperators(o.ID), 404, 507)
	add(asks && scope != auth.Open, 404) // as an app that is not there, or by an operator who has nothing here
	add(o.has("Position") || o.has("after"), 409)
	add(o.has("cursor") || o.has("after"), 410)
	add(o.has("IfMatch") || o.has("IfMatchRequired"), 412)
	add(o.has("IfMatchRequired"), 428)
	var out []int
	for status, may := range statuses {
		if may {
			out = append(out, status)
		}
	}
	slices.Sort(out)
	return out
}

func (o Operation) addProblems() {
	responses := child(o.node, "responses")
	for _, status := range o.Statuses() {
		set(responses, strconv.Itoa(status), map[string]any{"$ref": "#/components/responses/" + nameOf(status)})
	}
	for i := 0; i+1 < len(responses.Content); i += 2 {
		if key := responses.Content[i]; key.Value == "default" { // at the end, where readers expect it
			pair := slices.Clone(responses.Content[i : i+2])
			responses.Content = append(slices.Delete(responses.Content, i, i+2), pair...)
			return
		}
	}
}

// statusesOf groups the codes of problems by status. Those of other edges alone are left out.
func statusesOf() map[int][]string {
	statuses := map[int][]string{}
	for code, m := range problem.Meanings {
		if !slices.Contains(elsewhere, code) {
			statuses[m.Status] = append(statuses[m.Status], code)
		}
	}
	for _, codes := range statuses {
		slices.Sort(codes)
	}
	return statuses
}

// elsewhere are the problems that only agents and producers meet.
var elsewhere = []string{"confirmation_required", "client_unnamed", "earlier_unsettled"}

func nameOf(status int) string {
	return "Problem" + strconv.Itoa(status)
}

// problemResponse is a response with an example for each code.
func problemResponse(status int, codes []string) map[string]any {
	examples, description := map[string]any{}, http.StatusText(status)+": "
	for i, code := range codes {
		m := problem.Meanings[code]
		examples[code] = map[string]any{"summary": m.Meaning, "value": example(code)}
		if i > 0 {
			description += ", "
		}
		description += "`" + code + "`"
	}
	out := map[string]any{
		"description": description + ".",
		"content": map[string]any{"application/problem+json": map[string]any{
			"schema": map[string]any{"$ref": "#/components/schemas/Problem"}, "examples": examples,
		}},
	}
	if status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable {
		out["headers"] = map[string]any{"Retry-After": map[string]any{"schema": map[string]any{"type": "integer"}, "description": "Seconds to wait before the next attempt."}}
	}
	return out
}

// example is a problem as an answer has it.
func example(code string) (members map[string]any) {
	m := problem.Meanings[code]
	p := problem.Problem{Status: m.Status, Code: code, Detail: m.Meaning, Retryable: m.Retryable}
	if code == "invalid" {
		p.Pointer, p.Detail = "/content", "content is empty"
	}
	text, _ := json.Marshal(p.Document()) // texts and numbers only
	_ = json.Unmarshal(text, &members)
	return members
}

// inOrder is a node as JSON, with its members in their order.
func inOrder(n *yaml.Node) ([]byte, error) {
	var out bytes.Buffer
	if err := write(&out, n); err != nil {
		return nil, err
	}
	var indented bytes.Buffer
	if err := json.Indent(&indented, out.Bytes(), "", " "); err != nil {
		return nil, err
	}
	indented.WriteByte('\n')
	return indented.Bytes(), nil
}

func write(out *bytes.Buffer, n *yaml.Node) error {
	switch n.Kind {
	case yaml.MappingNode:
		out.WriteByte('{')
		for i := 0; i+1 < len(n.Content); i += 2 {
			if i > 0 {
				out.WriteByte(',')
			}
			if err := writeValue(out, n.Content[i].Value); err != nil {
				return err
			}
			out.WriteByte(':')
			if err := write(out, n.Content[i+1]); err != nil {
				return err
			}
		}
		out.WriteByte('}')
		return nil
	case yaml.SequenceNode:
		out.WriteByte('[')
		for i, one := range n.Content {
			if i > 0 {
				out.WriteByte(',')
			}
			if err := write(out, one); err != nil {
				return err
			}
		}
		out.WriteByte(']')
		return nil
	}
	var value any
	if err := n.Decode(&value); err != nil {
		return err
	}
	return writeValue(out, value)
}

func writeValue(out *bytes.Buffer, value any) error {
	text := json.NewEncoder(out)
	text.SetEscapeHTML(false)
	return text.Encode(value)
}

// page is docs/api.md.
func page(operations []Operation) []byte {
	var out bytes.Buffer
	out.WriteString(`<!-- Generated by internal/httpapi/contract. DO NOT EDIT. -->
# The HTTP API: operations, scopes, problems

The contract is served at ` + "`/openapi.yaml` and `/openapi.json`, and `/explorer`" + ` shows it. A token needs the scope of the
operation: ` + "`refold token mint --scope memories:read,memories:write`" + `. Operations without a scope need no token. Those with
` + "`admin:`" + ` are for operators' tokens alone, and those tokens do nothing else.

## Operations

| operation | scope | what it does | problems |
|---|---|---|---|
`)
	for _, o := range operations {
		scope, _ := auth.ScopeOf(o.ID)
		var statuses []string
		for _, status := range o.Statuses() {
			statuses = append(statuses, strconv.Itoa(status))
		}
		fmt.Fprintf(&out, "| `%s %s` | %s | %s | %s |\n", o.Method, o.Path, strings.TrimPrefix("`"+scope+"`", "`"+auth.Open+"`"), o.Summary, strings.Join(statuses, " "))
	}
	out.WriteString(`
## Problems

Every refusal is ` + "`application/problem+json`" + `; programs look at its ` + "`code`" + `. Its ` + "`type`" + ` opens on the server, ` + "`/problems/{code}`" + `.

| status | code | repeat it? | what it means | what to do |
|---|---|---|---|---|
`)
	codes := slices.SortedFunc(maps.Keys(problem.Meanings), func(a, b string) int {
		if d := problem.Meanings[a].Status - problem.Meanings[b].Status; d != 0 {
			return d
		}
		return strings.Compare(a, b)
	})
	for _, code := range codes {
		m := problem.Meanings[code]
		again := ""
		if m.Retryable {
			again = "yes"
		}
		fmt.Fprintf(&out, "| %d | `%s` | %s | %s | %s |\n", m.Status, code, again, m.Meaning, m.Remedy)
	}
	out.WriteString("\nA request whose head the server cannot read at all (more than 128 KiB of headers, or no HTTP) is answered by Go's own server,\nin plain text, before any of this.\n")
	return out.Bytes()
}
