package httpapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/refold-dev/refold/events/commands"
	"github.com/refold-dev/refold/events/jsonb"
	"github.com/refold-dev/refold/internal/auth"
	"github.com/refold-dev/refold/internal/directory"
	"github.com/refold-dev/refold/internal/journal"
	"github.com/refold-dev/refold/internal/problem"
	"github.com/refold-dev/refold/internal/reader"
	"github.com/refold-dev/refold/internal/writer"
)

// The paths, parameters and answers of OpenMemory, the system that refold replaces, over the same questions and commands as
// everything else, so that its user interface and its scripts can go on. Who asks comes from the token alone. What it
// did wrong it does not do here: lists and totals agree, what is foreign is absent, and a request that is refused has
// changed nothing. openapi.yaml does not have these routes.

const (
	oldPrefix = "/api/v1/"
	// oldWait is how long a command waits for the rows: the old system's clients read what they wrote at once.
	oldWait = 5 * time.Second
)

// oldAnswer answers one operation: what it returns becomes JSON, unless it writes for itself.
type oldAnswer func(s *server, q *oldRequest) (any, error)

// oldRoutes are the operations by method and path, without the slash at the end that many of them were called with. Their
// scopes stand in package auth under the prefix "old:".
var oldRoutes = map[string]struct {
	operation string
	answer    oldAnswer
}{
	"GET /api/v1/memories":                   {"old:listMemories", oldListMemories},
	"POST /api/v1/memories":                  {"old:createMemory", oldCreateMemory},
	"DELETE /api/v1/memories":                {"old:deleteMemories", oldDeleteMemories},
	"POST /api/v1/memories/filter":           {"old:filterMemories", oldFilterMemories},
	"POST /api/v1/memories/actions/archive":  {"old:archiveMemories", oldArchiveMemories},
	"POST /api/v1/memories/actions/pause":    {"old:pauseMemories", oldPauseMemories},
	"GET /api/v1/memories/categories":        {"old:listCategories", oldListCategories},
	"GET /api/v1/memories/{id}":              {"old:getMemory", oldGetMemory},
	"GET /api/v1/memories/{id}/related":      {"old:listRelated", oldListRelated},
	"GET /api/v1/memories/{id}/access-log":   {"old:listAccesses", oldListAccesses},
	"PUT /api/v1/memories/{id}":              {"old:changeMemory", oldChangeMemory},
	"GET /api/v1/apps":                       {"old:listApps", oldListApps},
	"GET /api/v1/apps/{id}":                  {"old:getApp", oldGetApp},
	"GET /api/v1/apps/{id}/memories":         {"old:listAppMemories", oldListAppMemories},
	"GET /api/v1/apps/{id}/accessed":         {"old:listAppAccessed", oldListAppAccessed},
	"PUT /api/v1/apps/{id}":                  {"old:setApp", oldSetApp},
	"GET /api/v1/stats":                      {"old:getStats", oldGetStats},
	"GET /api/v1/config":                     {"old:getConfig", oldGetConfig},
	"PUT /api/v1/config":                     {"old:setConfig", oldSetConfig},
	"PATCH /api/v1/config":                   {"old:changeConfig", oldChangeConfig},
	"POST /api/v1/config/reset":              {"old:resetConfig", oldResetConfig},
	"GET /api/v1/config/openmemory":          {"old:getConfig", oldGetConfigAt("{}", "openmemory")},
	"PUT /api/v1/config/openmemory":          {"old:setConfig", oldSetConfigAt("openmemory")},
	"GET /api/v1/config/mem0/llm":            {"old:getConfig", oldGetConfigAt("{}", "mem0", "llm")},
	"PUT /api/v1/config/mem0/llm":            {"old:setConfig", oldSetConfigAt("mem0", "llm")},
	"GET /api/v1/config/mem0/embedder":       {"old:getConfig", oldGetConfigAt("{}", "mem0", "embedder")},
	"PUT /api/v1/config/mem0/embedder":       {"old:setConfig", oldSetConfigAt("mem0", "embedder")},
	"GET /api/v1/config/mem0/vector_store":   {"old:getConfig", oldGetConfigAt("null", "mem0", "vector_store")},
	"PUT /api/v1/config/mem0/vector_store":   {"old:setConfig", oldSetConfigAt("mem0", "vector_store")},
	"GET /api/v1/config/mem0/graph_store":    {"old:getConfig", oldGetConfigAt("null", "mem0", "graph_store")},
	"PUT /api/v1/config/mem0/graph_store":    {"old:setConfig", oldSetConfigAt("mem0", "graph_store")},
	"DELETE /api/v1/config/mem0/graph_store": {"old:setConfig", oldUnsetConfigAt("mem0", "graph_store")},
	"POST /api/v1/backup/export":             {"old:export", oldExport},
	"POST /api/v1/backup/import":             {"old:import", oldImport},
}

