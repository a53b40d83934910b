package mcpapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"slices"
	"strings"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"

	"github.com/refold-dev/refold/internal/auth"
	"github.com/refold-dev/refold/internal/problem"
	"github.com/refold-dev/refold/internal/quota"
)

// authenticate returns the caller of a request. A path that names another user is answered like an unknown one.
func (e *Edge) authenticate(w http.ResponseWriter, r *http.Request) (auth.Principal, bool) {
	p, err := e.verified(r)
	if err != nil {
		e.refuse(w, r, err)
		return p, false
	}
	if user := r.PathValue("user"); user != "" && user != p.Subject {
		absent(w)
		return p, false
	}
	return p, true
}

// refuse answers an agent that is not let in. Whoever shows one bad token after the other is told no more than to wait.
func (e *Edge) refuse(w http.ResponseWriter, r *http.Request, err error) {
	var refused *auth.Error
	if errors.As(err, &refused) && refused.IsBadToken() {
		if tooMany := e.Logins.Refused(r); tooMany != nil {
			e.fail(w, r, nil, tooMany)
			return
		}
	}
	e.Logger.InfoContext(r.Context(), "agent refused", "error", err)
	e.challenge(w, r, nil, err)
}

func (e *Edge) verified(r *http.Request) (auth.Principal, error) {
	token, err := auth.Bearer(r.Header.Values("Authorization"))
	if err != nil {
		return auth.Principal{}, err
	}
	return e.Verifier.Verify(r.Context(), token)
}

// challenge answers 401, or 403 for a missing scope, with what a client needs to get a token that is enough.
func (e *Edge) challenge(w http.ResponseWriter, r *http.Request, id any, err error) {
	var refused *auth.Error
	if !errors.As(err, &refused) {
		e.fail(w, r, id, err)
		return
	}
	status := http.StatusUnauthorized
	if refused.Code == auth.InsufficientScope {
		status = http.StatusForbidden
	} else {
		refused = &auth.Error{Code: refused.Code, Reason: refused.Reason, Scopes: []string{auth.MemoriesRead}} // to begin with
	}
	w.Header().Set("WWW-Authenticate", refused.Challenge()+`, resource_metadata="`+e.metadataURL(r)+`"`)
	writeError(w, status, id, rpcError(problem.Of(r.Context(), refused, e.Logger)))
}

// passed is a message that the gate has let pass.
type passed struct {
	message
	principal auth.Principal
	body      []byte
}

// pass reads the message of a POST and decides about it. When ok is false it has answered.
func (e *Edge) pass(w http.ResponseWriter, r *http.Request) (in passed, ok bool) {
	if in.principal, ok = e.authenticate(w, r); !ok {
		return in, false
	}
	status, fault := in.read(w, r)
	if in.isCall() && isStateless(r) && slices.Contains(withSessions, in.method) {
		status, fault = http.StatusNotFound, unknownMethod(in.method)
	}
	if fault != nil {
		writeError(w, status, in.id, fault)
		return in, false
	}
	if in.method == methodCallTool {
		if err := authorize(in.principal, in.tool); err != nil {
			e.Logger.InfoContext(r.Context(), "agent refused", "tool", in.tool, "error", err)
			e.challenge(w, r, in.id, err)
			return in, false
		}
	}
	return in, true
}

func (in *passed) read(w http.ResponseWriter, r *http.Request) (status int, fault *jsonrpc.Error) {
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
		return http.StatusUnsupportedMediaType, malformed("want Content-Type: application/json")
	}
	if encoding := r.Header.Get("Content-Encoding"); encoding != "" && !strings.EqualFold(encoding, "identity") {
		return http.StatusUnsupportedMediaType, malformed("want a body without Content-Encoding")
	}
	var err error
	in.body, err = io.ReadAll(http.MaxBytesReader(w, r.Body, BodyBytesMax))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return http.StatusRequestEntityTooLarge, malformed("the message is larger than 1 MiB; nothing was stored")
	case err != nil:
		return http.StatusBadRequest, malformed("the message could not be read to its end")
	}
	in.message, fault = readMessage(in.body)
	if fault != nil && fault.Code == jsonrpc.CodeInvalidParams && in.id != nil {
		return http.StatusOK, fault // an answer to the request
	}
	return http.StatusBadRequest, fault
}

