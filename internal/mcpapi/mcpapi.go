// Package mcpapi is the edge for agents: the Model Context Protocol over streamable HTTP, and over the older transport of
// a stream of events with a separate address for messages. It has no rules of its own: tools stand on package reader and
// package writer, what each of them asks for stands in package auth.
//
// An HTTP request passes the gate: host and origin, token, form, scope, the limits of the tenant. The gate answers with
// the challenges that clients understand, but it is not what protects: the receiving middleware of the SDK decides again
// about each method and tool from what the SDK itself has decoded.
package mcpapi

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"

	sdkauth "github.com/modelcontextprotocol/go-sdk/auth"
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/refold-dev/refold/internal/auth"
	"github.com/refold-dev/refold/internal/quota"
	"github.com/refold-dev/refold/internal/reader"
	"github.com/refold-dev/refold/internal/versions"
	"github.com/refold-dev/refold/internal/writer"
)

// Path is where the edge answers.
const Path = "/mcp"

// Bounds of a request and of an answer.
const (
	BodyBytesMax = 1 << 20
)

// Verifier verifies bearer tokens of the audience of this edge; *auth.Verifier is one.
type Verifier interface {
	Verify(ctx context.Context, token string) (auth.Principal, error)
	// Standing reports why a caller that was let in is not to be served any longer.
	Standing(p auth.Principal) error
}

// Config is what the edge stands on. Verifier, Writer, Reader, Versions and Sealer must be set.
type Config struct {
	Verifier Verifier
	Writer   *writer.Writer
	Reader   *reader.Reader
	Versions *versions.Log
	Sealer   *reader.Sealer
	// URL is the address of this edge as clients know it, such as https://memories.example/mcp. Empty: only loopback
	// addresses are answered, each under the name that the client used.
	URL string
	// AuthorizationServers are the issuers that clients may get tokens from; empty = none is named.
	AuthorizationServers []string
	// Origins are those of web pages that may call, such as https://inspector.example; empty = none.
	Origins []string
	Limits  *quota.Limiter // shared with the other edges of the process; nil = none
	Logins  *quota.Logins  // limits refused tokens by address, shared with the other edges; nil = no limit
	// CallMax is how long a tool may take, without the time in which a user is asked; 0 = as long as a reader may wait.
	CallMax time.Duration
	// Streams bounds the streams of the older transport. Zero = the default.
	Streams StreamLimits
	Logger  *slog.Logger // nil = none
	// Version is what the server calls itself by.
	Version string
}

// Edge answers agents. It is safe for concurrent use.
type Edge struct {
	Config
	server     *mcp.Server
	streamable http.Handler
	streams    *streams
	origins    *http.CrossOriginProtection
	hosts      []string // of URL
	handler    http.Handler
}

// New returns the edge, or what is wrong with its configuration.
func New(c Config) (*Edge, error) {
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.CallMax == 0 {
		c.CallMax = reader.WaitMax
	}
	if c.Limits == nil {
		c.Limits = quota.New(quota.Limits{})
	}
	e := &Edge{Config: c, origins: http.NewCrossOriginProtection(), streams: newStreams(c.Streams)}
	var faults []error
	if c.URL != "" {
		u, err := url.Parse(c.URL)
		if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || u.Path != Path || u.RawQuery != "" || u.Fragment != "" {
			faults = append(faults, fmt.Errorf("URL %q of the MCP edge: want http(s)://HOST%s", c.URL, Path))
		} else {
			e.hosts = hostsOf(u)
		}
	}
	for _, origin := range c.Origins {
		if err := e.origins.AddTrustedOrigin(origin); err != nil {
			faults = append(faults, fmt.Errorf("origin %q: %w", origin, err))
		}
	}
	e.server = e.newServer()
	e.streamable = e.withTokenInfo(mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return e.server }, &mcp.StreamableHTTPOptions{
		Stateless: true, JSONResponse: true, MaxRequestBodyBytes: BodyBytesMax,
		// The host is checked by the gate, by name and not only on loopback addresses.
		DisableLocalhostProtection: true,
	}))
	e.handler = e.routes()
	return e, errors.Join(faults...)
}

// hostsOf are the hosts that requests to an address may name: with its port, and without the one that goes without saying.
func hostsOf(u *url.URL) []string {
	port := map[string]string{"https": "443", "http": "80"}[u.Scheme]
	if u.Port() != "" && u.Port() != port {
		return []string{u.Host}
	}
	host := strings.TrimSuffix(u.Host, ":"+port)
	return []string{host, host + ":" + port}
}

// Routes are the patterns that this edge answers.
func Routes() []string {
	return []string{Path, Path + "/", metadataRoot, metadataRoot + "/"}
}

func (e *Edge) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc(Path, e.serveStreamable)
	mux.HandleFunc(Path+"/{client}/http/{user}", e.serveStreamable)
	mux.HandleFunc("GET "+Path+"/{client}/sse/{user}", e.openStream)
	mux.HandleFunc("POST "+Path+"/{client}/sse/{user}", e.postMessage)
	mux.HandleFunc("POST "+Path+"/{client}/sse/{user}/messages/{$}", e.postMessage)
	mux.HandleFunc("POST "+Path+"/messages/{$}", e.postMessage)
	mux.HandleFunc("GET "+metadataRoot, e.serveMetadata)
	mux.HandleFunc("GET "+metadataRoot+Path, e.serveMetadata)
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { absent(w) })
	return mux
}