// OldRoutes returns the operations of the old paths by their patterns, "METHOD /path/{id}", for those who try all of them.
func OldRoutes() map[string]string {
	out := map[string]string{}
	for pattern, route := range oldRoutes {
		out[pattern] = route.operation
	}
	return out
}

// handleOld registers the routes, with and without a slash at the end.
func (s *server) handleOld(mux *http.ServeMux) {
	for pattern, route := range oldRoutes {
		if _, scoped := auth.ScopeOf(route.operation); !scoped {
			panic("httpapi: route " + pattern + " has no scope") // found by any test
		}
		handler := func(w http.ResponseWriter, r *http.Request) {
			s.serve(w, r, route.operation, func(w http.ResponseWriter, r *http.Request) { s.serveOld(w, r, route.answer) })
		}
		mux.HandleFunc(pattern, handler)
		mux.HandleFunc(pattern+"/{$}", handler)
	}
}

// oldRequest is a request with the caller that it is from.
type oldRequest struct {
	*http.Request
	w     http.ResponseWriter
	c     writer.Caller
	fresh reader.Freshness // how new what is read must be
	stamp reader.Stamp     // of what was read first; zero = nothing was
	begun bool             // one of its commands is stored, or may be
}

// reads is the caller as readers see it. Whatever is read for one answer is of one edition.
func (q *oldRequest) reads() reader.Caller {
	c := q.c.Reads()
	c.Edition = q.stamp.Edition
	return c
}

// rests notes what the answer rests on: nothing else of it may be older.
func (q *oldRequest) rests(stamp reader.Stamp) {
	if q.stamp.Edition == 0 {
		q.stamp, q.fresh.Least = stamp, &stamp.Position
	}
}

// oldWritten is the answer of an operation that has written for itself.
type oldWritten struct{}

