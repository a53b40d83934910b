// Package httpapi is the HTTP edge. Its routes, and the types on the wire, are generated from openapi.yaml; what is
// written by hand is what lies between: token and scope, strict bodies, the mapping of errors, and the commands and
// questions themselves.
package httpapi

//go:generate oapi-codegen -config oapi.yaml openapi.yaml
//go:generate go run ./contract/generate

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"runtime/debug"
	"strings"
	"time"

	"github.com/refold-dev/refold/internal/auth"
	"github.com/refold-dev/refold/internal/changes"
	"github.com/refold-dev/refold/internal/httpapi/api"
	"github.com/refold-dev/refold/internal/problem"
	"github.com/refold-dev/refold/internal/quota"
	"github.com/refold-dev/refold/internal/reader"
	"github.com/refold-dev/refold/internal/readiness"
	"github.com/refold-dev/refold/internal/versions"
	"github.com/refold-dev/refold/internal/writer"
)

// Bounds of connections. A question may wait for its position before it is answered.
const (
	readHeaderMax  = 5 * time.Second
	readMax        = 30 * time.Second
	writeMax       = reader.WaitMax + 30*time.Second
	idleMax        = 2 * time.Minute
	headerBytesMax = 32 << 10
	// headerBytesRead is what the standard library reads of a head before it cuts the connection with a text of its own.
	headerBytesRead = 4 * headerBytesMax
)

// The contract as it is served, made of openapi.yaml by package contract.
//
//go:embed contract/openapi.yaml
var openAPI []byte

//go:embed contract/openapi.json
var openAPIAsJSON []byte

// Verifier verifies bearer tokens; *auth.Verifier is one.
type Verifier interface {
	Verify(ctx context.Context, token string) (auth.Principal, error)
	// Standing reports why a caller that was let in is not to be served any longer.
	Standing(p auth.Principal) error
}

// Health says what keeps the plane from answering and following as it should; it is asked often.
type Health interface {
	Conditions(ctx context.Context) []readiness.Condition
	ShardCount() int
}

// Config is what the edge stands on. All fields must be set, but for those that say what they are otherwise.
type Config struct {
	Verifier Verifier
	Writer   *writer.Writer
	Reader   *reader.Reader
	Sealer   *reader.Sealer
	Changes  *changes.Feed
	Versions *versions.Log
	Health   Health
	Operator Operator       // nil = nothing for operators is here
	Limits   *quota.Limiter // shared with the other edges of the process; nil = none
	Logins   *quota.Logins  // limits refused tokens by address, shared with the other edges; nil = no limit
	Origins  []string       // of web pages that may call, each as CheckOrigin wants it; none = no page of another origin
	// Heartbeat is how often a stream of changes shows that it lives when there are none, and how long a listener may take
	// to read what is sent to it before it is cut off; 0 = 15 s.
	Heartbeat time.Duration
	// ConnectionsMax bounds the connections of Server; 0 = 4,096. Beyond it, the one that has been idle for longest is closed.
	ConnectionsMax int
	Logger         *slog.Logger // nil = none
}

type server struct {
	Config
	// ending is over when the server begins to end: then streams do, too.
	ending context.Context
	end    context.CancelFunc
}

// Handler returns the edge as a handler.
func Handler(c Config) http.Handler {
	return newServer(c).handler()
}

func newServer(c Config) *server {
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Heartbeat == 0 {
		c.Heartbeat = heartbeatDefault
	}
	if c.ConnectionsMax == 0 {
		c.ConnectionsMax = connectionsMaxDefault
	}
	if c.Limits == nil {
		c.Limits = quota.New(quota.Limits{})
	}
	s := &server{Config: c}
	s.ending, s.end = context.WithCancel(context.Background())
	return s
}

func (s *server) handler() http.Handler {
	routes := router{http.NewServeMux(), s}
	strict := api.NewStrictHandlerWithOptions(s, nil, api.StrictHTTPServerOptions{
		RequestErrorHandlerFunc: s.malformed, ResponseErrorHandlerFunc: s.fail,
	})
	api.HandlerWithOptions(strict, api.StdHTTPServerOptions{BaseRouter: routes, ErrorHandlerFunc: s.malformed})
	s.handleOld(routes.ServeMux)
	handlePages(routes.ServeMux)
	return s.harden(compressed(withinHeaders(s.fromPages(routes))))
}

