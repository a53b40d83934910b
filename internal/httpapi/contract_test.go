package httpapi_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/refold-dev/refold/internal/auth"
	"github.com/refold-dev/refold/internal/httpapi/contract"
	"github.com/refold-dev/refold/internal/problem"
)

// agreement is what the served contract says, as far as tests hold the server to it.
type agreement struct {
	Paths map[string]map[string]struct {
		OperationID string                `json:"operationId"`
		Security    []map[string][]string `json:"security"`
		Responses   map[string]response   `json:"responses"`
	}
	Components struct{ Responses map[string]response }
}

type response struct {
	Ref     string `json:"$ref"`
	Content map[string]struct {
		Schema   map[string]any
		Examples map[string]struct{ Value problem.Document }
	}
}

// theAgreement is that of contract/openapi.json, by method and path of each operation.
var theAgreement = sync.OnceValues(func() (*agreement, error) {
	text, err := os.ReadFile("contract/openapi.json")
	if err != nil {
		return nil, err
	}
	var a agreement
	// Paths have members that are no operations: those are read apart.
	var raw struct {
		Paths      map[string]map[string]json.RawMessage
		Components json.RawMessage
	}
	if err := json.Unmarshal(text, &raw); err != nil {
		return nil, err
	}
	for _, item := range raw.Paths {
		delete(item, "parameters")
	}
	again, err := json.Marshal(raw)
	if err != nil {
		return nil, err
	}
	return &a, json.Unmarshal(again, &a)
})

// codes are those that an operation may answer with under a status, nil when it is not said at all.
func (a *agreement) codes(method, pattern string, status int) map[string]bool {
	r, said := a.Paths[pattern][strings.ToLower(method)].Responses[strconv.Itoa(status)]
	if !said {
		return nil
	}
	codes := map[string]bool{}
	for code := range a.Components.Responses[path.Base(r.Ref)].Content["application/problem+json"].Examples {
		codes[code] = true
	}
	return codes
}

// agreed holds every refusal that any test meets against the contract: the operation says that it may answer so.
func agreed(t *testing.T, method, address string, w *httptest.ResponseRecorder) {
	t.Helper()
	if w.Code < 400 || strings.HasPrefix(address, "/api/v1") || w.Code == http.StatusMethodNotAllowed {
		return
	}
	a, err := theAgreement()
	check(t, err)
	mux := http.NewServeMux()
	for pattern, item := range a.Paths {
		for method := range item {
			mux.Handle(strings.ToUpper(method)+" "+pattern, http.NotFoundHandler())
		}
	}
	_, pattern := mux.Handler(httptest.NewRequestWithContext(t.Context(), method, address, nil))
	_, pattern, known := strings.Cut(pattern, " ")
	if !known {
		return // no operation
	}
	if method == http.MethodHead {
		method = http.MethodGet
	}
	var p problem.Document
	if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil {
		t.Errorf("%s %s answers %d with %q, which is no problem", method, address, w.Code, w.Body)
		return
	}
	if codes := a.codes(method, pattern, w.Code); !codes[p.Code] {
		t.Errorf("%s %s answers %d %s, of which the contract says nothing", method, pattern, w.Code, p.Code)
	}
}

func TestContractIsGenerated(t *testing.T) {
	t.Parallel()
	source, err := os.ReadFile("openapi.yaml")
	check(t, err)
	made, err := contract.Make(source)
	check(t, err)
	for file, want := range map[string][]byte{"contract/openapi.yaml": made.YAML, "contract/openapi.json": made.JSON, "../../docs/api.md": made.Page} {
		if got, err := os.ReadFile(file); err != nil || string(got) != string(want) {
			t.Errorf("%s is not what openapi.yaml makes (%v): run `make generate` and commit it", file, err)
		}
	}
}

// TestEveryOperationSaysItsScopeAndItsProblems walks the contract: each operation names the scope that the code asks for,
// and each of its refusals has a schema and an example of a real problem.
func TestEveryOperationSaysItsScopeAndItsProblems(t *testing.T) {
	t.Parallel()
	a, err := theAgreement()
	check(t, err)
	operations, met := 0, map[string]bool{}
	for pattern, item := range a.Paths {
		for method, o := range item {
			operations++
			scope, _ := auth.ScopeOf(o.OperationID)
			want := []map[string][]string{{"bearer": {scope}}}
			if scope == auth.Open {
				want = nil
			}
			if len(o.Security) != len(want) || len(want) > 0 && !slices.Equal(o.Security[0]["bearer"], want[0]["bearer"]) {
				t.Errorf("%s: security %v, want %v", o.OperationID, o.Security, want)
			}
			problems := 0
			for text, r := range o.Responses {
				status, err := strconv.Atoi(text)
				if err != nil || status < 400 {
					continue
				}
				problems++
				content := a.Components.Responses[path.Base(r.Ref)].Content["application/problem+json"]
				if content.Schema["$ref"] != "#/components/schemas/Problem" || len(content.Examples) == 0 {
					t.Errorf("%s %d: schema %v, %d examples", o.OperationID, status, content.Schema, len(content.Examples))
				}
				for code, example := range content.Examples {
					met[code] = true
					p := example.Value
					if m := problem.Meanings[code]; m.Status != status || p.Status != status || p.Code != code || p.Type != problem.Path+code || p.Title == "" || p.Detail == "" {
						t.Errorf("%s %d: %s is shown as %+v", o.OperationID, status, code, p)
					}
				}
			}
			if problems < 3 {
				t.Errorf("%s %s says of %d problems only", method, pattern, problems)
			}
		}
	}
	if operations < 50 {
		t.Errorf("only %d operations", operations)
	}
	for code, m := range problem.Meanings {
		if !met[code] && !slices.Contains([]string{"confirmation_required", "client_unnamed", "earlier_unsettled"}, code) && m.Status != http.StatusMethodNotAllowed {
			t.Errorf("no operation says that it may answer %s", code)
		}
	}
}
