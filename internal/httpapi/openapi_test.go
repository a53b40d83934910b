package httpapi

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/refold-dev/refold/internal/auth"
)

// documented reads the routes of openapi.yaml: path by path, method by method.
func documented(t *testing.T) map[string]string {
	t.Helper()
	path := regexp.MustCompile(`^  (/\S*):$`)
	method := regexp.MustCompile(`^    (get|post|put|patch|delete):$`)
	operation := regexp.MustCompile(`^      operationId: (\w+)$`)
	out := map[string]string{}
	var atPath, atMethod string
	for line := range strings.SplitSeq(string(openAPI), "\n") {
		if m := path.FindStringSubmatch(line); m != nil {
			atPath = m[1]
		}
		if m := method.FindStringSubmatch(line); m != nil {
			atMethod = strings.ToUpper(m[1])
		}
		if m := operation.FindStringSubmatch(line); m != nil {
			out[atMethod+" "+atPath] = m[1]
		}
	}
	if len(out) < 14 {
		t.Fatalf("only %d routes found in openapi.yaml", len(out))
	}
	return out
}

func TestEveryRouteIsDocumentedAndScoped(t *testing.T) {
	routes := documented(t)
	if diff := cmp.Diff(routes, operations); diff != "" {
		t.Errorf("openapi.yaml and the table of routes differ (-documented +table):\n%s", diff)
	}
	var scoped, named []string
	for _, name := range auth.Operations() {
		if !strings.Contains(name, ":") { // those of other edges carry a prefix
			scoped = append(scoped, name)
		}
	}
	for _, name := range routes {
		named = append(named, name)
	}
	slices.Sort(scoped)
	slices.Sort(named)
	if diff := cmp.Diff(named, scoped); diff != "" {
		t.Errorf("openapi.yaml and the table of scopes differ (-documented +scoped):\n%s", diff)
	}
}

// Open operations are marked in the document as such, and no others are.
func TestOpenOperationsAreDocumentedAsOpen(t *testing.T) {
	blocks := regexp.MustCompile(`(?m)^      operationId: (\w+)$`).Split(string(openAPI), -1)
	names := regexp.MustCompile(`(?m)^      operationId: (\w+)$`).FindAllStringSubmatch(string(openAPI), -1)
	for i, name := range names {
		block, _, _ := strings.Cut(blocks[i+1], "\n    get:")
		block, _, _ = strings.Cut(block, "\n    post:")
		scope, _ := auth.ScopeOf(name[1])
		if open := strings.Contains(block, "      security: []"); open != (scope == auth.Open) {
			t.Errorf("%s: documented as open: %v, scope %q", name[1], open, scope)
		}
	}
}
