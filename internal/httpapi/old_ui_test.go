package httpapi_test

import (
	"encoding/json"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"
)

// uiRequest is one that OpenMemory's user interface sends, and what it reads of the answer: members, with the kind of value
// that it takes them for. $memory, $app and $user stand for ids and for the user.
type uiRequest struct {
	Name, Method, Path string
	Body               json.RawMessage
	Reads              map[string]string
}

// isUIDate reads a text as the interface does, which puts a Z behind it.
func isUIDate(v any) bool {
	text, _ := v.(string)
	at, err := time.Parse(time.RFC3339Nano, text+"Z") // as new Date(text + "Z")
	return err == nil && time.Since(at).Abs() < time.Hour
}

// uiKinds say whether a value is of the kind that the interface takes it for.
var uiKinds = map[string]func(any) bool{
	"text":   func(v any) bool { s, ok := v.(string); return ok && s != "" },
	"number": func(v any) bool { _, ok := v.(float64); return ok },
	"seconds": func(v any) bool {
		n, ok := v.(float64)
		return ok && time.Since(time.Unix(int64(n), 0)).Abs() < time.Hour
	},
	"yes or no":    func(v any) bool { _, ok := v.(bool); return ok },
	"list":         func(v any) bool { _, ok := v.([]any); return ok },
	"object":       func(v any) bool { _, ok := v.(map[string]any); return ok },
	"date":         isUIDate,
	"date or none": func(v any) bool { return v == nil || isUIDate(v) },
	"any":          func(any) bool { return true },
}

// member finds a member by its path; a number is a place in a list.
func member(v any, path string) (any, bool) {
	for step := range strings.SplitSeq(path, ".") {
		switch here := v.(type) {
		case map[string]any:
			one, ok := here[step]
			if !ok {
				return nil, false
			}
			v = one
		case []any:
			if len(here) == 0 {
				return nil, false
			}
			v = here[0]
		default:
			return nil, false
		}
	}
	return v, true
}

// TestRequestsOfTheUserInterface sends what the interface sends, in the order of somebody who uses it, and reads the answers
// as it does.
func TestRequestsOfTheUserInterface(t *testing.T) {
	s := newStack(t)
	s.noted(t)
	c := s.client(t, "a", "alice")
	text, err := os.ReadFile("testdata/openmemory_ui.json")
	check(t, err)
	var requests []uiRequest
	check(t, json.Unmarshal(text, &requests))
	if len(requests) < 20 {
		t.Fatalf("only %d requests", len(requests))
	}
	ids := map[string]string{"$user": "alice"}
	dates := 0
	for _, r := range requests {
		path, body := r.Path, string(r.Body)
		for name, id := range ids {
			path, body = strings.ReplaceAll(path, name, id), strings.ReplaceAll(body, name, id)
		}
		c.position = ""
		a := c.do(r.Method, "/api/v1/"+path, body, "If-Match", "")
		if strings.Contains(path, "access-log") {
			for end := time.Now().Add(20 * time.Second); strings.Contains(a.body, `"logs":[]`) && time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
				a = c.do(r.Method, "/api/v1/"+path, body, "If-Match", "") // accesses come in a little later
			}
		}
		if a.status != http.StatusOK {
			t.Errorf("%s: %d %s", r.Name, a.status, a.body)
			continue
		}
		var v any
		if len(r.Reads) > 0 {
			check(t, json.Unmarshal([]byte(a.body), &v))
		}
		for where, kind := range r.Reads {
			is := uiKinds[kind]
			if is == nil {
				t.Fatalf("%s: %q is no kind", r.Name, kind)
			}
			if strings.HasPrefix(kind, "date") {
				dates++
			}
			if got, there := member(v, where); !there || !is(got) {
				t.Errorf("%s: %s is %v, read as %s: %s", r.Name, where, got, kind, a.body)
			}
		}
		for name, where := range map[string]string{"create": "id", "look at the memory": "app_id"} {
			if r.Name == name {
				got, _ := member(v, where)
				ids[map[string]string{"id": "$memory", "app_id": "$app"}[where]], _ = got.(string)
			}
		}
	}
	if dates < 4 {
		t.Errorf("only %d dates were read", dates)
	}
}
