package mcpapi

import (
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/refold-dev/refold/internal/auth"
	"github.com/refold-dev/refold/internal/problem"
	"github.com/refold-dev/refold/internal/quota"
	"github.com/refold-dev/refold/internal/reader"
)

// StreamLimits bound the streams of the older transport.
type StreamLimits struct {
	All       int           // at any moment; 0 = 10,000
	Calls     int           // unanswered calls of one stream; 0 = 16
	Heartbeat time.Duration // how often an idle stream is kept alive; 0 = 15 s
}

// streamWriteMax bounds how long a client may take to read what is sent to it.
const streamWriteMax = 10 * time.Second

// streams are the open streams of this process. A stream ends with its request, with its token or tenant, and with the server.
type streams struct {
	StreamLimits
	mu     sync.Mutex
	open   map[string]*stream // by session id
	closed bool
}

func newStreams(l StreamLimits) *streams {
	l.All, l.Calls = cmp.Or(l.All, 10_000), cmp.Or(l.Calls, 16)
	l.Heartbeat = cmp.Or(l.Heartbeat, 15*time.Second)
	return &streams{StreamLimits: l, open: map[string]*stream{}}
}

// add returns a new stream, or nil when there are enough.
func (all *streams) add(w http.ResponseWriter, p auth.Principal, app string) *stream {
	s := &stream{
		id: rand.Text(), principal: p, app: app, out: w, control: http.NewResponseController(w),
		incoming: make(chan jsonrpc.Message, all.Calls), done: make(chan struct{}), calls: map[jsonrpc.ID]func(){}, callsMax: all.Calls,
	}
	all.mu.Lock()
	defer all.mu.Unlock()
	if all.closed || len(all.open) >= all.All {
		return nil
	}
	all.open[s.id] = s
	return s
}

func (all *streams) remove(s *stream) {
	all.mu.Lock()
	defer all.mu.Unlock()
	delete(all.open, s.id)
}

// of returns the stream with this id if it is the caller's; what is somebody else's is not there.
func (all *streams) of(p auth.Principal, id, app string) *stream {
	all.mu.Lock()
	defer all.mu.Unlock()
	s := all.open[id]
	if s == nil || s.principal.Tenant != p.Tenant || s.principal.Subject != p.Subject || app != "" && app != s.app {
		return nil
	}
	return s
}

func (all *streams) close() {
	all.mu.Lock()
	defer all.mu.Unlock()
	all.closed = true
	for _, s := range all.open {
		_ = s.Close()
	}
}

// stream is one stream of events to one client, and the transport of its session. Each message that is posted to it
// carries the principal of its own token.
type stream struct {
	id        string
	principal auth.Principal // of the request that opened it
	app       string
	incoming  chan jsonrpc.Message
	done      chan struct{}
	callsMax  int

	mu      sync.Mutex // guards what follows
	out     http.ResponseWriter
	control *http.ResponseController
	calls   map[jsonrpc.ID]func() // unanswered calls, with what to do when they are answered
	closed  bool
}

// openStream answers GET with a stream of events; the first of them says where to post messages.
func (e *Edge) openStream(w http.ResponseWriter, r *http.Request) {
	p, ok := e.authenticate(w, r)
	if !ok {
		return
	}
	if r.Method != http.MethodGet { // HEAD: there is nothing to tell of a stream
		absent(w)
		return
	}
	if err := checkClient(r.PathValue("client")); err != nil {
		e.fail(w, r, nil, err)
		return
	}
	if len(r.Header.Values("Last-Event-ID")) > 0 {
		writeError(w, http.StatusBadRequest, nil, malformed("a stream cannot be resumed: begin a new one without Last-Event-ID"))
		return
	}
	leave, err := e.Limits.Enter(p.Tenant, quota.Listening)
	if err != nil {
		e.fail(w, r, nil, err)
		return
	}
	defer leave()
	app := r.PathValue("client")
	s := e.streams.add(w, p, app)
	if s == nil {
		e.fail(w, r, nil, problem.Unavailable("busy", "too many streams are open", "5"))
		return
	}
	defer e.streams.remove(s)
	if err := e.runStream(r, s); err != nil && r.Context().Err() == nil {
		e.Logger.InfoContext(r.Context(), "stream of an agent ended", "error", err)
	}
}

type streamKey struct{} // of whether a call came in over a stream

