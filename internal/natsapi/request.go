package natsapi

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go/micro"

	"github.com/refold-dev/refold/events/commands"
	"github.com/refold-dev/refold/internal/auth"
	"github.com/refold-dev/refold/internal/problem"
	"github.com/refold-dev/refold/internal/quota"
	"github.com/refold-dev/refold/internal/writer"
)

// request is one that may be answered: its reply lies in the inbox of its user.
type request struct {
	micro.Request
	header    headers
	to        commands.Address
	principal auth.Principal
	caller    writer.Caller // once something that it asks for is within its scopes
	leaves    []func()      // give back what it has taken of the tenant's allowance
	counts    *counts       // of its endpoint
	began     time.Time
}

// headers are those of a request that have a meaning here.
type headers map[string]string

var known = []string{commands.HeaderAuthorization, commands.HeaderCommand, commands.HeaderKey, commands.HeaderVersion, commands.HeaderTrace}

// readHeaders takes the headers that are known and leaves all others aside: nothing that a client sets becomes a header
// of an event but by this list.
func readHeaders(given micro.Headers) (headers, error) {
	h := headers{}
	for name, values := range given {
		for _, own := range known {
			if !strings.EqualFold(name, own) {
				continue
			}
			if _, twice := h[own]; twice || len(values) != 1 {
				return nil, problem.BadRequest("invalid_header", own+" is given more than once")
			}
			h[own] = values[0]
		}
	}
	return h, nil
}

// open decides, in this order, by the subject, by the token and by its tenant. Scopes, the limits of the tenant and what
// is known about it come after. The request is nil when there is nobody to answer: what is asked by nobody is not done.
// With a refusal nothing but the subject is looked at, and it is the answer.
func (e *edge) open(ctx context.Context, r micro.Request, refusal error, c *counts) (*request, error) {
	q := &request{Request: r, counts: c, began: time.Now()}
	to, err := commands.ParseSubject(r.Subject())
	if err != nil {
		// The server binds producers to their tenant's subjects, so whoever is let in may be told.
		to.Tenant = tenantOf(r.Subject())
		if strings.HasPrefix(r.Reply(), "_INBOX."+to.Tenant+".") {
			return q, problem.NotFound()
		}
		return nil, err
	}
	if !strings.HasPrefix(r.Reply(), "_INBOX."+to.Tenant+".") {
		return nil, errors.New("the reply does not go to an inbox of the tenant")
	}
	q.to = to
	if refusal != nil {
		return q, refusal
	}
	if q.header, err = readHeaders(r.Headers()); err != nil {
		return q, err
	}
	if q.principal, err = e.principal(ctx, q.header); err != nil {
		return q, err
	}
	if q.principal.Tenant != to.Tenant {
		return q, problem.NotFound()
	}
	if !strings.HasPrefix(r.Reply(), commands.InboxPrefix(q.principal.Tenant, q.principal.Subject)+".") {
		return nil, errors.New("the reply does not go to the inbox of the user")
	}
	return q, nil
}

// enter takes the request out of the tenant's allowance.
func (e *edge) enter(q *request) error {
	leave, err := e.Limits.Enter(q.principal.Tenant, quota.Brief)
	if err == nil {
		q.leaves = append(q.leaves, leave)
	}
	return err
}

// place waits for the tenant's part of what the process works on.
func (e *edge) place(ctx context.Context, q *request, s *quota.Share, places int) error {
	leave, err := s.Take(ctx, q.principal.Tenant, q.principal.Subject, places)
	if err == nil {
		q.leaves = append(q.leaves, leave)
	}
	return err
}

func tenantOf(subject string) string {
	_, rest, _ := strings.Cut(subject, ".")
	tenant, _, _ := strings.Cut(rest, ".")
	return tenant
}

func (e *edge) principal(ctx context.Context, h headers) (auth.Principal, error) {
	var given []string
	if value, ok := h[commands.HeaderAuthorization]; ok {
		given = []string{value}
	}
	token, err := auth.Bearer(given)
	if err != nil {
		return auth.Principal{}, err
	}
	return e.Verifier.Verify(ctx, token)
}

// answered counts a request that is about to be answered, and whether that is by a problem.
func (q *request) answered(withProblem bool) {
	q.counts.requests.Add(1)
	q.counts.took.Add(int64(time.Since(q.began)))
	if withProblem {
		q.counts.errors.Add(1)
	}
}

// close gives back what the request has taken.
func (q *request) close() {
	for _, leave := range q.leaves {
		leave()
	}
}

// problemOf says what an error means to the caller.
func (e *edge) problemOf(ctx context.Context, err error, key string) *problem.Problem {
	if errors.Is(err, commands.ErrUnknown) {
		return problem.Invalid("", err.Error())
	}
	return problem.Of(ctx, problem.Doubtful(err, key), e.Logger)
}

// resultOf is the answer to a command that was not accepted.
func resultOf(p *problem.Problem) commands.Result {
	document := commands.Problem(p.Document())
	outcome := commands.Refused
	if p.InDoubt() {
		outcome = commands.Unknown
	}
	return commands.Result{Outcome: outcome, Problem: &document}
}

// headersOf are those of an answer that is no success: the ones that the micro API knows, and when to come again.
func headersOf(p *problem.Problem) micro.Headers {
	h := micro.Headers{
		micro.ErrorCodeHeader: {strconv.Itoa(p.Status)}, micro.ErrorHeader: {p.Code + ": " + p.Detail},
	}
	if after := p.Header.Get("Retry-After"); after != "" {
		h["Retry-After"] = []string{after}
	}
	return h
}