func (s *server) serveOld(w http.ResponseWriter, r *http.Request, answer oldAnswer) {
	c, fresh, err := s.asker(r.Context(), headerOf(r, "Prefer"), headerOf(r, "Refold-Min-Position"))
	q := &oldRequest{Request: r, w: w, c: c, fresh: fresh}
	if err == nil {
		err = q.sameUser(r.URL.Query().Get("user_id"))
	}
	if errors.Is(err, directory.ErrNoTenant) {
		if q.c, err = (writer.Caller{}), noUser(); oldLists(r) {
			err = nil // to a tenant that does not exist, lists are empty
		}
	}
	var out any
	if err == nil {
		out, err = answer(s, q)
	}
	if err != nil {
		s.fail(w, r, err)
		return
	}
	if _, written := out.(oldWritten); written {
		return
	}
	if q.stamp.Edition != 0 {
		s.stamp(w.Header(), c, q.stamp)
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(out) // the caller has gone, if this fails
}

// headerOf is a header that may be missing.
func headerOf(r *http.Request, name string) *string {
	if value := r.Header.Get(name); value != "" {
		return &value
	}
	return nil
}

// oldLists reports whether a request asks for a list, which is empty where there is nothing.
func oldLists(r *http.Request) bool {
	path := strings.TrimSuffix(strings.TrimPrefix(r.URL.Path, oldPrefix), "/")
	return slices.Contains([]string{"GET memories", "GET memories/categories", "POST memories/filter", "GET apps", "GET stats", "GET config"}, r.Method+" "+path) ||
		r.Method == http.MethodGet && strings.HasPrefix(path, "config/")
}

// nobody tells that the tenant does not exist.
func (q *oldRequest) nobody() bool { return q.c.Tenant.ID == "" }

// sameUser refuses a request that names another user than its token does, by login or by id: that user is not there.
func (q *oldRequest) sameUser(named string) error {
	principal, _ := auth.FromContext(q.Context())
	if named == "" || named == principal.Subject || named == q.c.User.String() {
		return nil
	}
	return noUser()
}

func noUser() error {
	return &problem.Problem{Status: http.StatusNotFound, Code: "not_found", Detail: "User not found"}
}

// decode reads the body into what an operation takes. named is where the body says whose it is. As in the old system
// unknown members are no fault; they are returned.
func (q *oldRequest) decode(into any, named *string) (ignored map[string]json.RawMessage, err error) {
	body, err := io.ReadAll(q.Body)
	if err != nil {
		return nil, unreadable(err)
	}
	if body = bytes.TrimSpace(body); len(body) == 0 {
		body = []byte("{}")
	}
	if err := jsonb.Check(body); err != nil {
		return nil, err
	}
	if takes := reflect.TypeOf(into).Elem(); takes.Kind() == reflect.Struct {
		if body, ignored, err = known(body, fieldsOf(takes)); err != nil {
			return nil, err
		}
	}
	var wrong *json.UnmarshalTypeError
	switch err := json.Unmarshal(body, into); {
	case errors.As(err, &wrong):
		return nil, mistyped(wrong)
	case err != nil || string(body) == "null":
		return nil, problem.Invalid("", "not the JSON that is wanted here")
	case named != nil:
		return ignored, q.sameUser(*named)
	}
	return ignored, nil
}

// known parts the members of an object, whose names count to the letter, from the others.
func known(body []byte, members []string) ([]byte, map[string]json.RawMessage, error) {
	var all map[string]json.RawMessage
	if json.Unmarshal(body, &all) != nil || all == nil {
		return nil, nil, problem.Invalid("", "not an object")
	}
	taken := map[string]json.RawMessage{}
	for _, name := range members {
		if value, given := all[name]; given {
			taken[name] = value
			delete(all, name)
		}
	}
	body, err := json.Marshal(taken)
	return body, all, err
}

// id is that of the path; what is no id is as absent as any.
func (q *oldRequest) id() (uuid.UUID, error) {
	id, err := uuid.Parse(q.PathValue("id"))
	if err != nil {
		return id, reader.ErrNotFound
	}
	return id, nil
}

// number reads a parameter of the query that must lie within bounds.
func (q *oldRequest) number(name string, absent, least, most int) (int, error) {
	text := q.URL.Query().Get(name)
	if text == "" {
		return absent, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < least || n > most {
		return 0, q.unfit(name, "want a number from "+strconv.Itoa(least)+" to "+strconv.Itoa(most))
	}
	return n, nil
}

// boolean reads a parameter of the query as FastAPI does.
func (q *oldRequest) boolean(name string) (bool, error) {
	switch strings.ToLower(q.URL.Query().Get(name)) {
	case "true", "1", "yes", "on", "t", "y":
		return true, nil
	case "false", "0", "no", "off", "f", "n":
		return false, nil
	}
	return false, q.unfit(name, "want true or false")
}

// text reads a parameter of the query; nil without one.
func (q *oldRequest) text(name string) (*string, error) {
	text := q.URL.Query().Get(name)
	if text == "" {
		return nil, nil
	}
	return &text, checkOldText(inQuery+name, &text, searchRunesMax)
}

// inQuery marks the place of a fault that is a parameter of the query. No pointer into a body begins with it.
const inQuery = "?"

// unfit refuses a parameter of the query.
func (q *oldRequest) unfit(name, detail string) error { return problem.Invalid(inQuery+name, detail) }

// checkOldText is checkText with the answer that the old system gives.
func checkOldText(pointer string, given *string, runesMax int) error {
	if checkText(pointer, given, runesMax) != nil {
		return problem.Invalid(pointer, fmt.Sprintf("want a text of at most %d characters", runesMax))
	}
	return nil
}

// pageMost bounds the number of a page: pages by number cost what they skip.
const pageMost = 10_000

// pages reads page and size, under the name that the operation has for it.
func (q *oldRequest) pages(sizeName string, sizeAbsent int) (number, size int, err error) {
	number, errNumber := q.number("page", 1, 1, pageMost)
	size, errSize := q.number(sizeName, sizeAbsent, 1, reader.PageCountMax)
	return number, size, errors.Join(errNumber, errSize)
}

// wish surrounds the commands that a request makes; with an Idempotency-Key the request may be repeated.
func (q *oldRequest) wish() (writer.Wish, error) {
	return wish(q.Context(), headerOf(q.Request, "Idempotency-Key"), nil)
}

// refused makes the failure of a command one of the request, whose member for the content has a name of its own.
func refused(err error, wish writer.Wish, content string) error {
	var unfit *commands.InvalidError
	if errors.As(err, &unfit) && unfit.Pointer == "/content" {
		return problem.Invalid(content, unfit.Reason)
	}
	return problem.Doubtful(err, wish.ID)
}

// failed makes the failure of one of several commands that of the request.
func (q *oldRequest) failed(err error, key string) error {
	if q.begun {
		err = journal.Partly(err)
	}
	return problem.Doubtful(err, key)
}

// shown waits until the rows have a command, and hands out where that is. What is stored is stored, whatever becomes of
// the wait.
func (s *server) shown(q *oldRequest, at reader.Position) error {
	q.w.Header().Set("Refold-Position", s.Sealer.SealPosition(q.c.Tenant.ID, at))
	return s.Reader.Await(q.Context(), q.c.Reads(), reader.Freshness{Least: &at, Wait: oldWait})
}

// oldProblem is a problem in the form in which the old system tells it.
func oldProblem(w http.ResponseWriter, r *http.Request, p *problem.Problem) {
	for name, values := range p.Header {
		w.Header()[name] = values
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(oldDetail(r, p)) // the caller has gone, if this fails
}

func oldDetail(r *http.Request, p *problem.Problem) any {
	switch {
	case p.Status == http.StatusUnauthorized:
		return map[string]string{"error": oldAuthCode(p), "message": p.Detail}
	case p.Code == "insufficient_scope":
		return map[string]string{"error": "INSUFFICIENT_SCOPE", "message": p.Detail}
	case p.Status == http.StatusUnprocessableEntity:
		return map[string]any{"detail": []map[string]any{{"loc": oldPlace(p.Pointer), "msg": p.Detail, "type": "value_error"}}}
	case p.Code == "method_not_allowed":
		return map[string]string{"detail": "Method Not Allowed"}
	case p.Code == "not_found" && p.Detail == problem.NotFound().Detail:
		return map[string]string{"detail": oldAbsent(r.URL.Path)}
	}
	return map[string]string{"detail": p.Detail}
}

// oldPlace is a pointer as FastAPI tells it.
func oldPlace(pointer string) []string {
	if name, ok := strings.CutPrefix(pointer, inQuery); ok {
		return []string{"query", name}
	}
	return append([]string{"body"}, strings.Split(pointer, "/")[1:]...)
}

func oldAuthCode(p *problem.Problem) string {
	switch {
	case p.Code == "unauthorized":
		return "MISSING_AUTH"
	case strings.Contains(p.Detail, "expired"):
		return "TOKEN_EXPIRED"
	}
	return "INVALID_TOKEN"
}

func oldAbsent(path string) string {
	switch rest := strings.TrimPrefix(path, oldPrefix); {
	case strings.HasPrefix(rest, "memories"):
		return "Memory not found"
	case strings.HasPrefix(rest, "apps"):
		return "App not found"
	case strings.HasPrefix(rest, "backup"):
		return "User not found"
	}
	return "Not Found"
}
