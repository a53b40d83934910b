package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/refold-dev/refold/internal/auth"
	"github.com/refold-dev/refold/internal/changes"
	"github.com/refold-dev/refold/internal/directory"
	"github.com/refold-dev/refold/internal/httpapi/api"
	"github.com/refold-dev/refold/internal/problem"
	"github.com/refold-dev/refold/internal/reader"
	"github.com/refold-dev/refold/internal/writer"
)

const (
	heartbeatDefault = 15 * time.Second
	// streamRetry is after how long a listener whose stream has ended comes again.
	streamRetry = time.Second

	changesKind = "changes"
	eventStream = "text/event-stream"
)

// wanted is a wish to hear of changes, as a request says it.
type wanted struct {
	caller writer.Caller
	route  string
	after  reader.Position
	wish   changes.Wish
}

// ListChanges tells what has changed of what the caller may read.
func (s *server) ListChanges(ctx context.Context, r api.ListChangesRequestObject) (api.ListChangesResponseObject, error) {
	return s.listen(ctx, "listChanges", r.Params, false)
}

// ListTenantChanges tells what has changed in the whole tenant.
func (s *server) ListTenantChanges(ctx context.Context, r api.ListTenantChangesRequestObject) (api.ListTenantChangesResponseObject, error) {
	p := r.Params
	return s.listen(ctx, "listTenantChanges", api.ListChangesParams{
		From: (*api.ListChangesParamsFrom)(p.From), After: p.After, LastEventID: p.LastEventID, Limit: p.Limit, Prefer: p.Prefer,
	}, true)
}

// feedAnswer is the answer to both operations.
type feedAnswer interface {
	api.ListChangesResponseObject
	api.ListTenantChangesResponseObject
}

func (s *server) listen(ctx context.Context, route string, p api.ListChangesParams, all bool) (feedAnswer, error) {
	wish, err := feedWish(p, all)
	if err != nil {
		return nil, err
	}
	streams := accepts(ctx, eventStream)
	c, err := s.caller(ctx)
	if errors.Is(err, directory.ErrNoTenant) && !streams {
		return changePage{ChangePage: api.ChangePage{Items: []api.Change{}}}, nil
	}
	if err != nil {
		return nil, err
	}
	after, err := s.startOf(ctx, c, route, p)
	if err != nil {
		return nil, err
	}
	l := wanted{c, route, after, wish}
	if streams {
		return changeStream{ctx, s, l}, nil
	}
	wish.Enough = s.ending.Done()
	standing, cancel := auth.While(ctx, c.Principal, s.Verifier.Standing)
	defer cancel()
	page, err := s.Changes.Next(standing, c.Reads(), after, wish)
	if ended := auth.Ended(standing); ended != nil {
		return nil, ended
	}
	if err != nil {
		return nil, err
	}
	return s.pageOnWire(l, page), nil
}

func feedWish(p api.ListChangesParams, all bool) (changes.Wish, error) {
	w := changes.Wish{All: all, CountMax: 100}
	if p.From != nil && !p.From.Valid() {
		return w, malformedParameter("from", "now or begin")
	}
	if p.Limit != nil {
		if w.CountMax = *p.Limit; w.CountMax < 1 || w.CountMax > changes.CountMax {
			return w, malformedParameter("limit", fmt.Sprintf("1 to %d", changes.CountMax))
		}
	}
	if p.Prefer != nil {
		w.Wait = preferred(*p.Prefer).wait
	}
	return w, nil
}

// startOf is the position behind which a caller wants to hear.
func (s *server) startOf(ctx context.Context, c writer.Caller, route string, p api.ListChangesParams) (at reader.Position, err error) {
	token := p.LastEventID
	if token == nil {
		token = p.After
	}
	switch {
	case token != nil:
		if at, err = s.openFeedToken(c, route, *token); err == nil {
			err = s.Changes.Check(ctx, c.Reads(), at)
		}
		return at, err
	case p.From != nil && *p.From == api.ListChangesParamsFromBegin:
		return s.Changes.Begin(ctx, c.Reads())
	}
	return s.Changes.Now(ctx, c.Reads())
}

// feedToken is the token to go on from behind a position; of use to this user, on this route.
func (s *server) feedToken(l wanted, at reader.Position) string {
	body, _ := json.Marshal(at) // strings and numbers only
	return s.Sealer.Seal(changesKind, body, l.caller.Tenant.ID, l.caller.User.String(), l.route)
}

func (s *server) openFeedToken(c writer.Caller, route, token string) (at reader.Position, err error) {
	body, err := s.Sealer.Open(changesKind, token, c.Tenant.ID, c.User.String(), route)
	if err != nil {
		return at, err
	}
	if err := json.Unmarshal(body, &at); err != nil {
		return at, reader.ErrSealed
	}
	return at, nil
}

