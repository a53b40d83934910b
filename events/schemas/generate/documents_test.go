package main

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/jsonschema-go/jsonschema"
	"github.com/google/uuid"

	"github.com/refold-dev/refold/events"
	"github.com/refold-dev/refold/events/commands"
)

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestUpToDate: what is checked in is what the types say, and nothing else lies there.
func TestUpToDate(t *testing.T) {
	want, err := documents()
	check(t, err)
	got := map[string]bool{}
	for _, pattern := range []string{"*.json", "*/*.json"} {
		files, err := filepath.Glob(filepath.Join("..", pattern))
		check(t, err)
		for _, file := range files {
			name, err := filepath.Rel("..", file)
			check(t, err)
			content, err := os.ReadFile(file)
			check(t, err)
			if got[filepath.ToSlash(name)] = true; string(content) != string(want[filepath.ToSlash(name)]) {
				t.Errorf("%s is not up to date: run 'make generate'", name)
			}
		}
	}
	if diff := cmp.Diff(slices.Sorted(maps.Keys(want)), slices.Sorted(maps.Keys(got))); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
}

func TestWriteMakesThem(t *testing.T) {
	dir := t.TempDir()
	check(t, os.MkdirAll(filepath.Join(dir, "events"), 0o755))
	check(t, os.WriteFile(filepath.Join(dir, "events", "memory.gone.v1.json"), nil, 0o644))
	check(t, write(dir))
	if _, err := os.Stat(filepath.Join(dir, "events", "memory.gone.v1.json")); err == nil {
		t.Error("a file of a kind that is no more is left")
	}
	if _, err := os.Stat(filepath.Join(dir, "commands", "memory.add.json")); err != nil {
		t.Error(err)
	}
}

