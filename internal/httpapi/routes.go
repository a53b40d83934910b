package httpapi

import (
	"bytes"
	"context"
	"errors"
	"io"
	"maps"
	"mime"
	"net/http"
	"path"
	"reflect"
	"slices"
	"strings"

	"github.com/refold-dev/refold/events/jsonb"
	"github.com/refold-dev/refold/internal/auth"
	"github.com/refold-dev/refold/internal/httpapi/api"
	"github.com/refold-dev/refold/internal/problem"
	"github.com/refold-dev/refold/internal/quota"
	"github.com/refold-dev/refold/internal/writer"
)

// BodyBytesMax bounds the body of a request.
const BodyBytesMax = 1 << 20

// operations names the operation of each route, as openapi.yaml does; its scope stands in package auth.
var operations = map[string]string{
	"GET /v1/memories":                        "listMemories",
	"POST /v1/memories":                       "createMemory",
	"GET /v1/memories/{id}":                   "getMemory",
	"PATCH /v1/memories/{id}":                 "changeMemory",
	"DELETE /v1/memories/{id}":                "deleteMemory",
	"POST /v1/memories/{id}/archive":          "archiveMemory",
	"POST /v1/memories/{id}/pause":            "pauseMemory",
	"POST /v1/memories/{id}/activate":         "activateMemory",
	"GET /v1/memories/{id}/history":           "getMemoryHistory",
	"GET /v1/memories/{id}/versions":          "listMemoryVersions",
	"POST /v1/memories/{id}/restore":          "restoreMemory",
	"POST /v1/memories/{id}/undelete":         "undeleteMemory",
	"GET /v1/apps":                            "listApps",
	"GET /v1/apps/{id}":                       "getApp",
	"GET /v1/memories/search":                 "searchMemories",
	"POST /v1/memories/bulk/archive":          "archiveMemories",
	"POST /v1/memories/bulk/pause":            "pauseMemories",
	"POST /v1/memories/bulk/activate":         "activateMemories",
	"POST /v1/memories/bulk/delete":           "deleteMemories",
	"GET /v1/memories/{id}/related":           "listRelatedMemories",
	"GET /v1/categories":                      "listCategories",
	"GET /v1/apps/{id}/memories":              "listAppMemories",
	"PATCH /v1/apps/{id}":                     "changeApp",
	"POST /v1/apps/{id}/pause":                "pauseApp",
	"POST /v1/apps/{id}/activate":             "activateApp",
	"GET /v1/stats":                           "getStats",
	"GET /v1/me":                              "getMe",
	"PATCH /v1/me":                            "changeMe",
	"GET /v1/changes":                         "listChanges",
	"GET /v1/tenant/changes":                  "listTenantChanges",
	"GET /v1/export":                          "exportMemories",
	"POST /v1/import":                         "importMemories",
	"GET /v1/admin/tenants":                   "listTenants",
	"POST /v1/admin/tenants":                  "createTenant",
	"GET /v1/admin/tenants/{tenant}":          "getTenant",
	"POST /v1/admin/tenants/{tenant}/suspend": "suspendTenant",
	"POST /v1/admin/tenants/{tenant}/resume":  "resumeTenant",
	"POST /v1/admin/tenants/{tenant}/remove":  "removeTenant",
	"PUT /v1/admin/tenants/{tenant}/limits":   "setTenantLimits",
	"GET /v1/admin/status":                    "getStatus",
	"GET /v1/admin/reports":                   "listReports",

	"GET /v1/memories/{id}/versions/{version}": "getMemoryVersion",
	"GET /v1/memories/{id}/access-log":         "listMemoryAccesses",
	"GET /v1/apps/{id}/accessed":               "listAppAccessed",
	"GET /v1/apps/{id}/access-rules":           "listAccessRules",
	"GET /v1/apps/{id}/access-rules/{rule}":    "getAccessRule",
	"PUT /v1/apps/{id}/access-rules/{rule}":    "putAccessRule",
	"DELETE /v1/apps/{id}/access-rules/{rule}": "withdrawAccessRule",
	"GET /v1/archive-policies":                 "listArchivePolicies",
	"POST /v1/archive-policies":                "createArchivePolicy",
	"GET /v1/archive-policies/{id}":            "getArchivePolicy",
	"PUT /v1/archive-policies/{id}":            "changeArchivePolicy",
	"DELETE /v1/archive-policies/{id}":         "withdrawArchivePolicy",
	"GET /v1/config":                           "getConfig",
	"PUT /v1/config":                           "replaceConfig",
	"PATCH /v1/config":                         "changeConfig",

	"GET /healthz":         "getHealth",
	"GET /readyz":          "getReady",
	"GET /problems":        "listProblems",
	"GET /problems/{code}": "getProblem",
	"GET /openapi.yaml":    "getOpenAPI",
	"GET /openapi.json":    "getOpenAPIAsJSON",
	"GET /asyncapi.json":   "getAsyncAPI",
}