// Server returns a server with bounds on everything a client can make it wait for or keep. Its Shutdown ends the streams
// of changes.
func Server(c Config) *http.Server {
	s := newServer(c)
	edge := &http.Server{
		Handler:           s.handler(),
		ReadHeaderTimeout: readHeaderMax,
		ReadTimeout:       readMax,
		WriteTimeout:      writeMax,
		IdleTimeout:       idleMax,
		MaxHeaderBytes:    headerBytesRead,
		ConnState:         newConnections(s.ConnectionsMax).note,
		ErrorLog:          slog.NewLogLogger(s.Logger.Handler(), slog.LevelDebug), // of connections that anybody can open
		BaseContext:       func(net.Listener) context.Context { return context.Background() },
	}
	edge.RegisterOnShutdown(s.end)
	return edge
}

// harden sets what every answer carries and is the last resort for a panic.
func (s *server) harden(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Cache-Control", "no-store")
		defer func() {
			fault := recover()
			if err, ok := fault.(error); ok && errors.Is(err, http.ErrAbortHandler) {
				panic(fault) // the server's own way to cut a connection
			}
			if fault != nil {
				s.Logger.ErrorContext(r.Context(), "panic in a request", "fault", fault, "stack", string(debug.Stack()))
				problem.Unavailable(problem.CodeUnavailable, "the plane cannot answer at the moment", "1").Write(w)
			}
		}()
		next.ServeHTTP(w, r)
	})
}

// withinHeaders answers heads that are too large with a problem, as far as they can be read at all.
func withinHeaders(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		size := len(r.RequestURI)
		for name, values := range r.Header {
			for _, value := range values {
				size += len(name) + len(value) + len(": \r\n")
			}
		}
		if size > headerBytesMax {
			tell(w, r, &problem.Problem{
				Status: http.StatusRequestHeaderFieldsTooLarge, Code: "headers_too_large",
				Detail: fmt.Sprintf("the address and the headers have %d bytes together, want at most %d", size, headerBytesMax),
			})
			return
		}
		next.ServeHTTP(w, r)
	})
}

// fail answers with a problem.
func (s *server) fail(w http.ResponseWriter, r *http.Request, err error) {
	tell(w, r, problem.Of(r.Context(), err, s.Logger))
}

// tell answers with a problem in the form that callers of the path know.
func tell(w http.ResponseWriter, r *http.Request, p *problem.Problem) {
	if strings.HasPrefix(r.URL.Path, oldPrefix) {
		oldProblem(w, r, p)
		return
	}
	p.Write(w)
}

// malformed answers what the generated code could not bind.
func (s *server) malformed(w http.ResponseWriter, r *http.Request, err error) {
	var format *api.InvalidParamFormatError
	var tooMany *api.TooManyValuesForParamError
	var missing *api.RequiredHeaderError
	var absent *api.RequiredParamError
	var wrong *json.UnmarshalTypeError
	switch {
	case errors.As(err, &format) && (format.ParamName == "id" || format.ParamName == "rule" || format.ParamName == "version"):
		problem.NotFound().Write(w) // a malformed id or version is answered like an unknown one
	case errors.As(err, &format):
		unfit(format.ParamName).Write(w)
	case errors.As(err, &missing) && missing.ParamName == "If-Match":
		(&problem.Problem{
			Status: http.StatusPreconditionRequired, Code: "precondition_required",
			Detail: "this replaces content: want If-Match with the ETag that was read, or * to replace whatever is there",
		}).Write(w)
	case errors.As(err, &absent):
		problem.BadRequest("invalid_parameter", "missing parameter: "+absent.ParamName).Write(w)
	case errors.As(err, &tooMany):
		problem.BadRequest("invalid_parameter", "repeated parameter: "+tooMany.ParamName).Write(w)
	case errors.As(err, &wrong):
		mistyped(wrong).Write(w)
	default:
		problem.Invalid("", "the body does not have the form that openapi.yaml gives it").Write(w)
	}
}