// ServeHTTP answers what Routes names.
func (e *Edge) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	defer func() {
		fault := recover()
		if err, ok := fault.(error); ok && errors.Is(err, http.ErrAbortHandler) {
			panic(fault) // the server's own way to cut a connection
		}
		if fault != nil {
			e.Logger.ErrorContext(r.Context(), "panic in a request of an agent", "fault", fault, "stack", string(debug.Stack()))
			e.fail(w, r, nil, errors.New("panic"))
		}
	}()
	if !e.knowsHost(r.Host) {
		http.Error(w, "this server does not answer under that host name: its operator says with --mcp-url under which it does", http.StatusMisdirectedRequest)
		return
	}
	if !e.cross(w, r) {
		return
	}
	e.handler.ServeHTTP(w, r)
}

// Close ends all streams, so that the server can shut down.
func (e *Edge) Close() { e.streams.close() }

// knowsHost guards against DNS rebinding: a page that lets its own name point here cannot talk to this server.
func (e *Edge) knowsHost(host string) bool {
	if slices.ContainsFunc(e.hosts, func(own string) bool { return strings.EqualFold(host, own) }) {
		return true
	}
	name := host
	if h, port, err := net.SplitHostPort(host); err == nil {
		if _, err := strconv.ParseUint(port, 10, 16); err != nil {
			return false // 127.0.0.1:1.evil.example is no address of this machine
		}
		name = h
	}
	if strings.EqualFold(name, "localhost") {
		return true
	}
	ip := net.ParseIP(strings.Trim(name, "[]"))
	return ip != nil && ip.IsLoopback()
}

// cross refuses web pages of other origins, for reading as for writing, and lets those that are trusted in.
func (e *Edge) cross(w http.ResponseWriter, r *http.Request) bool {
	unsafe := r.WithContext(r.Context())
	if r.Method == http.MethodGet || r.Method == http.MethodHead || r.Method == http.MethodOptions {
		unsafe.Method = http.MethodPost // the protection lets these methods pass unseen
	}
	if strings.HasPrefix(r.URL.Path, metadataRoot) {
		w.Header().Set("Access-Control-Allow-Origin", "*") // it is public
		if r.Method == http.MethodOptions {
			w.Header().Set("Access-Control-Allow-Methods", "GET")
			w.Header().Set("Access-Control-Allow-Headers", "Mcp-Protocol-Version")
			w.WriteHeader(http.StatusNoContent)
			return false
		}
		return true
	}
	if err := e.origins.Check(unsafe); err != nil {
		http.Error(w, "this origin may not call", http.StatusForbidden)
		return false
	}
	origin := r.Header.Get("Origin")
	if !slices.Contains(e.Origins, origin) {
		return true
	}
	h := w.Header()
	h.Set("Access-Control-Allow-Origin", origin)
	h.Add("Vary", "Origin")
	h.Set("Access-Control-Expose-Headers", "Mcp-Session-Id, WWW-Authenticate")
	if r.Method != http.MethodOptions {
		return true
	}
	h.Set("Access-Control-Allow-Methods", "GET, POST")
	h.Set("Access-Control-Allow-Headers", "Authorization, Content-Type, Accept, Mcp-Session-Id, Mcp-Protocol-Version, Mcp-Method, Mcp-Name, Traceparent")
	h.Set("Access-Control-Max-Age", "600")
	w.WriteHeader(http.StatusNoContent)
	return false
}

const principalKey = "principal"

// tokenInfo is a principal in the form in which the SDK hands it to the middleware.
func tokenInfo(p auth.Principal) *sdkauth.TokenInfo {
	return &sdkauth.TokenInfo{
		Scopes: p.Scopes, Expiration: p.Expires, UserID: p.String(), Extra: map[string]any{principalKey: p},
	}
}

// withTokenInfo passes the principal that the gate has verified on to the SDK, which takes it from nobody else.
func (e *Edge) withTokenInfo(next http.Handler) http.Handler {
	verify := func(ctx context.Context, _ string, _ *http.Request) (*sdkauth.TokenInfo, error) {
		p, ok := auth.FromContext(ctx)
		if !ok {
			return nil, sdkauth.ErrInvalidToken
		}
		return tokenInfo(p), nil
	}
	return sdkauth.RequireBearerToken(verify, &sdkauth.RequireBearerTokenOptions{ClockSkew: time.Minute})(next) // the verifier's own skew is smaller
}

// principalOf is the caller of a message, wherever it came in. ok is false for none: then nothing is answered.
func principalOf(r mcp.Request) (p auth.Principal, ok bool) {
	extra := r.GetExtra()
	if extra == nil || extra.TokenInfo == nil {
		return p, false
	}
	p, ok = extra.TokenInfo.Extra[principalKey].(auth.Principal)
	return p, ok
}