// TestAllAreThere: a kind or a command that was added has a schema.
func TestAllAreThere(t *testing.T) {
	var haveKinds, haveNames []string
	for _, p := range kinds {
		haveKinds = append(haveKinds, p.Kind())
	}
	for _, c := range wishes {
		haveNames = append(haveNames, c.Name())
	}
	wantKinds, wantNames := events.Kinds(), commands.Names()
	for _, list := range [][]string{haveKinds, haveNames, wantKinds, wantNames} {
		slices.Sort(list)
	}
	if diff := cmp.Diff(wantKinds, haveKinds); diff != "" {
		t.Errorf("kinds (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(wantNames, haveNames); diff != "" {
		t.Errorf("commands (-want +got):\n%s", diff)
	}
}

func compiled(t testing.TB, file string) *jsonschema.Resolved {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", file))
	check(t, err)
	var s jsonschema.Schema
	check(t, json.Unmarshal(text, &s))
	resolved, err := s.Resolve(nil)
	check(t, err)
	return resolved
}

func valid(t testing.TB, s *jsonschema.Resolved, text string) error {
	t.Helper()
	var value any
	check(t, json.Unmarshal([]byte(text), &value))
	return s.Validate(value)
}

// TestGoldenEvents: what journals hold fits the schema of its kind, and every member of it is declared there.
func TestGoldenEvents(t *testing.T) {
	files, err := filepath.Glob("../../testdata/*.json")
	check(t, err)
	if len(files) < len(kinds) {
		t.Fatalf("only %d golden files", len(files))
	}
	for _, file := range files {
		kind := kindOf(file)
		data, err := os.ReadFile(file)
		check(t, err)
		if err := valid(t, compiled(t, "events/"+kind+".json"), string(data)); err != nil {
			t.Errorf("%s: %v", file, err)
		}
		var members map[string]any
		check(t, json.Unmarshal(data, &members))
		undeclared(t, file, payload(kinds[slices.IndexFunc(kinds, func(p events.Payload) bool { return p.Kind() == kind })]), members)
	}
}

func kindOf(file string) string {
	parts := strings.SplitN(filepath.Base(file), ".", 4)
	return strings.Join(parts[:3], ".")
}

func undeclared(t *testing.T, where string, s schema, members map[string]any) {
	t.Helper()
	properties, ok := s["properties"].(schema)
	if !ok {
		return // free form
	}
	for name, value := range members {
		declared, ok := properties[name].(schema)
		if !ok {
			t.Errorf("%s: member %s is not declared", where, name)
			continue
		}
		if items, ok := declared["items"].(schema); ok {
			for _, item := range value.([]any) {
				if object, ok := item.(map[string]any); ok {
					undeclared(t, where+"/"+name, items, object)
				}
			}
		}
		if object, ok := value.(map[string]any); ok {
			undeclared(t, where+"/"+name, declared, object)
		}
	}
}

// TestSchemasAndDecoderAgree spoils every golden event in all the ways that a schema can tell: schema and decoder refuse
// the same ones.
func TestSchemasAndDecoderAgree(t *testing.T) {
	files, err := filepath.Glob("../../testdata/*.json")
	check(t, err)
	spoiled := 0
	for _, file := range files {
		kind := kindOf(file)
		data, err := os.ReadFile(file)
		check(t, err)
		resolved := compiled(t, "events/"+kind+".json")
		for what, text := range spoil(t, string(data)) {
			spoiled++
			_, refused := events.Decode(kind, []byte(text))
			if err := valid(t, resolved, text); (err == nil) != (refused == nil) {
				t.Errorf("%s, %s:\n%s\nschema %v\ndecoder %v", filepath.Base(file), what, text, err, refused)
			}
		}
	}
	if spoiled < 500 {
		t.Errorf("only %d cases", spoiled)
	}
}

// spoil takes each member away or gives it another value. The hash of the request, and the object that holds it, are the
// envelope's: they are left alone, and so is the inside of what is free.
func spoil(t testing.TB, text string) map[string]string {
	t.Helper()
	out := map[string]string{}
	var root map[string]any
	check(t, json.Unmarshal([]byte(text), &root))
	var walk func(path string, object map[string]any)
	walk = func(path string, object map[string]any) {
		for name, value := range maps.Clone(object) {
			at := path + "/" + name
			if name == "request_hash" {
				continue
			}
			if nested, ok := value.(map[string]any); ok && name != "metadata" && name != "settings" {
				walk(at, nested)
				continue
			}
			for what, other := range map[string]any{"a number": 7.5, "a text": "x", "true": true, "null": nil, "a list": []any{"x"}, "an object": map[string]any{}} {
				object[name] = other
				out[at+" is "+what] = written(t, root)
			}
			delete(object, name)
			out[at+" is absent"] = written(t, root)
			object[name] = value
		}
	}
	walk("", root)
	root["unknown"] = 1
	out["an unknown member"] = written(t, root)
	return out
}

func written(t testing.TB, value any) string {
	t.Helper()
	text, err := json.Marshal(value)
	check(t, err)
	return string(text)
}

const someID = "01935cae-bf00-8000-9000-00000000de10"

// bodiesOf are good bodies of each command.
var bodiesOf = map[string][]string{
	"memory.add":      {`{"content":"c"}`, `{"content":"c","app":"notes","categories":["a","b"],"metadata":{"k":[1,2.50]}}`},
	"memory.change":   {`{"content":"d"}`, `{"categories":[]}`, `{"content":"d","categories":["a"],"metadata":{}}`},
	"memory.archive":  {`{}`},
	"memory.pause":    {`{}`},
	"memory.activate": {`{}`},
	"memory.delete":   {`{}`},
	"memory.undelete": {`{}`},
	"memory.restore":  {`{"version":1}`, `{"version":10000}`},
	"app.change":      {`{"description":"d"}`, `{"description":"","metadata":{"k":1}}`},
	"app.pause":       {`{}`},
	"app.activate":    {`{}`},
	"user.change":     {`{"name":"Ann","email":""}`, `{"metadata":{}}`},
	"app.rule-access": {
		`{"rule":"` + someID + `","object_type":"memory","object_id":"` + someID + `","effect":"deny"}`,
		`{"rule":"` + someID + `","object_type":"category","effect":"allow"}`,
	},
	"app.withdraw-access":     {`{"rule":"` + someID + `"}`},
	"archive-policy.make":     {`{"criteria":"global","days":30}`, `{"criteria":"app","criteria_id":"` + someID + `","days":36500}`},
	"archive-policy.change":   {`{"criteria":"global","days":1}`, `{"criteria":"category","criteria_id":"` + someID + `","days":30}`},
	"archive-policy.withdraw": {`{}`},
}

// TestCommandsAndDecoderAgree: of good and spoiled bodies, alone and in a batch, schema and decoder refuse the same ones.
func TestCommandsAndDecoderAgree(t *testing.T) {
	inBatch := compiled(t, "wire/batch.json")
	for _, c := range wishes {
		resolved := compiled(t, "commands/"+c.Name()+".json")
		good := bodiesOf[c.Name()]
		if len(good) == 0 {
			t.Errorf("%s: no body to try", c.Name())
		}
		all := map[string]string{}
		for _, body := range good {
			all["good "+body] = body
			maps.Copy(all, spoil(t, body))
		}
		maps.Copy(all, extremes(c.Name()))
		accepted := 0
		for what, body := range all {
			target := uuid.MustParse(someID)
			id := `,"id":"` + someID + `"`
			if commands.Makes(c.Name()) {
				target, id = uuid.Nil, ""
			}
			_, refused := commands.Decode(c.Name(), target, []byte(body))
			if err := valid(t, resolved, body); (err == nil) != (refused == nil) {
				t.Errorf("%s, %s:\n%s\nschema %v\ndecoder %v", c.Name(), what, body, err, refused)
			}
			batch := `{"commands":[{"key":"k","command":"` + c.Name() + `","version":"*","body":` + body + id + `}]}`
			if err := valid(t, inBatch, batch); (err == nil) != (refused == nil) {
				t.Errorf("%s, %s, in a batch:\n%s\nschema %v\ndecoder %v", c.Name(), what, batch, err, refused)
			}
			if refused == nil {
				accepted++
			}
		}
		if accepted < len(good) {
			t.Errorf("%s: %d bodies accepted, %d are good", c.Name(), accepted, len(good))
		}
	}
}

// extremes lie at the bounds, and beyond.
func extremes(name string) map[string]string {
	list := func(n int) string { return `["` + strings.Join(slices.Repeat([]string{"c"}, n), `","`) + `"]` }
	text := func(n int) string { return `"` + strings.Repeat("ü", n) + `"` }
	out := map[string]string{"nothing": `{}`, "no object": `[]`}
	switch name {
	case "memory.add":
		for what, member := range map[string]string{
			"longest name": `"app":` + text(commands.NameRunesMax), "too long a name": `"app":` + text(commands.NameRunesMax+1), "no name": `"app":""`,
			"most categories": `"categories":` + list(commands.CategoriesMax), "too many": `"categories":` + list(commands.CategoriesMax+1),
			"a category without a name": `"categories":[""]`, "metadata that is a list": `"metadata":[]`,
		} {
			out[what] = `{"content":"c",` + member + `}`
		}
		out["no content"] = `{"content":""}`
	case "app.change":
		out["longest description"] = `{"description":"` + strings.Repeat("d", 64<<10) + `"}`
		out["too long a description"] = `{"description":"` + strings.Repeat("d", 64<<10+1) + `"}`
	case "user.change":
		out["longest name"] = `{"name":"` + strings.Repeat("n", 1000) + `"}`
		out["too long a name"] = `{"name":"` + strings.Repeat("n", 1001) + `"}`
	case "archive-policy.make", "archive-policy.change":
		out["global with an id"] = `{"criteria":"global","criteria_id":"` + someID + `","days":30}`
		out["of nothing"] = `{"criteria":"app","criteria_id":"` + uuid.Nil.String() + `","days":30}`
		out["at once"] = `{"criteria":"global","days":0}`
		out["never"] = `{"criteria":"global","days":36501}`
	case "app.rule-access", "app.withdraw-access":
		out["nobody's rule"] = `{"rule":"` + uuid.Nil.String() + `","object_type":"memory","effect":"deny"}`
		out["unknown effect"] = `{"rule":"` + someID + `","object_type":"memory","effect":"maybe"}`
		out["unknown type"] = `{"rule":"` + someID + `","object_type":"tenant","effect":"deny"}`
	}
	return out
}

// TestBatches: the form around the commands.
func TestBatches(t *testing.T) {
	s := compiled(t, "wire/batch.json")
	one := `{"key":"k","command":"memory.delete","id":"` + someID + `"}`
	for text, good := range map[string]bool{
		`{"commands":[` + one + `]}`: true,
		`{"commands":[` + strings.Join(slices.Repeat([]string{one}, commands.BatchMax), ",") + `]}`:   true,
		`{"commands":[` + strings.Join(slices.Repeat([]string{one}, commands.BatchMax+1), ",") + `]}`: false,
		`{"commands":[]}`:                     false,
		`{}`:                                  false,
		`{"commands":[` + one + `],"more":1}`: false,
		`{"commands":[{"key":"k","command":"memory.delete"}]}`:                                    false,
		`{"commands":[{"key":"a b","command":"memory.add","body":{"content":"c"}}]}`:              false,
		`{"commands":[{"key":"k","command":"memory.forget","body":{}}]}`:                          false,
		`{"commands":[{"key":"k","command":"memory.add","body":{"content":"c"},"version":"01"}]}`: false,
	} {
		received, err := commands.DecodeBatch([]byte(text))
		for _, r := range received {
			if err == nil {
				err = r.Err
			}
		}
		if got := valid(t, s, text); (got == nil) != good || (err == nil) != good {
			t.Errorf("%.100s: schema %v, decoder %v, want good = %v", text, got, err, good)
		}
	}
}

// TestAnswers: what the plane answers fits.
func TestAnswers(t *testing.T) {
	id := uuid.MustParse(someID)
	accepted := commands.Result{Outcome: commands.Accepted, ID: &id, Version: 3, Changed: true, Position: "p"}
	unknown := commands.Result{Outcome: commands.Unknown, Problem: &commands.Problem{Type: "t", Title: "x", Status: 503, Code: "outcome_unknown", Retryable: true}}
	for _, r := range []commands.Result{accepted, unknown} {
		if err := valid(t, compiled(t, "wire/result.json"), written(t, r)); err != nil {
			t.Error(err)
		}
	}
	for _, r := range []commands.BatchResult{{Results: []commands.Result{accepted, unknown}}, {Problem: unknown.Problem}} {
		if err := valid(t, compiled(t, "wire/batch-result.json"), written(t, r)); err != nil {
			t.Error(err)
		}
	}
	if err := valid(t, compiled(t, "wire/result.json"), `{"outcome":"perhaps"}`); err == nil {
		t.Error("an outcome that does not exist fits")
	}
}

// TestAsyncAPI: every reference leads somewhere, and every operation has a channel.
func TestAsyncAPI(t *testing.T) {
	text, err := os.ReadFile("../asyncapi.json")
	check(t, err)
	var document map[string]any
	check(t, json.Unmarshal(text, &document))
	if document["asyncapi"] != "3.0.0" {
		t.Errorf("version %v", document["asyncapi"])
	}
	met := 0
	var walk func(any)
	walk = func(value any) {
		switch value := value.(type) {
		case []any:
			for _, v := range value {
				walk(v)
			}
		case map[string]any:
			if to, ok := value["$ref"].(string); ok {
				met++
				if !leads(document, to) {
					t.Errorf("%s leads nowhere", to)
				}
			}
			for _, v := range value {
				walk(v)
			}
		}
	}
	walk(document)
	if met < 3*(len(kinds)+len(wishes)) {
		t.Errorf("only %d references", met)
	}
	for name, operation := range document["operations"].(map[string]any) {
		if o := operation.(map[string]any); o["channel"] == nil || o["action"] != "send" && o["action"] != "receive" {
			t.Errorf("operation %s: %v", name, o)
		}
	}
}

func leads(document map[string]any, to string) bool {
	var at any = document
	for _, part := range strings.Split(strings.TrimPrefix(to, "#/"), "/") {
		object, ok := at.(map[string]any)
		if !ok || object[part] == nil {
			return false
		}
		at = object[part]
	}
	return true
}
