package httpapi

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/refold-dev/refold/events/jsonb"
	"github.com/refold-dev/refold/internal/command"
)

// codesOf finds every code that the sources name: as the first argument of what makes a problem, as the member code of
// one, and as a constant of the types whose values become codes.
func codesOf(t *testing.T, dirs ...string) map[string]bool {
	t.Helper()
	codes := map[string]bool{}
	take := func(e ast.Expr) {
		if lit, ok := e.(*ast.BasicLit); ok && lit.Kind == token.STRING {
			if code, err := strconv.Unquote(lit.Value); err == nil && code != "" {
				codes[code] = true
			}
		}
	}
	for _, dir := range dirs {
		files, err := filepath.Glob(filepath.Join(dir, "*.go"))
		if err != nil || len(files) == 0 {
			t.Fatalf("no sources in %s: %v", dir, err)
		}
		for _, name := range files {
			if strings.HasSuffix(name, "_test.go") {
				continue
			}
			file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
			if err != nil {
				t.Fatal(err)
			}
			ast.Inspect(file, func(n ast.Node) bool {
				switch n := n.(type) {
				case *ast.CallExpr:
					if f, ok := n.Fun.(*ast.Ident); ok && (f.Name == "badRequest" || f.Name == "unavailable") {
						take(n.Args[0])
					}
				case *ast.CompositeLit:
					if of, ok := n.Type.(*ast.Ident); ok && of.Name == "problem" {
						for _, member := range n.Elts {
							if pair, ok := member.(*ast.KeyValueExpr); ok && fmt.Sprint(pair.Key) == "code" {
								take(pair.Value)
							}
						}
					}
				case *ast.ValueSpec:
					of, ok := n.Type.(*ast.Ident)
					if ok && of.Name == "Code" || strings.HasPrefix(n.Names[0].Name, "code") {
						for _, value := range n.Values {
							take(value)
						}
					}
				}
				return true
			})
		}
	}
	return codes
}

func TestEveryProblemIsExplained(t *testing.T) {
	used := codesOf(t, ".", "../command", "../auth")
	if len(used) < 20 || !used["sealed"] || !used["not_found"] || !used[codeUnknown] {
		t.Fatalf("found only %v: the test looks in the wrong place", used)
	}
	used["unauthorized"] = true // what no token is called
	for code := range used {
		m, ok := meanings[code]
		if !ok {
			t.Errorf("problem %q is used and not explained in problems.go", code)
			continue
		}
		if m.meaning == "" || m.remedy == "" || http.StatusText(m.status) == "" {
			t.Errorf("problem %q: %+v", code, m)
		}
	}
	for code := range meanings {
		if !used[code] {
			t.Errorf("problem %q is explained and used nowhere", code)
		}
	}
	for code, status := range refusalStatus {
		if m := meanings[string(code)]; m.status != status {
			t.Errorf("refusal %s answers %d and is explained as %d", code, status, m.status)
		}
	}
	if m := meanings[string(command.NotFound)]; m.status != notFound().status {
		t.Errorf("not_found is explained as %d", m.status)
	}
}

// What openapi.yaml says about limits is what holds.
func TestLimitsAreDocumented(t *testing.T) {
	document := strings.Join(strings.Fields(string(openAPI)), " ")
	for _, limit := range []string{
		fmt.Sprintf("a body has at most %d bytes", BodyBytesMax), fmt.Sprintf("nested at most %d deep", jsonb.DepthMax),
		fmt.Sprintf("headers have at most %d bytes", headerBytesMax), fmt.Sprintf("a page has at most %d items", limitMax),
		"a question waits at most 30 s",
	} {
		if !strings.Contains(document, limit) {
			t.Errorf("openapi.yaml does not say %q", limit)
		}
	}
}