func (s *server) changeOnWire(l wanted, page changes.Page, c changes.Change) api.Change {
	return api.Change{
		Kind: c.Kind, Entity: c.Entity, Id: c.ID, Version: int64(c.Version), Time: c.Time.UTC(),
		Position: s.Sealer.SealPosition(l.caller.Tenant.ID, page.At(c)),
	}
}

func (s *server) pageOnWire(l wanted, page changes.Page) changePage {
	out := changePage{position: s.Sealer.SealPosition(l.caller.Tenant.ID, page.Through)}
	out.ChangePage = api.ChangePage{Items: make([]api.Change, 0, len(page.Changes)), Next: s.feedToken(l, page.Through)}
	for _, c := range page.Changes {
		out.Items = append(out.Items, s.changeOnWire(l, page, c))
	}
	return out
}

// changePage says how far it goes, which the rows do, too. Changes come from the journal: there is no edition to name, and
// no age.
type changePage struct {
	api.ChangePage
	position string // empty = there is no such tenant
}

func (p changePage) VisitListChangesResponse(w http.ResponseWriter) error {
	w.Header().Set("Content-Type", "application/json")
	if p.position != "" {
		w.Header().Set("Refold-Position", p.position)
	}
	return json.NewEncoder(w).Encode(p.ChangePage)
}

func (p changePage) VisitListTenantChangesResponse(w http.ResponseWriter) error {
	return p.VisitListChangesResponse(w)
}

// changeStream answers with events until the listener goes, its token expires or is revoked, its tenant is removed, or the
// server ends.
type changeStream struct {
	ctx    context.Context
	server *server
	wanted
}

func (c changeStream) VisitListTenantChangesResponse(w http.ResponseWriter) error {
	return c.VisitListChangesResponse(w)
}

func (c changeStream) VisitListChangesResponse(w http.ResponseWriter) error {
	ctx, cancel := c.server.whileServing(c.ctx)
	defer cancel()
	defer c.server.Changes.Hold(c.caller.Reads())()
	out := &events{w: w, control: http.NewResponseController(w), slowMax: c.server.Heartbeat}
	_ = out.control.SetReadDeadline(time.Time{}) // the server's own would end the stream
	w.Header().Set("Content-Type", eventStream)
	w.Header().Set("Refold-Position", c.server.Sealer.SealPosition(c.caller.Tenant.ID, c.after)) // where it begins
	w.WriteHeader(http.StatusOK)
	out.send(fmt.Sprintf("retry: %d\n", streamRetry.Milliseconds()) + "id: " + c.server.feedToken(c.wanted, c.after))
	out.flush() // whoever listens knows at once that it is heard
	at := c.after
	c.wish.Wait, c.wish.CountMax = c.server.Heartbeat, changes.CountMax
	for out.err == nil {
		page, err := c.server.Changes.Next(ctx, c.caller.Reads(), at, c.wish)
		if ended := auth.Ended(ctx); ended != nil {
			c.fail(out, ended)
			return nil
		}
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			c.fail(out, err)
			return nil
		}
		c.tell(out, page)
		at = page.Through
	}
	return nil // the listener is gone, or too slow
}

// tell sends a page. An empty one shows that the connection lives.
func (c changeStream) tell(out *events, page changes.Page) {
	for _, change := range page.Changes {
		body, _ := json.Marshal(c.server.changeOnWire(c.wanted, page, change)) // plain data
		out.send("id: " + c.server.feedToken(c.wanted, page.At(change)) + "\nevent: change\ndata: " + string(body))
	}
	out.send("id: " + c.server.feedToken(c.wanted, page.Through))
	out.flush()
}

// fail says why the stream ends.
func (c changeStream) fail(out *events, err error) {
	body, _ := json.Marshal(problem.Of(c.ctx, err, c.server.Logger).Document()) // plain data
	out.send("event: problem\ndata: " + string(body))
	out.flush()
}

// events writes server-sent events, and remembers the first failure.
type events struct {
	w       http.ResponseWriter
	control *http.ResponseController
	slowMax time.Duration
	err     error
}

func (e *events) send(event string) {
	if e.err != nil {
		return
	}
	_ = e.control.SetWriteDeadline(time.Now().Add(e.slowMax)) // where a writer has none, nothing blocks
	_, e.err = e.w.Write([]byte(event + "\n\n"))
}

func (e *events) flush() {
	if e.err == nil {
		e.err = e.control.Flush()
	}
}

// whileServing ends with the request, when its caller is not to be served any longer, and when the server begins to end.
func (s *server) whileServing(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	unhook := context.AfterFunc(s.ending, cancel)
	stop := func() { unhook(); cancel() }
	principal, ok := auth.FromContext(ctx)
	if !ok {
		return ctx, stop
	}
	ctx, done := auth.While(ctx, principal, s.Verifier.Standing)
	return ctx, func() { done(); stop() }
}