// authorize decides about a tool by its name alone. A tool that is not there asks for nothing: the SDK answers.
func authorize(p auth.Principal, tool string) error {
	t, known := auth.ToolByName(tool)
	if !known {
		return nil
	}
	return auth.Authorize(p, t.Operation)
}

func unknownMethod(method string) *jsonrpc.Error {
	return &jsonrpc.Error{Code: jsonrpc.CodeMethodNotFound, Message: "there is no such method: " + method}
}

// unknownStatus is that of an unknown method. Before 2026-07-28, 404 meant that the session is gone.
func unknownStatus(r *http.Request) int {
	if isStateless(r) {
		return http.StatusNotFound
	}
	return http.StatusOK
}

// isStateless tells requests of the revisions without sessions.
func isStateless(r *http.Request) bool { return r.Header.Get("Mcp-Protocol-Version") >= stateless }

// serveStreamable answers one message with one answer: nothing of it outlives the request.
func (e *Edge) serveStreamable(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		if p, ok := e.authenticate(w, r); ok {
			leave, err := e.Limits.Enter(p.Tenant, quota.Brief)
			if err != nil {
				e.fail(w, r, nil, err)
				return
			}
			defer leave()
			w.Header().Set("Allow", http.MethodPost)
			writeError(w, http.StatusMethodNotAllowed, nil, malformed("messages are sent by POST; there is no stream to listen to or to resume, and no session to end"))
		}
		return
	}
	in, ok := e.pass(w, r)
	if !ok {
		return
	}
	leave, err := e.Limits.Enter(in.principal.Tenant, quota.Brief)
	if err != nil {
		e.fail(w, r, in.id, err)
		return
	}
	defer leave()
	life, end := auth.While(r.Context(), in.principal, e.Verifier.Standing)
	defer end()
	ctx := context.WithValue(auth.WithPrincipal(r.Context(), in.principal), lifeKey{}, life)
	ctx, err = e.withApp(ctx, r, in)
	if err != nil {
		writeError(w, http.StatusNotFound, in.id, malformed("there is no such session: initialize again"))
		return
	}
	if in.isUnheard() {
		w.WriteHeader(http.StatusAccepted)
		return
	}
	if !in.isAnswer && !in.known() {
		writeError(w, unknownStatus(r), in.id, unknownMethod(in.method))
		return
	}
	if in.method == methodInitialize {
		e.beginSession(w, in)
	}
	r = r.WithContext(ctx)
	r.Body = io.NopCloser(bytes.NewReader(in.body))
	r.ContentLength = int64(len(in.body))
	e.streamable.ServeHTTP(w, r)
}

type appKey struct{}

// withApp puts the name of the app into the context: that of the path, or that of the session.
func (e *Edge) withApp(ctx context.Context, r *http.Request, in passed) (context.Context, error) {
	if client := r.PathValue("client"); client != "" {
		return context.WithValue(ctx, appKey{}, client), nil
	}
	id := r.Header.Values(sessionHeader)
	if len(id) == 0 || in.method == methodInitialize {
		return ctx, nil
	}
	name, err := e.openSession(in.principal, strings.Join(id, ","))
	return context.WithValue(ctx, appKey{}, name), err
}

// absent answers what is not there, and what is not for this caller.
func absent(w http.ResponseWriter) {
	writeError(w, http.StatusNotFound, nil, malformed("there is no such thing"))
}

// fail answers with what an error means.
func (e *Edge) fail(w http.ResponseWriter, r *http.Request, id any, err error) {
	p := problem.Of(r.Context(), err, e.Logger)
	for name, values := range p.Header {
		w.Header()[name] = values
	}
	writeError(w, p.Status, id, rpcError(p))
}

// writeError answers with an error of JSON-RPC.
func writeError(w http.ResponseWriter, status int, id any, fault *jsonrpc.Error) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{"jsonrpc": "2.0", "id": id, "error": fault}) // the client has gone, if this fails
}