// bodies are the members that the body of an operation may have. The others take none: at most an empty object.
var bodies = map[string][]string{
	"createTenant":        membersOf(api.CreateTenant{}),
	"setTenantLimits":     membersOf(api.TenantLimits{}),
	"createMemory":        membersOf(api.CreateMemory{}),
	"changeMemory":        membersOf(api.ChangeMemory{}),
	"restoreMemory":       membersOf(api.RestoreMemory{}),
	"archiveMemories":     membersOf(api.WhichMemories{}),
	"pauseMemories":       membersOf(api.WhichMemories{}),
	"activateMemories":    membersOf(api.WhichMemories{}),
	"deleteMemories":      membersOf(api.WhichMemories{}),
	"changeApp":           membersOf(api.ChangeApp{}),
	"changeMe":            membersOf(api.ChangeMe{}),
	"putAccessRule":       membersOf(api.PutAccessRule{}),
	"createArchivePolicy": membersOf(api.ArchiveRule{}),
	"changeArchivePolicy": membersOf(api.ArchiveRule{}),
	"replaceConfig":       membersOf(api.ChangeConfig{}),
	"changeConfig":        membersOf(api.ChangeConfig{}),
}

// classes are the operations that are under way for long. They are limited apart from the others.
var classes = map[string]quota.Class{
	"listChanges": quota.Listening, "listTenantChanges": quota.Listening, "exportMemories": quota.Transferring, "importMemories": quota.Transferring,
	"old:export": quota.Transferring, "old:import": quota.Transferring,
}

// uploads are the operations that take a form with a file.
var uploads = map[string]bool{"importMemories": true, "old:import": true}

// membersOf lists the members that a request type declares.
func membersOf(request any) []string { return fieldsOf(reflect.TypeOf(request)) }

func fieldsOf(t reflect.Type) (names []string) {
	for i := range t.NumField() {
		name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
		names = append(names, name)
	}
	return names
}

// router puts serve before each route that the generated code registers, so that nothing of a request is looked
// at before the token.
type router struct {
	*http.ServeMux
	server *server
}

// HandleFunc is called by the generated code.
func (r router) HandleFunc(pattern string, handler func(http.ResponseWriter, *http.Request)) {
	operation, known := operations[pattern]
	if _, scoped := auth.ScopeOf(operation); !known || !scoped {
		panic("httpapi: route " + pattern + " has no operation or no scope") // found by any test
	}
	r.ServeMux.HandleFunc(pattern, func(w http.ResponseWriter, request *http.Request) {
		r.server.serve(w, request, operation, handler)
	})
}

// ServeHTTP answers what no route takes in the same form as everything else.
func (r router) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	if !isClean(request.URL.EscapedPath()) { // to which the standard library would redirect, in a form of its own
		tell(w, request, problem.NotFound())
		return
	}
	handler, pattern := r.Handler(request)
	if pattern != "" {
		r.ServeMux.ServeHTTP(w, request)
		return
	}
	probe := &statusOnly{header: http.Header{}}
	handler.ServeHTTP(probe, request)
	p := problem.NotFound()
	if probe.status == http.StatusMethodNotAllowed {
		p = &problem.Problem{Status: probe.status, Code: "method_not_allowed", Detail: "this path has other methods", Header: http.Header{"Allow": probe.header["Allow"]}}
	}
	tell(w, request, p)
}

// isClean reports whether a path has no empty steps and no dots for steps.
func isClean(given string) bool {
	clean := path.Clean(given)
	return given == clean || given == clean+"/" && clean != "/"
}

// statusOnly asks the standard library's own answer to an unknown route whether only the method was wrong.
type statusOnly struct {
	header http.Header
	status int
}

func (s *statusOnly) Header() http.Header         { return s.header }
func (s *statusOnly) WriteHeader(status int)      { s.status = status }
func (s *statusOnly) Write(b []byte) (int, error) { return len(b), nil }

type (
	traceKey  struct{}
	acceptKey struct{}
)

// accepts reports whether the caller names a media type among those it takes.
func accepts(ctx context.Context, media string) bool {
	lines, _ := ctx.Value(acceptKey{}).([]string)
	return slices.ContainsFunc(lines, func(line string) bool { return namesMedia(line, media) })
}

// namesMedia reports whether a media type is among those of a line of Accept.
func namesMedia(line, media string) bool {
	for one := range strings.SplitSeq(line, ",") {
		if isMedia(one, media) {
			return true
		}
	}
	return false
}

func isMedia(given, media string) bool {
	kind, _, err := mime.ParseMediaType(given)
	return err == nil && kind == media
}

