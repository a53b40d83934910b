package events_test

import (
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/refold-dev/refold/events"
)

// TestEveryPayloadIsCovered finds the types that implement Payload in the source, so that none can be added without
// a kind that Decode knows, a place in Kinds and a golden file.
func TestEveryPayloadIsCovered(t *testing.T) {
	types := payloadTypes(t)
	covered := map[string]bool{}
	for kind := range kindsOfGoldenFiles(t) {
		p, err := events.Decode(kind, mustRead(t, filepath.Join("testdata", kind+".json")))
		if err != nil {
			t.Errorf("Decode does not know the golden file of %s: %v", kind, err)
			continue
		}
		covered[reflect.TypeOf(p).Elem().Name()] = true
	}
	for name := range types {
		if !covered[name] {
			t.Errorf("%s implements Payload, but no golden file decodes to it", name)
		}
	}
	if len(types) != len(covered) {
		t.Errorf("%d types implement Payload, %d come out of Decode", len(types), len(covered))
	}
}

func TestKindsAreThoseOfTheGoldenFiles(t *testing.T) {
	want := kindsOfGoldenFiles(t)
	got := map[string]bool{}
	for _, kind := range events.Kinds() {
		got[kind] = true
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("kinds (-golden files +Kinds):\n%s", diff)
	}
}

func kindsOfGoldenFiles(t *testing.T) map[string]bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("testdata", "*.json"))
	if err != nil {
		t.Fatal(err)
	}
	kinds := map[string]bool{}
	for _, file := range files {
		parts := strings.SplitN(filepath.Base(file), ".", 4) // entity, what happened, version, rest
		kinds[strings.Join(parts[:3], ".")] = true
	}
	return kinds
}

// payloadTypes returns the receivers of all methods named payload.
func payloadTypes(t *testing.T) map[string]bool {
	t.Helper()
	types := map[string]bool{}
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range parsed.Decls {
			method, ok := d.(*ast.FuncDecl)
			if !ok || method.Recv == nil || method.Name.Name != "payload" || len(method.Type.Params.List) > 0 {
				continue
			}
			receiver := method.Recv.List[0].Type
			pointer, ok := receiver.(*ast.StarExpr)
			if !ok {
				t.Errorf("%s: a payload must be used as a pointer", file)
				continue
			}
			types[pointer.X.(*ast.Ident).Name] = true
		}
	}
	if len(types) == 0 {
		t.Fatal("no type implements Payload")
	}
	return types
}

func mustRead(t testing.TB, file string) []byte {
	t.Helper()
	data, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("%s: make it with -write-missing-golden-files", file)
	}
	if err != nil {
		t.Fatal(err)
	}
	return data
}