func (e *Edge) runStream(r *http.Request, s *stream) error {
	ctx, cancel := auth.While(r.Context(), s.principal, e.Verifier.Standing)
	defer cancel()
	// The bounds of the server are those of a request; this one lives as long as its caller is to be served.
	if err := s.control.SetReadDeadline(time.Time{}); err != nil {
		return err
	}
	h := s.out.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store, no-transform")
	h.Set("X-Accel-Buffering", "no")
	endpoint := fmt.Sprintf("%s/%s/sse/%s/messages/?session_id=%s", Path, url.PathEscape(s.app), url.PathEscape(s.principal.Subject), s.id)
	if err := s.send("event: endpoint\ndata: " + endpoint + "\n\n"); err != nil {
		return err
	}
	life := context.WithValue(context.WithValue(ctx, appKey{}, s.app), lifeKey{}, ctx)
	life = context.WithValue(life, streamKey{}, true)
	session, err := e.server.Connect(life, s, nil)
	if err != nil {
		return err
	}
	defer func() { _ = session.Close() }()
	defer cancel() // calls under way end with the stream
	defer func() { _ = s.Close() }()
	beat := time.NewTicker(e.streams.Heartbeat)
	defer beat.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-s.done:
			return nil
		case <-beat.C:
			if err := s.send(": alive\n\n"); err != nil {
				return err
			}
		}
	}
}

// postMessage takes a message for a stream; the answer comes there.
func (e *Edge) postMessage(w http.ResponseWriter, r *http.Request) {
	in, ok := e.pass(w, r)
	if !ok {
		return
	}
	s := e.streams.of(in.principal, sessionID(r.URL.Query()), r.PathValue("client"))
	if s == nil {
		absent(w)
		return
	}
	decoded, err := jsonrpc.DecodeMessage(in.body)
	if err != nil {
		writeError(w, http.StatusBadRequest, in.id, malformed("not a JSON-RPC message"))
		return
	}
	leave, err := e.Limits.Enter(in.principal.Tenant, quota.Brief)
	if err != nil {
		e.fail(w, r, in.id, err)
		return
	}
	if request, is := decoded.(*jsonrpc.Request); is {
		request.Extra = &mcp.RequestExtra{TokenInfo: tokenInfo(in.principal), Header: r.Header}
	}
	if !in.isCall() {
		leave()
	} else if err := s.begin(in.jsonID(), leave); err != nil {
		leave()
		e.fail(w, r, in.id, err)
		return
	}
	select {
	case s.incoming <- decoded:
		w.WriteHeader(http.StatusAccepted)
	case <-s.done:
		absent(w)
	case <-r.Context().Done():
		s.end(in.jsonID())
	}
}

// sessionID is named session_id by older servers and sessionId by others.
func sessionID(q url.Values) string {
	return cmp.Or(q.Get("session_id"), q.Get("sessionId"), q.Get("sessionid"))
}

// begin notes a call that waits for its answer.
func (s *stream) begin(id jsonrpc.ID, leave func()) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return reader.ErrNotFound
	case len(s.calls) >= s.callsMax:
		return problem.Unavailable("busy", "too many calls of this stream wait for their answer; nothing was stored", "1")
	case s.calls[id] != nil:
		return problem.Invalid("/id", "a call with this id waits for its answer")
	}
	s.calls[id] = leave
	return nil
}

// end notes that a call was answered.
func (s *stream) end(id jsonrpc.ID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.endLocked(id)
}

func (s *stream) endLocked(id jsonrpc.ID) {
	if leave := s.calls[id]; leave != nil {
		delete(s.calls, id)
		leave()
	}
}

func (s *stream) send(text string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sendLocked(text)
}

func (s *stream) sendLocked(text string) error {
	if s.closed {
		return io.EOF
	}
	if err := s.control.SetWriteDeadline(time.Now().Add(streamWriteMax)); err != nil {
		return err
	}
	if _, err := io.WriteString(s.out, text); err != nil {
		return err
	}
	return s.control.Flush()
}

// Connect implements mcp.Transport: the stream is its own connection.
func (s *stream) Connect(context.Context) (mcp.Connection, error) { return s, nil }

// SupportsProtocolVersion tells the SDK that this transport ended with the revision before stateless.
func (s *stream) SupportsProtocolVersion(version string) bool { return version < stateless }

// SessionID implements mcp.Connection.
func (s *stream) SessionID() string { return "" }

// Read implements mcp.Connection.
func (s *stream) Read(ctx context.Context) (jsonrpc.Message, error) {
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case m := <-s.incoming:
		return m, nil
	case <-s.done:
		return nil, io.EOF
	}
}

// Write implements mcp.Connection.
func (s *stream) Write(_ context.Context, m jsonrpc.Message) error {
	data, err := jsonrpc.EncodeMessage(m)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if answer, is := m.(*jsonrpc.Response); is {
		defer s.endLocked(answer.ID)
	}
	return s.sendLocked("event: message\ndata: " + string(data) + "\n\n")
}

// Close implements mcp.Connection; it may be called more than once.
func (s *stream) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	close(s.done)
	for id := range s.calls {
		s.endLocked(id)
	}
	return nil
}