// serve decides, in this order, by the token, by its scopes, by the limits of the tenant and by the form of the body,
// and only then lets the generated code see the request.
func (s *server) serve(w http.ResponseWriter, r *http.Request, operation string, handler http.HandlerFunc) {
	ctx := context.WithValue(r.Context(), traceKey{}, writer.TraceParent(r.Header.Get("Traceparent")))
	ctx = context.WithValue(ctx, acceptKey{}, r.Header.Values("Accept"))
	scope, _ := auth.ScopeOf(operation)
	if scope != auth.Open {
		principal, err := s.authenticate(ctx, r, operation)
		if err != nil {
			s.refuse(w, r, operation, err)
			return
		}
		leave, err := s.Limits.Enter(principal.Tenant, classes[operation])
		if err != nil {
			s.fail(w, r, err)
			return
		}
		defer leave()
		if principal.Tenant != "" {
			maps.Copy(w.Header(), s.Limits.Left(principal.Tenant))
		}
		ctx = auth.WithPrincipal(ctx, principal)
		if classes[operation] == quota.Transferring {
			var end func()
			ctx, end = auth.While(ctx, principal, s.Verifier.Standing)
			defer end()
		}
		if principal.Operator && s.Operator == nil {
			s.fail(w, r, problem.NotFound())
			return
		}
	}
	r = r.WithContext(ctx)
	unify(r.Header)
	bytesMax := int64(BodyBytesMax)
	if classes[operation] == quota.Transferring {
		w, bytesMax = patient(w, r), UploadBytesMax
	}
	r.Body = http.MaxBytesReader(bare(w), r.Body, bytesMax)
	if err := checkQuery(r.URL.RawQuery, operation); err != nil {
		s.fail(w, r, err)
		return
	}
	if err := checkBody(r, operation); err != nil {
		s.fail(w, r, err)
		return
	}
	if uploads[operation] && !isMedia(r.Header.Get("Content-Type"), "multipart/form-data") {
		s.fail(w, r, &problem.Problem{Status: http.StatusUnsupportedMediaType, Code: "unsupported_media_type", Detail: "want Content-Type: multipart/form-data"})
		return
	}
	if !strings.HasSuffix(scope, ":read") {
		w = s.settled(ctx, w, r)
	}
	w, finish := validated(w, r)
	handler(w, r)
	finish()
}

// bare is the standard library's own writer: MaxBytesReader tells it alone to close the connection after a body that is too
// large.
func bare(w http.ResponseWriter) http.ResponseWriter {
	for {
		wrapped, ok := w.(interface{ Unwrap() http.ResponseWriter })
		if !ok {
			return w
		}
		w = wrapped.Unwrap()
	}
}

// refuse answers a caller who is not let in. Whoever shows one bad token after the other is told no more than to wait.
func (s *server) refuse(w http.ResponseWriter, r *http.Request, operation string, err error) {
	var refused *auth.Error
	if errors.As(err, &refused) && refused.IsBadToken() {
		if tooMany := s.Logins.Refused(r); tooMany != nil {
			s.fail(w, r, tooMany)
			return
		}
	}
	s.Logger.InfoContext(r.Context(), "caller refused", "operation", operation, "error", err)
	s.fail(w, r, err)
}

func (s *server) authenticate(ctx context.Context, r *http.Request, operation string) (auth.Principal, error) {
	token, err := auth.Bearer(r.Header.Values("Authorization"))
	if err != nil {
		return auth.Principal{}, err
	}
	principal, err := s.Verifier.Verify(ctx, token)
	if err != nil {
		return auth.Principal{}, err
	}
	return principal, auth.Authorize(principal, operation)
}

// checkBody reads the whole body, checks it strictly and puts it back for the generated decoder. Questions have none, and
// the old paths and uploads look at theirs for themselves.
func checkBody(r *http.Request, operation string) error {
	members, takes := bodies[operation]
	if !takes && (r.Method == http.MethodGet || uploads[operation] || strings.HasPrefix(operation, "old:")) {
		return nil
	}
	if takes && !isMedia(r.Header.Get("Content-Type"), "application/json") {
		return &problem.Problem{Status: http.StatusUnsupportedMediaType, Code: "unsupported_media_type", Detail: "want Content-Type: application/json"}
	}
	if encoding := r.Header.Get("Content-Encoding"); encoding != "" && !strings.EqualFold(encoding, "identity") {
		return &problem.Problem{Status: http.StatusUnsupportedMediaType, Code: "unsupported_encoding", Detail: "want a body without Content-Encoding"}
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return unreadable(err)
	}
	if !takes && len(bytes.TrimSpace(body)) == 0 {
		return nil
	}
	if err := jsonb.CheckObject(body, members); err != nil {
		return err
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	return nil
}
