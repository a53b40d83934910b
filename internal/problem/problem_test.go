package problem

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
					if name := lastName(n.Fun); name == "BadRequest" || name == "Unavailable" {
						take(n.Args[0])
					}
				case *ast.CompositeLit:
					if lastName(n.Type) == "Problem" {
						for _, member := range n.Elts {
							if pair, ok := member.(*ast.KeyValueExpr); ok && fmt.Sprint(pair.Key) == "Code" {
								take(pair.Value)
							}
						}
					}
				case *ast.ValueSpec:
					of, ok := n.Type.(*ast.Ident)
					if ok && of.Name == "Code" || strings.HasPrefix(strings.ToLower(n.Names[0].Name), "code") {
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

// lastName is the name of an expression without its package.
func lastName(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.SelectorExpr:
		return e.Sel.Name
	}
	return ""
}

func TestEveryProblemIsExplained(t *testing.T) {
	used := codesOf(t, ".", "../httpapi", "../mcpapi", "../natsapi", "../quota", "../command", "../auth")
	if len(used) < 20 || !used["sealed"] || !used["not_found"] || !used[CodeUnknown] {
		t.Fatalf("found only %v: the test looks in the wrong place", used)
	}
	used["unauthorized"] = true // what no token is called
	for code := range used {
		m, ok := Meanings[code]
		if !ok {
			t.Errorf("problem %q is used and not explained in meanings.go", code)
			continue
		}
		if m.Meaning == "" || m.Remedy == "" || http.StatusText(m.Status) == "" {
			t.Errorf("problem %q: %+v", code, m)
		}
	}
	for code := range Meanings {
		if !used[code] {
			t.Errorf("problem %q is explained and used nowhere", code)
		}
	}
	for code, status := range refusalStatus {
		if m := Meanings[string(code)]; m.Status != status {
			t.Errorf("refusal %s answers %d and is explained as %d", code, status, m.Status)
		}
	}
	if m := Meanings[string(command.NotFound)]; m.Status != NotFound().Status {
		t.Errorf("not_found is explained as %d", m.Status)
	}
}
