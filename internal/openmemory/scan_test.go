package openmemory

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/refold-dev/refold/events/storable"
)

// collect reads a document as the import does, and gives back what it saw.
func collect(document []byte) (map[string][]string, error) {
	out := map[string][]string{}
	s := newScanner(bytes.NewReader(document), isArray)
	err := s.scan(func(e element) error {
		value := string(e.raw)
		if e.fault != "" {
			value = "fault: " + e.fault
		}
		out[e.member] = append(out[e.member], value)
		return nil
	})
	for name := range s.members {
		if _, ok := out[name]; !ok {
			out[name] = []string{}
		}
	}
	return out, err
}

func TestScannerReadsItemByItem(t *testing.T) {
	t.Parallel()
	got, err := collect([]byte(" { \"apps\" : [ 1 ,{\"a\":[\"]\\\"\"]}, \"x\"] ,\"user\":{\"apps\":[2]},\"memories\":[], \"n\":-1.5e3 }\n "))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string][]string{
		"apps": {"1", `{"a":["]\""]}`, `"x"`}, "user": {`{"apps":[2]}`}, "memories": {}, "n": {"-1.5e3"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestScannerRefusesBrokenDocuments(t *testing.T) {
	t.Parallel()
	for name, document := range map[string]string{
		"empty":                 ``,
		"blank":                 "  \n",
		"array":                 `[]`,
		"byte order mark":       "\ufeff{}",
		"unclosed object":       `{"user":{}`,
		"unclosed array":        `{"apps":[{}`,
		"unclosed text":         `{"user":"abc`,
		"number at the end":     `{"n":12`,
		"comma before bracket":  `{"apps":[1,]}`,
		"comma before brace":    `{"user":{},}`,
		"missing comma":         `{"apps":[{} {}]}`,
		"missing colon":         `{"user" {}}`,
		"name without quotes":   `{user:{}}`,
		"mixed brackets":        `{"user":{"a":[1}]}`,
		"bad word":              `{"user":nul}`,
		"raw control character": "{\"user\":\"a\nb\"}",
		"second document":       `{}{}`,
		"garbage behind":        `{} x`,
		"member twice":          `{"apps":[],"apps":[]}`,
		"member twice, escaped": `{"apps":[],"\u0061pps":[]}`,
		"object for array":      `{"apps":{}}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := collect([]byte(document))
			var file *FileError
			if !errors.As(err, &file) {
				t.Fatalf("got %v, want a FileError", err)
			}
		})
	}
}

func TestScannerGoesOnBehindWhatIsTooMuch(t *testing.T) {
	t.Parallel()
	deep := strings.Repeat("[", 10_000) + strings.Repeat("]", 10_000)
	long := `{"content":"` + strings.Repeat("x", RecordBytesMax) + `"}`
	got, err := collect([]byte(`{"memories":[` + deep + `,` + long + `,{"id":1}]}`))
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"fault: " + tooDeep(10_000), "fault: " + tooLong(len(long)), `{"id":1}`}
	if diff := cmp.Diff(want, got["memories"]); diff != "" {
		t.Error(diff)
	}
}

// FuzzScanner compares the scanner with encoding/json: both take the same documents, and see the same items in them.
func FuzzScanner(f *testing.F) {
	for _, seed := range []string{
		`{}`, `{"user":{"a":[1,2,{"b":null}]},"apps":[{},"x",1.5e-3,true]}`, `{"memories":[[[[]]]]}`, `{"a":"\ud83d\ude00\\\""}`,
		`{"apps":[1,]}`, `{"apps":[`, `{"x":1}{"y":2}`, "{\"a\":\"\x00\"}", `{"a":1,"a":2}`, `{"apps":null}`, ` {"memories" : [ ] } `,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, document []byte) {
		if len(document) > storable.NameBytesMax {
			return // a name might be longer than the scanner takes
		}
		got, err := collect(document)
		if err != nil {
			var file *FileError
			if !errors.As(err, &file) {
				t.Fatalf("error %v is no FileError", err)
			}
		}
		want, ok := reference(document)
		if strings.Contains(strings.Join(got["memories"], ""), "fault: ") || depthOf(document) > DepthMax {
			return // the two have different bounds
		}
		if ok != (err == nil) {
			t.Fatalf("scanner says %v, encoding/json says %v", err, ok)
		}
		if diff := cmp.Diff(want, got); ok && diff != "" {
			t.Error(diff)
		}
	})
}

// reference reads a document by encoding/json. ok is false for what the scanner must refuse.
func reference(document []byte) (_ map[string][]string, ok bool) {
	if !json.Valid(document) {
		return nil, false
	}
	d := json.NewDecoder(bytes.NewReader(document))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, false
	}
	out := map[string][]string{}
	for d.More() {
		t, err := d.Token()
		name, isText := t.(string)
		var value json.RawMessage
		if err != nil || !isText || d.Decode(&value) != nil {
			return nil, false
		}
		if _, twice := out[name]; twice {
			return nil, false
		}
		out[name] = []string{string(value)}
		if !isArray(name) {
			continue
		}
		var items []json.RawMessage
		if value[0] != '[' || json.Unmarshal(value, &items) != nil {
			return nil, false
		}
		out[name] = []string{}
		for _, item := range items {
			out[name] = append(out[name], string(item))
		}
	}
	return out, true
}
